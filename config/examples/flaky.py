"""A service that refuses two requests of every three, for retry.toml.

`python flaky.py [HOST:PORT]`
"""

import itertools
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NUMBERS = itertools.count(1)


class Flaky(BaseHTTPRequestHandler):
    """Answers `GET /prices/{sku}`, sometimes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        number = next(NUMBERS)
        well = number % 3 == 0
        value = {"price": "19.90", "asked": number} if well else {"error": "not just now"}
        body = json.dumps(value).encode()
        self.send_response(200 if well else 503)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9921").rpartition(":")
with ThreadingHTTPServer((host, int(port)), Flaky) as server:
    print(f"flaky at http://{host}:{port}", flush=True)
    server.serve_forever()
