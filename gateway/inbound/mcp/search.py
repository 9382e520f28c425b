"""`search_tools` and `call_tool`: a big catalogue as two tools, and BM25 to find one's way in it.

The ranking is our own: `bm25s` needs NumPy, 20 MB and 0.1 s of import for what is eighty lines here,
and `rank-bm25`, which needs it too and is no longer kept, scores every document for every query.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009).
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import trio

from gateway.inbound.mcp.listing import Entry, Visible, everything

__all__ = [
    "CALL_TOOL",
    "FOUND",
    "HELPERS",
    "MOST_FOUND",
    "SEARCH_TOOLS",
    "Index",
    "found_in",
    "helpers",
]

SEARCH_TOOLS: Final = "search_tools"
"""The tool that finds tools."""

CALL_TOOL: Final = "call_tool"
"""The tool that calls what was found."""

HELPERS: Final = (SEARCH_TOOLS, CALL_TOOL)
"""The names that are taken where tools are searched."""

FOUND: Final = 5
"""Tools that one search gives if it does not say."""

MOST_FOUND: Final = 20
"""Tools that one search gives at most."""

_K1 = 1.2
_B = 0.75
_OF_NAME = 3
"""How often a word of a tool's name counts for one of its description."""

_MAX_QUERY = 1_000
_MAX_WORDS = 16
"""Words of a query that are looked for: the rarest ones."""

_MAX_TEXT = 10_000
"""Characters of a description that are looked at."""

_AT_ONCE = 50
"""Tools that are indexed before others get their turn."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")


def _words(text: str) -> Iterator[str]:
    """The words in a text: parts of `camelCase` and `snake_case` too, plurals as singulars."""
    for found in _WORDS.finditer(text[:_MAX_TEXT]):
        word = found[0].lower()
        yield word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word


def _words_of(item: Mapping[str, Any]) -> Counter[str]:
    name = str(item.get("name"))
    words = Counter({name.lower(): _OF_NAME})
    for text in (name, item.get("title")):
        for word in _words(text) if isinstance(text, str) else ():
            words[word] += _OF_NAME
    description = item.get("description")
    words.update(_words(description) if isinstance(description, str) else ())
    schema = item.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if isinstance(properties, Mapping):
        words.update(_words(" ".join(properties)))
    return words


class Index:
    """Tools by the words that they say: how well each fits is worked out once.

    Args:
        entries: The tools.
        postings: By word: the places of the tools that have it, and what it says for each.
    """

    def __init__(
        self, entries: Sequence[Entry], postings: Mapping[str, tuple[list[int], list[float]]]
    ) -> None:
        self._entries = entries
        self._postings = postings

    @classmethod
    async def of(cls, entries: Sequence[Entry]) -> Index:
        """The index of `entries`; others get their turn meanwhile.

        Cancellation: nothing comes of it.
        """
        counts: list[Counter[str]] = []
        having: Counter[str] = Counter()
        for entry in entries:
            counts.append(_words_of(entry.item))
            having.update(counts[-1].keys())
            if len(counts) % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        lengths = [counted.total() for counted in counts]
        average = sum(lengths) / len(lengths) if lengths else 1.0
        postings: dict[str, tuple[list[int], list[float]]] = {word: ([], []) for word in having}
        for place, counted in enumerate(counts):
            norm = _K1 * (1 - _B + _B * lengths[place] / average)
            for word, count in counted.items():
                rare = math.log(1 + (len(counts) - having[word] + 0.5) / (having[word] + 0.5))
                places, scores = postings[word]
                places.append(place)
                scores.append(rare * count * (_K1 + 1) / (count + norm))
            if place % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        return cls(entries, postings)

    def search(self, query: str, limit: int = FOUND, visible: Visible = everything) -> list[Entry]:
        """The tools that fit `query` best, the best first; those that do not fit are left out.

        Args:
            query: Words. Their order does not matter.
            limit: How many tools at most.
            visible: Which of them the client may know of.
        """
        query = query[:_MAX_QUERY]
        wanted = {query.strip().lower(), *_words(query)} & self._postings.keys()
        # What most tools say tells none apart, and costs the most.
        half = len(self._entries) / 2
        telling = {word for word in wanted if len(self._postings[word][0]) <= half} or wanted
        rarest = sorted(telling, key=lambda word: (len(self._postings[word][0]), word))
        scores = [0.0] * len(self._entries)
        for word in rarest[:_MAX_WORDS]:
            for place, score in zip(*self._postings[word], strict=True):
                scores[place] += score
        fitting = (
            (-score, place)
            for place, score in enumerate(scores)
            if score and visible(self._entries[place])
        )
        return [self._entries[place] for _, place in heapq.nsmallest(limit, fitting)]


def found_in(entries: Sequence[Entry]) -> dict[str, Any]:
    """What `search_tools` gives: of each tool what it takes to call it."""
    keys = ("name", "title", "description", "inputSchema")
    return {"tools": [{key: e.item[key] for key in keys if key in e.item} for e in entries]}


def helpers(count: int) -> tuple[Entry, ...]:
    """The entries of `search_tools` and `call_tool`.

    Args:
        count: How many tools there are to be found.
    """
    query = {"type": "string", "description": "Words that say what is to be done."}
    limit = {"type": "integer", "minimum": 1, "maximum": MOST_FOUND, "default": FOUND}
    name = {"type": "string", "description": f"The tool's name, as {SEARCH_TOOLS} gave it."}
    arguments = {"type": "object", "description": "What its inputSchema asks for."}
    search = {
        "name": SEARCH_TOOLS,
        "description": (
            f"Find the tools for a task among {count}: those that fit best, with the schemas of "
            f"their arguments. Call them with {CALL_TOOL}."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {"query": query, "limit": limit},
            "required": ["query"],
            "additionalProperties": False,
        },
        "annotations": {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False},
    }
    call = {
        "name": CALL_TOOL,
        "description": f"Call a tool that {SEARCH_TOOLS} found; the answer is that tool's own.",
        "inputSchema": {
            "type": "object",
            "properties": {"name": name, "arguments": arguments},
            "required": ["name"],
            "additionalProperties": False,
        },
        "annotations": {"readOnlyHint": False, "destructiveHint": True},
    }
    return Entry(SEARCH_TOOLS, search), Entry(CALL_TOOL, call)
