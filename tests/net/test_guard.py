"""Which addresses may be connected to."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
import trio.testing

from gateway.core.adapter import Environment
from gateway.core.errors import Unreachable
from gateway.net.guard import AddressGuard
from gateway.net.messages import Origin
from gateway.net.threads import Threads
from gateway.telemetry.events import AbandonedThreadEnded, ThreadAbandoned
from tests.network import network

ENVIRONMENT = Environment(service="s", record=lambda _event: None)
GLOBAL = [
    *("192.0.1.1", "198.20.0.1", "2001:200::1", "3ffe::1", "64:ff9b::808:808", "223.255.255.255"),
    *("93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "2002:808:808::1"),
]
PRIVATE = [
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "240.0.0.1"),
    *("0.0.0.0", "127.0.0.1", "127.1.2.3", "169.254.1.1", "255.255.255.255", "192.0.2.1"),
    *("::1", "::", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "2001:db8::1"),
    *("::ffff:10.0.0.1", "::ffff:127.0.0.1", "2002:a00:1::", "2002:7f00:1::1"),
    *("192.0.0.1", "192.0.0.9", "192.88.99.1", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
    *("239.255.255.255", "255.255.255.254", "fec0::1", "ff02::1", "ff0e::1", "5f00::1"),
    *("3fff::1", "3fff:fff::1", "64:ff9b:1::1", "64:ff9b:1::808:808", "100::1", "2001::1"),
    *("2001:1::1", "2001:20::1", "2001:10::1", "2001:2::1", "4000::1", "::2:0:0:1"),
    *("2002:e000:1::1", "64:ff9b::e000:1", "::ffff:224.0.0.1"),
    *("64:ff9b::a00:1", "64:ff9b::7f00:1", "::7f00:1", "::a00:1", "::ffff:0:a00:1"),
]
METADATA = [
    *("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("::ffff:169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "2002:a9fe:a9fe::"),
    *("64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::"),
    *("64:ff9b:1::a9:fea9:fe00:0", "64:ff9b:1:1234::a9fe:a9fe"),
    *("64:ff9b::a9fe:a9fe", "::a9fe:a9fe", "::ffff:0:a9fe:a9fe"),
]


@pytest.mark.parametrize("address", GLOBAL)
@pytest.mark.parametrize("allow", [True, False])
def test_global_addresses_are_allowed(address: str, allow: bool) -> None:
    AddressGuard(allow).check("api.test", 80, address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_a_yes(address: str) -> None:
    AddressGuard(allow_private=True).check("api.test", 80, address)
    with pytest.raises(Unreachable, match="allow_private"):
        AddressGuard().check("api.test", 80, address)


@pytest.mark.parametrize("address", METADATA)
@pytest.mark.parametrize("allow", [True, False])
def test_a_clouds_metadata_is_never_connected_to(address: str, allow: bool) -> None:
    with pytest.raises(Unreachable, match="metadata"):
        AddressGuard(allow, ("api.test", 80)).check("api.test", 80, address)


@pytest.mark.parametrize(
    ("written", "host", "address", "fine"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("localhost", "localhost", "127.0.0.1", True),
        ("localhost", "localhost", "::1", True),
        ("::1", "::1", "::1", True),
        ("127.0.0.1", "localhost", "127.0.0.1", False),
        ("localhost", "api.test", "127.0.0.1", False),
        ("localhost", "localhost", "10.0.0.1", False),
        ("api.test", "api.test", "127.0.0.1", False),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1", False),
        ("localhost.test", "localhost.test", "127.0.0.1", False),
    ],
)
def test_loopback_counts_where_the_file_writes_it_out(
    written: str, host: str, address: str, fine: bool
) -> None:
    guard = AddressGuard.of([Origin("http", written, 80)], ENVIRONMENT, allow_private=False)
    if fine:
        guard.check(host, 80, address)
    else:
        with pytest.raises(Unreachable):
            guard.check(host, 80, address)


def test_loopback_counts_at_the_port_the_file_writes_out() -> None:
    guard = AddressGuard.of([Origin("http", "localhost", 8000)], ENVIRONMENT, allow_private=False)
    guard.check("localhost", 8000, "127.0.0.1")
    with pytest.raises(Unreachable, match="allow_private"):
        guard.check("localhost", 6379, "127.0.0.1")


async def test_a_name_is_refused_if_one_of_its_addresses_is() -> None:
    async with network() as net:
        net.name("api.test", "8.8.8.8", "10.0.0.1")
        with pytest.raises(Unreachable, match=r"^its address is private") as caught:
            await AddressGuard().resolve("api.test", 80)
        assert caught.value.where == "api.test is 10.0.0.1"
        net.name("api.test", "8.8.8.8", "8.8.8.8", "2606:2800:220:1::1")
        assert await AddressGuard().resolve("api.test", 80) == ["8.8.8.8", "2606:2800:220:1::1"]


@pytest.mark.parametrize("host", ["nowhere.test", "a" * 64 + ".test", "", "é" * 300])
async def test_a_name_without_address_is_unreachable(host: str) -> None:
    async with network():
        with pytest.raises(Unreachable):
            await AddressGuard().resolve(host, 80)


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "0177.0.0.1", "127.1"])
async def test_other_spellings_of_an_address_are_checked_as_what_they_are(host: str) -> None:
    """The system's resolver reads them: no custom one is asked for a number."""
    with pytest.raises(Unreachable, match="private"):
        await AddressGuard().resolve(host, 80)


