"""A statement as it is written: which parameters it has, and that it is one statement.

What stands in quotes and comments is passed over, as SQL has them: `'…'` with `''` inside, `"…"`,
`$tag$…$tag$`, `E'…'` with backslashes, `-- …`, `/* … */`, which nest.

Source: PostgreSQL 15, section 4.1; SQLite, "SQL Comment Syntax", "Parameters".
"""

from __future__ import annotations

import re

import attrs

__all__ = ["Statement"]

_SKIPPED = re.compile(
    r"""
      [eE]'(?:[^'\\]|\\.|'')*'      # PostgreSQL's with backslashes
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    | `[^`]*`
    | --[^\n]*
    | \$(?P<tag>[A-Za-z_][A-Za-z0-9_]*|)\$.*?\$(?P=tag)\$
    | ::                            # a cast
    | (?<=[\w\]]):(?=[\w(])         # an array's slice
    | (?P<open>/\*)
    | (?P<name>:[A-Za-z_][A-Za-z0-9_]*)
    | (?P<end>;)
    | (?P<odd>\{|\$[0-9]+|\?)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")
_PLAIN = re.compile(
    r"[\s(]*(?:select|insert|update|delete|merge|with|values|table)\b", re.IGNORECASE
)
_OF_SESSION = re.compile(
    r"advisory_lock|set_config|setseed|dblink|pg_temp|\binto\s+(?:local\s+|global\s+)?temp",
    re.IGNORECASE,
)


@attrs.frozen(slots=True)
class Statement:
    """One statement.

    Args:
        parts: Its text, cut where parameters stand.
        names: The parameters between them, one fewer.
        question: Whether there is a question mark: a parameter without a name to SQLite, one of
            PostgreSQL's operators.
    """

    parts: tuple[str, ...]
    names: tuple[str, ...]
    question: bool = False
    marks_session: bool = attrs.field(init=False)
    """Whether PostgreSQL may keep something of it for as long as the session lasts: by its words, of
    which rather too many are taken for such than too few."""

    @marks_session.default
    def _by_its_words(self) -> bool:
        text = self.text(["?"] * len(self.names))
        return _PLAIN.match(text) is None or _OF_SESSION.search(text) is not None

    @classmethod
    def of(cls, text: str) -> Statement:
        """The statement that `text` is.

        Raises:
            ValueError: It is none, or more than one; it has parameters of another form.
        """
        parts: list[str] = []
        names: list[str] = []
        start = at = 0
        ended: int | None = None
        question = False
        while (found := _SKIPPED.search(text, at)) is not None:
            if ended is not None and text[ended : found.start()].strip():
                break
            at = found.end()
            if found["open"]:
                at = _end_of_comment(text, at)
            elif found["end"] and ended is None:
                ended = at
            elif found["odd"] == "?":
                question = True
            elif found["odd"]:
                raise ValueError(
                    f"sql: {found['odd']} is filled in nowhere; a parameter is written :name"
                )
            elif found["name"]:
                parts.append(text[start : found.start()])
                names.append(found["name"][1:])
                start = at
        if ended is not None and _is_anything(text[ended:]):
            raise ValueError("sql: expected one statement, got several")
        whole = text[start:] if ended is None else text[start : ended - 1]
        parts.append(whole)
        if not _is_anything("".join(parts)) and not names:
            raise ValueError("sql: expected a statement, got none")
        return cls(tuple(parts), tuple(names), question)

    def text(self, marks: list[str], escaped: str = "") -> str:
        """The statement with something else in its parameters' places.

        Args:
            marks: What stands for each, in order.
            escaped: A character that is doubled everywhere else.
        """
        parts = [part.replace(escaped, escaped * 2) if escaped else part for part in self.parts]
        return "".join(part + mark for part, mark in zip(parts, [*marks, ""], strict=True))


def _end_of_comment(text: str, at: int) -> int:
    """Where the comment ends that began just before `at`."""
    depth = 1
    while depth:
        found = _COMMENT.search(text, at)
        if found is None:
            return len(text)
        depth += 1 if found[0] == "/*" else -1
        at = found.end()
    return at


def _is_anything(text: str) -> bool:
    """Whether `text` holds more than white space, comments and semicolons."""
    at = 0
    while at < len(text):
        if text[at].isspace() or text[at] == ";":
            at += 1
        elif text.startswith("--", at):
            line = text.find("\n", at)
            at = len(text) if line < 0 else line + 1
        elif text.startswith("/*", at):
            at = _end_of_comment(text, at + 2)
        else:
            return True
    return False
