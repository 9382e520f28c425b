"""Hosts and origins: a page from elsewhere reaches nothing."""

from __future__ import annotations

import pytest

from gateway.access.browsers import BrowserGuard
from gateway.core.errors import Forbidden

HOSTS = ("localhost", "127.0.0.1", "[::1]", "Gateway.Example")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:80",
        "gateway.example",
        "GATEWAY.example:443",
        "localhost:",
        "[::1]:",
    ],
)
def test_an_allowed_host_is_answered_at_any_port(host: str) -> None:
    BrowserGuard(HOSTS, ()).check({"host": host}, "http")


@pytest.mark.parametrize("written", ["::1", "[::1]", "[::1]:8080"])
def test_an_ipv6_host_may_be_written_either_way(written: str) -> None:
    BrowserGuard((written,), ()).check({"host": "[::1]:80"}, "http")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.test",
        "localhost.evil.test",
        "evil-localhost",
        "127.0.0.1.evil.test",
        "[::2]",
        "localhost, evil.test",
        "localhost.",
        " localhost",
        "127.0.0.2",
        "0.0.0.0",
        ":8080",
        "[",
        "]",
        "évil",
        "localhost\x00",
        "localhost/x",
        "localhost:80:80",
        "localhost:x",
        "localhost::",
        ":",
        "[::1",
        "[::1]x",
        "user@localhost",
        "localhost:1@evil.test",
    ],
)
def test_any_other_host_is_not(host: str) -> None:
    with pytest.raises(Forbidden, match="allowed_hosts"):
        BrowserGuard(HOSTS, ()).check({"host": host}, "http")


def test_no_host_is_not_answered_either() -> None:
    with pytest.raises(Forbidden):
        BrowserGuard(HOSTS, ()).check({}, "http")


@pytest.mark.parametrize("hosts", [None, ("*",), ("x", "*")])
def test_without_a_list_or_with_a_star_every_host_is(hosts: tuple[str, ...] | None) -> None:
    BrowserGuard(hosts, ()).check({"host": "evil.test"}, "http")
    BrowserGuard(hosts, ()).check({}, "http")


ORIGINS = ("https://app.example", "http://localhost:3000/")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example", True),
        ("HTTPS://App.Example", True),
        ("http://localhost:3000", True),
        ("http://localhost", False),
        ("http://localhost:3001", False),
        ("https://localhost:3000", False),
        ("http://app.example", False),
        ("https://app.example.evil.test", False),
        ("https://evil.test", False),
        ("null", False),
        ("", False),
        ("https://app.example, https://evil.test", False),
        ("*", False),
    ],
)
def test_an_origin_is_answered_if_it_is_allowed(origin: str, allowed: bool) -> None:
    guard = BrowserGuard(None, ORIGINS)
    headers = {"host": "x", "origin": origin}
    if allowed:
        guard.check(headers, "http")
        answer = dict(guard.cors_headers(headers))
        assert answer["access-control-allow-origin"] == origin
        assert answer["vary"] == "origin"
    else:
        with pytest.raises(Forbidden, match="allowed_origins"):
            guard.check(headers, "http")
        assert guard.cors_headers(headers) == []


OWN = ("gw.test", "127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("origin", "scheme", "host"),
    [
        ("http://gw.test", "http", "gw.test"),
        ("http://gw.test:8080", "http", "gw.test:8080"),
        ("https://gw.test", "https", "gw.test"),
        ("https://gw.test:8443", "https", "gw.test:8443"),
        ("http://gw.test", "ws", "gw.test"),
        ("https://gw.test", "wss", "gw.test"),
        ("http://gw.test", "http", "GW.Test"),
        ("http://127.0.0.1:8080", "http", "127.0.0.1:8080"),
        ("http://[::1]:8080", "http", "[::1]:8080"),
    ],
)
def test_a_page_of_ours_is_answered(origin: str, scheme: str, host: str) -> None:
    guard = BrowserGuard(OWN, ())
    headers = {"host": host, "origin": origin}
    guard.check(headers, scheme)
    guard.check(headers, scheme)  # now that the host is known, too
    assert guard.cors_headers(headers) == []  # the browser asks for none


