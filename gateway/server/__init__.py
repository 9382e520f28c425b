"""Serving: from listening sockets to the application, and the end of all of it.

* `run.py`: `run`, the blocking entry: signals, exit statuses
* `worker.py`: `serve`, one worker's life: open, start, serve, drain; `Served`, what it serves
* `listeners.py`: `bind` strings → sockets, the real addresses, TLS
* `reception.py`: accepts connections, counts them, turns away what is too many
* `connection.py`: one connection on Hypercorn's protocols, bounded in time
* `protocols.py`: Hypercorn's HTTP/1.1 and HTTP/2, put right
* `tasks.py`: a connection's tasks: the application's runs, each with its inbox
* `containment.py`: what may leave a connection: cancellation and interrupts, nothing else
* `draining.py`: what an answer tells its client while the server ends
"""
