"""Values as TOML: what is read back is what was written."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.toml import inline, tables

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
SCALARS = TEXTS | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_written_is_read_back(table: dict[str, Any]) -> None:
    text = "\n".join(tables(("tools", "a b"), table))
    read = tomllib.loads(text)
    assert read.get("tools", {}).get("a b", {}) == table


def test_it_reads_well() -> None:
    table = {
        "description": "One.\nTwo.",
        "input": {"properties": {"id": {"type": "integer"}}, "required": ["id"]},
        "calls": {"reply": {"get": "/x", "query": {"a-b": 1}}},
    }
    assert "\n".join(tables(("tools", "t"), table)) == (
        """
[tools.t]
description = \"\"\"
One.
Two.\"\"\"

[tools.t.input]
required = ["id"]

[tools.t.input.properties]
id = { type = "integer" }

[tools.t.calls.reply]
get = "/x"
query = { a-b = 1 }"""
    )


@pytest.mark.parametrize("value", [None, object()])
def test_what_toml_has_not(value: object) -> None:
    with pytest.raises(TypeError, match="TOML has no"):
        inline(value)
