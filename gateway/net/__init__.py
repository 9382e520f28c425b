"""Bytes in and out, below any protocol's meaning.

* `asgi.py`: headers, bounded bodies, answers, the client's leaving
* `client.py`: the one factory of HTTP clients for services
* `guard.py`: which addresses may be connected to
* `json_text.py`: JSON from outside, bounded in depth
* `threads.py`: blocking functions in threads, counted when abandoned
"""
