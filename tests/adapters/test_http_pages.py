"""`pages` of a call: a list in pages as one, its bounds, and what becomes of it where it breaks."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway import ConfigError, load_config
from gateway.adapters.http.settings import HttpCall, Pages
from gateway.core.errors import GatewayError
from gateway.core.messages import Chunk, Context, Partial, Reply, Request
from gateway.core.service import Service
from tests.adapters.test_http import Bench, bench
from tests.http_service import Received, Scripted, http

JSON = "application/json"
BY_LINK = {"get": "/x", "pages": {"next": "link"}}
BY_URL = {"get": "/x", "pages": {"next": "meta.next", "items": "data"}}
BY_CURSOR = {"get": "/x", "pages": {"next": "cursor", "into": "after", "items": "data"}}


def page(value: Any, link: str | None = None, **more: Any) -> Any:
    headers = {} if link is None else {"link": link}
    return http(200, json.dumps(value), content_type=JSON, **headers, **more)


def linked(items: Any, target: str | None, **more: Any) -> Any:
    return page(items, None if target is None else f'<{target}>; rel="next"', **more)


def data(items: Any, following: Any = None) -> Any:
    return page({"data": items, "meta": {"next": following}, "cursor": following})


def targets(service: Scripted) -> list[str]:
    return [request.target for request in service.requests]


async def replied(call: Bench, **values: Any) -> Reply:
    request = Request("t", values, Context(request_id="r"))
    return await call.app.call(request, timeout_s=60)


def why(reply: Reply) -> tuple[str, str]:
    (error,) = reply.missing
    assert (error.call, error.service) == ("a", "s")
    return error.code, error.detail


# ------------------------------------------------------------------ the way through


async def test_by_link(autojump_clock: MockClock) -> None:
    service = Scripted(
        linked([1, 2], "/x?page=2"), linked([3], "http://api.test/x?page=3"), linked([4], None)
    )
    async with bench(service, BY_LINK) as call:
        reply = await replied(call)
    assert (reply.value, reply.missing) == ([1, 2, 3, 4], ())
    assert targets(service) == ["/x", "/x?page=2", "/x?page=3"]


async def test_by_a_url_in_the_page(autojump_clock: MockClock) -> None:
    service = Scripted(data([1], "http://api.test/v1/x?c=é"), data([2], "?c=2"), data([3], ""))
    async with bench(service, BY_URL, url="http://api.test/v1") as call:
        assert (await replied(call)).value == [1, 2, 3]
    assert targets(service) == ["/v1/x", "/v1/x?c=%C3%A9", "/v1/x?c=2"]


@pytest.mark.parametrize(
    ("query", "cursors", "expected"),
    [
        ({}, ["b", "c"], ["/x", "/x?after=b", "/x?after=c"]),
        ({"n": 2}, ["b&c=d", 7], ["/x?n=2", "/x?n=2&after=b%26c%3Dd", "/x?n=2&after=7"]),
        (
            {"after": "{v}", "n": [1, 2]},
            [0, "c"],
            ["/x?after=a&n=1&n=2", "/x?n=1&n=2&after=0", "/x?n=1&n=2&after=c"],
        ),
    ],
)
async def test_by_a_cursor(
    autojump_clock: MockClock, query: Any, cursors: list[Any], expected: list[str]
) -> None:
    service = Scripted(data([1], cursors[0]), data([2], cursors[1]), data([3]))
    async with bench(service, {**BY_CURSOR, "query": query}) as call:
        assert (await replied(call, v="a")).value == [1, 2, 3]
    assert targets(service) == expected


async def test_by_the_last_item_while_there_is_more(autojump_clock: MockClock) -> None:
    call = {"get": "/x", "pages": {"next": "more && data[-1].id", "into": "from", "items": "data"}}
    service = Scripted(
        page({"data": [{"id": "a"}, {"id": "b"}], "more": True}),
        page({"data": [{"id": "c"}], "more": False}),
    )
    async with bench(service, call) as made:
        assert len((await replied(made)).value) == 3
    assert targets(service) == ["/x", "/x?from=b"]


@pytest.mark.parametrize("end", [None, False, ""])
async def test_where_it_ends(autojump_clock: MockClock, end: Any) -> None:
    for call in (BY_CURSOR, BY_URL):
        service = Scripted(data([], end))
        async with bench(service, call) as made:
            reply = await replied(made)
        assert (reply.value, reply.missing, len(service.requests)) == ([], (), 1)


async def test_every_page_is_asked_for_as_the_first(autojump_clock: MockClock) -> None:
    service = Scripted(linked([1], "/y"), linked([2], None))
    keys = {**BY_LINK, "headers": {"x-own": "{v}"}}
    async with bench(
        service, keys, headers={"x-api-key": "k"}, forward=["accept-language"]
    ) as call:
        request = Request(
            "t", {"v": "o"}, Context(request_id="r", headers={"accept-language": "de"})
        )
        assert (await call.app.call(request, timeout_s=60)).value == [1, 2]
    for one in service.requests:
        assert [one.header(name) for name in ("x-own", "x-api-key", "accept-language")] == [
            *("o", "k", "de")
        ]
        assert int(one.header("x-request-timeout-ms") or 0) <= 10_000


async def test_a_name_of_its_own_behind_a_shared_address(autojump_clock: MockClock) -> None:
    service = Scripted(linked([1], "http://public.test/y"), linked([2], None))
    async with bench(service, BY_LINK, headers={"host": "public.test"}) as call:
        assert (await replied(call)).value == [1, 2]
    assert [one.header("host") for one in service.requests] == ["public.test"] * 2


async def test_one_replica_is_asked_for_all_of_it(autojump_clock: MockClock) -> None:
    services = [Scripted(linked([n], "/y"), linked([n], None)) for n in (1, 2)]
    urls = ["http://api.test", "http://b.test"]
    async with bench(services[0], BY_LINK, url=urls) as call:
        call.net.name("b.test", "10.0.0.2")
        call.net.serve("10.0.0.2", 80, services[1])
        assert (await replied(call)).value in ([1, 1], [2, 2])
    assert sorted(len(each.requests) for each in services) == [0, 2]


# ------------------------------------------------------------------ bounds


async def endless(request: Received, stream: trio.abc.Stream) -> None:
    number = int(request.target.partition("=")[2] or 0)
    await linked([number] * 10, f"/x?page={number + 1}")(request, stream)


@pytest.mark.parametrize(
    ("bounds", "items", "requests", "says"),
    [
        ({}, 100, 10, "all after item 100 is missing: there are more than 10 pages"),
        ({"most": 1}, 10, 1, "all after item 10 is missing: there are more than 1 pages"),
        ({"most": 3}, 30, 3, "all after item 30 is missing: there are more than 3 pages"),
        ({"max_items": 25}, 25, 3, "all after item 25 is missing: there are more than 25 items"),
        ({"max_items": 20}, 20, 2, "all after item 20 is missing: there are more than 20 items"),
    ],
)
async def test_at_a_bound_the_rest_is_missing(
    autojump_clock: MockClock, bounds: Any, items: int, requests: int, says: str
) -> None:
    service = Scripted(endless)
    async with bench(service, {"get": "/x", "pages": {"next": "link", **bounds}}) as call:
        reply = await replied(call)
    assert len(reply.value) == items
    assert len(service.requests) == requests
    assert why(reply) == ("too_large", says)


async def test_just_within_its_bounds_nothing_is_missing(autojump_clock: MockClock) -> None:
    service = Scripted(linked([1, 2], "/y"), linked([3], None))
    call = {"get": "/x", "pages": {"next": "link", "most": 2, "max_items": 3}}
    async with bench(service, call) as made:
        reply = await replied(made)
    assert (reply.value, reply.missing) == ([1, 2, 3], ())


async def test_all_pages_together_have_the_bound_of_a_reply(autojump_clock: MockClock) -> None:
    pages = [linked(["x" * 400], f"/{n}") for n in range(9)]
    async with bench(Scripted(*pages), BY_LINK, max_reply="1KiB") as call:
        reply = await replied(call)
    assert len(reply.value) == 2
    assert why(reply) == ("too_large", "all after item 2 is missing: the pages are over 1024 bytes")


# ------------------------------------------------------------------ where it breaks

ELSEWHERE = "the next page is not at the service's own address: it is not asked for"


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.test/x",
        "//evil.test/x",
        "https://api.test/x",
        "http://api.test:8080/x",
        "http://169.254.169.254/latest",
        "http://api.test@evil.test/",
        "http://api.test.evil.test/",
    ],
)
async def test_no_page_of_anybody_elses(autojump_clock: MockClock, target: str) -> None:
    for call, answer in ((BY_LINK, linked([1], target)), (BY_URL, data([1], target))):
        service = Scripted(answer)
        async with bench(service, call) as made:
            reply = await replied(made)
            assert made.net.connected == [("10.0.0.1", 80)]
        assert reply.value == [1]
        assert why(reply) == ("bad_reply", f"all after item 1 is missing: {ELSEWHERE}")


@pytest.mark.parametrize(
    ("pages", "requests"),
    [
        ([linked([1], "/x")], 1),
        ([linked([1], "?")], 1),
        ([linked([1], "/y"), linked([2], "/x")], 2),
        ([linked([1], "/y"), linked([2], "/y#a")], 2),
    ],
)
async def test_a_circle_is_left(autojump_clock: MockClock, pages: Any, requests: int) -> None:
    service = Scripted(*pages)
    async with bench(service, BY_LINK) as call:
        reply = await replied(call)
    assert len(service.requests) == len(reply.value) == requests
    assert "one that was read already" in why(reply)[1]


async def test_a_cursor_that_stands_still_is_left(autojump_clock: MockClock) -> None:
    async with bench(Scripted(data([1], "a")), BY_CURSOR) as call:
        reply = await replied(call)
    assert reply.value == [1, 1]
    assert "one that was read already" in why(reply)[1]


@pytest.mark.parametrize(
    ("second", "code", "says"),
    [
        (http(500, "oh"), "bad_reply", "s answered 500: oh"),
        (http(404), "rejected", "s answered 404"),
        (http(200, "{", content_type=JSON), "bad_reply", "the reply is not JSON"),
        (page({"data": 1}), "bad_reply", "pages.items gives a number, not a list"),
        (page({}), "bad_reply", "pages.items gives null, not a list"),
        (page([1]), "bad_reply", "pages.items gives null, not a list"),
        (data([2], 7), "bad_reply", "pages.next gives a number, not a URL"),
        (data([2], ["/y"]), "bad_reply", "pages.next gives a list, not a URL"),
        (data([2], "http://["), "bad_reply", "the next page's URL is none"),
        (data([2], "/" + "y" * 70_000), "bad_reply", "the next page's URL is none"),
        (http(after_s=math.inf), "deadline_exceeded", "time ran out before the next page came"),
    ],
)
async def test_what_was_read_stays_when_a_later_page_fails(
    autojump_clock: MockClock, second: Any, code: str, says: str
) -> None:
    async with bench(Scripted(data([1], "/y"), second), BY_URL) as call:
        reply = await replied(call)
    assert reply.value in ([1], [1, 2])
    assert why(reply)[0] == code
    assert says in why(reply)[1]


@pytest.mark.parametrize("cursor", [True, 1.5, [], {"a": 1}])
async def test_what_is_no_cursor(autojump_clock: MockClock, cursor: Any) -> None:
    async with bench(Scripted(data([1], cursor)), BY_CURSOR) as call:
        assert "not a cursor" in why(await replied(call))[1]


async def test_an_expression_that_does_not_fit(autojump_clock: MockClock) -> None:
    call = {"get": "/x", "pages": {"next": "join('', [cursor])", "into": "c", "items": "data"}}
    async with bench(Scripted(data([1], 7)), call) as made:
        assert "pages.next does not fit the page" in why(await replied(made))[1]


@pytest.mark.parametrize(
    "first", [http(500), http(404), page({"data": {}}), http(200, "text"), http(204)]
)
async def test_without_the_first_page_there_is_nothing(
    autojump_clock: MockClock, first: Any
) -> None:
    async with bench(Scripted(first), BY_URL) as call:
        with pytest.raises(GatewayError):
            await replied(call)


async def test_a_call_that_is_tried_again_reads_from_the_start(autojump_clock: MockClock) -> None:
    service = Scripted(http(503), linked([1], "/y"), linked([2], None))
    async with bench(service, BY_LINK, retry={"attempts": 2}) as call:
        assert (await replied(call)).value == [1, 2]
    assert targets(service) == ["/x", "/x", "/y"]


async def test_time_for_the_answer_is_left(autojump_clock: MockClock) -> None:
    async with bench(Scripted(linked([1], "/y"), http(after_s=math.inf)), BY_LINK) as call:
        request = Request("t", {}, Context(request_id="r"))
        reply = await call.app.call(request, timeout_s=3)
        assert trio.current_time() == pytest.approx(2.95)
    assert reply.value == [1]


async def test_whoever_leaves_ends_it(autojump_clock: MockClock) -> None:
    service = Scripted(linked([1], "/y"), http(after_s=math.inf))
    async with bench(service, BY_LINK) as call:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(replied, call)
            await trio.sleep(2)
            nursery.cancel_scope.cancel()
        assert len(service.requests) == 2
        await trio.testing.wait_all_tasks_blocked()
        assert service.active == 0


# ------------------------------------------------------------------ streaming


def bound(call: Bench, **pages: Any) -> Service:
    """The adapter's own `Service` of such a call: what a plan gives its `emit` to."""
    adapter: Any = call.app._built.adapters["s"]
    service: Service = adapter.bind(HttpCall(get="/x", pages=Pages(next="link", **pages)))
    return service


