"""YAML → values as JSON has them, where PyYAML is installed.

What is written is read by YAML 1.2's core schema, so that `no` and `on` stay text, and keys are
text always: `200:` is `"200":`. The tree is built from the parser's events: an alias adds no
copies, what `<<` copies is bounded as depth is, and a tag makes no objects.

Source: YAML 1.2.2, section 10.3; OpenAPI 3.1.1, "Format".
"""

from __future__ import annotations

import math
import re
from typing import Any

import attrs

__all__ = ["NotYaml", "decode_yaml"]

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,100}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,2})?")
_MERGE = "<<"
_MAX_MERGED = 1_000_000
"""Keys that mappings have from others: unlike an alias, each is copied."""
_TAGS = {None, "!"} | {f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq")}


class NotYaml(ValueError):
    """A text is no YAML, or YAML that is not read; the message says what and where."""


def decode_yaml(data: bytes, max_depth: int) -> Any:
    """The value of a document.

    Args:
        data: Its text.
        max_depth: Mappings and sequences within one another.

    Raises:
        NotYaml: It is none, it is more than one, it is too deep; or PyYAML is not installed.
    """
    try:
        import yaml  # noqa: PLC0415 - an extra: only who has YAML needs it
    except ModuleNotFoundError:
        message = "YAML is read by PyYAML: pip install 'trio-gateway[yaml]', or convert it to JSON"
        raise NotYaml(message) from None
    builder = _Builder(max_depth)
    try:
        for event in yaml.parse(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            builder.take(type(event).__name__, event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise NotYaml(f"not valid YAML: {error.problem}{line}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first = str(error).partition("\n")[0][:200]
        raise NotYaml(f"not valid YAML: {first}") from None
    return builder.value


@attrs.define(slots=True)
class _Open:
    """A mapping or a sequence that has not ended yet.

    Args:
        whole: What of it was read.
        anchor: Its name, where it has one.
        key: Of a mapping, the key whose value comes next.
        merged: The mappings whose keys it has where it has none itself.
    """

    whole: Any
    anchor: str | None
    key: str | None = None
    merged: list[Any] = attrs.field(factory=list)


class _Builder:
    """The tree of one document, from its events."""

    def __init__(self, max_depth: int) -> None:
        self.value: Any = None
        self._max_depth = max_depth
        self._documents = 0
        self._merged = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, Any] = {}

    def take(self, kind: str, event: Any) -> None:
        """One event.

        Raises:
            NotYaml: It has no place here.
        """
        if kind == "ScalarEvent":
            self._scalar(event)
        elif kind == "AliasEvent":
            if event.anchor not in self._anchors:
                raise _refused(event, f"*{event.anchor} stands for nothing before it")
            self._put(self._anchors[event.anchor], event)
        elif kind in {"MappingStartEvent", "SequenceStartEvent"}:
            self._begin({} if kind == "MappingStartEvent" else [], event)
        elif kind in {"MappingEndEvent", "SequenceEndEvent"}:
            self._end(event)
        elif kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise _refused(event, "a second document in the same file")

    def _begin(self, whole: Any, event: Any) -> None:
        if len(self._open) == self._max_depth:
            raise _refused(event, f"nested deeper than {self._max_depth}")
        _check_tag(event)
        self._open.append(_Open(whole, event.anchor))

    def _end(self, event: Any) -> None:
        ended = self._open.pop()
        for mapping in ended.merged:
            self._merged += len(mapping)
            if self._merged > _MAX_MERGED:
                raise _refused(event, f"more than {_MAX_MERGED} keys from <<, all of them together")
            ended.whole |= {key: mapping[key] for key in mapping if key not in ended.whole}
        if ended.anchor is not None:
            self._anchors[ended.anchor] = ended.whole
        self._put(ended.whole, event)

    def _scalar(self, event: Any) -> None:
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.whole, dict) and top.key is None:
            if event.value in top.whole:
                raise _refused(event, f"the key {event.value[:60]!r} stands there twice")
            top.key = event.value
            return
        _check_tag(event)
        value = _plain(event.value) if event.implicit[0] else event.value
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        self._put(value, event)

    def _put(self, value: Any, event: Any) -> None:
        """Where the value that just ended belongs."""
        if not self._open:
            self.value = value
            return
        top = self._open[-1]
        if isinstance(top.whole, list):
            top.whole.append(value)
            return
        if top.key is None:
            raise _refused(event, "expected a key that is text")
        if top.key == _MERGE:
            mappings = value if isinstance(value, list) else [value]
            if not all(isinstance(mapping, dict) for mapping in mappings):
                raise _refused(event, "expected mappings after <<")
            top.merged += mappings
        else:
            top.whole[top.key] = value
        top.key = None


def _check_tag(event: Any) -> None:
    if event.tag not in _TAGS:
        raise _refused(event, f"the tag {event.tag[:60]} means nothing here")


def _plain(text: str) -> Any:
    """A scalar without quotes."""
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text[0] in "tT"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) and math.isfinite(float(text)) else text


def _refused(event: Any, message: str) -> NotYaml:
    return NotYaml(f"not valid YAML: {message}, line {event.start_mark.line + 1}")
