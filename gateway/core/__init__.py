"""The vocabulary: what every other package speaks, and depends on nothing but Trio and attrs.

* `service.py`: `Service`, `Policy`, `Emit`, and the laws
* `begun.py`: `Begun`: a call that was begun without waiting
* `alarms.py`: what waits for a time of its own, and mostly ends before
* `adapter.py`: `Adapter`, `Kind`: how a kind of downstream service is declared
* `messages.py`: `Request`, `Context`, `Reply`, `Branch`, and the partials `Chunk`, `Progress`
* `freshness.py`: `Freshness`: how long a reply is good, as its service says
* `errors.py`: the error tree, each class with its code on the wire
* `deadline.py`: budgets in and out
* `expression.py`: JMESPath, compiled, with the names it reads
* `trace.py`: W3C trace context
* `peer.py`: `Peer`, a client that may be asked something back; `JsonRpcError`
* `mcp.py`: the Model Context Protocol's names, which both of its ends use
* `federation.py`: `Federated`: an MCP server behind us, as whoever speaks MCP to clients sees it
"""
