"""One request as text: the answer as it goes over the wire, and its time drawn to scale."""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs
import msgspec

from gateway.core.messages import Branch
from gateway.simulation.once import Attempt, Once

__all__ = ["as_json", "as_text"]

_WIDTH = 40
_HIDDEN = frozenset({"content-length", "x-request-id"})


def as_text(told: Once) -> str:
    """The answer, and its timeline."""
    return "\n".join([*_answer(told), "", *_timeline(told), "", *_weather(told)])


def as_json(told: Once) -> dict[str, object]:
    """All of it as JSON values."""
    answer = told.answer
    return {
        "answer": None
        if answer is None
        else {
            "status": answer.status,
            "headers": dict(answer.headers),
            "body": msgspec.Raw(answer.body),
        },
        "outcome": told.ended.outcome if told.ended.error is None else told.ended.error.code,
        "duration_s": told.ended.duration_s,
        "budget_s": None if told.ended.budget_s == math.inf else told.ended.budget_s,
        "calls": [
            {
                "call": branch.call,
                "service": branch.service,
                "outcome": _outcome(branch),
                "started_s": branch.started_s,
                "ended_s": branch.ended_s,
            }
            for branch in told.ended.branches
        ],
        "attempts": [attrs.asdict(attempt) for attempt in told.attempts],
        "policies": [attrs.asdict(note) for note in told.notes],
        "weather": list(told.weather),
    }


def _answer(told: Once) -> Iterator[str]:
    answer = told.answer
    if answer is None:
        yield "no answer, ever: nothing bounds how long it may take"
        return
    yield f"HTTP {answer.status}"
    for name, value in answer.headers.items():
        if name not in _HIDDEN:
            yield f"{name}: {value}"
    yield ""
    yield msgspec.json.format(answer.body, indent=2).decode()


def _timeline(told: Once) -> Iterator[str]:
    ended = told.ended
    budget = "no budget" if ended.budget_s == math.inf else f"a budget of {_time(ended.budget_s)}"
    outcome = ended.outcome if ended.error is None else ended.error.code
    yield f"{ended.tool}: {outcome} in {_time(ended.duration_s)}, of {budget}"
    rows = [("", "start", "end", "", "")]
    for branch in ended.branches:
        rows += _rows(told, branch)
    known = {branch.call for branch in ended.branches}
    rows += [
        (note.service, _time(note.at_s), "", note.text, _point(told, note.at_s))
        for note in told.notes
        if note.call not in known and note.text
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, start, end, text, bar in rows:
        cells = (name.ljust(widths[0]), start.rjust(widths[1]), end.rjust(widths[2]))
        yield f"  {'  '.join(cells)}  {text.ljust(widths[3])}  {bar}".rstrip()


def _rows(told: Once, branch: Branch) -> Iterator[tuple[str, str, str, str, str]]:
    """A call's row, and one for each attempt and whatever policies did, where that says more."""
    start = "-" if branch.started_s is None else _time(branch.started_s)
    bar = "" if branch.started_s is None else _bar(told, branch.started_s, branch.ended_s, "█")
    name = f"{branch.call} ({branch.service})"
    yield name, start, _time(branch.ended_s), _outcome(branch), bar
    attempts = [one for one in told.attempts if one.call == branch.call]
    notes = [note for note in told.notes if note.call == branch.call]
    if len(attempts) == 1 and not notes and _is_all(attempts[0], branch):
        return
    found = [
        (one.start_s, at, *_attempt(told, one, number))
        for at, (number, one) in enumerate(enumerate(attempts, 1))
    ]
    for at, note in enumerate(notes, len(attempts)):
        until = note.at_s + note.wait_s
        drawn = _bar(told, note.at_s, until, "░") if note.wait_s else _point(told, note.at_s)
        end = _time(until) if note.wait_s else ""
        found.append((note.at_s, at, "  …", _time(note.at_s), end, note.text, drawn))
    for _, _, *row in sorted(found, key=lambda one: one[:2]):
        name, start, end, text, bar = row
        yield name, start, end, text, bar


def _is_all(attempt: Attempt, branch: Branch) -> bool:
    """Whether the one attempt says no more than the call."""
    return (attempt.start_s, attempt.end_s) == (branch.started_s, branch.ended_s)


def _attempt(told: Once, attempt: Attempt, number: int) -> tuple[str, str, str, str, str]:
    kind = "hedge" if attempt.hedges else "attempt"
    return (
        f"  {kind} {number}",
        _time(attempt.start_s),
        _time(attempt.end_s),
        attempt.outcome,
        _bar(told, attempt.start_s, attempt.end_s, "▓" if attempt.hedges else "▒"),
    )


def _bar(told: Once, start_s: float, end_s: float, character: str) -> str:
    total_s = max(told.ended.duration_s, 1e-9)
    first = min(_WIDTH - 1, int(start_s / total_s * _WIDTH))
    last = min(_WIDTH, max(first + 1, round(end_s / total_s * _WIDTH)))
    return " " * first + character * (last - first)


def _point(told: Once, at_s: float) -> str:
    return _bar(told, at_s, at_s, "◆")


def _outcome(branch: Branch) -> str:
    return branch.outcome if branch.error is None else branch.error.code


def _weather(told: Once) -> Iterator[str]:
    yield "weather"
    for line in told.weather:
        yield f"  {line}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.3f} s"
