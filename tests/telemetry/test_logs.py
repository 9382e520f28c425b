from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import structlog
import trio

from gateway.core.errors import DeadlineExceeded, Internal, NotFound, Unreachable
from gateway.telemetry.events import BreakerChanged, BreakerState
from gateway.telemetry.logs import RequestLog, bound, configure, logger
from tests.telemetry.told import call_ended, request, request_ended

if TYPE_CHECKING:
    import pytest

    from tests.telemetry.told import Lines


def a_bug(**blame: str) -> Internal:
    """`Internal` as it is raised: with a cause, and a local variable that no log may show."""
    secrets = {"password": "sesame"}
    try:
        try:
            secrets["user"]
        except KeyError as cause:
            raise Internal("a bug", **blame) from cause
    except Internal as caught:
        return caught


def test_a_request_is_one_line_of_json(lines: Lines) -> None:
    configure(stream=lines)
    RequestLog()(request_ended(request=request(principal="ann", protocol="mcp")))
    (line,) = lines.decoded
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "gateway.request",
        "request_id": "r-1",
        "tool": "weather",
        "principal": "ann",
        "client": "",
        "protocol": "mcp",
        "outcome": "ok",
        "duration_ms": 20.0,
    }


def test_one_of_several_workers_says_which_it_is(lines: Lines) -> None:
    configure(stream=lines, worker=3)
    logger("gateway.server").warning("ours")
    logging.getLogger("elsewhere").warning("theirs")
    assert [line["worker"] for line in lines.decoded] == [3, 3]


def test_a_partial_answer_says_what_is_missing(lines: Lines) -> None:
    configure(stream=lines)
    missing = (DeadlineExceeded(call="now"), Unreachable(call="then"))
    RequestLog()(request_ended(outcome="partial", missing=missing))
    (line,) = lines.decoded
    assert line["missing"] == ["now=deadline_exceeded", "then=unreachable"]


def test_a_failure_of_ours_is_an_error_with_its_traceback(lines: Lines) -> None:
    configure(stream=lines)
    error = a_bug()
    RequestLog()(request_ended(outcome="error", error=error))
    (line,) = lines.decoded
    assert (line["level"], line["code"]) == ("error", "internal")
    assert [e["exc_type"] for e in line["exception"]] == ["Internal", "KeyError"]
    assert line["exception"][0]["frames"]


def test_a_failure_of_ours_in_a_call_is_told_with_the_call_alone(lines: Lines) -> None:
    configure(stream=lines)
    error = a_bug(call="now")
    log = RequestLog()
    log(call_ended(outcome="error", error=error))
    log(request_ended(outcome="error", error=error))
    call, whole = lines.decoded
    assert (call["event"], call["level"], call["call"]) == ("call", "error", "now")
    assert call["exception"]
    assert whole["level"] == "error"
    assert "exception" not in whole


def test_other_failures_are_the_worlds_and_stay_at_info(lines: Lines) -> None:
    configure(stream=lines)
    error = Unreachable("cannot connect", where="10.0.0.1:80")
    RequestLog()(request_ended(outcome="error", error=error))
    (line,) = lines.decoded
    assert (line["level"], line["code"]) == ("info", "unreachable")
    assert (line["why"], line["where"]) == ("cannot connect", "10.0.0.1:80")


def test_an_outage_is_a_line_at_its_beginning_and_at_its_end(lines: Lines) -> None:
    configure(stream=lines)
    log = RequestLog()
    states: tuple[BreakerState, ...] = ("open", "half_open", "open", "half_open", "closed")
    for state in states:
        log(BreakerChanged(service="meteo", state=state))
    told = [(line["event"], line["level"], line["service"]) for line in lines.decoded]
    assert told == [
        ("breaker open", "warning", "meteo"),
        ("breaker open", "warning", "meteo"),
        ("breaker closed", "warning", "meteo"),
    ]


def test_arguments_values_and_locals_are_never_logged(lines: Lines) -> None:
    configure(stream=lines, level="debug")
    log = RequestLog()
    log(request_ended())
    log(call_ended())
    log(request_ended(outcome="error", error=a_bug()))
    assert len(lines.decoded) == 3
    assert "hush-hush" not in lines.getvalue()
    assert "sesame" not in lines.getvalue()


