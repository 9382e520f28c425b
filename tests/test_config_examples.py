"""The files people start from: they pass the check, and their tools answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway import create_app, load_config
from gateway.adapters.python.processes import can_have_processes
from gateway.cli import main
from gateway.core.messages import Request
from gateway.testing import ScriptedService, open_client
from tests.support import require

ROOT = Path(__file__).parent.parent
THIRD_PARTY = ROOT / "config" / "examples" / "adapter"  # tests/end_to_end/test_third_party_kind.py
FILES = [path for path in sorted((ROOT / "config").rglob("*.toml")) if path.parent != THIRD_PARTY]
EXAMPLES = sorted((ROOT / "config" / "examples").glob("*.toml"))
USER = {"id": 2, "name": "Amber Kestrel", "login": "kestrel2", "city": "Lyon"}
POST = {"id": 7, "user_id": 2, "title": "On slow queries"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_passes_the_strict_check(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r'"env:(\w+)"', path.read_text()):
        monkeypatch.setenv(name, "https://name.example/")
    assert main(["check", "--strict", str(path)]) == 0


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_says_how_to_try_it(path: Path) -> None:
    tools = load_config(path).tools
    line = re.compile(rf"^#     gateway call {named(path)} (\w+)(?: --arg|$)", re.MULTILINE)
    tried = line.findall(path.read_text())
    assert set(tried) == set(tools)


async def called(name: str, tool: str, arguments: Any, **services: ScriptedService) -> Any:
    app = create_app(ROOT / "config" / "examples" / f"{name}.toml", services=services)
    async with open_client(app) as client:
        answer = await client.request("POST", f"/tools/{tool}", json=arguments)
    assert answer.status == 200
    return answer.json()


async def test_aggregation(autojump_clock: Any) -> None:
    users, none = ScriptedService().reply(USER), ScriptedService().reply([])
    answer = await called("aggregation", "customer", {"id": 2}, users=users, posts=none, todos=none)
    assert answer == {
        "name": "Amber Kestrel",
        "city": "Lyon",
        "latest_post": None,
        "open_todos": [],
    }


@pytest.mark.parametrize("note", [None, "well said"])
async def test_dependent_calls(note: str | None, autojump_clock: Any) -> None:
    def reply(request: Request) -> Any:
        return {"post": POST, "author": USER, "others": [POST]}[request.name]

    blog, notes = ScriptedService().reply(reply), ScriptedService().reply()
    arguments = {"id": 7} if note is None else {"id": 7, "note": note}
    answer = await called("dependent_calls", "post", arguments, blog=blog, notes=notes)
    assert blog.requests[0].name == "post"
    assert answer["author"] == "Amber Kestrel"
    if note is None:
        assert [error["code"] for error in answer["_errors"]] == ["skipped"]
        assert notes.requests == []
    else:
        assert notes.requests[0].arguments["json"] == {"post": 7, "text": "well said"}


@pytest.mark.end_to_end  # it blocks a thread for real
async def test_blocking_library() -> None:
    answer = await called("blocking_library", "stock", {"sku": "lamp"})
    assert answer["count"] == 12
    assert answer["shelf"]["asked_in_time"] is True


async def test_behind_a_gateway(autojump_clock: Any) -> None:
    inner = {"name": "Amber Kestrel", "groups": ["writers"], "_errors": [{"call": "credit"}]}
    profile = {"posts": [POST]}
    people = ScriptedService().reply(lambda r: inner if r.name == "overview" else profile)
    assert await called("behind_a_gateway", "team", {"id": 2}, people=people) == {
        "name": "Amber Kestrel",
        "groups": ["writers"],
        "posts": ["On slow queries"],
        "missing": ["credit"],
    }


@pytest.mark.end_to_end  # in processes of its own, for real
async def test_python_tools() -> None:
    need_processes()
    assert await called("python_tools", "pi", {"digits": 3}) == {"pi": "3.142"}
    order = {"lines": [{"product": "lamp", "count": 2}, {"product": "sofa"}], "currency": "CHF"}
    assert await called("python_tools", "quote", order) == {
        "total": "37.81",
        "currency": "CHF",
        "unknown": ["sofa"],
    }
    assert await called("python_tools", "primes", {"below": 1000}) == {"below": 1000, "primes": 168}


@pytest.mark.end_to_end
async def test_what_computes_for_too_long_is_ended() -> None:
    need_processes()
    app = create_app(ROOT / "config" / "examples" / "python_tools.toml")
    async with open_client(app) as client:
        headers = {"x-request-timeout-ms": "300"}
        long = {"below": 100_000_000}
        answer = await client.request("POST", "/tools/primes", json=long, headers=headers)
        assert answer.status == 504
        answer = await client.request("POST", "/tools/primes", json={"below": 10})
        assert answer.json() == {"below": 10, "primes": 4}


def need_processes() -> None:
    if not can_have_processes():
        require("trio-parallel is not installed")
