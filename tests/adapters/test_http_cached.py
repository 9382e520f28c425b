"""What a service says of how long its replies are good, and its cache."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.adapters.http.settings import HttpCall
from gateway.core.messages import Context, Request
from tests.adapters.test_http import Bench, bench
from tests.http_service import Received, Scripted, http

JSON = "application/json"
LONG = {"ttl": "1m", "stale": "1h"}


class Counting(Scripted):
    """Replies with how many requests there were, under these headers."""

    def __init__(self, **headers: str) -> None:
        async def reply(_request: Received, stream: trio.abc.Stream) -> None:
            answer: Any = http(
                200, json.dumps([len(self.requests)]), content_type=JSON, **self.headers
            )
            await answer(_request, stream)

        super().__init__(reply)
        self.headers = headers


async def asked(
    call: Bench, times: tuple[float, ...], principals: tuple[str, ...] = ()
) -> list[int]:
    said = []
    for index, at in enumerate(times):
        await trio.sleep_until(at)
        principal = principals[index] if principals else "a"
        request = Request("t", {}, Context(request_id="r", principal=principal))
        said += (await call.app.call(request, timeout_s=60)).value
        await wait_all_tasks_blocked()
    return said


@pytest.mark.parametrize(
    ("control", "cache", "times", "said"),
    [
        (None, LONG, (0, 59, 61, 62), [1, 1, 1, 2]),
        ("max-age=10", LONG, (0, 9, 11, 12), [1, 1, 1, 2]),
        ("max-age=10", {"ttl": "1m"}, (0, 9, 11), [1, 1, 2]),
        ("max-age=6000", LONG, (0, 59, 61, 62), [1, 1, 1, 2]),
        ("max-age=0", LONG, (0, 1, 2), [1, 1, 2]),
        ("max-age=0", {"ttl": "1m"}, (0, 1), [1, 2]),
        ("no-store", LONG, (0, 1), [1, 2]),
        ("no-cache, max-age=60", LONG, (0, 1), [1, 2]),
        ("private, max-age=60", LONG, (0, 1), [1, 2]),
        ("max-age=10, must-revalidate", LONG, (0, 9, 11), [1, 1, 2]),
        ("max-age=10, stale-while-revalidate=5", LONG, (0, 14, 30), [1, 1, 3]),
        ("max-age=10, stale-if-error=7200", {"ttl": "1m"}, (0, 11), [1, 2]),
        ("max-age=60, s-maxage=10", LONG, (0, 9, 11), [1, 1, 2]),
        ("no-store", {**LONG, "cache_control": False}, (0, 59), [1, 1]),
    ],
)
async def test_it_makes_a_replys_time_shorter(
    autojump_clock: MockClock, control: str | None, cache: Any, times: Any, said: list[int]
) -> None:
    headers = {} if control is None else {"cache_control": control}
    async with bench(Counting(**headers), cache=cache) as call:
        assert await asked(call, times) == said


async def test_what_is_for_one_is_kept_for_each(autojump_clock: MockClock) -> None:
    service = Counting(cache_control="private, max-age=60, s-maxage=1")
    async with bench(service, cache={**LONG, "vary": ["principal"]}) as call:
        assert await asked(call, (0, 1, 30, 31), ("a", "b", "a", "b")) == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("settings", "requests"),
    [
        ({"coalesce": True}, 1),
        ({"cache": LONG}, 1),
        ({"cache": LONG, "coalesce": False}, 4),
        ({"cache": {**LONG, "vary": ["principal"]}}, 2),
        ({"coalesce": True, "forward": ["authorization"]}, 3),
    ],
)
async def test_a_private_reply_is_shared_by_those_whom_the_service_cannot_tell_apart(
    autojump_clock: MockClock, settings: Any, requests: int
) -> None:
    service = Scripted(
        http(200, "[1]", content_type=JSON, after_s=1, cache_control="private, max-age=60")
    )
    who = [("a", "Bearer x"), ("b", "Bearer x"), ("a", "Bearer y"), ("b", None)]
    async with bench(service, **settings) as call, trio.open_nursery() as nursery:

        async def ask(principal: str, authorization: str | None) -> None:
            headers = {} if authorization is None else {"authorization": authorization}
            context = Context(request_id="r", principal=principal, headers=headers)
            assert (await call.app.call(Request("t", {}, context), timeout_s=60)).value == [1]

        for one in who:
            nursery.start_soon(ask, *one)
    assert len(service.requests) == requests


async def test_a_fresh_reply_that_may_not_be_kept_takes_the_old_one_away(
    autojump_clock: MockClock,
) -> None:
    service = Counting(cache_control="max-age=10")
    async with bench(service, cache=LONG) as call:
        assert await asked(call, (0,)) == [1]
        service.headers = {"cache_control": "no-store"}
        assert await asked(call, (11, 12, 13)) == [1, 3, 4]


async def test_the_shortest_of_its_pages(autojump_clock: MockClock) -> None:
    service = Scripted(
        http(200, "[1]", content_type=JSON, link="</y>; rel=next", cache_control="max-age=50"),
        http(200, "[2]", content_type=JSON, cache_control="max-age=10"),
    )
    pages = {"get": "/x", "pages": {"next": "link"}}
    async with bench(service, pages, cache={"ttl": "1m"}) as call:
        assert await asked(call, (0, 9, 11)) == [1, 2, 1, 2, 2]
    assert len(service.requests) == 3


async def test_half_a_list_is_not_kept(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, "[1]", content_type=JSON, link="</y>; rel=next"), http(500))
    pages = {"get": "/x", "pages": {"next": "link"}}
    async with bench(service, pages, cache={"ttl": "1m"}) as call:
        await asked(call, (0,))
        with pytest.raises(Exception, match="500"):
            await asked(call, (1,))


@pytest.mark.parametrize(
    ("control", "policies", "said"),
    [
        ("no-store", {"coalesce": True}, [1, 2, 3]),
        ("no-store", {"cache": LONG}, [1, 2, 3]),
        ("no-store", {"cache": {**LONG, "cache_control": False}}, [1, 1, 1]),
        ("no-cache, private", {"coalesce": True}, [1, 1, 1]),
        ("no-cache, private", {"cache": LONG}, [1, 1, 1]),
    ],
)
async def test_what_is_shared_by_those_who_ask_at_once(
    control: str, policies: dict[str, Any], said: list[int], autojump_clock: MockClock
) -> None:
    found: list[int] = []
    async with bench(Counting(cache_control=control), **policies) as call:

        async def ask() -> None:
            found.extend(await asked(call, (0,)))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
    assert sorted(found) == said


async def test_the_headers_of_a_reply_are_read_where_it_is_kept_or_shared_alone(
    autojump_clock: MockClock,
) -> None:
    for policies, wanted in (
        ({}, False),
        ({"cache": {"ttl": "1m"}}, True),
        ({"cache": {"ttl": "1m", "cache_control": False}}, False),
        ({"coalesce": True}, True),
        ({"coalesce": False}, False),
    ):
        async with bench(Counting(cache_control="max-age=10"), **policies) as call:
            adapter: Any = call.app._built.adapters["s"]
            request = Request("a", {"get": "/x"}, Context(request_id="r"))
            reply = await adapter.bind(HttpCall(get="/x"))(request, None)
            assert (reply.freshness is not None) is wanted
