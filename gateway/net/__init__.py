"""Bytes in and out, below any protocol's meaning.

* `asgi.py`: headers, bounded bodies, answers, the client's leaving
* `client.py`: the one factory of HTTP clients for services
  * `messages.py`: requests, replies, and what a client promises
  * `http1.py`: requests over the pool; `request.py`: their heads; `body.py`: whole replies
  * `sent.py`: those that are sent without waiting
  * `pool.py`: the connections of a service; `connection.py`: one of them
  * `reply.py`: a reply from its bytes; `wire.py`: bytes from a socket; `dial.py`: connecting
  * `redirects.py`: redirects followed; `http2.py`: httpx, for services that want HTTP/2
  * `decoded.py`: a whole reply's body as the value it says it is; `refusal.py`: what a status means
  * `freshness.py`, `retry_after.py`, `links.py`: what headers of replies say
  * `texts.py`, `styles.py`, `multipart.py`: values as parts of requests
  * `authorized.py`: a token with every request; `oauth2.py`: where it comes from
* `replicas.py`: several addresses of a service, who is asked next; `health.py`: checks of them
* `readiness.py`: which sockets can be read, here and in `server`
* `websocket.py`: a WebSocket to a service, over a connection of its pool
* `transport.py`: our pool beneath httpx, for libraries that want it
* `credentials.py`: the user and the password of a URL
* `guard.py`: which addresses may be connected to
* `json_text.py`: JSON from outside, bounded in depth
* `threads.py`: blocking functions in threads, counted when abandoned
* `programs.py`: programs that end with their call; `process.py`: one of them; `strays.py`: what they
  leave behind
* `background.py`: tasks below the loop, for as long as a context lasts
* `accept.py`: what a client would rather have; `events.py`: an answer as an event stream
"""
