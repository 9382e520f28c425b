"""Log lines: their form, the context they carry, and the listener that writes them.

A line names who asked for what and how it went. It never holds arguments, values, headers or
secrets: whatever a client sends and whatever a service answers stays out.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO, cast

import structlog
from structlog.contextvars import bound_contextvars, get_contextvars, merge_contextvars
from structlog.stdlib import BoundLogger, ProcessorFormatter, filter_by_level
from structlog.tracebacks import ExceptionDictTransformer

from gateway.core.errors import GatewayError, Unreachable
from gateway.telemetry.events import BreakerChanged, CallEnded, Event, RequestEnded

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from gateway.core.messages import Request

__all__ = [
    "LogForm",
    "RequestLog",
    "bound",
    "configure",
    "log_form",
    "logger",
    "plain_context",
    "shared",
]

_PLAIN_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")

_WORDY = ("httpx", "httpcore", "hpack", "botocore", "urllib3")
"""Libraries whose info and debug lines hold addresses and headers, and so arguments and secrets."""


class LogForm(NamedTuple):
    """How log lines look.

    Args:
        log: As `configure` takes it.
        level: As `configure` takes it.
        worker: As `configure` takes it.
    """

    log: Literal["json", "console"]
    level: Literal["debug", "info", "warning", "error"]
    worker: int | None


class _Handler(logging.StreamHandler[TextIO]):
    """Ours: `configure` replaces it and touches no other.

    It writes to standard error and waits for it: a reader that stalls holds the loop. That is
    accepted: lines are short, a pipe holds 64 KiB of them, and a queue with a thread behind it
    would lose the last lines before a crash, which are the ones wanted.

    Attributes:
        form: How its lines look.
    """

    form: LogForm


def configure(
    *,
    log: Literal["json", "console"] = "json",
    level: Literal["debug", "info", "warning", "error"] = "info",
    worker: int | None = None,
    stream: TextIO | None = None,
) -> None:
    """Give every log line of this process one form, ours and other libraries' alike.

    For whoever owns the process (`gateway serve`): an embedding host keeps its own logging. May
    be called again; the last call counts.

    Args:
        log: `json`, one object a line, or `console`, for eyes.
        level: The least level written.
        worker: The number of this process among several, for every line.
        stream: Where to; standard error if left out.
    """
    stream = sys.stderr if stream is None else stream
    handler = _Handler(stream)
    handler.form = LogForm(log, level, worker)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[merge_contextvars, _merge_request],
            processors=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                *([] if worker is None else [_numbered(worker)]),
                ProcessorFormatter.remove_processors_meta,
                *(_json() if log == "json" else _console(colours=stream.isatty())),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if not isinstance(h, _Handler)] + [handler]
    root.setLevel(level.upper())
    for name in _WORDY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # For Python services of the user's that log with structlog: the same form for them.
    structlog.configure(
        processors=_processors(),
        wrapper_class=BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def log_form() -> LogForm | None:
    """How this process's log lines look, for another that is to log alike; `None`: a host's way."""
    handlers = logging.getLogger().handlers
    return next((one.form for one in handlers if isinstance(one, _Handler)), None)


def logger(name: str) -> BoundLogger:
    """A logger of ours, below the standard library's of the same name.

    Where `configure` was not called, its lines are the host's to format: the record's message is
    the dict of its fields.

    Args:
        name: A dotted name that starts with `gateway`.
    """
    made = structlog.wrap_logger(
        logging.getLogger(name), processors=_processors(), wrapper_class=BoundLogger
    )
    return cast("BoundLogger", made.bind())


def _processors() -> list[structlog.typing.Processor]:
    return [
        filter_by_level,
        merge_contextvars,
        _merge_request,
        ProcessorFormatter.wrap_for_formatter,
    ]


def _numbered(worker: int) -> structlog.typing.Processor:
    def number(
        _logger: Any, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["worker"] = worker
        return event

    return number


def _json() -> list[structlog.typing.Processor]:
    # Local variables hold arguments and secrets: never shown.
    tracebacks = ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(tracebacks),
        structlog.processors.JSONRenderer(),
    ]


def _console(*, colours: bool) -> list[structlog.typing.Processor]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=structlog.dev.plain_traceback, pad_event_to=20
        )
    ]


_request: ContextVar[Request | None] = ContextVar("request", default=None)


class bound:  # noqa: N801 - used as the function it would be; a generator costs several times more
    """Within this `with`, every line carries the request's id, tool and principal.

    The context is a task's own: it follows into tasks started below it and into
    `trio.to_thread`, and ends with the `with`.

    Args:
        request: The request as it came in.
    """

    __slots__ = ("_before", "_bound")

    def __init__(self, request: Request) -> None:
        self._bound = request

    def __enter__(self) -> None:
        self._before = _request.set(self._bound)

    def __exit__(self, *exc_info: object) -> None:
        _request.reset(self._before)


def shared() -> AbstractContextManager[None]:
    """Within this `with`, structlog's own context variables say what `bound` binds.

    For code of the user's, whose log lines may be formatted by a host's structlog. It costs some
    10 µs, so no request that calls no such code pays for it.
    """
    request = _request.get()
    return nullcontext() if request is None else bound_contextvars(**_fields(request))


def plain_context() -> dict[str, Any]:
    """What lines carry here, as plain data for another process: what is no text or number is left out."""
    request = _request.get()
    bound_here = get_contextvars() | ({} if request is None else _fields(request))
    return {k: v for k, v in bound_here.items() if isinstance(v, (str, int, float, NoneType))}


def _fields(request: Request) -> dict[str, str]:
    return {
        "request_id": request.context.request_id,
        "tool": _shown(request.name),
        "principal": request.context.principal,
    }


def _merge_request(
    _logger: Any, _method: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Add the request that is bound; what the line itself says wins."""
    request = _request.get()
    return fields if request is None else {**_fields(request), **fields}