class Resolver:
    """The system's, as it is when it hangs; `opened` lets it go on."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)

    def __call__(self, host: str, port: int) -> list[Any]:
        self.entered.release()
        assert self.opened.wait(10)
        return [(0, 0, 0, "", ("8.8.8.8", port))]


def guard_of(resolver: Any, events: list[Any], places: int = 4) -> AddressGuard:
    threads = Threads("s", events.append, trio.CapacityLimiter(places))
    return AddressGuard(threads=threads, lookup=resolver)


async def test_lookups_that_hang_hold_up_their_own_service_alone() -> None:
    """And are counted, for nothing can stop them."""
    resolver, events = Resolver(), list[Any]()
    guard = guard_of(resolver, events)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(guard.resolve, "api.test", 80)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(4):
            assert resolver.entered.acquire(timeout=10)
        assert guard.threads.limiter.borrowed_tokens == 4
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        other = guard_of(lambda host, port: [(0, 0, 0, "", ("8.8.4.4", port))], events)
        assert await other.resolve("other.test", 80) == ["8.8.4.4"]
        nursery.cancel_scope.cancel()
    assert events == [ThreadAbandoned("s")] * 4
    resolver.opened.set()
    with trio.fail_after(10):
        while guard.threads.limiter.borrowed_tokens or len(events) < 8:
            await trio.lowlevel.checkpoint()
    assert events[4:] == [AbandonedThreadEnded("s")] * 4
    assert not resolver.entered.acquire(blocking=False)  # those that waited were not begun


async def test_an_address_needs_no_thread() -> None:
    def lookup(_host: str, _port: int) -> list[Any]:
        raise AssertionError

    assert await guard_of(lookup, []).resolve("8.8.8.8", 80) == ["8.8.8.8"]


def test_each_loopback_address_written_out_may_be_reached_at_its_own_port() -> None:
    origins = [Origin("http", "127.0.0.1", 8000), Origin("http", "localhost", 8001)]
    guard = AddressGuard.of(origins, ENVIRONMENT, allow_private=False)
    guard.check("127.0.0.1", 8000, "127.0.0.1")
    guard.check("localhost", 8001, "127.0.0.1")
    with pytest.raises(Unreachable, match="allow_private"):
        guard.check("127.0.0.1", 8001, "127.0.0.1")


async def test_services_have_lookups_of_their_own() -> None:
    first, second = (
        AddressGuard.of([Origin("http", "api.test", 80)], ENVIRONMENT, allow_private=False)
        for _ in "ab"
    )
    assert first.threads.service == "s"
    assert first.threads.limiter is not second.threads.limiter
