"""A short share of the fuzz; `python -m tests.fuzz` runs the whole."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.fuzz.conversations import conversation
from tests.fuzz.mutations import mutated
from tests.fuzz.run import app, fuzz

pytestmark = pytest.mark.end_to_end

CONNECTIONS = 2_000


async def test_no_mutation_touches_a_neighbour() -> None:
    findings = await fuzz(range(CONNECTIONS), seed=1, workers=48)
    assert not findings.texts, str(findings)
    assert findings.answers > CONNECTIONS / 20


async def test_a_fault_is_found_and_named_by_its_connection() -> None:
    async def faulty(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == "/a/b":
            raise RuntimeError("planted")
        await app(scope, receive, send)

    findings = await fuzz(range(100), seed=1, workers=8, served=faulty)
    (text,) = findings.texts
    assert "planted" in text
    number = int(text.rpartition("(connection ")[2].rstrip(")"))
    again = await fuzz([number], seed=1, workers=1, served=faulty)
    assert list(again.texts) == [text]


def test_a_seed_says_all() -> None:
    def made(seed: str) -> list[bytes]:
        random = Random(seed)
        return mutated(conversation(random).pieces, random)

    assert [made(f"1/{n}") for n in range(50)] == [made(f"1/{n}") for n in range(50)]
    assert made("1/1") != made("2/1")
