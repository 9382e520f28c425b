"""The scanner finds what tomllib finds, each in its line, whatever the document."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import lines
from gateway.config.lines import TooComplex, scan


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> set[tuple[Any, ...]]:
    """Every key and every array item that tomllib found."""
    found: set[tuple[Any, ...]] = set()
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        found |= {(*path, key)} | paths_of(item, (*path, key))
    return found


def lines_of(text: str) -> dict[tuple[Any, ...], int]:
    return {path: mark.line for path, mark in scan(text).places.items()}


class Writer:
    """Writes a valid document and notes the line of everything it writes."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[tuple[Any, ...], int] = {}
        self.document: dict[str, Any] = {}
        self.count = 0
        self.headers: list[list[str]] = []
        self.implied: list[list[str]] = []
        self.arrays: list[list[str]] = []

    @property
    def line(self) -> int:
        return self.text.count("\n") + 1

    def choose(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def fresh(self) -> str:
        self.count += 1
        odd = self.choose(
            "a", "-", "_", "é", " ", ".", '"', "\\", "#", "]", "=", "\t", "\u2028", ""
        )
        return f"{odd}{self.count}"

    def key(self, name: str) -> str:
        forms = []
        if name.isascii() and name.replace("-", "").replace("_", "").isalnum():
            forms.append(name)
        if "'" not in name:
            forms.append(f"'{name}'")
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        forms += [f'"{escaped}"', '"' + "".join(f"\\U{ord(c):08X}" for c in name) + '"']
        return self.choose(*forms)

    def dotted(self, names: list[str]) -> str:
        return self.choose(".", " . ", "\t.").join(self.key(name) for name in names)

    def blank(self) -> None:
        self.text += self.choose("", " ", "\t", "\n", '# "x" = """ [a] {\n', "#\n\n", "  # ''' é\n")

    def note(self, path: tuple[Any, ...], *, header: bool = True) -> None:
        if header or path not in self.lines:
            self.lines[path] = self.line

    def statement(self, table: tuple[Any, ...], depth: int, *, inline: bool = False) -> None:
        for _ in range(self.choose(1, 1, 2)):
            names = [self.fresh() for _ in range(self.choose(1, 1, 1, 2, 3))]
            again = [*names[:-1], self.fresh()] if len(names) > 1 and not inline else None
            for written in filter(None, (names, again)):
                for end in range(1, len(written)):
                    self.note((*table, *written[:end]), header=False)
                path = (*table, *written)
                self.note(path)
                self.text += self.dotted(written) + self.choose("=", " = ", "\t=")
                self.value(path, depth)
                if inline:
                    return
                self.text += self.choose("", " ", " # ]}'\"") + "\n"

    def value(self, path: tuple[Any, ...], depth: int) -> None:
        kinds = ["scalar", "scalar", "string"] + (["array", "inline"] if depth < 3 else [])
        kind = self.choose(*kinds)
        if kind == "scalar":
            self.text += self.choose(
                *("1", "0x1", "1_000", "1e3", "nan", "true", "1979-05-27", "1979-05-27 07:32:00Z")
            )
        elif kind == "string":
            self.text += self.choose(
                *('"a # b"', '"\\"]\\\\"', "''", "'\\'", "'# \"'", '""', '"""\n\nx\\""" """'),
                *('""""a"" b"""""', "''''a\n'' [x]\n'''''", '"""\\\n   \n  x = 1\n"""', '""""""'),
            )
        elif kind == "array":
            self.array(path, depth)
        else:
            self.text += self.choose("{", "{ ")
            for index in range(self.choose(0, 1, 2, 3)):
                self.text += self.choose(",", " , ") if index else ""
                self.statement(path, depth + 1, inline=True)
            self.text += self.choose("}", " }")

    def array(self, path: tuple[Any, ...], depth: int) -> None:
        self.text += "["
        count = self.choose(0, 1, 2, 3)
        for index in range(count):
            self.blank()
            self.note((*path, index))
            self.value((*path, index), depth + 1)
            self.blank()
            if index < count - 1 or self.choose(True, False):
                self.text += ","
        self.blank()
        self.text += "]"

    def walk(self, names: list[str], *, array: bool) -> tuple[Any, ...]:
        """Enter a header into the document, as TOML would; its path."""
        node: Any = self.document
        path: tuple[Any, ...] = ()
        for index, name in enumerate(names[:-1]):
            path = (*path, name)
            if name not in node:
                node[name] = {}
                self.implied.append(names[: index + 1])
            self.note(path, header=False)
            node = node[name]
            if isinstance(node, list):
                path = (*path, len(node) - 1)
                node = node[-1]
        path = (*path, names[-1])
        if not array:
            node.setdefault(names[-1], {})
            self.note(path)
            return path
        self.note(path, header=False)
        items = node.setdefault(names[-1], [])
        items.append({})
        path = (*path, len(items) - 1)
        self.note(path)
        return path

    def header(self) -> tuple[Any, ...]:
        parents = self.choose([], *self.headers, *self.arrays)
        names = [*parents, *(self.fresh() for _ in range(self.choose(1, 1, 2, 3)))]
        kind = self.choose("table", "table", "array", "again", "late")
        if kind == "again" and self.arrays:
            names = self.choose(*self.arrays)
        elif kind == "late" and self.implied:
            names = self.implied.pop()
        array = kind == "array" or (kind == "again" and bool(self.arrays))
        path = self.walk(names, array=array)
        brackets = ("[[", "]]") if array else ("[", "]")
        self.text += brackets[0] + self.choose("", " ") + self.dotted(names) + brackets[1] + "\n"
        known = self.arrays if array else self.headers
        # Below an array of tables a name means something else with each item: not used again.
        if not any(isinstance(part, int) for part in path[:-1]) and names not in known:
            known.append(names)
        self.implied = [
            names for names in self.implied if not any(names[: len(a)] == a for a in self.arrays)
        ]
        return path


@st.composite
def documents(draw: Any) -> tuple[str, dict[tuple[Any, ...], int]]:
    writer = Writer(draw)
    table: tuple[Any, ...] = ()
    for _ in range(draw(st.integers(0, 6))):
        writer.blank()
        if writer.choose(True, False):
            table = writer.header()
        else:
            writer.statement(table, 0)
    writer.blank()
    return writer.text, writer.lines


@settings(max_examples=300, deadline=None)
@given(document=documents(), carriage=st.booleans())
def test_finds_what_tomllib_finds_in_the_line_it_stands_in(
    document: tuple[str, dict[tuple[Any, ...], int]], carriage: bool
) -> None:
    text, expected = document
    values = tomllib.loads(text.replace("\n", "\r\n") if carriage else text)
    found = lines_of(text)
    assert set(found) == paths_of(values)
    assert found == expected
    assert scan(text).duplicates == []


@given(st.text(alphabet="ab[]{}=.,#'\"\\\n 1", max_size=60))
def test_any_text_ends_quietly_and_whatever_tomllib_takes_is_found(text: str) -> None:
    marks = scan(text)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(marks.places) == paths_of(values)


def test_a_table_stands_where_its_header_does_even_if_a_part_of_it_came_first() -> None:
    text = "[a.b]\nx = 1\n[a]\ny = 2\n"
    assert lines_of(text) == {
        ("a",): 3,
        ("a", "b"): 1,
        ("a", "b", "x"): 2,
        ("a", "y"): 4,
    }


def test_tables_in_arrays_of_tables_belong_to_the_last_item() -> None:
    text = "[[a]]\n[a.b]\n[[a.c]]\n[[a]]\n[[a.c]]\nx.y = 1\n"
    assert lines_of(text) == {
        ("a",): 1,
        ("a", 0): 1,
        ("a", 0, "b"): 2,
        ("a", 0, "c"): 3,
        ("a", 0, "c", 0): 3,
        ("a", 1): 4,
        ("a", 1, "c"): 5,
        ("a", 1, "c", 0): 5,
        ("a", 1, "c", 0, "x"): 6,
        ("a", 1, "c", 0, "x", "y"): 6,
    }


@pytest.mark.parametrize(
    ("text", "path", "first", "line"),
    [
        ("a = 1\nb = 2\na = 3\n", ("a",), 1, 3),
        ("[a]\n[b]\n[a]\n", ("a",), 1, 3),
        ("[a]\nb = 1\n[a.b]\n", ("a", "b"), 2, 3),
        ("x = { y = 1, y = 2 }\n", ("x", "y"), 1, 1),
    ],
)
def test_knows_what_is_written_twice(
    text: str, path: tuple[str, ...], first: int, line: int
) -> None:
    assert scan(text).duplicates == [lines.Duplicate(path, first, line)]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("\na = " + "[" * 70 + "]" * 70, 2, "nested deeper than 64"),
        ("a = " + "{a = " * 70 + "1" + "}" * 70, 1, "nested deeper than 64"),
        ("\n\n[" + ".".join("a" * 70) + "]", 3, "nested deeper than 64"),
        ("a = [\n" + "1,\n" * 200_000 + "]", 200_001, "more than 200000 keys and items"),
    ],
)
def test_is_bounded(text: str, line: int, message: str) -> None:
    with pytest.raises(TooComplex) as caught:
        scan(text)
    assert (caught.value.line, caught.value.message) == (line, message)
