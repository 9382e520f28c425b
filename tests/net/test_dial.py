"""Connecting: which address when, and TLS to the name."""

from __future__ import annotations

import contextlib
import errno
import re
import ssl
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.core.errors import Unreachable
from gateway.net.client import ClientSettings, HttpRequest, Origin, open_http1
from gateway.net.dial import Dialer, _Race
from gateway.net.guard import AddressGuard
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.http_service import Scripted, http
from tests.network import network

API = Origin.of("http://api.test")
REFUSED = OSError(errno.ECONNREFUSED, "Connection refused")


async def silent(stream: trio.abc.Stream) -> None:
    await stream.receive_some()


async def slow(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


RACES: dict[str, tuple[dict[str, Any], list[str], str | None, float]] = {
    "one address": ({"10.0.0.1": silent}, ["10.0.0.1"], "10.0.0.1", 0),
    "the first": (
        {"10.0.0.1": silent, "10.0.0.2": silent},
        ["10.0.0.1"],
        "10.0.0.1",
        0,
    ),
    "the second at once where the first refuses": (
        {"10.0.0.1": REFUSED, "10.0.0.2": silent},
        ["10.0.0.1", "10.0.0.2"],
        "10.0.0.2",
        0,
    ),
    "the second in time where the first hangs": (
        {"10.0.0.1": None, "10.0.0.2": silent},
        ["10.0.0.1", "10.0.0.2"],
        "10.0.0.2",
        0.25,
    ),
    "the families in turns": (
        {"fd00::1": REFUSED, "fd00::2": REFUSED, "10.0.0.1": None, "10.0.0.2": silent},
        ["fd00::1", "10.0.0.1", "fd00::2", "10.0.0.2"],
        "10.0.0.2",
        0.25,
    ),
    "the resolver's first family first": (
        {"10.0.0.1": REFUSED, "fd00::1": silent},
        ["10.0.0.1", "fd00::1"],
        "fd00::1",
        0,
    ),
    "none": (
        {"10.0.0.1": REFUSED, "fd00::1": OSError(errno.EHOSTUNREACH, "No route to host")},
        ["10.0.0.1", "fd00::1"],
        None,
        0,
    ),
    "the only one": ({"10.0.0.1": REFUSED}, ["10.0.0.1"], None, 0),
}


@pytest.mark.parametrize(("there", "tried", "won", "after_s"), RACES.values(), ids=RACES)
async def test_addresses_are_tried_one_beside_the_other(
    autojump_clock: MockClock,
    there: dict[str, Any],
    tried: list[str],
    won: str | None,
    after_s: float,
) -> None:
    async with network() as net:
        net.name("api.test", *there)
        for address, handler in there.items():
            net.serve(address, 80, handler)
        dialer = Dialer(AddressGuard(allow_private=True), None)
        start = trio.current_time()
        if won is None:
            with pytest.raises(Unreachable, match=r"^cannot connect: (No|Conn)") as caught:
                await dialer.connect(API)
            assert caught.value.where == "api.test"
            assert not net.open
        else:
            wire = await dialer.connect(API)
            assert len(net.open) == 1
            wire.close()
        assert trio.current_time() - start == pytest.approx(after_s)
        assert [address for address, _ in net.connected] == tried
        assert not net.open


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["10.0.0.1", "10.0.0.2", "fd00::1"]])
def test_cancelled_anywhere_nothing_stays_open(addresses: list[str]) -> None:
    async def scenario(cancellable: Cancellable) -> None:
        async with network() as net:
            net.name("api.test", *addresses)
            for address in addresses[:-1]:
                net.serve(address, 80, None)
            net.serve(addresses[-1], 80, silent)

            async def connect() -> None:
                dialer = Dialer(AddressGuard(allow_private=True), None)
                (await dialer.connect(API)).close()

            await cancellable(connect, settle_s=1)
            assert not net.open

    assert cancel_at_every_checkpoint(scenario) > 2


