"""`kind = "http"`: an HTTP API.

A reply with status 2xx is decoded: JSON where it says so, else text; nothing at all is null.
What remains of the budget goes along as a header.

* `settings.py`: the keys of the service and of a call
* `adapter.py`: the service: its client, its replicas, what every request carries
* `call.py`: one call, one request
* `pages.py`: one call, a request for each page
* `parts.py`: the parts of a multipart body, from what a call says of them
"""

from gateway.adapters.http.adapter import KIND, HttpAdapter
from gateway.adapters.http.settings import HttpCall, HttpSettings

__all__ = ["KIND", "HttpAdapter", "HttpCall", "HttpSettings"]
