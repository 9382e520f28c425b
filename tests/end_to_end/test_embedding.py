"""The gateway in other people's servers and apps, as `config/examples/embedding` shows."""

from __future__ import annotations

import signal
import sys

import httpx
import pytest

from tests.end_to_end.processes import ROOT, free_port, ready, running

pytestmark = pytest.mark.end_to_end

EXAMPLES = ROOT / "config" / "examples" / "embedding"


@pytest.mark.parametrize(
    ("module", "prefix"), [("served_by_hypercorn", ""), ("mounted_in_starlette", "/gw")]
)
def test_the_example_answers_over_http_and_mcp(module: str, prefix: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ["-m", "hypercorn", "-k", "trio", "--bind", f"127.0.0.1:{port}", f"{module}:app"]
    with running([sys.executable, *arguments], cwd=EXAMPLES) as process:
        ready(process, f"{url}{prefix}/openapi.json")
        with httpx.Client(base_url=url + prefix, trust_env=False) as client:
            answer = client.get("/time/UTC", headers={"x-request-timeout-ms": "500"})
            assert answer.status_code == 200, answer.text
            assert 0.3 < answer.json()["time"]["seconds_left"] <= 0.5
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
        assert process.wait(10) == 0
        assert process.stdout is not None
        output = process.stdout.read()
        assert "Traceback" not in output
        assert "opened by the first request" not in output
