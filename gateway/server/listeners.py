"""`bind` strings → sockets, the real addresses, TLS."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.config.settings import ServerSettings

__all__ = ["ListenError", "Listener", "Listeners", "open_listeners", "tls_context"]

_BACKLOG = 4096
"""Connections that wait to be accepted; the system's own limit is usually lower and holds."""

_ABSENT = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""A name's address of a family that this machine does not have."""


class ListenError(Exception):
    """It cannot listen where it should; the message says where, and why not."""


@attrs.define(slots=True)
class Listener:
    """A socket that is bound, and from `listen` on accepts connections.

    Args:
        address: Where it is reached: `127.0.0.1:8080`, `[::1]:8080`, `unix:/path`.
        sock: The socket, non-blocking.
        bind: The text it was opened for.
        path: The socket's file, if there is one that `close` is to remove.
        inode: That file's number, so that only our own file is removed.
    """

    address: str
    sock: socket.socket
    bind: str = ""
    path: str | None = None
    inode: int = 0

    @property
    def local(self) -> bool:
        """Whether it is a Unix socket."""
        return self.address.startswith("unix:")

    def listen(self) -> None:
        """Accept connections from now on.

        Raises:
            ListenError: Another process was faster.
        """
        try:
            self.sock.listen(_BACKLOG)
        except OSError as error:
            raise _refused(self.address, error) from error

    def close(self) -> None:
        """Refuse connections from now on; remove the socket's file. May be called again."""
        self.sock.close()
        if self.path is not None:
            with suppress(OSError):
                if os.stat(self.path).st_ino == self.inode:  # noqa: PTH116 - a path that is text
                    os.unlink(self.path)  # noqa: PTH108 - likewise
            self.path = None

    def lent(self) -> Listener:
        """The same socket for a process that inherited it: closing it there leaves the file."""
        return attrs.evolve(self, path=None)


@attrs.frozen(slots=True)
class Listeners:
    """All the sockets of one server.

    Args:
        public: For clients.
        admin: For operators.
        tls: What is spoken on the public ones that have a port; `None` for plain HTTP.
    """

    public: tuple[Listener, ...] = ()
    admin: tuple[Listener, ...] = ()
    tls: ssl.SSLContext | None = None

    @classmethod
    def open(
        cls, settings: ServerSettings, *, operators: bool = True, kept: Listeners | None = None
    ) -> Listeners:
        """Bind every address, as `open_listeners` does.

        Args:
            settings: Say where, and with which certificate.
            operators: Whether the admin address is opened too.
            kept: Open ones that are used again where their text is the same.

        Raises:
            ListenError: One of them cannot be bound, or the certificate cannot be used; those of
                `kept` alone are left open.
        """
        kept = kept or cls()
        tls = tls_context(settings.tls.certificate, settings.tls.key) if settings.tls else None
        public = tuple(open_listeners(settings.bind, kept=kept.public))
        try:
            binds = (settings.admin.bind,) if operators else ()
            return cls(public, tuple(open_listeners(binds, kept=kept.admin)), tls)
        except BaseException:
            cls(public).close(but=kept)
            raise

    def lent(self) -> Listeners:
        """The same sockets for a process that inherited them; see `Listener.lent`."""
        return attrs.evolve(
            self,
            public=tuple(one.lent() for one in self.public),
            admin=tuple(one.lent() for one in self.admin),
        )

    def close(self, *, but: Listeners | None = None) -> None:
        """Close all of them, those aside that `but` holds too."""
        stay = set() if but is None else {id(one.sock) for one in (*but.public, *but.admin)}
        for listener in (*self.public, *self.admin):
            if id(listener.sock) not in stay:
                listener.close()


def open_listeners(binds: Iterable[str], *, kept: Iterable[Listener] = ()) -> list[Listener]:
    """Bind a socket for every address that `binds` name.

    A TCP port is taken but refuses connections until `Listener.listen`; a `unix:` path listens at
    once, because a file nobody listens behind looks stale to whoever comes next. It blocks while
    a name is looked up.

    Args:
        binds: `host:port` (port 0: any free one), `[ipv6]:port` or `unix:/path`. A name that has
            several addresses is bound on each, at one port.
        kept: Open ones: those that were opened for a text in `binds` are used again for it.

    Returns:
        One listener per address, to be closed by the caller.

    Raises:
        ListenError: One of them cannot be bound; those of `kept` alone are left open.
    """
    left = list(kept)
    used: list[Listener] = []
    opened: list[Listener] = []
    try:
        for bind in binds:
            same = [listener for listener in left if listener.bind == bind]
            left = [listener for listener in left if listener.bind != bind]
            new = [] if same else _open(bind)
            opened += new
            used += same or new
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return used


def _open(bind: str) -> list[Listener]:
    if bind.startswith("unix:"):
        return [_open_unix(bind, bind.removeprefix("unix:"))]
    return _open_tcp(bind)


def _open_tcp(bind: str) -> list[Listener]:
    host, _, port_text = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        port = int(port_text)
        if not 0 <= port <= 65535:
            raise ValueError(port_text)  # noqa: TRY301 - told with the others below
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:  # among them gaierror: no such name
        raise _refused(bind, error) from error
    except (ValueError, OverflowError) as error:
        raise ListenError(f"cannot listen on {bind}: expected host:port or unix:/path") from error
    opened: list[Listener] = []
    absent: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        # Port 0 is chosen by the first address and shared by the others.
        chosen = (address[0], port or (opened[0].sock.getsockname()[1] if opened else 0))
        try:
            opened.append(_bind_tcp(bind, family, (*chosen, *address[2:])))
        except OSError as error:
            if error.errno not in _ABSENT:
                for listener in opened:
                    listener.close()
                raise _refused(bind, error) from error
            absent = error
    if not opened and absent is not None:
        raise _refused(bind, absent) from absent
    return opened


def _bind_tcp(bind: str, family: int, address: tuple[object, ...]) -> Listener:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _find_the_vanished(sock)
        if family == socket.AF_INET6:
            # Otherwise [::]:8080 would also take 0.0.0.0:8080, on some systems and not on others.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    host, port = sock.getsockname()[:2]
    where = f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
    return Listener(where, sock, bind)


def _find_the_vanished(sock: socket.socket) -> None:
    """Have the system ask after clients that say nothing: accepted sockets inherit it.

    One that lost its power or its network says no goodbye, and a quiet WebSocket would wait for
    it for ever.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _open_unix(bind: str, path: str) -> Listener:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _remove_stale(path)
        sock.bind(path)
        sock.listen(_BACKLOG)
        inode = os.stat(path).st_ino  # noqa: PTH116 - a path that is text
    except OSError as error:
        sock.close()
        raise _refused(bind, error) from error
    return Listener(bind, sock, bind, path, inode)


def _remove_stale(path: str) -> None:
    """Remove a socket's file that a process left behind which is gone."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a path that is text
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108 - likewise
            return
        except BlockingIOError:
            pass  # somebody listens, and has a full queue
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _refused(where: str, error: OSError) -> ListenError:
    why = error.strerror or str(error)
    return ListenError(f"cannot listen on {where}: {why[:1].lower()}{why[1:]}")


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What TLS connections are made with: TLS 1.2 and later, HTTP/2 and HTTP/1.1.

    Args:
        certificate: A PEM file with the certificate chain.
        key: A PEM file with the private key.

    Raises:
        ListenError: The files cannot be read or do not fit each other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ListenError(
            f"cannot use the certificate {certificate} with the key {key}: {error}"
        ) from error
    return context
