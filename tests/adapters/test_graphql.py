"""GraphQL behind a tool: variables, data, errors, both."""

from __future__ import annotations

import json
from typing import Any

import pytest
from trio.testing import MockClock

from gateway.app import create_app
from gateway.config.problems import ConfigError
from gateway.core.errors import BadReply, GatewayError, Rejected
from gateway.core.messages import Reply
from tests.apps import request
from tests.http_service import Scripted, http
from tests.network import network

QUERY = 'query($id: ID!) { product(id: $id) { name } } # $no: "$none: x"'


def written(query: str = QUERY, service: Any = None, /, **call: Any) -> dict[str, Any]:
    settings = {"kind": "graphql", "url": "http://shop.test/graphql?v=1", "allow_private": True}
    return {
        "services": {"s": {**settings, **(service or {})}},
        "tools": {
            "t": {
                "input": {"properties": {"id": {}, "other": {}}},
                "calls": {"a": {"service": "s", "query": query, **call}},
            }
        },
    }


async def asked(
    document: dict[str, Any], answer: Any, /, **arguments: Any
) -> tuple[Reply, Scripted]:
    service = Scripted(answer)
    failure: GatewayError | None = None
    async with network() as net:
        net.name("shop.test", "10.0.0.1")
        net.serve("10.0.0.1", 80, service)
        app = create_app(document)
        async with app.running():
            try:
                reply = await app.call(request(**arguments))
            except GatewayError as error:
                failure = error  # bare, where the network's nursery would wrap it
    if failure is not None:
        raise failure
    return reply, service


def said(value: Any, status: int = 200) -> Any:
    return http(status, json.dumps(value), content_type="application/json")


@pytest.mark.parametrize(
    ("call", "arguments", "variables"),
    [
        ({}, {"id": "7", "other": 1}, {"id": "7"}),
        ({}, {"id": '"} mutation { drop }'}, {"id": '"} mutation { drop }'}),
        ({"variables": {"id": ["{other}"]}}, {"other": 1}, {"id": [1]}),
    ],
)
async def test_values_are_variables(
    autojump_clock: MockClock, call: Any, arguments: Any, variables: Any
) -> None:
    reply, service = await asked(written(QUERY, **call), said({"data": {"x": 1}}), **arguments)
    assert reply.value == {"a": {"x": 1}}
    (got,) = service.requests
    assert (got.method, got.target) == ("POST", "/graphql?v=1")
    assert json.loads(got.body) == {"query": QUERY, "variables": variables}
    assert got.header("content-type") == "application/json"
    assert int(got.header("x-request-timeout-ms") or 0) > 0


async def test_data_with_errors_is_a_partial_answer(autojump_clock: MockClock) -> None:
    errors = [{"message": "no\nreviews", "path": ["product", "reviews", 0]}, {"odd": 1}, 5]
    answer = {"data": {"product": {"reviews": None}}, "errors": errors}
    reply, _ = await asked(written(), said(answer), id="7")
    assert reply.value["a"] == {"product": {"reviews": None}}
    (missing,) = reply.missing
    assert isinstance(missing, BadReply)
    assert (missing.call, missing.service) == ("a", "s")
    assert missing.detail == (
        "s answered with errors: product.reviews.0: no reviews; no message; an error that is none"
    )
    assert reply.partial_label == "a=bad_reply"
    assert json.loads(reply.encoded)["_errors"][0]["call"] == "a"


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (said({"errors": [{"message": "no such field"}]}), BadReply, "no such field"),
        (said({"errors": [{"message": "no"}]}, 400), BadReply, "errors: no"),
        (said({"data": None, "errors": [{"message": "x"}] * 7}), BadReply, "and 2 more"),
        (said({"message": "who?"}, 401), Rejected, "answered 401"),
        (http(503, "busy", retry_after="3"), BadReply, "answered 503: busy"),
        (http(200, "<html>"), BadReply, "not JSON"),
        (said([1]), BadReply, "no response of GraphQL"),
        (said({}), BadReply, "neither data nor errors"),
    ],
)
async def test_without_data_it_fails(
    autojump_clock: MockClock, answer: Any, kind: type[GatewayError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        await asked(written(), answer, id="7")


@pytest.mark.parametrize(
    ("query", "reads"),
    [
        ("{ x }", True),
        ("query Q { mutation }", False),
        ("mutation { x }", False),
        ('query { x(y: "mutation z") } # mutation', True),
        ("fragment f on X { a } mutation M { x }", False),
    ],
)
def test_what_may_change_something_is_not_repeated(query: str, reads: bool) -> None:
    """A field that is called as the keyword is taken for it: that is the safe side."""
    assert create_app(written(query)).tools["t"].read_only is reads


def test_subscriptions_are_told_of() -> None:
    with pytest.raises(ConfigError, match="subscription is not available"):
        create_app(written("subscription { x }"))
