"""The Model Context Protocol, spoken by a dispatcher of our own.

* `endpoint.py`: `Mcp`, the ASGI side: one POST in, one answer out, the client's leaving
* `jsonrpc.py`: messages in, answers out, the codes of errors
* `versions.py`: the revisions spoken, and which era a message belongs to
* `modern.py`: 2026-07-28, where every request stands alone: its envelope, `server/discover`
* `legacy.py`: the revisions before it, which begin with `initialize`
* `sessions.py`: what legacy clients' requests share: whom `notifications/cancelled` means
* `catalog.py`: `tools/list`, page by page
* `call.py`: `tools/call`: budget, answer, partial answer, failure

Why it is our own: `docs/adr/0004-own-dispatcher-for-mcp.md`.
"""

from gateway.inbound.mcp.endpoint import Mcp

__all__ = ["Mcp"]
