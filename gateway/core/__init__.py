"""The vocabulary: what every other package speaks, and depends on nothing but Trio and attrs.

* `service.py`: `Service`, `Policy`, `Emit`, and the laws
* `adapter.py`: `Adapter`, `Kind`: how a kind of downstream service is declared
* `messages.py`: `Request`, `Context`, `Reply`, `Branch`, and the partials `Chunk`, `Progress`
* `errors.py`: the error tree, each class with its code on the wire
* `deadline.py`: budgets in and out
* `trace.py`: W3C trace context
* `peer.py`: `Peer`, a client that may be asked something back; `JsonRpcError`
* `mcp.py`: the Model Context Protocol's names, which both of its ends use
* `federation.py`: `Federated`: an MCP server behind us, as whoever speaks MCP to clients sees it
"""
