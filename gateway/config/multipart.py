"""The codec of a call's `multipart`: fields, and files with what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from gateway.config import fields
from gateway.config.codec import Codec, decode_each
from gateway.config.json_values import table_of, to_json
from gateway.config.problems import Refused
from gateway.config.tables import codecs_of, decode_keys, schema_of

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["FilePart", "multipart_parts"]

_CONTENTS = ("text", "base64", "json", "file")


@attrs.frozen(slots=True, kw_only=True)
class FilePart:
    """A file among the parts of `multipart`, or a field with a type of its own."""

    filename: str | None = fields.string(
        default=None, doc="Its name; null or left out: it is no file."
    )
    content_type: str | None = fields.string(
        default=None, doc="Its media type. Left out: what fits how its content is given."
    )
    text: str | None = fields.string(
        default=None, doc="Its content as text; null leaves the part out."
    )
    base64: str | None = fields.string(
        default=None, doc="Its content as base64; null leaves the part out."
    )
    json: Any = fields.json(default=None, doc="Its content as a value of JSON.")
    file: Any = fields.json(
        default=None,
        doc="Its content as a client gives it: text, or a table of the other keys; a list of such is "
        "several files, null none.",
    )


def multipart_parts() -> Codec:
    """A table of names to values, files, and lists of both → a dict.

    Which of them are files is written there: a table that fills a placeholder is a value of JSON,
    unless it fills a `file`.
    """
    codecs = codecs_of(FilePart)

    def decode_file(table: Mapping[str, Any], place: Place) -> dict[str, Any]:
        decoded = decode_keys(codecs, table, place)
        if decoded.failed:
            raise Refused(None)
        contents = [key for key in _CONTENTS if key in decoded.values]
        if len(contents) != 1:
            got = " and ".join(contents) or "none"
            raise Refused(f"expected one of {', '.join(_CONTENTS)} as a file's content, got {got}")
        return dict(decoded.values)

    def decode_one(value: Any, place: Place) -> Any:
        if isinstance(value, Mapping):
            return decode_file(value, place)
        if isinstance(value, list):
            return list(decode_each(enumerate(value), place, decode_one).values())
        return to_json(value, place)

    schema = {"anyOf": [{"not": {"type": "object"}}, schema_of(codecs)]}
    codec = table_of(decode_one)
    return attrs.evolve(codec, schema={"type": "object", "additionalProperties": schema})
