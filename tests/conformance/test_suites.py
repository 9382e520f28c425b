"""h2spec and Autobahn, which others wrote, where this machine has them.

* `H2SPEC` names h2spec; else it is looked for on the PATH. Debian's Go builds it from its source.
* `AUTOBAHN` names a Python 2.7 that has `autobahntestsuite`; the newest is of 2025 and needs that one.

No package registry has h2spec, and nothing else runs Autobahn's client; so CI has the tables beside
this file, which ask what the two ask.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.end_to_end.test_server import served
from tests.server.serving import App

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.end_to_end

H2SPEC = shutil.which(os.environ.get("H2SPEC", "h2spec"))
AUTOBAHN = os.environ.get("AUTOBAHN")
START = "import sys; from autobahntestsuite.wstest import run; run()"
QUICK = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]


class Echo(App):
    """Tells messages back; answers at a length that h2spec's windows can cut."""

    async def websocket(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})

    async def http(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"an answer of some length"})


@pytest.mark.skipif(H2SPEC is None, reason="h2spec is not here: no package registry has it")
async def test_h2spec() -> None:
    async with served(Echo()) as server:
        port = server.addresses.public[0].rpartition(":")[2]
        command = [str(H2SPEC), "-h", "127.0.0.1", "-p", port, "-o", "3"]
        done = await trio.run_process(command, capture_stdout=True, check=False)
    text = done.stdout.decode()
    failed = re.findall("\u00d7 (.*)", text.partition("Failures:")[2])
    # Who begins with neither protocol gets a 400, as HTTP/1.1 has it, and no GOAWAY.
    assert failed in ([], ["2: Sends invalid connection preface"]), text
    assert " 0 skipped" in text


@pytest.mark.skipif(AUTOBAHN is None, reason="AUTOBAHN names no Python 2.7 with autobahntestsuite")
async def test_autobahn(tmp_path: Path) -> None:
    cases = os.environ.get("AUTOBAHN_CASES", " ".join(QUICK)).split()
    async with served(
        Echo(), within_s=3600, max_body=32 << 20, websocket_compression=True
    ) as server:
        wanted = {
            "outdir": str(tmp_path),
            "servers": [
                {"agent": "gateway", "url": server.addresses.public[0].replace("http", "ws")}
            ],
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        spec = tmp_path / "spec.json"
        spec.write_text(json.dumps(wanted))
        command = [str(AUTOBAHN), "-c", START, "-m", "fuzzingclient", "-s", str(spec)]
        await trio.run_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    results = json.loads((tmp_path / "index.json").read_text())["gateway"]
    assert results
    bad = {
        number: result
        for number, result in results.items()
        if {result["behavior"], result["behaviorClose"]} - {"OK", "INFORMATIONAL"}
    }
    assert not bad
