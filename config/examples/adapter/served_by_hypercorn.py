"""The gateway of gateway.toml with one more kind of service, as an ASGI app.

hypercorn -k trio served_by_hypercorn:app
"""

from pathlib import Path

from memcached_kind import KIND

from gateway import create_app

app = create_app(Path(__file__).with_name("gateway.toml"), adapters={"memcached": KIND})
