"""The vocabulary: what every other package speaks, and depends on nothing but Trio and attrs.

* `service.py`: `Service`, `Policy`, `Emit`, and the laws
* `adapter.py`: `Adapter`, `Kind`: how a kind of downstream service is declared
* `messages.py`: `Request`, `Context`, `Reply`, `Branch`, and the partials `Chunk`, `Progress`
* `errors.py`: the error tree, each class with its code on the wire
* `deadline.py`: budgets in and out
* `trace.py`: W3C trace context
"""
