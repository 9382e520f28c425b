"""`[proxies.NAME]`: bytes through to an HTTP service, both ways as they come.

* `proxy.py`: which proxy answers, and what telemetry is told of it
* `heads.py`: what of a head goes on, and what the gateway says itself
* `asking.py`: how the service is asked, its token along
* `passage.py`: one request on its way through, and its answer on the way back
* `conversation.py`: one WebSocket
"""

from gateway.inbound.proxy.proxy import Proxied, Proxies

__all__ = ["Proxied", "Proxies"]
