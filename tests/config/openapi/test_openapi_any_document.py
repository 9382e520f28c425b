"""Whatever stands in a document, loading it ends in tools or in mistakes that are told."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import ConfigError, load_config
from tests.cli.test_import_openapi import PATHS
from tests.config.test_decode_imports import DOCUMENT

KEYWORDS = st.sampled_from(
    [
        *("$ref", "type", "enum", "const", "properties", "items", "allOf", "anyOf", "required"),
        *("nullable", "default", "pattern", "in", "name", "style", "explode", "schema", "content"),
        *("example", "parameters", "requestBody", "operationId", "servers", "url"),
    ]
)
TEXTS = st.sampled_from(
    [
        "",
        "a",
        "{",
        "{x}",
        "#/components/schemas/User",
        "#",
        "x.json",
        "object",
        "array",
        "\ud800",
        "\0",
    ]
) | st.text(max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS | TEXTS, inner, max_size=3)
    ),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


WHOLE = {**DOCUMENT, "paths": PATHS}


@given(st.lists(st.tuples(st.sampled_from(places(WHOLE)), VALUES), min_size=1, max_size=3))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
def test_loading_ends(tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    content = copy.deepcopy(WHOLE)
    for path, value in changes:
        at: Any = content
        for key in path[:-1]:
            at = at[key] if isinstance(at, dict) and key in at else None
        if isinstance(at, dict):
            at[path[-1]] = value
    (tmp_path / "api.json").write_text(json.dumps(content))
    text = '[services.s]\nkind = "http"\nurl = "http://api.test"\n'
    text += '[tools.api]\nfrom_openapi = "api.json"\nservice = "s"\n'
    (tmp_path / "gateway.toml").write_text(text)
    try:
        told = load_config(tmp_path / "gateway.toml").notes
    except ConfigError as error:
        told = tuple(map(str, error.problems))
    assert all(len(line) < 2000 for line in told)


@pytest.mark.parametrize("depth", [90, 500, 5000, 100_000])
def test_depth_is_no_way_out(tmp_path: Path, depth: int) -> None:
    deep = '{"items":' * depth + "{}" + "}" * depth
    text = json.dumps(WHOLE).replace('{"type": "array"}', deep, 1)
    (tmp_path / "api.json").write_text(text)
    service = {"kind": "http", "url": "http://api.test"}
    tools = {"api": {"from_openapi": str(tmp_path / "api.json"), "service": "s"}}
    try:
        told = load_config({"services": {"s": service}, "tools": tools}).notes
    except ConfigError as error:  # how deep JSON may be is also a matter of Python's version
        told = tuple(map(str, error.problems))
    assert any("nested deeper than" in line or "nested too deeply" in line for line in told)
