"""The Model Context Protocol, spoken by a dispatcher of our own.

* `endpoint.py`: `Mcp`, the ASGI side: one POST in, one answer out, the client's leaving
* `jsonrpc.py`: messages in, answers out, the codes of errors
* `versions.py`: the revisions spoken, and which era a message belongs to
* `modern.py`: 2026-07-28, where every request stands alone; `server/discover`
* `envelope.py`: what such a request says of itself, and says again in its headers
* `rounds.py`: how it asks its client: the call ends, and is made again with the answer
* `signing.py`: what clients keep for us, signed
* `legacy.py`: the revisions before it, which begin with `initialize`
* `batches.py`: several messages in one body
* `sessions.py`: what legacy clients' requests share: a signed token, and whom
  `notifications/cancelled` means
* `said.py`: what a legacy client says for a call that another worker has
* `listen.py`: its stream of changes
* `questions.py`: what a legacy client is asked on its call's own stream
* `stream.py`: an answer as an event stream; `notes.py`: progress and log messages on it
* `catalog.py`: every list, our own entries and those of the servers behind us; who offers what
* `listing.py`: one list, page by page
* `search.py`: `search_tools`, `call_tool`, and the ranking
* `call.py`: `tools/call`: budget, answer, partial answer, failure
* `passed.py`: what goes on to a server behind us as it came
* `library.py`: `prompts/get`, `resources/read`, `completion/complete`
* `own.py`, `prompts.py`, `resources.py`, `files.py`, `uris.py`: our own prompts and resources

Why it is our own: `docs/adr/0004-own-dispatcher-for-mcp.md`.
"""

from gateway.inbound.mcp.endpoint import Mcp

__all__ = ["Mcp"]
