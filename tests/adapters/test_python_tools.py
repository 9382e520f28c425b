"""Python functions as whole tools: schema, description, service; and what keeps one from being one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.python.description import describe
from gateway.adapters.python.docstring import of_arguments, summary
from gateway.app import create_app
from gateway.build import build
from gateway.config.problems import ConfigError
from gateway.core.errors import BadReply, InvalidArguments
from gateway.core.messages import Context, Request
from tests.adapters import toolbox

MODULE = toolbox.__name__
SERVICE = '[services.{}]\nkind = "python"\nmodule = "m"\n'


def properties(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = describe(getattr(toolbox, name), name)["input"]
    return schema["properties"]  # type: ignore[no-any-return]


# ------------------------------------------------------------------ what a function says


def test_hints_are_the_schema() -> None:
    said = describe(toolbox.search, "m:search")
    assert said["description"] == "Find orders by their text."
    assert said["input"] == {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "What is looked for, in any language."},
            "size": {"$ref": "#/$defs/Size", "description": "How large.", "default": "small"},
            "sort": {"enum": ["new", "old"], "default": "new"},
            "most": {
                "type": "integer",
                "minimum": 1,
                "maximum": 50,
                "description": "At most so many.",
                "default": 10,
            },
            "where": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}], "default": None},
        },
        "required": ["text"],
        "additionalProperties": False,
        "$defs": {
            "Size": {"title": "Size", "enum": ["large", "small"]},
            "Place": {
                "title": "Place",
                "description": "Where something is.",
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "zip": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
                },
                "required": ["city"],
            },
        },
    }
    assert set(said["output"]["properties"]) == {"orders", "place"}


@pytest.mark.parametrize("name", ["numpy_style", "sphinx_style", "bare", "open_ended", "items"])
def test_only_objects_of_known_members_are_output_schemas(name: str) -> None:
    assert describe(getattr(toolbox, name), name)["output"] is None


def test_arguments_are_described_in_every_style() -> None:
    assert properties("numpy_style")["a"]["description"] == "How many."
    assert properties("numpy_style")["b"]["description"] == "Its own words."
    assert properties("sphinx_style") == {
        "a": {"type": "integer", "description": "How many."},
        "flag": {"type": "boolean", "description": "Whether.", "default": False},
    }


def test_what_has_no_hint_may_be_anything() -> None:
    assert properties("bare") == {"a": {}, "b": {"default": None}}


def test_a_function_that_takes_every_name_is_open_to_more() -> None:
    assert "additionalProperties" not in describe(toolbox.open_ended, "f")["input"]


@pytest.mark.parametrize(
    ("text", "first", "arguments"),
    [
        (None, "", {}),
        ("", "", {}),
        ("One.", "One.", {}),
        ("One\n    line.\n\n    Args:\n        a: B.\n\n        c (int): D\n            e.\n", "One line.", {"a": "B.", "c": "D e."}),
        ("X.\n\nArgs:\n    a: B.\n    no words here\n\nReturns:\n    d: E.", "X.", {"a": "B. no words here"}),
        ("X.\n\nArgs: of no section\n    a: B.", "X.", {}),
        ("X.\n\nArgs:", "X.", {}),
    ],
)  # fmt: skip
def test_docstrings(text: str | None, first: str, arguments: Mapping[str, str]) -> None:
    assert summary(text) == first
    assert of_arguments(text) == arguments


# ------------------------------------------------------------------ tools


async def called(tool: Mapping[str, Any], /, _services: Any = None, **arguments: Any) -> Any:
    app = create_app({"services": _services or {}, "tools": {"t": tool}})
    async with app.running():
        return (await app.call(Request("t", arguments, Context(request_id="r")))).value


async def test_a_function_is_a_whole_tool() -> None:
    app = create_app({"tools": {"t": {"function": f"{MODULE}:search"}}})
    tool = app.tools["t"]
    assert tool.description == "Find orders by their text."
    assert tool.answers is not None
    async with app.running():
        asked = Request(
            "t", {"text": "abc", "where": {"city": "Lyon", "zip": "1"}}, Context(request_id="r")
        )
        assert (await app.call(asked)).value == {
            "orders": [{"id": 3}],
            "place": {"city": "Lyon", "zip": "1"},
        }
        for wrong in ({}, {"text": 1}, {"text": "a", "most": 99}, {"text": "a", "timeout": 3}):
            with pytest.raises(InvalidArguments):
                await app.call(Request("t", wrong, Context(request_id="r")))


async def test_what_the_file_says_comes_first() -> None:
    tool = {
        "function": f"{MODULE}:sphinx_style",
        "description": "Mine.",
        "input": {"properties": {"a": {"type": "integer", "maximum": 5}}},
        "output": '"return".a',
    }
    app = create_app({"tools": {"t": tool}})
    assert app.tools["t"].description == "Mine."
    assert app.tools["t"].input_schema["properties"]["a"]["maximum"] == 5
    assert await called(tool, a=2) == 2


async def test_generators_are_tools_too() -> None:
    assert await called({"function": f"{MODULE}:items"}, n=2) == [{"id": 0}, {"id": 1}]


async def test_an_answer_is_what_the_function_promises() -> None:
    with pytest.raises(BadReply, match="output schema"):
        await called({"function": f"{MODULE}:lies"})


def test_a_service_with_the_module_is_the_functions() -> None:
    services = {"mine": {"kind": "python", "module": MODULE, "threads": 3, "timeout": "1s"}}
    app = create_app({"services": services, "tools": {"t": {"function": f"{MODULE}:bare"}}})
    assert [node.service for node in app.tools["t"].plan.nodes] == ["mine"]
    assert set(app.config.services) == {"mine"}


def test_functions_of_one_module_share_a_service() -> None:
    tools = {name: {"function": f"{MODULE}:{name}"} for name in ("bare", "items")}
    app = create_app({"tools": tools})
    assert set(app.config.services) == {f"python:{MODULE}"}


def test_the_module_is_not_imported_where_the_file_is_read(tmp_path: Path) -> None:
    """What it does when it is imported is for the process that serves, and so is what it became."""
    (tmp_path / "sidekick.py").write_text('def who(a: int):\n    """First."""\n')
    file = tmp_path / "gateway.toml"
    file.write_text('[tools.t]\nfunction = "sidekick:who"\n')
    for words in ("First.", "Second."):
        (tmp_path / "sidekick.py").write_text(f'def who(a: int):\n    """{words}"""\n')
        assert build(file, record=lambda _: None).tools["t"].description == words
    assert not any("sidekick" in name for name in sys.modules)


# ------------------------------------------------------------------ mistakes


def mistakes(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        build(file, record=lambda _: None)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


WRONG = {
    "no.such:f": "expected an importable module, got 'no.such': ModuleNotFoundError",
    "tests.adapters.broken:f": "ZeroDivisionError",
    "tests.adapters.exits:f": "SystemExit",
    f"{MODULE}:serch": f"{MODULE} has no function 'serch'; did you mean \"search\"?",
    f"{MODULE}:unhintable": "unhintable: lock is hinted as ",
    f"{MODULE}:by_place": "by_place: a is positional only",
    f"{MODULE}:misnamed": "misnamed cannot be read: NameError",
}


def test_what_is_no_tool_is_told_with_its_line(tmp_path: Path) -> None:
    """All at once, by one process."""
    tables = [f'[tools.t{n}]\nfunction = "{function}"\n' for n, function in enumerate(WRONG)]
    lines = mistakes(tmp_path, "".join(tables))
    for number, (line, said) in enumerate(zip(lines, WRONG.values(), strict=True)):
        assert line.startswith(f"gateway.toml:{2 * number + 2}: tools.t{number}.function: ")
        assert said in line


def test_a_module_that_ends_python_is_told(tmp_path: Path) -> None:
    (tmp_path / "ender.py").write_text("import os\nos._exit(7)\n")
    (line,) = mistakes(tmp_path, '[tools.t]\nfunction = "ender:f"\n')
    assert "importing it ended Python with status 7" in line


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            '[tools.t]\nfunction = "m"\n',
            [':2: tools.t.function: expected a function such as "mycompany.directory:lookup", got "m"'],
        ),
        (
            '[tools.t]\nfunctoin = "m:f"\n',
            [':2: tools.t.functoin: unknown key; did you mean "function"?'],
        ),
        (
            SERVICE.format("a") + '[tools.t]\nfunction = "m:f"\ncalls.a = { service = "a", function = "f" }\n',
            [":5: tools.t.function: expected a function or calls, got both"],
        ),
        (
            SERVICE.format("a") + SERVICE.format("b") + '[tools.t]\nfunction = "m:f"\n',
            [":8: tools.t.function: services a and b have the module m: write calls to one of them"],
        ),
    ],
)  # fmt: skip
def test_mistakes_of_the_file(tmp_path: Path, text: str, lines: list[str]) -> None:
    (tmp_path / "m.py").write_text("def f(): ...\n")
    assert mistakes(tmp_path, text) == ["gateway.toml" + line for line in lines]
