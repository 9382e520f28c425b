"""Python functions behind the gateway of `test_mcp_features.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gateway
from gateway import content

PIXEL = b"\x89PNG\r\n"
SOUND = b"RIFF"


def add(a: int, b: int) -> dict[str, int]:
    return {"sum": a + b}


def shows() -> list[Any]:
    return [
        content.Text("see"),
        content.Image(PIXEL, "image/png"),
        content.Audio(SOUND, "audio/wav"),
        content.Link("docs://handbook", "handbook"),
        content.Embedded(content.Resource("x://y", blob=PIXEL, mime_type="image/png")),
    ]


async def tells(caller: gateway.Caller) -> str:
    for number in (1, 2, 3):
        await caller.progress(number, 3, f"step {number}")
    await caller.log("debug", "too much")
    await caller.log("warning", {"paper": "low"}, "printer")
    return "told"


def counts() -> Iterator[int]:
    yield from (1, 2, 3)


async def asks(caller: gateway.Caller) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    name = await caller.ask("elicitation/create", {"message": "Who?", "requestedSchema": schema})
    said = {"role": "user", "content": {"type": "text", "text": "Hello"}}
    sample = await caller.ask("sampling/createMessage", {"messages": [said], "maxTokens": 5})
    roots = await caller.ask("roots/list", {})
    return {
        "name": name["content"]["name"],
        "sample": sample["content"]["text"],
        "roots": [root["uri"] for root in roots["roots"]],
    }
