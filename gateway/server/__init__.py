"""Serving: from listening sockets to the application, and the end of all of it.

Processes:

* `supervisor.py`: `supervise`, several workers: started, replaced, reloaded, ended
* `offer.py`: what they serve: `Offer`, and its `Generation` of sockets and siblings
* `child.py`: a forked process and the line to it; `backoff.py`: when it is replaced
* `forked.py`: a worker in a process of its own: its orders, its siblings
* `siblings.py`: what workers know of one another: readiness, connections, metrics
* `run.py`: `run`, one worker in this process: its signals
* `life.py`: what ends a worker, its exit status

Serving:

* `worker.py`: `serve`, one worker's life: open, start, serve, drain; `Served`, what it serves
* `listeners.py`: `bind` strings → sockets, the real addresses, TLS
* `door.py`: accepts on a socket, which several workers may share
* `reception.py`: counts connections, turns away what is too many
* `connection.py`: one connection: TLS, the protocol it speaks, its end; `bounds.py`: its bounds
* `wire.py`: its bytes; `leaving.py`: who has left; `timeouts.py`: who has waited for too long
* `containment.py`: what may leave a connection: cancellation and interrupts, nothing else
* `draining.py`: why a worker drains

HTTP/1 and HTTP/2: `answering.py`: what `send` takes, and answers that are whole

HTTP/1:

* `http1.py`: the requests of one connection, answered in its task
* `heads.py`, `bodies.py`: what a request says, strictly; `answers.py`: an answer's head
* `exchange.py`: one request and its answer: ASGI's `receive` and `send`

HTTP/2, on h2:

* `http2.py`: a connection: one task reads, one writes, each request has its own
* `opening.py`: our settings, and the windows
* `outgoing.py`: what waits to be sent, and the task that sends it
* `frames.py`: which frames are too many; `allowance.py`: how many that is
* `fields.py`: what a request says, strictly, and an answer's head
* `stream.py`: one request and its answer: ASGI's `receive` and `send`

WebSocket, on wsproto:

* `websocket.py`: one of them, from its handshake to its close
* `handshake.py`: how it opens; `announced.py`: frames too large, refused at their heads;
  `deflate.py`: compression, bounded
* `inbox.py`: what its application has yet to receive
"""
