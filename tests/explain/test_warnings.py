"""Warnings: certain, and not there once their cause is gone."""

from __future__ import annotations

import pytest

from gateway.config.units import parse_duration
from gateway.explain.warnings import warnings_of
from tests.explain.conftest import Explain


def file(*policies: str, calls: tuple[str, ...] = (), tool: tuple[str, ...] = ()) -> list[str]:
    return [
        *("[services.a]", 'kind = "http"', 'url = "http://127.0.0.1:9"'),
        *policies,
        *("[tools.t]", 'deadline = "2s"', 'input.properties.id = "integer"', *tool),
        "[tools.t.calls]",
        *(calls or ('x = { service = "a", get = "/" }',)),
    ]


def one(code: str, wrong: list[str], right: list[str]) -> object:
    return pytest.param(code, wrong, right, id=code)


POST = ('x = { service = "a", post = "/" }',)
TWICE = ('x = { service = "a", post = "/", idempotent = true }',)


@pytest.mark.parametrize(
    ("code", "wrong", "right"),
    [
        one(
            "does_not_apply",
            file("hedge = {}", 'timeout = "1s"', calls=POST),
            file("hedge = {}", 'timeout = "1s"', calls=TWICE),
        ),
        one(
            "does_not_apply",
            file('cache = { ttl = "1s" }', calls=POST),
            file('cache = { ttl = "1s" }'),
        ),
        # That making it twice does no harm is not enough for these two.
        one(
            "does_not_apply",
            file('cache = { ttl = "1s" }', calls=TWICE),
            file("cache = 'none'", calls=TWICE),
        ),
        one(
            "does_not_apply",
            file("coalesce = true", calls=TWICE),
            file("coalesce = false", calls=TWICE),
        ),
        one(
            "timeout_over_deadline",
            file('timeout = "2100ms"'),
            file('timeout = "2s"'),
        ),
        one(
            "timeout_over_deadline",
            file(calls=('x = { service = "a", get = "/", timeout = "3s" }',)),
            file(
                calls=('x = { service = "a", post = "/", timeout = "3s", commit = true }',),
            ),
        ),
        one(
            "timeout_over_deadline",
            file('limit = { concurrency = 1, queue_timeout = "3s" }'),
            file('limit = { concurrency = 1, queue_timeout = "3s", queue = 0 }'),
        ),
        one("retry_without_time", file("retry = {}"), file("retry = {}", 'timeout = "500ms"')),
        one(
            "retry_storm",
            file('retry = { budget = "none" }', 'timeout = "500ms"'),
            file('retry = { budget = "100%" }', 'timeout = "500ms"'),
        ),
        one(
            "backoff",
            file('retry = { backoff = "2s" }', 'timeout = "100ms"'),
            file('retry = { backoff = "1s" }', 'timeout = "100ms"'),
        ),
        one(
            "hedge_too_late",
            file('hedge = { after = "1100ms" }', 'timeout = "1s"'),
            # Attempts wait for their turn first: that one is made again then.
            file('hedge = { after = "1100ms" }', 'timeout = "1s"', 'rate = "1/s"'),
        ),
        one(
            "never_called",
            file(calls=('x = { service = "a", get = "/", when = "`false`" }',)),
            file(),
        ),
        one(
            "constant_condition",
            file(calls=('x = { service = "a", get = "/", when = "`1`" }',)),
            file(calls=('x = { service = "a", get = "/", when = "id" }',)),
        ),
        one(
            "breaker_never_opens",
            file("breaker = { of = 50 }", 'rate = "2/s"', 'timeout = "1s"'),
            file("breaker = { of = 20 }", 'rate = "2/s"', 'timeout = "1s"'),
        ),
        one(
            "unused_default",
            file(calls=('x = { service = "a", get = "/", default = 1 }',)),
            file(calls=('x = { service = "a", get = "/", default = 1, optional = true }',)),
        ),
        one("fault", file('fault = { delay = "1ms" }'), file()),
    ],
)
def test_what_cannot_work_is_warned_of(
    explain: Explain, code: str, wrong: list[str], right: list[str]
) -> None:
    assert [warned.code for warned in warnings_of(explain(*wrong))] == [code]
    assert warnings_of(explain(*right)) == ()


def test_what_does_nothing_for_a_call_that_may_change_something_is_named(explain: Explain) -> None:
    lines = file(
        'cache = { ttl = "1s" }', "coalesce = true", "retry = {}", 'timeout = "1ms"', calls=TWICE
    )
    explained = explain(*lines)
    assert [guard.layer.key for guard in explained.calls["x"].idle] == ["cache", "coalesce"]
    assert [str(warned) for warned in warnings_of(explained)] == [
        (
            "gateway.toml:4: x: cache does not apply: "
            "the call, idempotent or not, may change something, so its reply is not kept"
        ),
        (
            "gateway.toml:5: x: coalesce does not apply: "
            "the call, idempotent or not, may change something, so each is made"
        ),
    ]


