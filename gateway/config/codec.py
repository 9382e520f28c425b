"""What a key knows of its value: how to decode it, how to say what was expected, its schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from gateway.config.problems import Refused
from gateway.config.text import show

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["Codec", "Decode", "Template", "decode_each", "expected", "sound"]

Decode: TypeAlias = "Callable[[Any, Place], Any]"
"""From a value as TOML holds it to what the class holds, or `Refused`."""

Template: TypeAlias = Literal["path", "text", "value"]
"""How placeholders in a value are filled in: as segments of a path, as text, or keeping types."""


@attrs.frozen(slots=True, kw_only=True)
class Codec:
    """One key's value.

    Args:
        decode: From the value in the file to the value in the class. A value that is a whole of
            several tells each part's mistakes at its own place.
        wanted: What belongs here, as messages say it: `a duration such as "2s"`.
        schema: JSON Schema (draft 7) of the value in the file.
        doc: One sentence for the reference.
        default: The value where the key is absent, as the file would write it; `NOTHING` where
            the key is required, `None` where absence has a meaning of its own.
        template: How placeholders in it are filled in; `None` where it holds none.
        write: From the value in the class back to what the file would say, for people to read.
    """

    decode: Decode
    wanted: str
    schema: Mapping[str, Any] = attrs.field(factory=dict)
    doc: str = ""
    # A factory: to attrs, NOTHING itself would mean that the field has no default.
    default: Any = attrs.field(factory=lambda: attrs.NOTHING)
    template: Template | None = None
    write: Callable[[Any], Any] = lambda value: value

    @property
    def required(self) -> bool:
        """Whether the key must be there."""
        return self.default is attrs.NOTHING


def expected(wanted: str, value: Any) -> Refused:
    """The refusal of `value` where `wanted` belongs, for the caller to raise."""
    return Refused(f"expected {wanted}, got {show(value)}")


def decode_each(items: Iterable[tuple[Any, Any]], place: Place, decode: Decode) -> dict[Any, Any]:
    """Decode the parts of a whole, each at its own place, and tell every mistake among them.

    Args:
        items: Keys or indices, and values.
        place: Where the whole stands.
        decode: Decodes one part.

    Raises:
        Refused: At least one part was refused; nothing is left to tell.
    """
    decoded: dict[Any, Any] = {}
    whole = True
    for key, value in items:
        here = place / key
        try:
            decoded[key] = decode(value, here)
        except Refused as refused:
            here.tell(refused)
            whole = False
    if not whole:
        raise Refused(None)
    return decoded


def sound(value: Any, wanted: str, fault_of: Callable[[str], str | None]) -> str:
    """`value`, if it is text without a fault.

    Args:
        value: As it is written.
        wanted: What is expected, for the message.
        fault_of: What is wrong with a text; `None` if nothing is.

    Raises:
        Refused: It is no text, or has a fault.
    """
    if not isinstance(value, str):
        raise expected(wanted, value)
    fault = fault_of(value)
    if fault is not None:
        raise Refused(f"expected {wanted}, got {show(value)}: {fault}")
    return value