def _shown(name: str) -> str:
    # An unknown tool's name is whatever a client sent: bounded, and no way to write to a terminal.
    return name if not name or _PLAIN_NAME.fullmatch(name) else ascii(name[:64])


def _failure(error: GatewayError) -> dict[str, str]:
    """The error's code; of a service that is out of reach also why, and what its address is."""
    fields = {"code": error.code}
    if isinstance(error, Unreachable):
        fields["why"] = error.detail
        if error.where:
            fields["where"] = error.where
    return fields


class RequestLog:
    """The listener that writes one line per request, at its end, and tracebacks of our own bugs.

    And of what happens to services: a breaker that opens or closes.
    """

    __slots__ = ("_is_enabled", "_log", "_policies", "hears")

    def __init__(self) -> None:
        self._log = logger("gateway.request")
        self._policies = logger("gateway.policies")
        self._is_enabled = logging.getLogger("gateway.request").isEnabledFor
        self.hears: dict[type[Any], Callable[[Any], None]] = {
            RequestEnded: self._request_ended,
            CallEnded: self._call_ended,
            BreakerChanged: self._breaker_changed,
        }

    def __call__(self, event: Event) -> None:
        """Write what `event` deserves."""
        writer = self.hears.get(type(event))
        if writer is not None:
            writer(event)

    def _request_ended(self, event: RequestEnded) -> None:
        ours = event.code == "internal"
        if not ours and not self._is_enabled(logging.INFO):
            return
        context = event.request.context
        fields: dict[str, Any] = {
            "request_id": context.request_id,
            "tool": _shown(event.request.name),
            "principal": context.principal,
            "client": context.client,
            "protocol": context.protocol,
            "outcome": event.outcome,
            "duration_ms": round(event.duration_s * 1000, 3),
        }
        if event.error is not None:
            fields |= _failure(event.error)
        if event.missing:
            fields["missing"] = [error.label for error in event.missing]
        if not ours:
            self._log.info("request", **fields)
        elif event.error is not None and event.error.call is not None:
            # The call it failed in has told its traceback already.
            self._log.error("request", **fields)
        else:
            self._log.error("request", exc_info=event.error, **fields)

    def _breaker_changed(self, event: BreakerChanged) -> None:
        """An outage, and its end: one line each, however many requests it costs."""
        level = logging.DEBUG if event.state == "half_open" else logging.WARNING
        self._policies.log(level, f"breaker {event.state}", service=event.service)

    def _call_ended(self, event: CallEnded) -> None:
        branch = event.branch
        ours = branch.error is not None and branch.error.code == "internal"
        if not ours and not self._is_enabled(logging.DEBUG):
            return
        fields: dict[str, Any] = {
            "request_id": event.request.context.request_id,
            "tool": event.tool,
            "call": branch.call,
            "service": branch.service,
            "outcome": branch.outcome,
        }
        if branch.started_s is not None:
            fields["duration_ms"] = round((branch.ended_s - branch.started_s) * 1000, 3)
        if branch.error is not None:
            fields |= _failure(branch.error)
        if ours:
            self._log.error("call", exc_info=branch.error, **fields)
        else:
            self._log.debug("call", **fields)
