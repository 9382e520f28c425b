"""The gateway in asyncio hosts: its Trio loop as a guest of theirs.

* `run`: a Trio run inside an asyncio event loop, and calls from there into it
* `bridge`: one ASGI connection's `receive` and `send`, carried from the host to Trio
* `hosted`: when one gateway's guest starts and ends, and what happens without it

Imported by `app` once an asyncio host calls: nothing here costs anything on Trio.

Source: docs/adr/0008
"""

from gateway.guest.hosted import Hosted

__all__ = ["Hosted"]
