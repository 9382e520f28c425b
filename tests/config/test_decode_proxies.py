"""`[proxies.NAME]`: its keys, its service, and what it may not take from others."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gateway import ConfigError, load_config

SERVICE = '[services.s]\nkind = "http"\nurl = "http://api.test"\n'
PYTHON = '[services.py]\nkind = "python"\nmodule = "time"\n'
PROXY = '[proxies.p]\npath = "/files/"\nservice = "s"\n'
TOOL = '[tools.t]\ncalls.a = { service = "s", get = "/" }\n'


def lines(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [line.partition("gateway.toml")[2] for line in str(caught.value).splitlines()]


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(SERVICE + PROXY)
    proxy = load_config(path).proxies["p"]
    assert (proxy.path, proxy.service, proxy.strip_path) == ("/files/", "s", False)
    assert (proxy.methods, proxy.max_body, proxy.deadline) == (None, None, None)
    assert proxy.idle_timeout == 60


def test_every_key_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    keys = (
        'strip_path = true\nmethods = ["GET", "PROPFIND"]\nmax_body = "1GiB"\n'
        'deadline = "none"\nidle_timeout = "none"\n'
    )
    path.write_text(SERVICE + PROXY + keys)
    proxy = load_config(path).proxies["p"]
    assert (proxy.strip_path, proxy.methods) == (True, ("GET", "PROPFIND"))
    assert (proxy.max_body, proxy.deadline, proxy.idle_timeout) == (1 << 30, math.inf, math.inf)


A_PATH = 'expected a path that ends with /, such as "/files/"'
A_SERVICE = "expected the name of a service of kind http"
ALONE = "expected a path with nothing below it"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        *(
            (
                SERVICE + f'[proxies.p]\npath = "{path}"\nservice = "s"\n',
                [f':5: proxies.p.path: {A_PATH}, got "{path}": {why}'],
            )
            for path, why in (
                ("/files", 'write "/files/"'),
                ("files/", "a path starts with /"),
                ("", "a path starts with /"),
                ("/", "all of the gateway is below it, /openapi.json too"),
                ("/x y/", '" " stands in no path'),
                ("/é/", '"é" stands in no path'),
                ("/{id}/", '"{" stands in no path'),
                ("/a/../b/", "a segment . or .. leads elsewhere"),
                ("/a//", "a segment is empty"),
                (
                    "/a%20/",
                    "clients may encode a path in several ways: name it by what needs no encoding",
                ),
                ("/a?b/", "a path has neither a query nor a fragment"),
            )
        ),
        (
            SERVICE + '[proxies.p]\nservice = "s"\n',
            [f":4: proxies.p.path: missing; {A_PATH}"],
        ),
        (
            SERVICE + '[proxies.p]\npath = "/files/"\nservise = "s"\n',
            [':6: proxies.p.servise: unknown key; did you mean "service"?'],
        ),
        (
            SERVICE + '[proxies.p]\npath = "/files/"\nservice = "t"\n',
            [f':6: proxies.p.service: {A_SERVICE}, got "t"'],
        ),
        (
            PYTHON + '[proxies.p]\npath = "/files/"\nservice = "py"\n',
            [f':6: proxies.p.service: {A_SERVICE}, got "py", of kind python'],
        ),
        (
            SERVICE + "http2 = true\n" + PROXY,
            [
                (
                    ':7: proxies.p.service: expected a service without http2, got "s": '
                    "bytes are passed through over HTTP/1.1"
                )
            ],
        ),
        (
            SERVICE + PROXY + 'methods = ["get"]\n',
            [
                (
                    ":7: proxies.p.methods[0]: expected a method in capitals, "
                    'neither CONNECT nor TRACE, got "get"'
                )
            ],
        ),
        (
            SERVICE + PROXY + "methods = []\n",
            [
                ':7: proxies.p.methods: expected a list of methods such as ["GET", "PUT"], got []',
            ],
        ),
        (
            SERVICE + 'proxies.p = "/files/"\n',
            [],
        ),
        (
            SERVICE + '[proxies.p]\npath = "/mcp/"\nservice = "s"\n[mcp]\npath = "/mcp/x"\n',
            [f":5: proxies.p.path: {ALONE}, got /mcp/, taken by mcp.path (/mcp/x)"],
        ),
        (
            SERVICE + PROXY + TOOL + 'http = "PUT /files/x"\n',
            [f":5: proxies.p.path: {ALONE}, got /files/, taken by tools.t.http (PUT /files/x)"],
        ),
        (
            SERVICE + TOOL + '[proxies.p]\npath = "/tools/"\nservice = "s"\n',
            [f":7: proxies.p.path: {ALONE}, got /tools/, taken by tools.t (POST /tools/t)"],
        ),
        (
            SERVICE + PROXY + PROXY.replace(".p]", ".q]"),
            [f":8: proxies.q.path: {ALONE}, got /files/, taken by proxies.p.path"],
        ),
        (
            SERVICE + PROXY.replace(".p]", ".t]") + TOOL,
            [":4: proxies.t: expected a name of its own, got that of tools.t"],
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, wanted: list[str]) -> None:
    found = lines(tmp_path, text)
    if wanted:
        assert found == wanted
    else:
        assert len(found) == 1


def test_a_wrong_service_does_not_make_its_proxy_wrong(tmp_path: Path) -> None:
    text = SERVICE.replace("http://api.test", "no url") + PROXY
    assert [line.split(":")[2] for line in lines(tmp_path, text)] == [" services.s.url"]


def test_a_placeholder_goes_after_a_proxy(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(
        SERVICE + PROXY + TOOL + 'http = "GET /{kind}/x"\ninput.properties.kind = "string"'
    )
    load_config(path)
