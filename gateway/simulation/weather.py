"""What the services do while a tool is simulated, as it is written on a command line.

Each wish names a service, or one call of a tool: `TOOL.CALL`; and a time if it is not for ever:
`@10s..20s`. Of two wishes for the same the later one counts, and a call's before its service's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import msgspec

from gateway.config.text import did_you_mean
from gateway.config.units import format_duration, parse_duration, parse_share
from gateway.policies.failures import FAILURE_CODES, Failure
from gateway.simulation.distributions import Draw, parse_latency

__all__ = ["Conditions", "Weather", "Window", "Wishes", "forecast"]

T = TypeVar("T")

_DEFAULT_LATENCY = "10ms"
_WINDOW = re.compile(r"(.*)@([0-9a-z.]*?)\.\.([0-9a-z.]*)", re.DOTALL)
_FAILURES = f"a status from 400 to 599 or one of {', '.join(FAILURE_CODES)}"
_MAX_REPLY_BYTES = 64 * 1024 * 1024


@attrs.frozen(slots=True, kw_only=True)
class Wishes:
    """The weather as it is asked for, each one's texts in their order.

    Args:
        latency: `NAME=DISTRIBUTION`: how long it takes.
        fail: `NAME=[SHARE:]FAILURE`: after that time it fails.
        hang: `NAME[=SHARE]`: it never answers.
        down: `NAME`: it cannot be reached, which shows at once.
        reply: `NAME=FILE`: the JSON it replies with.
        directory: What paths are relative to.
    """

    latency: tuple[str, ...] = ()
    fail: tuple[str, ...] = ()
    hang: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    reply: tuple[str, ...] = ()
    directory: Path = Path()


@attrs.frozen(slots=True)
class Window:
    """From when to when, seconds since the start; the end is not in it."""

    start_s: float = 0.0
    end_s: float = math.inf

    def __contains__(self, now: float) -> bool:
        return self.start_s <= now < self.end_s

    @property
    def text(self) -> str:
        """` from 10s to 20s`; empty if it is always."""
        start = f" from {format_duration(self.start_s)}" if self.start_s else ""
        end = "" if self.end_s == math.inf else f" to {format_duration(self.end_s)}"
        return f" until{end.removeprefix(' to')}" if end and not start else start + end


@attrs.frozen(slots=True, kw_only=True)
class _Wish:
    """One of them.

    Args:
        name: A service, or `TOOL.CALL`.
        window: When.
        value: What; how it reads depends on the option.
        text: How it is shown.
    """

    name: str
    window: Window
    value: Any
    text: str


@attrs.frozen(slots=True, kw_only=True)
class Conditions:
    """The weather for one call.

    Args:
        latencies: How long it takes: the first whose window it is.
        failures: A share, what with, and whether at once; the first that it is the time and the
            chance for.
        hangs: The share that is never answered.
        reply: What it replies with.
    """

    latencies: tuple[tuple[Window, Draw], ...]
    failures: tuple[tuple[Window, tuple[float, Failure, bool]], ...] = ()
    hangs: tuple[tuple[Window, float], ...] = ()
    reply: Any = None


@attrs.frozen(slots=True)
class Weather:
    """The weather of a tool's calls.

    Args:
        calls: By the call's name.
        lines: What was asked for, for people: one line for each service or call.
        made_up: The calls whose replies nobody gave.
    """

    calls: Mapping[str, Conditions]
    lines: tuple[str, ...]
    made_up: tuple[str, ...] = ()


def forecast(
    wishes: Wishes,
    tool: str,
    calls: Mapping[str, str],
    services: Sequence[str],
    samples: Mapping[str, Any],
) -> Weather:
    """The weather that was asked for.

    Args:
        wishes: As it was asked for.
        tool: The tool's name.
        calls: Its calls' services, by name.
        services: Every service of the file.
        samples: What calls reply with if nothing else is wished for.

    Raises:
        ValueError: A wish is not written as it should be, or names nothing there is.
    """
    names = (*services, *(f"{tool}.{call}" for call in calls))
    latencies = _read(
        "--latency", wishes.latency, names, lambda text: parse_latency(text, wishes.directory)
    )
    failures = _read("--fail", wishes.fail, names, _failure)
    downs = _read("--down", wishes.down, names, _always, valued=False)
    hangs = _read("--hang", wishes.hang, names, _share, valued=False)
    replies = _read(
        "--reply", wishes.reply, names, lambda text: _json(wishes.directory / text), timed=False
    )
    usual = [(Window(), parse_latency(_DEFAULT_LATENCY, wishes.directory))]
    conditions = {}
    made_up: list[str] = []
    for call, service in calls.items():
        of = (f"{tool}.{call}", service)
        reply = _those_of(of, replies)
        if not reply:
            made_up.append(call)
        conditions[call] = Conditions(
            latencies=(*_those_of(of, latencies), *usual),
            failures=(*_those_of(of, downs), *_those_of(of, failures)),
            hangs=_those_of(of, hangs),
            reply=reply[0][1] if reply else samples.get(call),
        )
    lines = _lines(calls, tool, {"": latencies, "down": downs, "fails": failures, "hangs": hangs})
    return Weather(conditions, lines, tuple(made_up))


def _those_of(names: Sequence[str], wishes: Sequence[_Wish]) -> tuple[tuple[Window, Any], ...]:
    """Windows and values of the wishes for these names, the first to count first."""
    return tuple(
        (wish.window, wish.value)
        for name in names
        for wish in reversed(wishes)
        if wish.name == name
    )


def _read(
    option: str,
    texts: Sequence[str],
    names: Sequence[str],
    decode: Callable[[str], T],
    *,
    valued: bool = True,
    timed: bool = True,
) -> list[_Wish]:
    """The wishes of one option.

    Raises:
        ValueError: One cannot be read.
    """
    wishes = []
    for text in texts:
        try:
            body, window = _timed(text) if timed else (text, Window())
            name, equals, written = body.partition("=")
            if valued and not equals:
                raise ValueError(f"expected NAME=…, got {text!r}")  # noqa: TRY301 - told with its option
            if name not in names:
                near = did_you_mean(name, names)
                raise ValueError(  # noqa: TRY301 - likewise
                    f"expected a service or a call of the tool ({', '.join(names)}), got {name!r}{near}"
                )
            value = decode(written)
        except ValueError as error:
            raise ValueError(f"{option} {text}: {error}") from None
        wishes.append(_Wish(name=name, window=window, value=value, text=written))
    return wishes


def _timed(text: str) -> tuple[str, Window]:
    match = _WINDOW.fullmatch(text)
    if match is None:
        return text, Window()
    try:
        start = parse_duration(match[2]) if match[2] else 0.0
        end = parse_duration(match[3]) if match[3] else math.inf
    except ValueError:
        raise ValueError(f"expected a time such as @10s..20s or @10s.., got {text!r}") from None
    if start >= end:
        raise ValueError(f"expected the earlier time first, got {text!r}")
    return match[1], Window(start, end)


def _share(text: str) -> float:
    if not text:
        return 1.0
    try:
        return parse_share(text)
    except ValueError:
        raise ValueError(f'expected a share such as "30%", got {text!r}') from None


def _failure(text: str) -> tuple[float, Failure, bool]:
    """`30%:503`, `unreachable`: how many, and what with."""
    share, colon, wanted = text.rpartition(":")
    failure: Failure = wanted
    if wanted.isdecimal() and 400 <= int(wanted[:4]) <= 599:
        failure = int(wanted)
    elif wanted not in FAILURE_CODES:
        near = did_you_mean(wanted, FAILURE_CODES)
        raise ValueError(f"expected {_FAILURES}, got {wanted!r}{near}")
    return (_share(share) if colon else 1.0), failure, False


def _always(text: str) -> tuple[float, Failure, bool]:
    if text:
        raise ValueError(f"expected NAME or NAME@10s..20s, got a value, {text!r}")
    return 1.0, "unreachable", True


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_REPLY_BYTES:
            raise ValueError(f"{path}: expected a reply of at most 64MiB")
        return msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: expected a file of JSON: {error.strerror}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON: {error}") from None


def _lines(
    calls: Mapping[str, str], tool: str, wishes: Mapping[str, Sequence[_Wish]]
) -> tuple[str, ...]:
    """What each service and call does, in words."""
    lines = []
    for name in (*dict.fromkeys(calls.values()), *(f"{tool}.{call}" for call in calls)):
        said = [
            f"{verb} {wish.text}".strip() + wish.window.text
            for verb, those in wishes.items()
            for wish in those
            if wish.name == name
        ]
        if "." not in name and not any(one.name == name for one in wishes[""]):
            said.insert(0, f"{_DEFAULT_LATENCY} (nothing else was said)")
        if said:
            lines.append(f"{name}: {', '.join(said)}")
    return tuple(lines)
