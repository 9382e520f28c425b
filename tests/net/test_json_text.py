"""JSON from outside."""

from __future__ import annotations

import pytest

from gateway.net.json_text import MAX_DEPTH, decode_json


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("around", ["{}", "[{}, 1]", '{{"x": {}}}'])
def test_depth_is_bounded(opening: str, around: str) -> None:
    closing = "]" if opening == "[" else "}"
    before, _, after = around.partition("{}")
    own = 0 if around == "{}" else 1
    before, after = before.replace("{{", "{"), after.replace("}}", "}")

    def nested(depth: int) -> bytes:
        inner = opening * (depth - 1) + "[]" + closing * (depth - 1)
        return (before + inner + after).encode()

    decode_json(nested(MAX_DEPTH - own))
    for depth in (MAX_DEPTH + 1 - own, 900, 5000):
        with pytest.raises(ValueError, match="nested deeper than 200"):
            decode_json(nested(depth))


def test_many_brackets_are_not_depth() -> None:
    assert len(decode_json(b"[" + b"[{}]," * 1000 + b"1]")) == 1001
    assert decode_json(b'"' + b"[" * 1000 + b'"') == "[" * 1000


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff", b'"\\ud800"', b'"\\ud800 more text"', b'"\xed\xa0\x80"']
)
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the decoder's
        decode_json(text)
