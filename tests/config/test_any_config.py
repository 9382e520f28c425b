"""Whatever stands in a file: no exception but ours, one bounded line for each mistake."""

from __future__ import annotations

import copy
import datetime as dt
import tomllib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.loader import load_mapping

DOCUMENT = tomllib.loads("""
[server]
bind = ["127.0.0.1:1"]
deadline = "1s"
admin = { bind = "127.0.0.1:2" }
[access]
anonymous = true
[services.users]
kind = "http"
url = "http://users/"
use = "flaky"
timeout = "1s"
headers = { authorization = "x", accept = "y" }
[profiles.flaky]
timeout = "1s"
[tools.t]
http = "GET /{id}"
wait = 1
deadline = "1s"
[tools.t.input]
required = ["id"]
properties = { id = "integer", deep = { type = "object", properties = { x = { "$ref" = "#" } } } }
[tools.t.calls]
a = { service = "users", get = "/{id}", query = { x = [1] }, when = "id", default = { a = 1 } }
[tools.t.output]
name = "a.name"
""")

LEAVES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["env:X", "env:", "file:x", "http://a@b/", "users", "http", "2s", "none", "all"]
    ),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.sampled_from([dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.date(2024, 1, 1), dt.time(1)]),
)
KEYS = st.one_of(
    st.sampled_from(
        [
            "server",
            "services",
            "tools",
            "profiles",
            "kind",
            "url",
            "use",
            "calls",
            "service",
            "get",
            "input",
            "output",
            "properties",
            "type",
            "$ref",
            "anyOf",
            "retry",
            "function",
            "bind",
            "tls",
            "headers",
            "items",
            "$defs",
            "$id",
            "$schema",
            "required",
        ]
    ),
    st.text(max_size=8),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def tables(value: Any) -> list[Any]:
    """Every table and array in a document."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ([value] if items else []) + [table for item in items for table in tables(item)]


@st.composite
def documents(draw: Any) -> Any:
    """A right document with a few things in it replaced, added or taken away."""
    document = copy.deepcopy(DOCUMENT)
    for _ in range(draw(st.integers(0, 3))):
        table = draw(st.sampled_from(tables(document) or [document]))
        if isinstance(table, list):
            table[draw(st.integers(0, len(table) - 1))] = draw(VALUES)
        elif draw(st.booleans()):
            table[draw(st.sampled_from(sorted(table)) | KEYS)] = draw(VALUES)
        else:
            del table[draw(st.sampled_from(sorted(table)))]
    return document


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(document=documents() | st.dictionaries(KEYS, VALUES, max_size=4))
def test_every_mistake_is_one_bounded_line(document: Any, kinds: Any, policies: Any) -> None:
    loaded = load_mapping(document, kinds=kinds, policies=policies, environ={})
    for problem in loaded.problems:
        line = str(problem)
        assert len(line.splitlines()) == 1
        assert line.isprintable()
        assert len(line) < 1000
    again = load_mapping(document, kinds=kinds, policies=policies, environ={})
    assert [str(problem) for problem in again.problems] == [str(p) for p in loaded.problems]
    for name, tool in (loaded.config.tools if loaded.config else {}).items():
        for call in tool.calls.values():
            sound = call.common.service in loaded.config.services
            assert sound or call.name in loaded.failed_calls(name)


def test_a_right_document_is_right(kinds: Any, policies: Any) -> None:
    load_mapping(DOCUMENT, kinds=kinds, policies=policies, environ={}).unwrap()
