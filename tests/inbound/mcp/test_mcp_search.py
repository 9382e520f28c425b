"""Big catalogues: `search_tools`, `call_tool`, what is pinned, and the ranking."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway import ConfigError, load_config
from gateway.config.settings import McpSettings
from gateway.inbound.mcp.catalog import Catalog
from gateway.inbound.mcp.listing import Entry, Listing
from gateway.inbound.mcp.search import Index
from tests.apps import Events, request
from tests.federated import FakeServer, behind, named
from tests.inbound.mcp.driver import ScriptedFront, legacy, modern, tool

ERAS = pytest.mark.parametrize("speak", [legacy, modern])
SEARCH = {"tools": "search", "pinned": ["list_users", "not_there_yet"]}
LIBRARY = (
    *named("list_users", description="Every user of the directory."),
    *named("create_invoice", description="Bill a customer for what was ordered."),
    *named("delete_invoice", description="Cancel an invoice that was not paid."),
    *named("getWeather", description="The weather of a place, now and tomorrow."),
    {
        "name": "send",
        "description": "Send it.",
        "inputSchema": {"type": "object", "properties": {"email_address": {}, "subject": {}}},
    },
)


async def index(*items: Any) -> Index:
    return await Index.of([Entry(item["name"], item) for item in items])


async def names(query: str, limit: int = 5) -> list[str]:
    return [entry.key for entry in (await index(*LIBRARY)).search(query, limit)]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("invoice", {"create_invoice", "delete_invoice"}),
        ("cancel an unpaid invoice", {"delete_invoice"}),
        ("bill customers", {"create_invoice"}),
        ("list_users", {"list_users"}),
        ("who are the USERS?", {"list_users"}),
        ("weather tomorrow", {"getWeather"}),
        ("email", {"send"}),
    ],
)
async def test_the_best_comes_first(query: str, first: set[str]) -> None:
    assert (await names(query))[0] in first


@pytest.mark.parametrize("query", ["", "   ", "quantum chromodynamics", "?!", "\ud800"])
async def test_what_fits_nothing_finds_nothing(query: str) -> None:
    assert await names(query) == []


async def test_a_search_is_bounded() -> None:
    assert len(await names("invoice", 1)) == 1
    everything = " ".join(item["description"] for item in LIBRARY)
    assert len(await names(everything * 1000, 20)) <= len(LIBRARY)


async def test_nothing_is_found_in_nothing() -> None:
    assert (await index()).search("invoice") == []


async def test_schemas_from_strangers_are_indexed() -> None:
    strange = [
        {"name": "x", "description": 7, "inputSchema": {"properties": ["a", "b"]}},
        {"name": "y", "description": None, "inputSchema": {"properties": 3}, "title": {}},
        {"name": "z", "inputSchema": {"properties": {"needle": None}}},
    ]
    found = (await index(*strange)).search("needle")
    assert [entry.key for entry in found] == ["z"]


@ERAS
async def test_the_list_holds_the_helpers_and_what_is_pinned(speak: Any) -> None:
    async with behind({"a": FakeServer({"tools": LIBRARY})}, mcp=SEARCH) as app:
        listed = (await speak(app._mcp, "tools/list")).result["tools"]
        assert [one["name"] for one in listed] == ["search_tools", "call_tool", "list_users"]
        assert f"among {len(LIBRARY)}:" in listed[0]["description"]


@ERAS
async def test_a_tool_is_found_and_called(speak: Any) -> None:
    events = Events()
    server = FakeServer({"tools": LIBRARY})
    async with behind({"a": server}, mcp=SEARCH, events=events) as app:
        arguments: dict[str, Any] = {"query": "weather in a place", "limit": 2}
        params = {"name": "search_tools", "arguments": arguments}
        result = (await speak(app._mcp, "tools/call", params)).result
        found = result["structuredContent"]["tools"]
        assert found[0] == {
            "name": "getWeather",
            "description": "The weather of a place, now and tomorrow.",
            "inputSchema": {"type": "object"},
        }
        inner = {"name": "getWeather", "arguments": {"place": "Ulm"}}
        result = await speak(app._mcp, "tools/call", {"name": "call_tool", "arguments": inner})
        assert result.result["content"][0]["text"] == "a"
        assert server.asked[0][1] == inner
    assert events.last.tool == "getWeather"


@ERAS
async def test_our_own_tools_are_found_and_called(speak: Any) -> None:
    config = {
        "services": {"api": {"kind": "http", "url": "http://127.0.0.1:1"}},
        "tools": {"own": {"description": "Ours.", "calls": {"a": {"service": "api", "get": "/"}}}},
    }
    async with behind({}, mcp={"tools": "search"}, **config) as app:
        params: dict[str, Any] = {"name": "search_tools", "arguments": {"query": "ours"}}
        result = (await speak(app._mcp, "tools/call", params)).result
        assert [one["name"] for one in result["structuredContent"]["tools"]] == ["own"]
        params = {"name": "call_tool", "arguments": {"name": "own"}}
        result = (await speak(app._mcp, "tools/call", params)).result
        assert result["structuredContent"]["call"] == "a"  # nobody listens there


@ERAS
@pytest.mark.parametrize(
    ("helper", "arguments", "code"),
    [
        ("search_tools", {}, "invalid_arguments"),
        ("search_tools", {"query": 7}, "invalid_arguments"),
        ("search_tools", {"query": "x", "limit": 0}, "invalid_arguments"),
        ("search_tools", {"query": "x", "limit": True}, "invalid_arguments"),
        ("search_tools", {"query": "x", "limit": 21}, "invalid_arguments"),
        ("call_tool", {}, "invalid_arguments"),
        ("call_tool", {"name": "send", "arguments": []}, "invalid_arguments"),
        ("call_tool", {"name": "nothing"}, "not_found"),
        ("call_tool", {"name": "call_tool", "arguments": {}}, "not_found"),
    ],
)
async def test_a_wrong_use_is_told_to_the_model(
    speak: Any, helper: str, arguments: Any, code: str
) -> None:
    events = Events()
    async with behind({"a": FakeServer({"tools": LIBRARY})}, mcp=SEARCH, events=events) as app:
        params = {"name": helper, "arguments": arguments}
        result = (await speak(app._mcp, "tools/call", params)).result
        assert result["isError"]
        assert result["structuredContent"]["code"] == code
    assert events.last.code == code
    events.assert_balanced()


async def test_a_servers_tool_cannot_take_a_helpers_name() -> None:
    server = FakeServer()
    async with behind({"a": server}, mcp=SEARCH) as app:
        server.lists["tools"] = named("search_tools", "other", description="Evil.")
        params = {"name": "search_tools", "arguments": {"query": "evil"}}
        result = (await modern(app._mcp, "tools/call", params)).result
        assert [one["name"] for one in result["structuredContent"]["tools"]] == ["other"]


@ERAS
async def test_without_search_the_helpers_are_no_tools(speak: Any) -> None:
    async with behind({"a": FakeServer({"tools": LIBRARY})}) as app:
        params = {"name": "search_tools", "arguments": {"query": "x"}}
        assert (await speak(app._mcp, "tools/call", params)).error["code"] == -32602


async def test_the_index_follows_the_list_and_is_built_once() -> None:
    front = ScriptedFront()
    server = FakeServer({"tools": LIBRARY})
    front.federated = {"a": server}
    catalog = Catalog(front, McpSettings(tools="search"), {})
    context = request().context
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(catalog.search, "weather", 5, context)
    before = catalog._index
    await catalog.search("weather", 5, context)
    assert catalog._index is before
    server.lists["tools"] = named("clima", description="Weather.")
    assert [entry.key for entry in await catalog.search("weather", 5, context)] == ["clima"]


async def test_who_asks_decides_what_is_seen() -> None:
    front = ScriptedFront()
    front.tools = {f"{kind}_{n}": tool(f"{kind}_{n}") for n in range(150) for kind in ("a", "b")}
    front.may = lambda context, _kind, name, _service: name.startswith(context.principal)
    catalog = Catalog(front, McpSettings(), {})
    context = request().context
    alice = type(context)(request_id="r", principal="a")
    first = catalog.page("tools", {}, alice)
    second = catalog.page("tools", {"cursor": first["nextCursor"]}, alice)
    assert (len(first["tools"]), len(second["tools"])) == (100, 50)
    assert "nextCursor" not in second
    assert catalog.find("tools", "a_1", alice) is not None
    assert catalog.find("tools", "b_1", alice) is None
    found = await catalog.search("does", 20, alice)
    assert {entry.key[0] for entry in found} == {"a"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            '[mcp]\npinned = ["onw"]\n',
            ':7: mcp.pinned[0]: expected the name of a tool, got "onw"; did you mean "own"?',
        ),
        (
            '[mcp]\ntools = "search"\n[tools.call_tool]\ncalls.a = { service = "s", get = "/" }\n',
            ':8: tools.call_tool: expected another name: [mcp] tools = "search" offers a tool of this one',
        ),
        ('[mcp]\ntools = "find"\n', ':7: mcp.tools: expected one of "all", "search", got "find"'),
    ],
)
def test_mistakes_of_the_file(tmp_path: Path, text: str, wanted: str) -> None:
    path = tmp_path / "gateway.toml"
    own = '[services.s]\nkind = "http"\nurl = "http://api.test"\n'
    own += '[tools.own]\ncalls.a = { service = "s", get = "/" }\n'
    path.write_text(own + text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).partition("gateway.toml")[2] == wanted


def big(count: int) -> tuple[dict[str, Any], ...]:
    """So many tools as an API's operations would be."""
    things = ("invoice", "customer", "ticket", "repository", "branch", "user", "team", "order")
    verbs = ("list", "get", "create", "update", "delete", "search", "archive", "export")
    return tuple(
        {
            "name": f"{verbs[n % 8]}_{things[n // 8 % 8]}_{n}",
            "description": (
                f"{verbs[n % 8].title()} a {things[n // 8 % 8]} of area {n // 64}, with the "
                "fields that are asked for, page by page, and what belongs to it."
            ),
            "inputSchema": {
                "type": "object",
                "properties": {
                    f"{things[n // 8 % 8]}_{key}": {"type": "string", "description": "A value."}
                    for key in ("id", "name", "page", "fields", "order")
                },
            },
        }
        for n in range(count)
    )


