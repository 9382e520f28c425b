"""The gateway inside another app on Trio: `hypercorn -k trio mounted_in_starlette:app`.

A mounted app gets no lifespan from its host, so the host is given the gateway's.
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from gateway import create_app

gateway = create_app(Path(__file__).with_name("gateway.toml"))


async def home(_request: Request) -> PlainTextResponse:
    """A page of the host's own."""
    return PlainTextResponse("the tools are below /gw\n")


app = Starlette(
    routes=[Route("/", home), Mount("/gw", gateway)],
    lifespan=gateway.lifespan,
)
