"""`kind = "mcp"`: another MCP server, over HTTP or as a program, by a client of our own.

* `settings.py`: the keys of the service and of a call
* `adapter.py`: `McpAdapter`: calls of plans, and what is offered to clients as it is
* `client.py`: `Client`: one request and its answer; `agreement.py`: which revision is spoken
* `questions.py`: what a server asks back: sampling, elicitation, roots
* `link.py`: `Link`: what a transport promises
* `http.py`: Streamable HTTP, on `gateway/net`; `exchange.py`: one POST and what comes back; `sse.py`:
  its event streams
* `program.py`: a program over stdio, supervised; `channel.py`: one life of it; `process.py`: the
  process itself
* `messages.py`: JSON-RPC in and out; `requests.py`: a request and all that comes until its answer
* `catalog.py`: the server's lists, kept fresh beside all calls; `offer.py`: what of them is offered,
  under which names
* `results.py`: what a plan sees of a result, and of a failure; `said.py`: what a server says to people

Why it is our own: `docs/adr/0012-own-mcp-client.md`.
"""

from gateway.adapters.mcp.adapter import KIND, McpAdapter
from gateway.adapters.mcp.settings import McpCall, McpSettings

__all__ = ["KIND", "McpAdapter", "McpCall", "McpSettings"]
