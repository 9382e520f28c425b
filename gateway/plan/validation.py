"""Values held against a JSON Schema in bounded time: whether they fit, and where they do not.

Source: JSON Schema 2020-12; RFC 6901 for the pointers of breaches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import jsonschema_rs

from gateway.config.schema_bounds import is_explicable, is_within, work_of

__all__ = ["Breach", "Validator", "summary"]

Breach: TypeAlias = dict[str, str]
"""`pointer`: where, as a JSON pointer; `detail`: what is wrong there."""

_MAX_BREACHES: Final = 100
_MAX_DETAIL: Final = 300
_MAX_BACKTRACKS: Final = 1_000
"""Of a pattern that looks around or back, at one text; beyond it the text does not match."""

_MAX_LOOKED_AT: Final = 100_000 // 16
"""Parts of a value, sixteen characters each, where there are such patterns."""

_CHEAP: Final = 64
"""Work up to which a value's size says enough."""

_MAX_TIMES: Final = 5_000_000
"""Parts of a value, times the schemas each may be held against."""

_SHARES: Final = 10
"""Properties that are explained each by itself, in the time for all of a value."""

_WHOLE: Final = "urn:whole"


class Validator:
    """A JSON Schema, compiled; nothing is ever fetched for it.

    Args:
        schema: JSON Schema 2020-12.

    Raises:
        ValueError: It is none, refers to something outside itself, or is too much work.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        work = work_of(schema)
        self._whole, is_linear = _compiled(dict(schema))
        self._most = None if work <= _CHEAP and is_linear else _MAX_TIMES // work
        if self._most is not None and not is_linear:
            self._most = min(self._most, _MAX_LOOKED_AT)

    def is_valid(self, value: Any) -> bool:
        """Whether `value` fits. One that is too large for the schema's work does not."""
        if self._most is not None and not is_within(value, self._most):
            return False
        return self._whole.is_valid(value)

    def breaches(self, value: Mapping[str, Any]) -> tuple[Breach, ...]:
        """Where and how `value`, which is not valid, breaks the schema: 100 at most.

        Of a property that is large, or held against much, only that it does.
        """
        if is_explicable(self._schema, value, self._schema):
            return _told(self._whole.iter_errors(value))
        found = islice(self._by_property(value), _MAX_BREACHES)
        return tuple(found) or ({"pointer": "", "detail": "breaks the schema"},)

    def _by_property(self, value: Mapping[str, Any]) -> Iterator[Breach]:
        if self._most is not None and not is_within(value, self._most):
            yield {"pointer": "", "detail": "too large to be held against this schema"}
            return
        for name in self._schema.get("required", ()):
            if name not in value:
                yield {"pointer": _pointer([name]), "detail": "required, but missing"}
        for name in self._schema.get("properties", ()):
            if name in value:
                yield from self.breaches_of(name, value[name])

    def breaches_of(self, name: str, value: Any) -> tuple[Breach, ...]:
        """Where and how the property `name` breaks its schema, if it does and were `value`."""
        alone = {name: value}
        if self._apart.is_valid(alone):
            return ()
        part = self._schema["properties"][name]
        if is_explicable(part, value, self._schema, share=_SHARES):
            return _told(self._apart.iter_errors(alone))
        return ({"pointer": _pointer([name])[:_MAX_DETAIL], "detail": "breaks its schema"},)

    @cached_property
    def _apart(self) -> jsonschema_rs.Draft202012Validator:
        """Each property's schema, without what is asked of the whole."""
        names = self._schema.get("properties", {})
        validator, _ = _compiled(
            {
                "$defs": {"whole": {**self._schema, "$id": _WHOLE}},
                "properties": {
                    name: {"$ref": f"{_WHOLE}#{quote(_pointer(['properties', name]))}"}
                    for name in names
                },
            }
        )
        return validator


def summary(breaches: Sequence[Breach]) -> str:
    """The first of `breaches` in a line, and how many more there are."""
    told = "; ".join(f"{b['pointer'] or '(whole)'}: {b['detail']}" for b in breaches[:3])
    return told + (f"; and {len(breaches) - 3} more" if len(breaches) > 3 else "")


def _compiled(schema: dict[str, Any]) -> tuple[jsonschema_rs.Draft202012Validator, bool]:
    """A validator, and whether all of its patterns take linear time."""
    make = partial(jsonschema_rs.Draft202012Validator, schema, retriever=_no_retrieval)
    try:
        return make(pattern_options=jsonschema_rs.RegexOptions()), True
    except jsonschema_rs.ValidationError:
        options = jsonschema_rs.FancyRegexOptions(backtrack_limit=_MAX_BACKTRACKS)
        return make(pattern_options=options), False


def _no_retrieval(uri: str) -> Any:
    message = f"only local references are followed, not {uri}"
    raise ValueError(message)


def _told(errors: Iterable[jsonschema_rs.ValidationError]) -> tuple[Breach, ...]:
    found = (breach for error in errors for breach in _breaches(error))
    return tuple(islice(found, _MAX_BREACHES))


def _pointer(path: Sequence[str | int]) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def _breaches(error: jsonschema_rs.ValidationError) -> Iterator[Breach]:
    """One breach per offending place: a missing or unexpected property is named by its own."""
    path = list(error.instance_path)
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
        yield {"pointer": _pointer([*path, kind.property]), "detail": "required, but missing"}
        return
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        for name in kind.unexpected:
            yield {"pointer": _pointer([*path, name])[:_MAX_DETAIL], "detail": "not expected here"}
        return
    yield {"pointer": _pointer(path)[:_MAX_DETAIL], "detail": error.message[:_MAX_DETAIL]}
