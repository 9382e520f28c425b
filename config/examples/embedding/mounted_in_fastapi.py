"""The gateway inside an app on asyncio: `uvicorn mounted_in_fastapi:app`.

The gateway runs its Trio loop inside the host's. A mounted app gets no lifespan from its host, so
the host is given the gateway's.
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from gateway import create_app

gateway = create_app(Path(__file__).with_name("gateway.toml"))
app = FastAPI(lifespan=gateway.lifespan)


@app.get("/", response_class=PlainTextResponse)
async def home() -> str:
    """A page of the host's own."""
    return "the tools are below /gw\n"


app.mount("/gw", gateway)