@pytest.mark.parametrize(
    ("origin", "scheme", "host"),
    [
        ("http://evil.test", "http", "gw.test"),
        ("http://127.0.0.1", "http", "gw.test"),  # a host of ours, not this one
        ("http://gw.test:3000", "http", "gw.test:8080"),  # another server on this machine
        ("http://gw.test", "http", "gw.test:8080"),
        ("http://gw.test:8080", "http", "gw.test"),
        ("https://gw.test", "http", "gw.test"),
        ("http://gw.test", "https", "gw.test"),  # which anyone on the way may have written
        ("http://gw.test", "wss", "gw.test"),
        ("ws://gw.test", "ws", "gw.test"),
        ("http://gw.test.evil.test", "http", "gw.test"),
        ("http://evil.gw.test", "http", "gw.test"),
        ("http://gw.test/", "http", "gw.test"),
        ("http://gw.test@evil.test", "http", "gw.test"),
        ("gw.test", "http", "gw.test"),
        ("//gw.test", "http", "gw.test"),
        ("null", "http", "gw.test"),
        ("", "http", "gw.test"),
        ("*", "http", "gw.test"),
        ("http://", "http", "gw.test"),
        ("http://gw.test, http://evil.test", "http", "gw.test"),
        ("http://gw.test http://evil.test", "http", "gw.test"),
        ("http://evil.test", "http", "evil.test"),  # rebound
        ("http://", "http", ""),
        ("http://gw.test, gw.test", "http", "gw.test, gw.test"),
    ],
)
def test_a_page_from_elsewhere_is_not(origin: str, scheme: str, host: str) -> None:
    with pytest.raises(Forbidden, match=r"allowed_(origins|hosts)"):
        BrowserGuard(OWN, ()).check({"host": host, "origin": origin}, scheme)


@pytest.mark.parametrize("hosts", [None, ("*",), ("gw.test", "*")])
def test_where_any_host_is_answered_no_origin_is_ours(hosts: tuple[str, ...] | None) -> None:
    """A name rebound to our address would make its own pages ours."""
    for host in ("evil.test", "gw.test"):
        with pytest.raises(Forbidden, match="allowed_origins"):
            BrowserGuard(hosts, ()).check({"host": host, "origin": f"http://{host}"}, "http")


def test_without_an_origin_nothing_is_said_of_origins() -> None:
    guard = BrowserGuard(None, ORIGINS)
    guard.check({"host": "x"}, "http")
    assert guard.cors_headers({"host": "x"}) == []
    assert guard.cors_headers({"host": "x"}, preflight=True) == []


def test_credentials_are_never_allowed() -> None:
    """A page's cookies are nobody's key here."""
    for guard in (BrowserGuard(None, ORIGINS), BrowserGuard(None, ("*",))):
        for preflight in (True, False):
            names = dict(guard.cors_headers({"origin": ORIGINS[0]}, preflight=preflight))
            assert "access-control-allow-credentials" not in names


def test_a_preflight_names_methods_and_headers() -> None:
    answer = dict(BrowserGuard(None, ORIGINS).cors_headers({"origin": ORIGINS[0]}, preflight=True))
    assert "POST" in answer["access-control-allow-methods"]
    assert "mcp-protocol-version" in answer["access-control-allow-headers"]
    assert "x-gateway-partial" not in answer["access-control-allow-headers"]


@pytest.mark.parametrize("header", ["host", "origin"])
def test_what_is_refused_is_quoted_within_bounds(header: str) -> None:
    with pytest.raises(Forbidden) as caught:
        BrowserGuard(HOSTS, ()).check({"host": "localhost", header: "é\r\n" * 10_000}, "http")
    assert len(caught.value.detail) < 500
    assert "\n" not in caught.value.detail
