"""The gateway as an ASGI app of its own: `hypercorn -k trio served_by_hypercorn:app`."""

from pathlib import Path

from gateway import create_app

app = create_app(Path(__file__).with_name("gateway.toml"))
