"""What is measured: one request each, the answer it must get, and who takes part.

To add one: a `Scenario` in `SCENARIOS`, and what answers it in each of its subjects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from tests.benchmarks.apps.constant import EVENTS, USER
from tests.benchmarks.subjects import FEDERATION, POLICIES, PROXY, SERVER, US

__all__ = ["FEW", "SCENARIOS", "Ask", "Scenario"]

FEW = 8
"""The connections that everybody can serve."""

_MCP_VERSION = "2026-07-28"


@attrs.frozen(slots=True)
class Ask:
    """The request that is sent over and over.

    Args:
        path: Its path.
        method: Its method.
        headers: Its headers.
        body: Its body.
        varied: Its path where each request is to be another one, with `{n}` for a number.
    """

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes | None = None
    varied: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class Scenario:
    """One kind of work, done by several subjects.

    Args:
        key: Its name on the command line.
        title: Its heading.
        about: What is done, in a sentence.
        ask: The request.
        wanted: The value every subject must answer with.
        read: From an answer's body to that value; it may raise ValueError, LookupError, TypeError.
        subjects: The keys of those that take part, us first.
        fixed_load: Whether latency is measured at a fixed load too.
        least_s: Seconds for which each subject is loaded at least, in every round.
        slow: The keys of those that would be busy with many connections long after a round: they
            are loaded with `FEW` at most.
    """

    key: str
    title: str
    about: str
    ask: Ask
    wanted: Any
    subjects: tuple[str, ...]
    read: Callable[[bytes], Any] = json.loads
    fixed_load: bool = False
    least_s: float = 0.0
    slow: frozenset[str] = frozenset()

    @property
    def ours(self) -> str:
        """The key of the subject that the others are compared with."""
        return self.subjects[0]

    def takes_part(self, key: str, connections: int) -> bool:
        """Whether a subject is loaded with so many connections."""
        return key not in self.slow or connections <= FEW

    def answered_by(self, status: int, body: bytes) -> bool:
        """Whether an answer is the one that is wanted."""
        try:
            return status == 200 and self.read(body) == self.wanted
        except (ValueError, LookupError, TypeError):
            return False


def _tools_call(name: str, arguments: dict[str, Any]) -> Ask:
    meta = {
        "io.modelcontextprotocol/protocolVersion": _MCP_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "wrk", "version": "1"},
    }
    params = {"name": name, "arguments": arguments, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": _MCP_VERSION,
        "mcp-method": "tools/call",
        "mcp-name": name,
    }
    return Ask("/mcp", "POST", headers, json.dumps(message).encode())


def _structured(body: bytes) -> Any:
    return json.loads(body)["result"]["structuredContent"]


_PEERS = ("fastapi", "bare", "hypercorn")
_WEB = (US, *_PEERS)
_PROXIES = (PROXY, *_PEERS, "nginx", "haproxy")

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        key="hello",
        title="Hello",
        about=(
            "An ASGI application answers with a constant, under our server and under others. "
            "Beside it what a whole gateway's cheapest tool and FastAPI's cheapest route cost."
        ),
        ask=Ask("/constant"),
        wanted=USER,
        subjects=(SERVER, "uvicorn-hello", "hypercorn-hello", US, "fastapi"),
    ),
    Scenario(
        key="proxy",
        title="Proxy",
        about="A GET is passed on, and its answer, a small JSON object, passed back as it came.",
        ask=Ask("/files/users/7"),
        wanted=USER,
        subjects=_PROXIES,
        fixed_load=True,
    ),
    Scenario(
        key="one-call",
        title="One call over HTTP",
        about="A GET is answered with what one upstream HTTP service returns: a small JSON object.",
        ask=Ask("/users/7"),
        wanted=USER,
        subjects=_WEB,
        fixed_load=True,
    ),
    Scenario(
        key="policies",
        title="One call, every policy around it",
        about=(
            "As above, with a cache that never has the reply, coalescing, retry, hedge, breaker, "
            "rate, limit, timeout and a fault of a tiny share, beside the same without. Each "
            "request is for another user: the same ones would share a call."
        ),
        ask=Ask("/users/7", varied="/users/{n}"),
        wanted=USER,
        subjects=(POLICIES, US),
    ),
    Scenario(
        key="three-way",
        title="Three calls at once, merged",
        about=(
            "A GET is answered with the replies of three upstream calls, made at once under one "
            "deadline and merged into one object; two of them may fail."
        ),
        ask=Ask("/users/7/profile"),
        wanted={"user": USER, "posts": USER, "todos": USER},
        subjects=_WEB,
        fixed_load=True,
        least_s=2.0,
    ),
    Scenario(
        key="mcp",
        title="One call over MCP",
        about=f"The one-call tool by `tools/call` of MCP {_MCP_VERSION}, without a session.",
        ask=_tools_call("user", {"id": 7}),
        wanted=USER,
        read=_structured,
        subjects=(US, "mcp-lowlevel", "mcp-sdk", "fastmcp"),
        least_s=1.5,
    ),
    Scenario(
        key="federation",
        title="A tool of another MCP server",
        about=(
            f"`tools/call` of MCP {_MCP_VERSION} is passed on to an MCP server of the official SDK, "
            "which answers with a constant, and its result passed back. That server is the slowest "
            "of all: CPU time per request tells more than requests per second."
        ),
        ask=_tools_call("user", {"id": 7}),
        wanted=USER,
        read=_structured,
        subjects=(FEDERATION, "fastmcp-proxy"),
        least_s=2.5,  # eight answers of FastMCP's proxy take most of a second
        slow=frozenset({"fastmcp-proxy"}),
    ),
    Scenario(
        key="sse",
        title="Server-sent events",
        about=(
            f"A stream of {len(EVENTS)} events is passed through; the service sends each by "
            "itself. A request is a whole stream."
        ),
        ask=Ask("/events/stream", headers={"accept": "text/event-stream"}),
        wanted=b"".join(EVENTS),
        read=bytes,
        subjects=_PROXIES,
    ),
)
"""Every scenario, in the order of the report."""
