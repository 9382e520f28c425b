"""A tool's output schema: what is listed to clients, and what every answer is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from gateway.core.content import Content
from gateway.core.errors import BadReply
from gateway.core.messages import Reply
from gateway.plan.validation import Validator, summary

__all__ = ["AnswerSchema"]

_ERRORS = {"type": "array", "items": {"type": "object"}}
"""Of `_errors`, which a partial answer has besides."""


@attrs.frozen(slots=True)
class AnswerSchema:
    """What a tool's answers must be.

    Args:
        schema: JSON Schema 2020-12 with `type: object` at its root, as clients are shown it.
    """

    schema: Mapping[str, Any]
    _validator: Validator = attrs.field(repr=False, eq=False)

    @classmethod
    def compile(cls, schema: Mapping[str, Any], *, partial: bool) -> AnswerSchema:
        """Compile `schema`.

        Args:
            schema: As it is written.
            partial: Whether answers may lack something: then `_errors` is among its properties.

        Raises:
            ValueError: As `Validator`.
        """
        properties = schema.get("properties", {})
        if partial and "_errors" not in properties:
            schema = {**schema, "properties": {**properties, "_errors": _ERRORS}}
        return cls(schema, Validator(schema))

    def check(self, reply: Reply) -> None:
        """Hold an answer against it, as clients are about to get it.

        Args:
            reply: Sealed.

        Raises:
            BadReply: It breaks the schema; `errors` lists every breach (100 at most).
        """
        if isinstance(reply.value, Content) and not reply.value.structured:
            raise BadReply(
                "the answer is content without the value that the output schema declares"
            )
        try:
            value = msgspec.json.decode(reply.encoded)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadReply(f"the answer cannot be decoded: {error}") from error
        if self._validator.is_valid(value):
            return
        breaches = self._validator.breaches(value)
        raise BadReply(
            f"the answer breaks the tool's output schema: {summary(breaches)}", errors=breaches
        )
