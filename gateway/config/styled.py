"""The codec of a call's `parameters`: values whose text in a request has a style of OpenAPI's.

Source: OpenAPI 3.1.1, "Style Values".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from gateway.config import fields
from gateway.config.codec import Codec, decode_each, expected
from gateway.config.headers import header_name
from gateway.config.problems import Refused
from gateway.config.tables import codecs_of, decode_keys, schema_of
from gateway.config.text import alternatives, show

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["STYLES", "StyledParameter", "styled_parameters"]

_LIKE_QUERIES = ("form", "spaceDelimited", "pipeDelimited", "deepObject", "json")

STYLES: Mapping[str, tuple[str, ...]] = {
    "path": ("simple", "label", "matrix", "json"),
    "query": _LIKE_QUERIES,
    "header": ("simple", "json"),
    "cookie": ("form", "json"),
    "form": _LIKE_QUERIES,
    "part": ("form",),
}
"""Where a value may go, and the styles it may have there, the usual one first."""

_WITH_RESERVED = ("query", "form")


@attrs.frozen(slots=True, kw_only=True)
class StyledParameter:
    """One of `parameters`."""

    to: str = fields.one_of(*STYLES, doc="Where the value goes; `part` is one of a multipart body.")
    name: str = fields.string(doc="Its name there; in a path, what `{{name}}` says.")
    value: Any = fields.json(doc="The value; null leaves it out.")
    style: str | None = fields.one_of(
        *dict.fromkeys(style for styles in STYLES.values() for style in styles),
        default=None,
        doc="OpenAPI's name of its form. Left out: the usual one there.",
    )
    explode: bool | None = fields.boolean(
        default=None, doc="Whether each item is by itself. Left out: only where the style is form."
    )
    allow_reserved: bool = fields.boolean(
        default=False,
        doc="Whether `:/?@!$'()*,` stay as they are where no value ends by them; in a query or a form.",
    )


def styled_parameters() -> Codec:
    """A list of values with a place and a style each → a list of dicts, defaults filled in."""
    wanted = 'a list such as [{ to = "query", name = "ids", explode = false, value = "{ids}" }]'
    codecs = codecs_of(StyledParameter)

    def decode_one(value: Any, place: Place) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise expected("a table with to, name, value", value)
        decoded = decode_keys(codecs, value, place)
        if decoded.failed:
            raise Refused(None)
        written = dict(decoded.values)
        styles = STYLES[written["to"]]
        style = written.setdefault("style", styles[0])
        if style not in styles:
            (place / "style").refuse(f"expected {alternatives(styles)}, got {show(style)}")
        if written["to"] == "header":
            header_name(written["name"])
        if written.get("allow_reserved") and written["to"] not in _WITH_RESERVED:
            (place / "to").refuse(
                f"expected {alternatives(_WITH_RESERVED)} where reserved characters are allowed, "
                f"got {show(written['to'])}"
            )
        written.setdefault("explode", style == "form")
        return written

    def decode(value: Any, place: Place) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise expected(wanted, value)
        return list(decode_each(enumerate(value), place, decode_one).values())

    return Codec(decode=decode, wanted=wanted, schema={"type": "array", "items": schema_of(codecs)})
