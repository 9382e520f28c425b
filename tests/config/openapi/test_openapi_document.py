"""Files and references: what is followed, what is not, and how much of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config.openapi.document import MAX_DEPTH, Library, Node

Why = Callable[[Callable[[], Any]], str]


def at(library: Library, name: str) -> Node:
    node = library.root.get(name)
    assert node is not None
    return node


def test_references_within_a_document(documents: Any) -> None:
    content = {"a": {"$ref": "#/b/c~1d%20e/0"}, "b": {"c/d e": [{"$ref": "#/f~0"}]}, "f~": {"g": 1}}
    library = Library(documents.write("api.json", content))
    found = library.resolve(at(library, "a"))
    assert found.value == {"g": 1}
    assert found.where.endswith("api.json#/f~0")


def test_references_to_files_below(documents: Any) -> None:
    documents.write("parts/schemas/user.json", {"User": {"$ref": "../common.json#/x"}})
    documents.write("parts/common.json", {"x": {"type": "string"}})
    documents.write("whole.json", {"type": "integer"})
    content = {"a": {"$ref": "parts/schemas/user.json#/User"}, "b": {"$ref": "./whole.json"}}
    documents.write("api.json", content)
    library = Library(Path("api.json"))
    found = library.resolve(at(library, "a"))
    assert (found.value, found.where) == ({"type": "string"}, "parts/common.json#/x")
    assert library.resolve(at(library, "b")).value == {"type": "integer"}


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.com/x.json",
        "http://127.0.0.1/x.json#/a",
        "file:///etc/passwd",
        "//example.com/x",
        "/etc/passwd",
        "\\\\host\\x",
        "data:application/json,{}",
        "../outside.json",
        "a/../../outside.json",
        "%2e%2e/outside.json",
        "link.json",
        "folder/x.json",
    ],
)
def test_nothing_is_fetched_or_read_outside_the_folder(
    documents: Any, unfit: Why, reference: str
) -> None:
    outside = documents.folder.parent / "outside.json"
    outside.write_text('{"secret": 1}')
    (documents.folder / "link.json").symlink_to(outside)
    (documents.folder / "folder").symlink_to("/etc")
    documents.write("api.json", {"a": {"$ref": reference}})
    library = Library(Path("api.json"))
    message = unfit(lambda: library.resolve(at(library, "a")))
    assert message.startswith("api.json#/a: expected a reference within the document or to a file")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("#/nothing", 'expected a reference to a part, got "#/nothing"'),
        ("#/list/7", "expected a reference to a part"),
        ("#/list/x", "expected a reference to a part"),
        ("#name", "names of anchors are not followed"),
        ("none.json", "no such file"),
        (".", "expected a file"),
        ("#/a", "references in a circle"),
        ("#/b", "references in a circle"),
    ],
)
def test_references_that_lead_nowhere(
    documents: Any, unfit: Why, reference: str, message: str
) -> None:
    content = {"a": {"$ref": reference}, "b": {"$ref": "#/c"}, "c": {"$ref": "#/b"}, "list": [1]}
    documents.write("api.json", content)
    library = Library(Path("api.json"))
    assert message in unfit(lambda: library.resolve(at(library, "a")))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{\n"a": 1,\n}', "a.json: not valid JSON: JSON is malformed: "),
        ("a.json", "", "a.json: not valid JSON: Input data was truncated"),
        ("a.json", "[" * 100_000, "a.json: nested too deeply"),
        ("a.txt", "a: 1", "a.txt: not valid JSON"),
        ("a.yaml", "a: [", "a.yaml: not valid YAML: "),
    ],
)
def test_files_that_hold_nothing(
    documents: Any, unfit: Why, name: str, text: str, message: str
) -> None:
    documents.write(name, text)
    assert unfit(lambda: Library(Path(name))).startswith(message)


def test_the_line_of_a_slip(documents: Any, unfit: Why) -> None:
    documents.write("a.json", '{\n"a": 1,\n"b": x\n}')
    assert unfit(lambda: Library(Path("a.json"))).endswith(", line 3")


def test_json_may_call_itself_yaml(documents: Any) -> None:
    documents.write("a.yaml", '{"a": [1]}')
    assert Library(Path("a.yaml")).root.value == {"a": [1]}


def test_depth_is_bounded(documents: Any, unfit: Why) -> None:
    content: Any = {}
    for _ in range(MAX_DEPTH + 1):
        content = {"a": content}
    documents.write("api.json", content)

    def descend() -> None:
        node: Node | None = Library(Path("api.json")).root
        while node is not None:
            node = node.get("a")

    assert f"nested deeper than {MAX_DEPTH}" in unfit(descend)


def test_size_is_bounded_over_all_files(documents: Any, unfit: Why) -> None:
    documents.write("big.json", {"x": "x" * 2**19})
    documents.write("api.json", {"a": {"$ref": "big.json"}, "b": {"$ref": "big2.json"}})
    documents.write("big2.json", {"x": "x" * 2**19})
    library = Library(Path("api.json"), max_bytes=2**20)
    library.resolve(at(library, "a"))
    assert "larger than 1MiB" in unfit(lambda: library.resolve(at(library, "b")))


def test_what_is_looked_at_is_bounded(documents: Any, unfit: Why) -> None:
    documents.write("api.json", {"a": {"$ref": "#/b"}, "b": {}})
    library = Library(Path("api.json"), max_parts=10)
    for _ in range(10):
        library.resolve(at(library, "a"))
    assert "more than 10 parts" in unfit(lambda: library.resolve(at(library, "a")))
