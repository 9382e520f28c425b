"""The keys of the service and of a call: what is a mistake, and what is secret."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from gateway import load_config
from gateway.config.problems import ConfigError
from gateway.core.errors import BadReply, GatewayError
from tests.adapters.mcp.behind import behind
from tests.http_service import http
from tests.mcp_server import McpServer, error

URL = {"url": "http://api.test/mcp"}
PROGRAM = {"program": [sys.executable, "server.py"]}


def load(service: dict[str, Any], **call: Any) -> Any:
    calls = {"a": {"service": "s", "tool": "x", **call}}
    services = {"s": {"kind": "mcp", **service}}
    return load_config({"services": services, "tools": {"t": {"calls": calls}}})


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ({}, "services.s: expected one of url and program, got neither"),
        ({**URL, **PROGRAM}, "services.s: expected one of url and program, got both"),
        ({**PROGRAM, "headers": {"x": "1"}}, "services.s.headers: a program takes none"),
        ({**PROGRAM, "allow_private": True}, "services.s.allow_private: a program takes none"),
        ({**URL, "environment": {"A": "1"}}, "services.s.environment: goes with program"),
        ({**URL, "directory": "x"}, "services.s.directory: goes with program"),
        ({**URL, "headers": {"Mcp-Method": "x"}}, "headers: mcp-method is not for the file"),
        ({**URL, "forward": ["accept"]}, "forward: accept is not for the file"),
        ({**URL, "prefix": "a.b"}, "services.s.prefix: expected up to 32 letters"),
        ({**URL, "rename": {"a": "x", "b": "x"}}, "services.s.rename: expected a name for each"),
        ({**URL, "rename": {"a": ""}}, 'services.s.rename.a: expected a name, got ""'),
        ({**URL, "rename": []}, "services.s.rename: expected a table of names"),
        ({**PROGRAM, "environment": {"A=B": "1"}}, "expected the name of an environment variable"),
        ({**PROGRAM, "environment": {"A": 1}}, "services.s.environment.A: expected a string"),
        ({**PROGRAM, "environment": {"A": "env:NOT_THERE_7"}}, "NOT_THERE_7 is not set"),
        ({**PROGRAM, "environment": []}, "services.s.environment: expected a table of variables"),
    ],
)
def test_mistakes_are_told(service: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(service)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_call_names_a_tool() -> None:
    with pytest.raises(ConfigError, match=r"tools.t.calls.a.tool: expected the name of a tool"):
        load(URL, tool="")


def test_a_program_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_OURS", "s3cret")
    service = {**PROGRAM, "directory": str(tmp_path), "environment": {"TOKEN": "env:TOKEN_OF_OURS"}}
    settings = load({**service, "max_reply": "1KiB"}).services["s"].settings
    assert settings.program == tuple(PROGRAM["program"])
    assert settings.environment["TOKEN"].reveal() == "s3cret"
    assert settings.max_reply == 1024
    assert "s3cret" not in repr(settings)


async def test_what_a_url_holds_is_secret_too(autojump_clock: MockClock) -> None:
    url = "http://me:p%40ss@api.test/mcp?key=s3cret"
    words = "p@ss p%40ss bWU6cEBzcw== s3cret"
    server = McpServer({"tools/call": lambda r: error(r, -32603, words)})
    async with behind(server, url=url) as it:
        with pytest.raises(GatewayError) as caught:
            await it.call()
        assert not any(word in caught.value.detail for word in words.split())
    request = server.asked("tools/call")[0]
    assert request.target == "/mcp?key=s3cret"
    assert request.header("authorization") == "Basic bWU6cEBzcw=="


async def test_a_refusal_of_any_size_is_shown(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": lambda _: http(403, "no " * 100_000)})
    async with behind(server) as it:
        with pytest.raises(GatewayError, match="s answered 403: no no") as caught:
            await it.call()
        assert len(caught.value.detail) < 600


async def test_who_refuses_what_was_agreed_is_quoted(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": lambda _: http(404, "nothing here")})
    async with behind(server) as it:
        with pytest.raises(BadReply, match="agreed to: 404 nothing here"):
            await it.call()
    assert len(server.asked("tools/call")) == 2
