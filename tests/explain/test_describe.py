"""Every effective value is there, and where it came from; the stack is the one that is built."""

from __future__ import annotations

import msgspec
import pytest

from gateway.build import build
from gateway.core.service import Policy
from gateway.explain.describe import Call, Explanation, describe
from gateway.explain.document import document_of
from gateway.explain.mermaid import graph_of
from gateway.explain.text import lines_of
from gateway.explain.warnings import warnings_of
from gateway.policies import POLICIES
from tests.explain.conftest import Explain

ALL = (
    "[profiles.p]",
    'timeout = "1s"',
    'retry = { attempts = 4, backoff = "100ms" }',
    "[services.a]",
    'kind = "http"',
    'url = "http://bob:hunter2@127.0.0.1:9/api"',
    'headers = { authorization = "Bearer hunter2" }',
    'use = "p"',
    'hedge = { after = "p99.5" }',
    "breaker = {}",
    "limit = { concurrency = 5 }",
    'rate = "500/s"',
    'cache = { ttl = "30s" }',
    'fault = { delay = "1ms", delay_share = "5%" }',
    "[tools.t]",
    'deadline = "3s"',
    "[tools.t.calls]",
    'x = { service = "a", get = "/x", timeout = "2s" }',
    'y = { service = "a", post = "/y/{x.id}", optional = true, default = [] }',
    'z = { service = "a", get = "/z", when = "x.ok" }',
)


def values(explained: Explanation, call: str, policy: str) -> dict[str, tuple[object, str]]:
    guards = explained.calls[call].stack
    found = next(guard for guard in guards if guard.layer.key == policy)
    return {value.key: (value.value, value.origin) for value in found.values}


def keys(call: Call) -> list[str]:
    return [guard.layer.key for guard in call.stack]


def test_a_stack_is_told_in_order_with_its_values_and_their_lines(explain: Explain) -> None:
    explained = explain(*ALL)
    assert keys(explained.calls["x"]) == [
        *("timeout", "cache", "coalesce", "retry", "hedge"),
        *("breaker", "rate", "limit", "timeout", "fault"),
    ]
    own, *_, service, _fault = explained.calls["x"].stack
    assert (own.of, own.origin) == ("call", "gateway.toml:18")
    assert (service.of, service.origin) == ("profile p", "gateway.toml:2")
    retry = values(explained, "x", "retry")
    assert retry["attempts"] == (4, "gateway.toml:3")
    assert retry["max_backoff"] == ("1s", "default")
    assert retry["on"] == (["unreachable", 502, 503, 504], "default")
    assert retry["attempts beside the budget"] == ("1/s", "fixed")
    assert values(explained, "x", "hedge")["after"] == ("p99.5", "gateway.toml:9")
    assert values(explained, "x", "rate")["rate"] == ("500/s", "gateway.toml:12")
    assert values(explained, "x", "breaker")["failures"] == ("50%", "default")
    assert values(explained, "x", "coalesce")["coalesce"] == (True, "with cache")
    assert values(explained, "x", "fault")["delay_share"] == ("5%", "gateway.toml:14")


def test_what_is_not_for_a_call_is_told_apart(explain: Explain) -> None:
    call = explain(*ALL).calls["y"]
    assert keys(call) == ["breaker", "rate", "limit", "timeout", "fault"]
    assert [guard.layer.key for guard in call.idle] == ["cache", "coalesce", "retry", "hedge"]


def test_the_stack_is_the_one_that_stands_around_the_call(explain: Explain) -> None:
    explained = explain(*ALL)
    built = build("gateway.toml", record=lambda _event: None)
    for node in built.tools["t"].plan.nodes:
        kinds: list[type[Policy]] = []
        service = node.invoke
        while hasattr(service, "_policy"):
            kinds.append(type(service._policy))
            service = service._inner  # type: ignore[attr-defined]
        told = [type(guard.layer.policy) for guard in explained.calls[node.name].stack]
        assert told == kinds


def test_a_service_that_writes_a_policy_itself_takes_none_of_the_profile(explain: Explain) -> None:
    lines = [line.replace("breaker = {}", "retry = { attempts = 2 }") for line in ALL]
    assert values(explain(*lines), "x", "retry")["backoff"] == ("50ms", "default")


