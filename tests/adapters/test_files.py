"""Files behind a tool: below the root, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.core.errors import BadReply, GatewayError, InvalidArguments, Rejected
from tests.apps import request


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("outside")
    root = tmp_path / "public"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "ü.txt").write_text("grüße")
    (root / "a" / "b" / "c.json").write_text('{"n": 1}')
    (root / "picture.png").write_bytes(b"\x89PNG\xff")
    (root / ".hidden").write_text("1")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path)
    (root / "in").symlink_to(root / "a" / "ü.txt")
    os.mkfifo(root / "pipe")
    return root


async def read(root: Path, path: str, service: Any = None, /, **call: Any) -> Any:
    app = create_app(
        {
            "services": {"s": {"kind": "files", "root": str(root), **(service or {})}},
            "tools": {
                "t": {
                    "input": {"properties": {"path": {}}},
                    "output": "a",
                    "calls": {"a": {"service": "s", "path": "{path}", **call}},
                }
            },
        }
    )
    async with app.running():
        return (await app.call(request(path=path))).value


@pytest.mark.parametrize(
    ("path", "output", "value"),
    [
        ("a/ü.txt", "text", "grüße"),
        ("./a//ü.txt", "text", "grüße"),
        ("a/b/c.json", "json", {"n": 1}),
        ("picture.png", "base64", "iVBOR/8="),
        (
            "a/ü.txt",
            "auto",
            {"name": "a/ü.txt", "mime_type": "text/plain", "size": 7, "text": "grüße"},
        ),
        (
            "picture.png",
            "auto",
            {"name": "picture.png", "mime_type": "image/png", "size": 5, "base64": "iVBOR/8="},
        ),
    ],
)
async def test_a_file_is_read(root: Path, path: str, output: str, value: Any) -> None:
    assert await read(root, path, output=output) == value


async def test_a_folder_is_listed(root: Path) -> None:
    listed = await read(root, "")
    assert [(one["name"], one["folder"]) for one in listed["entries"]] == [
        ("a", True),
        ("picture.png", False),
    ]  # links and pipes are not there
    assert listed["complete"] is True
    few = await read(root, "", {"max_entries": 1})
    assert (len(few["entries"]), few["complete"]) == (1, False)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../secret", "a/../../secret", "a\\..\\x", "a\0b", ".."]
)
async def test_no_path_leads_out(root: Path, path: str) -> None:
    with pytest.raises(InvalidArguments, match="below the folder"):
        await read(root, path)


@pytest.mark.parametrize(
    "path", ["out", "up/secret", "in", "none", "a/none", "a/ü.txt/x", "pipe", ".hidden", "x" * 300]
)
async def test_links_pipes_and_what_is_hidden_are_not_there(root: Path, path: str) -> None:
    with pytest.raises(Rejected, match="no file") as caught:
        await read(root, path)
    assert caught.value.status == 404


async def test_what_is_hidden_may_be_shown(root: Path) -> None:
    assert await read(root, ".hidden", {"hidden": True}, output="text") == "1"


@pytest.mark.parametrize(
    ("path", "output", "service", "says"),
    [
        ("picture.png", "text", {}, "not UTF-8"),
        ("a/ü.txt", "json", {}, "not JSON"),
        ("a/ü.txt", "text", {"max_size": "6B"}, "over 6 bytes"),
    ],
)
async def test_what_does_not_fit_fails(
    root: Path, path: str, output: str, service: Any, says: str
) -> None:
    with pytest.raises(GatewayError, match=says) as caught:
        await read(root, path, service, output=output)
    assert isinstance(caught.value, BadReply)


async def test_a_folder_that_is_not_there_keeps_the_gateway_from_opening(root: Path) -> None:
    with pytest.raises(ValueError, match=r"services\.s\.root: expected a folder"):
        await read(root / "none", "x")