async def test_who_comes_second_in_the_same_step_is_closed() -> None:
    async with network() as net:
        net.serve("10.0.0.1", 80, silent)
        race = _Race(["10.0.0.1"] * 2, API)
        for _ in range(2):
            await race._try("10.0.0.1", trio.Event(), trio.CancelScope())
        assert net.open == {race._winner}


# ------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for `api.test` and 10.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=x", "-addext", "subjectAltName=DNS:api.test,IP:10.0.0.1"),
            *("-keyout", str(key), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
    )
    return made, key


def secured(service: Any, certificate: tuple[Path, Path], names: list[Any]) -> Any:
    """`service` behind TLS; the names clients ask for go to `names`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    async def handler(stream: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # the client does not trust it
            await service(trio.SSLStream(stream, context, server_side=True, https_compatible=True))

    return handler


def settings(**changed: Any) -> ClientSettings:
    return ClientSettings(
        guard=AddressGuard(allow_private=True),
        max_connections=2,
        max_reply_bytes=1000,
        budget_header="x-budget",
        **changed,
    )


@pytest.mark.parametrize(
    ("host", "trusted", "reason"),
    [
        ("api.test", True, None),
        ("10.0.0.1", True, None),
        ("other.test", True, "Hostname mismatch"),
        ("10.0.0.2", True, "IP address mismatch"),
        ("api.test", False, "self-signed"),
    ],
)
async def test_the_certificate_is_the_names(
    autojump_clock: MockClock,
    certificate: tuple[Path, Path],
    host: str,
    trusted: bool,
    reason: str | None,
) -> None:
    tls = ssl.create_default_context(cafile=str(certificate[0]) if trusted else None)
    names: list[Any] = []
    service = Scripted(http(200, "abc"))
    async with network() as net:
        for name in ("api.test", "other.test"):
            net.name(name, "10.0.0.1")
        for address in ("10.0.0.1", "10.0.0.2"):
            net.serve(address, 443, secured(service, certificate, names))
        request = HttpRequest("GET", Origin.of(f"https://{host}"), "/")
        async with open_http1(settings(), tls) as client:
            if reason is None:
                for _ in range(3):
                    assert (await client.send(request)).body == b"abc"
                assert service.accepted == 1
            else:
                with pytest.raises(Unreachable, match=r"^no TLS$") as caught:
                    await client.send(request)
                assert re.search(f"^{host}: .*{reason}", caught.value.where)
                assert not service.requests
        assert not net.open
    assert names == [None if host[0].isdigit() else host]


async def test_https_is_not_spoken_unless_told() -> None:
    async with network() as net, open_http1(settings(tls=False)) as client:
        net.name("api.test", "10.0.0.1")
        with pytest.raises(Unreachable, match="https is not spoken"):
            await client.send(HttpRequest("GET", Origin.of("https://api.test"), "/"))
        assert not net.connected


async def test_a_handshake_that_hangs_is_cancelled_in_time(autojump_clock: MockClock) -> None:
    tls = ssl.create_default_context()
    async with network() as net, open_http1(settings(), tls) as client:
        net.name("api.test", "10.0.0.1")
        net.serve("10.0.0.1", 443, slow)
        with trio.move_on_after(1) as scope:
            await client.send(HttpRequest("GET", Origin.of("https://api.test"), "/"))
        assert scope.cancelled_caught
        assert not net.open
        assert client.pool.taken == 0


def test_a_handshake_cancelled_anywhere_leaves_nothing(certificate: tuple[Path, Path]) -> None:
    tls = ssl.create_default_context(cafile=str(certificate[0]))

    async def scenario(cancellable: Cancellable) -> None:
        service = Scripted(http(200, "abc", connection="close"))
        async with network() as net, open_http1(settings(), tls) as client:
            net.name("api.test", "10.0.0.1")
            net.serve("10.0.0.1", 443, secured(service, certificate, []))
            request = HttpRequest("GET", Origin.of("https://api.test"), "/")
            await cancellable(partial(client.send, request), settle_s=1)
            assert not net.open
            assert client.pool.taken == 0

    assert cancel_at_every_checkpoint(scenario) > 5
