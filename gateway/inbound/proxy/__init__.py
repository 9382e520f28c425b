"""`[proxies.NAME]`: bytes through to an HTTP service, both ways as they come.

* `own.py`: the proxies of the file, each with its service
* `proxy.py`: which proxy answers, and what telemetry is told of it
* `heads.py`: what of a head goes on, and what the gateway says itself
* `asking.py`: how the service is asked, its token along
* `passage.py`: one request on its way through, and its answer on the way back
* `conversation.py`: one WebSocket
"""

from gateway.inbound.proxy.own import Proxied, make_proxies
from gateway.inbound.proxy.proxy import Proxies

__all__ = ["Proxied", "Proxies", "make_proxies"]