async def test_items_are_sent_on_as_they_come(autojump_clock: MockClock) -> None:
    service = Scripted(linked([1, 2], "/y", after_s=1), linked([3, 4], None, after_s=1))
    sent: list[tuple[float, Any]] = []

    async def emit(item: Partial, /) -> None:
        assert isinstance(item, Chunk)
        await trio.lowlevel.checkpoint()
        sent.append((trio.current_time(), item.data))

    async with bench(service, BY_LINK) as call:
        request = Request("a", {"get": "/x"}, Context(request_id="r"))
        reply = await bound(call, stream=True, max_items=3)(request, emit)
        assert sent == [(1, 1), (1, 2), (2, 3)]
        assert reply.value == [1, 2, 3]
        sent.clear()
        await bound(call)(request, emit)
        assert not sent


# ------------------------------------------------------------------ the file


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"get": "/x", "pages": {}}, "pages.next: missing; expected a JMESPath expression"),
        ({"get": "/x", "pages": {"next": "a..b"}}, "pages.next: expected a JMESPath expression"),
        ({"get": "/x", "pages": {"next": "nosuch(a)"}}, "no function 'nosuch'"),
        ({"get": "/x", "pages": {"next": "a", "items": "nosuch(a)"}}, "no function 'nosuch'"),
        ({"get": "/x", "pages": {"next": "a", "most": 0}}, "pages.most: expected a whole number"),
        ({"get": "/x", "pages": {"next": "a", "into": ""}}, "pages.into: expected at least 1"),
        ({"get": "/x", "pages": {"next": "a", "limit": 1}}, "pages.limit: unknown key"),
        ({"get": "/x", "pages": {"next": "link", "into": "c"}}, 'next = "link" gives a URL'),
        ({"post": "/x", "pages": {"next": "link"}}, "expected get, for pages are read, got post"),
        ({"head": "/x", "pages": {"next": "link"}}, "expected get, for pages are read, got head"),
    ],
)
def test_mistakes_are_told(call: Any, says: str) -> None:
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {"t": {"calls": {"a": {"service": "s", **call}}}},
    }
    with pytest.raises(ConfigError) as caught:
        load_config(config)
    assert says in str(caught.value)
