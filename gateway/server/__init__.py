"""Serving: from listening sockets to the application, and the end of all of it.

Processes:

* `supervisor.py`: `supervise`, several workers: started, replaced, reloaded, ended
* `offer.py`: what they serve: `Offer`, and its `Generation` of sockets and siblings
* `child.py`: a forked process and the line to it; `backoff.py`: when it is replaced
* `forked.py`: a worker in a process of its own: its orders, its siblings
* `siblings.py`: what workers know of one another: readiness, connections, metrics
* `fair.py`: accepting on a socket that several workers share
* `run.py`: `run`, one worker in this process: its signals
* `life.py`: what ends a worker, its exit status

Serving:

* `worker.py`: `serve`, one worker's life: open, start, serve, drain; `Served`, what it serves
* `listeners.py`: `bind` strings → sockets, the real addresses, TLS
* `reception.py`: accepts connections, counts them, turns away what is too many
* `connection.py`: one connection on Hypercorn's protocols, bounded in time
* `protocols.py`: Hypercorn's HTTP/1.1 and HTTP/2, put right
* `tasks.py`: a connection's tasks: the application's runs, each with its inbox
* `containment.py`: what may leave a connection: cancellation and interrupts, nothing else
* `draining.py`: what an answer tells its client while the server ends
"""
