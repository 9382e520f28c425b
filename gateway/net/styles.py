"""Values as parts of a request, by OpenAPI's styles.

`query`, `headers`, `form` and placeholders in paths do for plain values; `Spelling` does the rest:
it fills lists and objects into the place and the form that a service expects them in.

Source: OpenAPI 3.1.1, "Style Values" and "Encoding Object"; RFC 6570, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import attrs
import msgspec

from gateway.core.errors import InvalidArguments
from gateway.net.multipart import multipart, plain_parts

__all__ = ["Spelling", "misuse", "spelt_path", "spelt_plainly", "spelt_query"]

_DELIMITERS = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C"}
_PREFIXES = {"simple": "", "label": ".", "matrix": ";"}
_BODIES = frozenset({"form", "part"})
_RESERVED = ":/?@!$'()*,"
"""Reserved characters that may stay as they are: others would end a value, or be read as a space."""


def misuse(
    parameters: Sequence[Mapping[str, Any]], verb: str, path: str, bodies: Sequence[str]
) -> Iterator[str]:
    """What is wrong with a call's `parameters` as a whole.

    Args:
        parameters: As the file has them, defaults filled in.
        verb: The key that holds the path.
        path: Its template.
        bodies: Which of the keys that are a body there are.
    """
    kinds = {parameter["to"] for parameter in parameters} & _BODIES
    others = kinds | ({*bodies} - {"form"} if "form" in kinds else {*bodies})
    if kinds and len(others) > 1:
        yield f"expected at most one body, got {' and '.join(sorted(others))}"
    if kinds and verb in {"get", "head"}:
        yield f"a {verb.upper()} has no body"
    for parameter in parameters:
        name = parameter["name"]
        if parameter["to"] == "path" and f"{{{{{name}}}}}" not in path:
            yield f"expected {{{{{name}}}}} in the path, where the value of {name} goes"


@attrs.frozen(slots=True)
class Spelling:
    """How a call's `parameters` are written into its other keys.

    Args:
        verb: The key that holds the path.
        cookies: What is in every request's `cookie` header already.
        optional_body: Whether a body that is null, or empty, is none.
        max_upload: Bytes of a multipart body.
    """

    verb: str
    cookies: str
    optional_body: bool
    max_upload: float = math.inf

    def __call__(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """A call's rendered keys without `parameters`, their values in the others.

        Raises:
            InvalidArguments: A value of the path is null or empty.
        """
        spelt = dict(arguments)
        spelt["headers"] = dict(arguments.get("headers") or {})
        parameters = spelt.pop("parameters", ())
        for parameter in parameters:
            name, how = parameter["name"], (parameter["value"], parameter["style"])
            if parameter["to"] == "path":
                text = spelt_path(name, *how, explode=parameter["explode"])
                spelt[self.verb] = spelt[self.verb].replace(f"{{{name}}}", text)
            elif parameter["to"] == "header":
                spelt["headers"][name] = spelt_plainly(*how, explode=parameter["explode"])
        self._append_query(spelt, _spelt_all(parameters, "query"))
        cookies = _spelt_all(parameters, "cookie").replace("&", "; ")
        if cookies:
            spelt["headers"]["cookie"] = f"{self.cookies}; {cookies}" if self.cookies else cookies
        self._fill_body(spelt, parameters)
        return spelt

    def _append_query(self, spelt: dict[str, Any], query: str) -> None:
        if query:
            path = spelt[self.verb]
            spelt[self.verb] = f"{path}{'&' if '?' in path else '?'}{query}"

    def _fill_body(self, spelt: dict[str, Any], parameters: Sequence[Mapping[str, Any]]) -> None:
        headers = spelt["headers"]
        if any(parameter["to"] == "form" for parameter in parameters):
            plain = (_field(name, value) for name, value in (spelt.pop("form", None) or {}).items())
            fields = [*plain, _spelt_all(parameters, "form")]
            spelt["body"] = "&".join(filter(None, fields))
            headers.setdefault("content-type", "application/x-www-form-urlencoded")
        parts = [(each["name"], each["value"]) for each in parameters if each["to"] == "part"]
        if any(value is not None for _, value in parts):
            each = (part for name, value in parts for part in plain_parts(name, value))
            headers["content-type"], spelt["body"] = multipart(each, self.max_upload)
        if self.optional_body and not _has_body(spelt):
            headers.pop("content-type", None)


def _has_body(spelt: dict[str, Any]) -> bool:
    """Whether there is a body; one that is as good as none is taken out."""
    form = spelt.get("form")
    if form is not None and all(value is None for value in form.values()):
        del spelt["form"]
    if spelt.get("json") is None:
        spelt.pop("json", None)
    if not spelt.get("body"):
        spelt.pop("body", None)
    return not {"json", "form", "multipart", "body"}.isdisjoint(spelt)


def _spelt_all(parameters: Sequence[Mapping[str, Any]], to: str) -> str:
    """Every value that goes to one place, as a query has them."""
    texts = (
        spelt_query(
            each["name"],
            each["value"],
            each["style"],
            explode=each["explode"],
            allow_reserved=each.get("allow_reserved", False),
        )
        for each in parameters
        if each["to"] == to
    )
    return "&".join(filter(None, texts))


def spelt_path(name: str, value: Any, style: str, *, explode: bool) -> str:
    """A value as a part of a path, percent-encoded but for what its style puts between.

    Raises:
        InvalidArguments: It is null, empty or a dot segment: another resource would be named.
    """
    if style == "json":
        return quote(_json(value), safe="")
    prefix = _PREFIXES[style]
    between = (prefix or ",") if explode else ","
    if isinstance(value, Mapping):
        named = style == "matrix" and not explode
        text = _of_object(value, between, equals=explode)
    elif isinstance(value, list):
        named = style == "matrix" and not explode
        items = [_encoded(item) for item in value if item is not None]
        if style == "matrix" and explode:
            items = [f"{_encoded(name)}={item}" for item in items]
        text = between.join(items)
    else:
        named = style == "matrix"
        text = "" if value is None else _encoded(value)
    if text and named:
        text = f"{_encoded(name)}={text}"
    if not text or prefix + text in {".", ".."}:
        shown = "null" if value is None else "empty" if not text else repr(text)
        raise InvalidArguments(f"not called: {name} in its path is {shown}")
    return prefix + text


def spelt_query(
    name: str, value: Any, style: str, *, explode: bool, allow_reserved: bool = False
) -> str:
    """A value as a part of a query or a form, percent-encoded; empty where there is none.

    Args:
        name: Its name there.
        value: The value.
        style: One of a query's.
        explode: Whether each item is by itself.
        allow_reserved: Whether reserved characters stay where nothing ends by them.
    """
    if value is None:
        return ""
    key = _encoded(name)
    safe = _RESERVED if allow_reserved else ""
    if style == "json":
        return f"{key}={quote(_json(value), safe='')}"
    if style == "deepObject" and isinstance(value, (Mapping, list)):
        return "&".join(_deep(key, value, safe))
    between = _DELIMITERS.get(style, ",")
    if not explode and isinstance(value, (Mapping, list)):
        safe = safe.replace(between, "")
        items = _flat(value) if isinstance(value, Mapping) else value
        text = between.join(_encoded(item, safe) for item in items if item is not None)
        return f"{key}={text}" if text else ""
    if isinstance(value, Mapping):
        return "&".join(filter(None, (_field(k, v, safe) for k, v in value.items())))
    return _field(name, value, safe)


def spelt_plainly(value: Any, style: str, *, explode: bool) -> str | None:
    """A value as a header has it, nothing encoded; `None` where there is none."""
    if value is None:
        return None
    if style == "json":
        return _json(value)
    if isinstance(value, Mapping):
        equals = "=" if explode else ","
        return ",".join(f"{k}{equals}{_text(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, list):
        return ",".join(_text(item) for item in value if item is not None)
    return _text(value)


def _field(name: str, value: Any, safe: str = "") -> str:
    """A field of a form: a list repeats it, an object is JSON."""
    items = value if isinstance(value, list) else [value]
    key = _encoded(name)
    return "&".join(f"{key}={_encoded(item, safe)}" for item in items if item is not None)


def _of_object(value: Mapping[str, Any], between: str, *, equals: bool) -> str:
    sign = "=" if equals else between
    return between.join(
        f"{_encoded(key)}{sign}{_encoded(item)}" for key, item in value.items() if item is not None
    )


def _flat(value: Mapping[str, Any]) -> Iterator[Any]:
    """Names and values by turns, null left out with its name."""
    for name, item in value.items():
        if item is not None:
            yield from (name, item)


def _deep(key: str, value: Any, safe: str) -> Iterator[str]:
    """`key[a][0]=…` for every plain value within.

    OpenAPI leaves open how deep an object goes and what becomes of lists; services that go deeper
    take this form (PHP, Rails, qs, Stripe).
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _deep(f"{key}%5B{_encoded(name)}%5D", item, safe)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _deep(f"{key}%5B{index}%5D", item, safe)
    elif value is not None:
        yield f"{key}={_encoded(value, safe)}"


def _encoded(value: Any, safe: str = "") -> str:
    try:
        return quote(_text(value), safe=safe)
    except UnicodeEncodeError as error:
        raise InvalidArguments(f"not called: a value is no text: {error.reason}") from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