async def test_5000_tools_are_listed_and_searched_soon_enough() -> None:
    front = ScriptedFront()
    server = FakeServer({"tools": big(5000)})
    front.federated = {"a": server}
    catalog = Catalog(front, McpSettings(tools="all"), {})
    context = request().context
    start = time.process_time()
    page = catalog.page("tools", {}, context)
    merged = time.process_time() - start
    start = time.process_time()
    catalog.page("tools", {"cursor": page["nextCursor"]}, context)
    paged = time.process_time() - start
    start = time.process_time()
    await catalog.search("invoice", 5, context)
    indexed = time.process_time() - start
    start = time.process_time()
    found = await catalog.search("create an invoice of area 7 with the fields", 5, context)
    searched = time.process_time() - start
    print(f"merged {merged:.4f} paged {paged:.4f} indexed {indexed:.4f} searched {searched:.4f} s")
    assert found[0].key.startswith("create_invoice_")
    assert merged < 0.5
    assert paged < 0.2
    assert searched < 0.05


def test_of_two_the_first_one_stays() -> None:
    listing = Listing([Entry("x", {"n": 1}), Entry("x", {"n": 2}, "b"), Entry("y", {}, "b")])
    assert [entry.item for entry in listing.entries] == [{"n": 1}, {}]
    assert listing.clashes == ("x of services.b is offered by the gateway itself too",)
