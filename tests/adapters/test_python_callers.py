"""`kind = "python"`: functions that tell and ask whoever waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.app import create_app
from gateway.core.errors import BadReply, CannotAsk
from gateway.core.messages import Branch, Context, Log, Partial, Progress, Reply, Request
from gateway.core.peer import JsonRpcError
from gateway.core.service import Emit, discard
from tests.adapters import functions


class Asked:
    """A client that knows its roots, or refuses to tell."""

    capabilities: Mapping[str, Any] = {"roots": {}}

    def __init__(self, error: JsonRpcError | None = None) -> None:
        self.error = error
        self.asked: list[Any] = []

    async def __call__(
        self, method: str, params: Mapping[str, Any], /, *, key: str | None = None
    ) -> Mapping[str, Any]:
        self.asked.append((method, params, key))
        if self.error is not None:
            raise self.error
        return {"roots": []}


async def called(
    function: str, peer: Asked | None = None, emit: Emit = discard, **values: Any
) -> Reply:
    tool = {
        "input": {"properties": {name: {} for name in ("times", "caller")}},
        "output": "r",
        "calls": {"r": {"service": "f", "function": function}},
    }
    services = {"f": {"kind": "python", "module": functions.__name__}}
    app = create_app({"services": services, "tools": {"t": tool}})
    async with app.running():
        context = Context(request_id="r", peer=peer)
        return await app.call(Request("t", values, context), emit)


async def test_a_function_tells_who_waits_for_it() -> None:
    told: list[Partial] = []

    async def emit(partial: Partial) -> None:
        told.append(partial)

    assert (await called("tells", Asked(), emit, times=2)).value == {"roots": {}}
    *notes, last = told
    assert notes == [
        Progress(0, 2, "so far", "r"),
        Log("info", {"number": 0}, "functions", "r"),
        Progress(1, 2, "so far", "r"),
        Log("info", {"number": 1}, "functions", "r"),
    ]
    assert isinstance(last, Branch)


async def test_where_nobody_listens_nothing_is_told() -> None:
    assert (await called("tells")).value == {}


@pytest.mark.parametrize(("function", "key"), [("asks", "where"), ("asks_in_a_thread", None)])
async def test_a_function_asks(function: str, key: str | None) -> None:
    peer = Asked()
    assert (await called(function, peer)).value == {"roots": []}
    assert peer.asked == [("roots/list", {}, key)]


async def test_what_the_client_cannot_do_is_not_asked() -> None:
    peer = Asked()
    peer.capabilities = {"sampling": {}}
    for nobody in (None, peer):
        with pytest.raises(CannotAsk) as caught:
            await called("asks", nobody)
        assert (caught.value.capability, caught.value.status) == ("roots", 400)
    assert peer.asked == []


async def test_a_refusal_that_nobody_takes_is_the_functions_failure() -> None:
    with pytest.raises(BadReply, match="raised JsonRpcError"):
        await called("asks", Asked(JsonRpcError(-1, "no")))


async def test_an_input_of_that_name_stays_an_input() -> None:
    assert (await called("with_an_input", caller="Ann")).value == "Ann"
