"""A gateway behind a gateway: one deadline, one cancellation, one trace."""

from __future__ import annotations

import httpx
import pytest
import trio

from gateway.telemetry.events import Event, RequestEnded
from gateway.testing import ScriptedService
from tests.end_to_end.support import send_get, serving, until

pytestmark = pytest.mark.end_to_end

INNER = {
    "services": {"crm": {"kind": "http", "url": "http://127.0.0.1:1"}},
    "tools": {
        "customer": {
            "http": "GET /customers/{id}",
            "input": {"properties": {"id": "integer"}},
            "calls": {
                "name": {"service": "crm", "get": "/name"},
                "notes": {"service": "crm", "get": "/notes", "optional": True},
            },
        }
    },
}


def outer(port: int, deadline: str) -> dict[str, object]:
    return {
        "services": {"inner": {"kind": "http", "url": f"http://127.0.0.1:{port}"}},
        "tools": {
            "customer": {
                "http": "GET /customers/{id}",
                "deadline": deadline,
                "input": {"properties": {"id": "integer"}},
                "calls": {"customer": {"service": "inner", "get": "/customers/{id}"}},
            }
        },
    }


async def test_the_inner_one_sees_what_remains_of_the_outer_ones_budget() -> None:
    crm = ScriptedService().reply("Ada")
    budgets_s: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, RequestEnded):
            budgets_s.append(event.budget_s)

    async with (
        serving(INNER, services={"crm": crm}, listeners=(listen,)) as (_, inner_port),
        serving(outer(inner_port, "9s")) as (_, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
        answer = await client.get("/customers/7", headers={"traceparent": trace})
        assert answer.json()["customer"] == {"name": "Ada", "notes": "Ada"}
        assert 6 < budgets_s[0] <= 9
        assert crm.requests[0].context.trace.trace_id == "ab" * 16
        answer = await client.get("/customers/7", headers={"x-request-timeout-ms": "5000"})
        assert 2 < budgets_s[1] <= 5


async def test_both_stop_at_the_outer_ones_deadline() -> None:
    crm = ScriptedService().hang()
    async with (
        serving(INNER, services={"crm": crm}) as (inner, inner_port),
        serving(outer(inner_port, "1500ms")) as (_, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        start = trio.current_time()
        answer = await client.get("/customers/7")
        assert trio.current_time() - start < 6
        assert answer.status_code == 504
        await until(lambda: not (crm.active or inner.in_flight), within_s=5)
        assert crm.cancelled == 2


async def test_the_outer_ones_client_leaves_and_both_stop() -> None:
    crm = ScriptedService().hang()
    async with (
        serving(INNER, services={"crm": crm}) as (inner, inner_port),
        serving(outer(inner_port, "10s")) as (gateway, port),
    ):
        stream = await send_get(port, "/customers/7")
        await until(lambda: crm.active == 2)
        await stream.aclose()
        await until(lambda: not (crm.active or inner.in_flight or gateway.in_flight), within_s=5)
        assert crm.cancelled == 2