def test_a_retry_is_told_which_timeout_would_do(explain: Explain) -> None:
    (warned,) = warnings_of(explain(*file('retry = { attempts = 2, backoff = "100ms" }')))
    assert str(warned) == (
        "gateway.toml:4: x: an attempt that hangs leaves no time for another in 2s: "
        "all 2 fit in with a timeout of 950ms"
    )
    fixed = file('retry = { attempts = 2, backoff = "100ms" }', 'timeout = "950ms"')
    assert explain(*fixed).calls["x"].fits == (2, 2)


@pytest.mark.parametrize(
    "policies",
    [
        ('retry = { attempts = 3, backoff = "100ms" }',),
        ("retry = {}", 'limit = { concurrency = 9, queue_timeout = "150ms" }'),
        ("retry = {}", 'hedge = { after = "100ms", max = 2 }'),
        ("retry = {}", "hedge = {}"),
        ("retry = {}", 'hedge = { after = "1s" }'),
    ],
)
def test_with_the_timeout_that_is_told_all_attempts_fit(
    explain: Explain, policies: tuple[str, ...]
) -> None:
    found = [str(warned) for warned in warnings_of(explain(*file(*policies)))]
    (told,) = [text.partition("a timeout of ")[2] for text in found if "a timeout of" in text]
    call = explain(*file(*policies, f'timeout = "{told}"')).calls["x"]
    assert call.fits[0] == call.window.bounds.attempts
    longer = parse_duration(told) + 0.002
    call = explain(*file(*policies, f'timeout = "{longer * 1000:.0f}ms"')).calls["x"]
    assert call.fits[0] < call.window.bounds.attempts


def test_a_refresh_of_the_cache_has_a_budget_of_its_own(explain: Explain) -> None:
    policies = ('timeout = "3s"', "retry = {}", 'hedge = { after = "2500ms" }')
    plain = file(*policies, 'cache = { ttl = "1s" }')
    stale = file(*policies, 'cache = { ttl = "1s", stale = "9s" }')
    codes = {warned.code for warned in warnings_of(explain(*plain))}
    assert codes == {"timeout_over_deadline", "retry_without_time"}
    assert warnings_of(explain(*stale)) == ()


NEEDS = (
    'x = { service = "a", get = "/", when = "`false`"%s }',
    'y = { service = "a", get = "/{x.id}" }',
    'z = { service = "a", get = "/{y.id}" }',
)


def test_what_needs_a_call_that_is_never_made_is_never_made(explain: Explain) -> None:
    def never(default: str) -> list[str]:
        calls = (NEEDS[0] % default, *NEEDS[1:])
        found = warnings_of(explain(*file(calls=calls)))
        return [warned.call for warned in found if warned.code == "never_called"]

    assert never("") == ["x", "y", "z"]
    assert never(", default = { id = 1 }") == ["x"]


@pytest.mark.parametrize(
    ("wait", "never"), [('"first"', ["y", "z"]), ("2", ["z"]), ("3", []), ('"all"', [])]
)
def test_what_comes_after_enough_have_answered_is_never_made(
    explain: Explain, wait: str, never: list[str]
) -> None:
    calls = (NEEDS[0].replace(', when = "`false`"%s', ""), *NEEDS[1:])
    found = warnings_of(explain(*file(calls=calls, tool=(f"wait = {wait}",))))
    assert [warned.call for warned in found] == never


def test_what_is_wrong_with_a_service_is_said_once(explain: Explain) -> None:
    calls = ('x = { service = "a", get = "/" }', 'y = { service = "a", get = "/y" }')
    found = warnings_of(explain(*file('timeout = "3s"', calls=calls)))
    assert [warned.call for warned in found] == ["x"]


def test_a_timeout_that_another_tool_has_time_for_is_none_to_warn_of(explain: Explain) -> None:
    other = ("[tools.other]", 'deadline = "4s"', 'calls.x = { service = "a", get = "/" }')
    assert warnings_of(explain(*file('timeout = "3s"'), *other)) == ()
    assert len(warnings_of(explain(*file('timeout = "5s"'), *other))) == 1


def test_without_any_deadline_a_retry_without_a_timeout_is_warned_of(explain: Explain) -> None:
    lines = [line for line in file("retry = {}") if "deadline" not in line]
    (warned,) = warnings_of(explain("[server]", 'deadline = "none"', *lines))
    assert warned.code == "retry_without_time"
