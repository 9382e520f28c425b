"""The gateway in other people's servers and apps, as `config/examples/embedding` shows."""

from __future__ import annotations

import signal
import sys

import httpx
import pytest

from tests.end_to_end.processes import ROOT, free_port, ready, running

pytestmark = pytest.mark.end_to_end

EXAMPLES = ROOT / "config" / "examples" / "embedding"


HYPERCORN = ["-m", "hypercorn", "-k", "trio", "--bind", "127.0.0.1:{port}"]
UVICORN = ["-X", "dev", "-W", "error", "-m", "uvicorn", "--port", "{port}", "--loop"]


@pytest.mark.parametrize(
    ("server", "module", "prefix"),
    [
        (HYPERCORN, "served_by_hypercorn", ""),
        (HYPERCORN, "mounted_in_starlette", "/gw"),
        ([*UVICORN, "asyncio"], "served_by_hypercorn", ""),
        ([*UVICORN, "uvloop"], "mounted_in_starlette", "/gw"),
        ([*UVICORN, "asyncio"], "mounted_in_fastapi", "/gw"),
        ([*UVICORN, "uvloop"], "mounted_in_fastapi", "/gw"),
    ],
)
def test_the_example_answers_over_http_and_mcp(server: list[str], module: str, prefix: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = [argument.format(port=port) for argument in [*server, f"{module}:app"]]
    with running([sys.executable, *arguments], cwd=EXAMPLES) as process:
        ready(process, f"{url}{prefix}/openapi.json")
        with httpx.Client(base_url=url + prefix, trust_env=False) as client:
            answer = client.get("/time/UTC", headers={"x-request-timeout-ms": "900"})
            assert answer.status_code == 200, answer.text
            assert 0 < answer.json()["time"]["seconds_left"] <= 0.9
            refused = client.get("/time/Mars")
            assert refused.status_code == 422
            call = {"name": "time_in", "arguments": {"zone": "local"}}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
            accepts = {"accept": "application/json, text/event-stream"}
            result = client.post("/mcp", json=message, headers=accepts).json()["result"]
            assert result["structuredContent"]["time"]["time"]
        if prefix:
            home = httpx.get(url + "/", trust_env=False)
            assert home.text == "the tools are below /gw\n"
        process.send_signal(signal.SIGTERM)
        # uvicorn ends by the signal, once it has shut down.
        assert process.wait(30) == (0 if server is HYPERCORN else -signal.SIGTERM)
        assert process.stdout is not None
        output = process.stdout.read()
        assert "Traceback" not in output
        assert "Warning" not in output
        assert "opened by the first request" not in output


WITHOUT_LIFESPAN = """
import sys
import uvicorn
from fastapi import FastAPI
from gateway import create_app

app = FastAPI()
app.mount("/gw", create_app(sys.argv[1]))
uvicorn.run(app, port=int(sys.argv[2]), loop=sys.argv[3])
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_without_a_lifespan_it_says_so_and_ends_with_the_loop(loop: str) -> None:
    port = free_port()
    script = ["-X", "dev", "-W", "error", "-c", WITHOUT_LIFESPAN, "gateway.toml", str(port), loop]
    with running([sys.executable, *script], cwd=EXAMPLES) as process:
        ready(process, f"http://127.0.0.1:{port}/gw/openapi.json")
        answer = httpx.get(f"http://127.0.0.1:{port}/gw/time/UTC", trust_env=False)
        assert answer.status_code == 200, answer.text
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stdout is not None
        output = process.stdout.read()
        assert output.count("give it lifespan=app.lifespan") == 1
        assert "Traceback" not in output
        assert "Warning" not in output
