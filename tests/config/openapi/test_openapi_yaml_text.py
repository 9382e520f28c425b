"""YAML as OpenAPI means it: YAML 1.2's values, keys that are text, no surprises."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from gateway.config.openapi.yaml_text import NotYaml, decode_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: no\nb: on\nc: Yes\nd: true\ne: False", {"a": "no", "b": "on", "c": "Yes", "d": True, "e": False}),
        ("200: x\nnull: y\ntrue: z", {"200": "x", "null": "y", "true": "z"}),
        ("[1, -2, 1.5, 1e3, .5, 010, 1_000, 0x1f]", [1, -2, 1.5, 1000.0, 0.5, 10, "1_000", "0x1f"]),
        ("[~, null, '', \"null\", 'no', \"1\"]", [None, None, "", "null", "no", "1"]),
        ("a:\nb: 1", {"a": None, "b": 1}),
        ("d: 2024-01-01\nt: 12:30", {"d": "2024-01-01", "t": "12:30"}),
        ("a: !!str 1", {"a": "1"}),
        ("a: |\n  x\n  y\nb: >\n  x\n  y\n", {"a": "x\ny\n", "b": "x y\n"}),
        ("a: &x {n: 1}\nb: *x\nc: &y 2\nd: [*y, *x]", {"a": {"n": 1}, "b": {"n": 1}, "c": 2, "d": [2, {"n": 1}]}),
        ("a: &x {n: 1, m: 1}\nb: {<<: *x, n: 2}", {"a": {"n": 1, "m": 1}, "b": {"n": 2, "m": 1}}),
        ("a: &x {n: 1}\nb: {m: 2, <<: [*x, {n: 3, o: 4}]}", {"a": {"n": 1}, "b": {"m": 2, "n": 1, "o": 4}}),
        ("9" * 5000, "9" * 5000),
        ("9" * 400 + ".0", "9" * 400 + ".0"),
        ("", None),
    ],
)  # fmt: skip
def test_values(text: str, value: Any) -> None:
    assert decode_yaml(text.encode(), 10) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "the key 'a' stands there twice, line 2"),
        ("a: *x", "*x stands for nothing before it, line 1"),
        ("a: &x [*x]", "*x stands for nothing before it"),
        ("a: !!python/object/apply:os.system [x]", "the tag tag:yaml.org,2002:python"),
        ("a: !include x.yaml\nb: 1", "the tag !include means nothing here, line 1"),
        ("a: 1\n---\nb: 2", "a second document in the same file, line 2"),
        ("? [a]\n: 1", "expected a key that is text"),
        ("a: [[[1]]]", "nested deeper than 3, line 1"),
        ("a: !!int '1'", "the tag tag:yaml.org,2002:int"),
        ("{<<: 1}", "expected mappings after <<"),
        ("a: [1", "line 2"),
        ("a: \x07", "not valid YAML: "),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(NotYaml) as caught:
        decode_yaml(text.encode(), 3)
    assert str(caught.value).startswith("not valid YAML: ")
    assert message in str(caught.value)


def test_aliases_are_no_bomb() -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [
        f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}], y: [*a{i - 1}, *a{i - 1}]}}"
        for i in range(1, 60)
    ]
    value = decode_yaml("\n".join(lines).encode(), 10)
    assert value["a59"]["y"][0] is value["a58"]


def test_what_is_merged_is_bounded() -> None:
    keys = ", ".join(f"k{number}: 1" for number in range(1000))
    text = f"a: &a {{{keys}}}\nb:\n" + "- {<<: *a}\n" * 1001
    with pytest.raises(NotYaml, match="more than 1000000 keys from <<, all of them together, line"):
        decode_yaml(text.encode(), 5)


def test_without_the_library_it_says_what_is_missing() -> None:
    program = (
        "import sys; sys.modules['yaml'] = None\n"
        "from gateway.config.openapi.yaml_text import decode_yaml\n"
        "try: decode_yaml(b'a: 1', 5)\n"
        "except ValueError as error: print(error)"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert "pip install 'trio-gateway[yaml]', or convert it to JSON" in said.stdout
