"""A reply for each call that nobody gave one for: with what the rest of the tool reads of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from gateway.config.decoded import ToolConfig

__all__ = ["sample_replies"]

_SAMPLE = "sample"


def sample_replies(tool: ToolConfig) -> dict[str, Any]:
    """What each call of `tool` replies with, by name.

    An object with whatever placeholders, conditions and the output read of it by dotted names,
    each the text `sample`; what they read in other ways is missing in it.
    """
    replies: dict[str, Any] = {name: {} for name in tool.calls}
    if not replies:
        return replies
    names = "|".join(map(re.escape, replies))
    dotted = re.compile(rf"(?<![\w.-])({names})((?:\.[A-Za-z_][A-Za-z0-9_]*)+)(?!\w|\()")
    for text in _texts(tool):
        for call, path in dotted.findall(text):
            _put(replies[call], path[1:].split("."))
    return replies


def _texts(tool: ToolConfig) -> Iterator[str]:
    """Every text of a tool in which an expression may stand."""
    for call in tool.calls.values():
        yield from _texts_in(attrs.asdict(call.keys).values())
        yield from _texts_in([call.common.when])
    yield from _texts_in([tool.settings.output])


def _texts_in(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _texts_in(value.keys())
            yield from _texts_in(value.values())
        elif isinstance(value, (list, tuple)):
            yield from _texts_in(value)


def _put(reply: dict[str, Any], path: list[str]) -> None:
    """Have `reply` hold something at `path`."""
    *above, last = path
    for name in above:
        inner = reply.get(name)
        if not isinstance(inner, dict):
            inner = reply[name] = {}
        reply = inner
    reply.setdefault(last, _SAMPLE)
