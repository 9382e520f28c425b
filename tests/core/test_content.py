"""What a tool may give beside plain JSON, as JSON."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.core import content
from gateway.core.content import content_of
from gateway.core.messages import Reply

PNG = b"\x89PNG"
IMAGE = {"type": "image", "data": "iVBORw==", "mimeType": "image/png"}


def blocks(value: Any) -> list[Any]:
    found = content_of(value)
    assert found is not None
    return [json.loads(bytes(block)) for block in found.blocks]


@pytest.mark.parametrize(
    ("block", "wanted"),
    [
        (content.Text("hi"), {"type": "text", "text": "hi"}),
        (content.Text(""), {"type": "text", "text": ""}),
        (content.Image(PNG, "image/png"), IMAGE),
        (content.Audio(PNG, "audio/wav"), {**IMAGE, "type": "audio", "mimeType": "audio/wav"}),
        (
            content.Link("docs://a", "a", title="A", mime_type="text/plain", size=3),
            {
                "type": "resource_link",
                "uri": "docs://a",
                "name": "a",
                "title": "A",
                "mimeType": "text/plain",
                "size": 3,
            },
        ),
        (
            content.Embedded(content.Resource("docs://a", text="A")),
            {"type": "resource", "resource": {"uri": "docs://a", "text": "A"}},
        ),
        (
            content.Embedded(content.Resource("docs://a", blob=PNG, mime_type="image/png")),
            {
                "type": "resource",
                "resource": {"uri": "docs://a", "blob": "iVBORw==", "mimeType": "image/png"},
            },
        ),
        (
            content.Text(
                "x",
                content.Annotations(
                    audience=("user", "assistant"), priority=0.5, last_modified="2026-01-01"
                ),
            ),
            {
                "type": "text",
                "text": "x",
                "annotations": {
                    "audience": ["user", "assistant"],
                    "priority": 0.5,
                    "lastModified": "2026-01-01",
                },
            },
        ),
    ],
)
def test_a_block_has_the_protocols_form(block: content.Block, wanted: Any) -> None:
    assert blocks(block) == [wanted]
    found = content_of(block)
    assert found is not None
    assert json.loads(bytes(found.value)) == wanted
    assert json.loads(msgspec.json.encode(block)) == wanted  # below a dict too


def test_a_list_mixes_them_and_takes_texts() -> None:
    mixed = ["before", content.Image(PNG, "image/png"), "after"]
    assert blocks(mixed) == [
        {"type": "text", "text": "before"},
        IMAGE,
        {"type": "text", "text": "after"},
    ]
    assert blocks(tuple(mixed)) == blocks(mixed)


def test_a_result_has_a_value_of_its_own() -> None:
    found = content_of(content.Result({"days": 3}, ["see", content.Image(PNG, "image/png")]))
    assert found is not None
    assert found.structured
    assert bytes(found.value) == b'{"days":3}'
    assert len(found.blocks) == 2


@pytest.mark.parametrize(
    "value",
    [None, "text", [], ["a"] * 3, {"type": "text", "text": "hi"}, [IMAGE], [1, content.Text("x")]],
)
def test_anything_else_is_plain_json(value: Any) -> None:
    assert content_of(value) is None


@pytest.mark.parametrize(
    "value",
    [
        content.Image("text", "image/png"),  # type: ignore[arg-type]
        content.Image(PNG, "png"),
        content.Image(PNG, None),  # type: ignore[arg-type]
        content.Text(5),  # type: ignore[arg-type]
        content.Text("\ud800"),
        content.Text("x", content.Annotations(priority=2)),
        content.Text("x", content.Annotations(audience=("robots",))),  # type: ignore[arg-type]
        content.Link("no uri", "x"),
        [content.Text("x"), 5],
        content.Result({}, [5]),  # type: ignore[list-item]
    ],
)
def test_what_is_wrong_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        content_of(value)


@pytest.mark.parametrize("held", [{}, {"text": "a", "blob": b"b"}])
def test_a_resource_holds_one_thing(held: Any) -> None:
    with pytest.raises(ValueError, match="either"):
        content.Resource("docs://a", **held)


@pytest.mark.parametrize("whole", [True, False])
def test_a_reply_encodes_and_decodes_it_as_plain_json(whole: bool) -> None:
    found = content_of([content.Image(PNG, "image/png")])
    reply = Reply(found if whole else {"a": found})
    wanted = [IMAGE] if whole else {"a": [IMAGE]}
    assert json.loads(reply.sealed().encoded) == wanted
    assert reply.decoded().value == wanted