def test_libraries_that_log_addresses_are_kept_quiet(lines: Lines) -> None:
    configure(stream=lines, level="debug")
    logging.getLogger("httpx").info("HTTP Request: GET http://users/?token=hush-hush")
    logging.getLogger("httpcore.http11").debug("send_request_headers hush-hush")
    assert lines.getvalue() == ""


def test_calls_are_lines_at_debug(lines: Lines) -> None:
    configure(stream=lines, level="debug")
    RequestLog()(call_ended(outcome="timeout", error=DeadlineExceeded()))
    (line,) = lines.decoded
    assert line["event"] == "call"
    assert line["service"] == "meteo"
    assert line["outcome"] == "timeout"
    assert line["code"] == "deadline_exceeded"
    assert line["duration_ms"] == 10.0


def test_a_line_below_the_level_is_not_even_composed(lines: Lines) -> None:
    configure(stream=lines, level="warning")
    unreadable: Any = None
    RequestLog()(request_ended(request=unreadable))
    assert lines.getvalue() == ""


def test_the_level_holds(lines: Lines) -> None:
    configure(stream=lines, level="warning")
    RequestLog()(request_ended())
    RequestLog()(call_ended())
    logging.getLogger("elsewhere").info("no")
    assert lines.getvalue() == ""


def test_an_unknown_tools_name_cannot_write_to_a_terminal(lines: Lines) -> None:
    configure(log="console", stream=lines)
    name = "\x1b[2J" + "x" * 1000
    RequestLog()(request_ended(request=request(name), outcome="error", error=NotFound(), tool=""))
    assert "\x1b" not in lines.getvalue()
    assert len(lines.getvalue()) < 400


def test_the_users_own_logging_has_the_same_form_and_context(lines: Lines) -> None:
    configure(stream=lines)
    with bound(request(principal="ann")):
        logging.getLogger("mycompany.directory").warning("%d groups", 3)
        structlog.get_logger("mycompany.other").info("found", groups=3)
    plain, structured = lines.decoded
    assert plain["event"] == "3 groups"
    assert (plain["level"], plain["logger"]) == ("warning", "mycompany.directory")
    for line in (plain, structured):
        assert (line["request_id"], line["tool"], line["principal"]) == ("r-1", "weather", "ann")
    assert structured["groups"] == 3


async def test_the_context_follows_into_threads_and_tasks_and_ends(lines: Lines) -> None:
    configure(stream=lines)
    log = logger("gateway.test")

    async def task() -> None:
        log.info("in a task")

    with bound(request()):
        await trio.to_thread.run_sync(log.info, "in a thread")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task)
    log.info("after")
    thread, child, after = lines.decoded
    assert thread["request_id"] == child["request_id"] == "r-1"
    assert "request_id" not in after


async def test_two_requests_at_once_keep_their_contexts_apart(lines: Lines) -> None:
    configure(stream=lines)
    log = logger("gateway.test")

    async def one(name: str) -> None:
        with bound(request(request_id=name)):
            await trio.testing.wait_all_tasks_blocked()
            log.info(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, "a")
        nursery.start_soon(one, "b")
    assert all(line["request_id"] == line["event"] for line in lines.decoded)


def test_the_console_form_is_for_eyes(lines: Lines) -> None:
    configure(log="console", stream=lines)
    RequestLog()(request_ended(outcome="error", error=a_bug()))
    text = lines.getvalue()
    assert "outcome=error" in text
    assert "Traceback (most recent call last)" in text


def test_configuring_again_replaces_and_touches_no_other_handler(lines: Lines) -> None:
    root = logging.getLogger()
    other = logging.NullHandler()
    root.addHandler(other)
    configure(stream=lines)
    configure(stream=lines)
    logger("gateway.test").info("once")
    assert len(lines.decoded) == 1
    assert other in root.handlers


def test_in_a_host_that_was_not_configured_lines_are_plain_records(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), bound(request()):
        logger("gateway.test").info("hello", n=1)
    (record,) = caplog.records
    assert record.name == "gateway.test"
    assert record.msg["event"] == "hello"
    assert record.msg["request_id"] == "r-1"