def test_what_a_profile_gave_and_a_service_took_away_is_not_there(explain: Explain) -> None:
    lines = [line.replace("breaker = {}", 'retry = "none"') for line in ALL]
    assert "retry" not in keys(explain(*lines).calls["x"])


@pytest.mark.parametrize("own", ["", 'deadline = "1m"'])
def test_the_servers_deadline_is_the_ceiling(explain: Explain, own: str) -> None:
    explained = explain(
        "[server]",
        'deadline = "4s"',
        "[services.a]",
        'kind = "http"',
        'url = "http://127.0.0.1:9"',
        "[tools.t]",
        own,
        'calls.x = { service = "a", get = "/" }',
    )
    assert explained.values[0].value == "4s"
    assert explained.values[0].origin == "the server's, gateway.toml:2"


def test_no_form_of_it_shows_a_secret(explain: Explain) -> None:
    explained = explain(*ALL)
    warned = warnings_of(explained)
    text = "\n".join(lines_of(explained, warned))
    document = msgspec.json.encode(document_of(explained, warned)).decode()
    for shown in (text, document, "\n".join(graph_of(explained))):
        assert "hunter2" not in shown
    assert "http://127.0.0.1:9/api" in text


def test_every_policys_values_are_written_as_the_file_would(explain: Explain) -> None:
    explained = explain(*ALL)
    document = document_of(explained, ())
    assert msgspec.json.decode(msgspec.json.encode(document)) == document
    told = {guard["key"] for call in document["calls"] for guard in call["policies"]}
    assert told == set(POLICIES)


def test_windows_follow_the_longest_path(explain: Explain) -> None:
    explained = explain(
        "[services.a]",
        'kind = "http"',
        'url = "http://127.0.0.1:9"',
        'timeout = "1s"',
        "[tools.t]",
        'deadline = "2500ms"',
        "[tools.t.calls]",
        'x = { service = "a", get = "/x" }',
        'quick = { service = "a", get = "/q", timeout = "10ms" }',
        'y = { service = "a", get = "/y/{x.id}/{quick.id}" }',
        'z = { service = "a", get = "/z/{y.id}" }',
    )
    assert explained.path == ("x", "y", "z")
    windows = {name: call.window for name, call in explained.calls.items()}
    assert (windows["y"].start_s, windows["y"].end_s, windows["y"].late) == (1, 2, False)
    assert (windows["z"].start_s, windows["z"].end_s, windows["z"].late) == (2, 2.5, True)
    assert explained.calls["z"].fits == (1, 0)
    assert "over the deadline of 2.5s, which then cuts z" in "\n".join(lines_of(explained, ()))


def test_a_mapping_has_no_lines() -> None:
    built = build(
        {
            "services": {"a": {"kind": "http", "url": "http://127.0.0.1:9", "timeout": "1s"}},
            "tools": {"t": {"calls": {"x": {"service": "a", "get": "/"}}}},
        },
        record=lambda _event: None,
    )
    explained = describe(built, built.tools["t"])
    assert explained.calls["x"].stack[0].origin == "<mapping>"


def test_a_graph_has_dotted_arrows_for_conditions(explain: Explain) -> None:
    lines = list(graph_of(explain(*ALL)))
    assert lines[0] == "flowchart LR"
    assert '    c1("y → a<br>optional")' in lines
    assert "    c0 --> c1" in lines
    assert "    c0 -.-> c2" in lines
    assert "    c2 --> answer" in lines


def test_what_a_graph_says_is_escaped(explain: Explain) -> None:
    lines = [line.replace('"x.ok"', "'x.\"a\" > `1`'") for line in ALL]
    assert '    c2["z → a<br>when x.#quot;a#quot; #gt; `1`"]' in list(graph_of(explain(*lines)))


def test_a_long_chain_of_calls_is_no_trouble(explain: Explain) -> None:
    calls = [f'c{n} = {{ service = "a", get = "/{{c{n - 1}.x}}" }}' for n in range(1, 1500)]
    explained = explain(
        "[services.a]",
        'kind = "http"',
        'url = "http://127.0.0.1:9"',
        "[tools.t.calls]",
        'c0 = { service = "a", get = "/" }',
        *calls,
    )
    assert len(explained.path) > 1
    assert sum("→ a:" in line for line in lines_of(explained, ())) == 1500
