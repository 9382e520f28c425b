"""What a client may not know of is to it as if it were not there."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from gateway.core.errors import NotFound
from gateway.core.messages import Context, Request
from gateway.testing import ScriptedService
from tests.federated import FakeServer, behind, named, prompt, resource, template
from tests.inbound.mcp.driver import legacy, modern

ERAS = pytest.mark.parametrize("speak", [legacy, modern])
LISTS = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
SEEN = {
    "tools/list": ["own", "a_open"],
    "prompts/list": ["p_open"],
    "resources/list": ["x://open"],
    "resources/templates/list": ["x://open/{n}"],
}


@attrs.define
class Sight:
    """Hides what has `secret` in its name, and notes for whom it was asked."""

    asked: list[tuple[str, str, str, str]] = attrs.field(factory=list)

    def __call__(self, context: Context, kind: Any, name: str, service: str, /) -> bool:
        self.asked.append((context.principal, kind, name, service))
        return "secret" not in name


def server() -> FakeServer:
    return FakeServer(
        {
            "tools": named("a_open", "a_secret", description="Opens a door."),
            "prompts": (prompt("p_open"), prompt("p_secret")),
            "resources": (resource("x://open"), resource("x://secret"), resource("y://secret")),
            "resourceTemplates": (template("x://open/{n}"), template("z://secret/{n}")),
        }
    )


def gateway(sight: Sight, fake: FakeServer, **config: Any) -> Any:
    tools = {
        name: {"description": "Opens a door.", "calls": {"c": {"service": "h", "get": "/"}}}
        for name in ("own", "own_secret")
    }
    services = {"h": {"kind": "http", "url": "http://127.0.0.1:1"}}
    instead = {"h": ScriptedService().reply({"door": "open"})}
    return behind({"s": fake}, may=sight, services=services, instead=instead, tools=tools, **config)


@ERAS
async def test_lists_hold_what_may_be_known(speak: Any) -> None:
    sight = Sight()
    async with gateway(sight, server()) as app:
        for method, (key, name) in LISTS.items():
            result = (await speak(app._mcp, method)).result
            assert [item[name] for item in result[key]] == SEEN[method]
            if speak is modern:
                assert result["cacheScope"] == "private"
    assert ("anonymous", "tools", "own", "") in sight.asked
    assert ("anonymous", "resourceTemplates", "z://secret/{n}", "s") in sight.asked


@ERAS
@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("tools/call", "own_secret"),
        ("tools/call", "a_secret"),
        ("prompts/get", "p_secret"),
        ("resources/read", "x://secret"),
        ("resources/read", "y://secret"),
        ("resources/read", "y://unlisted"),
        ("resources/read", "z://secret/7"),
        ("completion/complete", "p_secret"),
    ],
)
async def test_what_is_hidden_is_unknown(speak: Any, method: str, name: str) -> None:
    def params(name: str) -> dict[str, Any]:
        if method == "completion/complete":
            argument = {"name": "text", "value": ""}
            return {"ref": {"type": "ref/prompt", "name": name}, "argument": argument}
        return {"uri" if method == "resources/read" else "name": name}

    fake = server()
    async with gateway(Sight(), fake) as app:
        hidden = (await speak(app._mcp, method, params(name))).error
        unknown = (await speak(app._mcp, method, params("w://none"))).error
    assert json.loads(json.dumps(hidden).replace(name, "w://none")) == unknown
    assert fake.asked == []


@ERAS
async def test_what_may_be_known_is_answered(speak: Any) -> None:
    fake = server()
    async with gateway(Sight(), fake) as app:
        own = (await speak(app._mcp, "tools/call", {"name": "own"})).result
        assert own["structuredContent"]["c"] == {"door": "open"}
        for method, params in (
            ("tools/call", {"name": "a_open"}),
            ("prompts/get", {"name": "p_open"}),
            ("resources/read", {"uri": "x://open"}),
            ("resources/read", {"uri": "x://open/7"}),
            ("resources/read", {"uri": "x://unlisted"}),
        ):
            assert "result" in (await speak(app._mcp, method, params)).json
    assert len(fake.asked) == 5


@ERAS
async def test_a_search_finds_what_may_be_known(speak: Any) -> None:
    async with gateway(Sight(), server(), mcp={"tools": "search", "pinned": ["a_open"]}) as app:
        listed = (await speak(app._mcp, "tools/list")).result["tools"]
        assert [tool["name"] for tool in listed] == ["search_tools", "call_tool", "a_open"]
        wanted = {"name": "search_tools", "arguments": {"query": "opens a door"}}
        found = (await speak(app._mcp, "tools/call", wanted)).result["structuredContent"]["tools"]
        assert {tool["name"] for tool in found} == {"own", "a_open"}
        for name, failed in (("own", False), ("own_secret", True), ("a_secret", True)):
            called = {"name": "call_tool", "arguments": {"name": name}}
            result = (await speak(app._mcp, "tools/call", called)).result
            assert result["isError"] is failed if name.startswith("own") else result["isError"]
            if failed:
                assert result["structuredContent"]["code"] == "not_found"


async def test_a_cursor_and_a_header_tell_of_nothing() -> None:
    properties = {"region": {"type": "string", "x-mcp-header": "Region"}}
    many = {
        f"{name}_{number}": {
            "input": {"properties": properties},
            "calls": {"c": {"service": "h", "get": "/"}},
        }
        for number in range(101)
        for name in ("open", "secret")
    }
    services = {"h": {"kind": "http", "url": "http://127.0.0.1:1"}}
    async with behind({}, may=Sight(), services=services, tools=many) as app:
        first = (await modern(app._mcp, "tools/list")).result
        rest = (await modern(app._mcp, "tools/list", {"cursor": first["nextCursor"]})).result
        assert [tool["name"] for tool in rest["tools"]] == ["open_100"]
        made_up = {"cursor": "c2VjcmV0XzU="}  # secret_5
        assert (await modern(app._mcp, "tools/list", made_up)).error["code"] == -32602
        call = {"name": "secret_5", "arguments": {"region": "x"}}
        assert (await modern(app._mcp, "tools/call", call)).error["code"] == -32602


async def test_it_holds_for_every_protocol() -> None:
    async with gateway(Sight(), server()) as app:
        context = Context(request_id="r", principal="ada")
        assert (await app.call(Request("own", {}, context))).value["c"] == {"door": "open"}
        with pytest.raises(NotFound, match="there is no tool 'own_secret'"):
            await app.call(Request("own_secret", {}, context))
