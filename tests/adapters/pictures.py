"""Functions that give content."""

from __future__ import annotations

from typing import Any

from gateway import content

PNG = b"\x89PNG"


def image() -> content.Image:
    return content.Image(PNG, "image/png")


async def mixed() -> list[Any]:
    return ["Here:", content.Image(PNG, "image/png"), content.Link("docs://a", "a")]


def both(days: Any = 3) -> content.Result:
    return content.Result({"days": days}, [content.Image(PNG, "image/png")])


def deep() -> content.Result:
    value: Any = 1
    for _ in range(300):
        value = [value]
    return content.Result(value, [])


def wrong() -> content.Image:
    return content.Image(PNG, "no media type")


def looks_like_it() -> list[Any]:
    return [{"type": "text", "text": "hi"}]


def fails() -> None:
    raise RuntimeError
