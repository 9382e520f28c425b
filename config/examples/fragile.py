"""A service that takes a while, and breaks when more than two ask at once, for semaphore.toml.

`python fragile.py [HOST:PORT]`
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PLACES = threading.Semaphore(2)
BROKEN = threading.Event()


class Fragile(BaseHTTPRequestHandler):
    """Answers `POST /labels` after 200 ms, until it breaks."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one request."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if PLACES.acquire(blocking=False):
            time.sleep(0.2)
            PLACES.release()
        else:
            BROKEN.set()
        broken = BROKEN.is_set()
        body = json.dumps({"error": "broken"} if broken else {"printed": asked["text"]}).encode()
        self.send_response(500 if broken else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9922").rpartition(":")
with ThreadingHTTPServer((host, int(port)), Fragile) as server:
    print(f"fragile at http://{host}:{port}", flush=True)
    server.serve_forever()
