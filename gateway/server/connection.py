"""One client's connection: TLS, the protocol it speaks, and its end, whatever happens in it.

Only cancellation and interrupts leave a connection. What is spoken on it stands in `http1.py`,
`http2.py` and `websocket.py`.
"""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING, Any

import attrs
import trio

from gateway.server.containment import contained, leaves
from gateway.server.http1 import Http1, Takeover
from gateway.server.http2 import Http2
from gateway.server.leaving import Departures
from gateway.server.timeouts import Timeout
from gateway.server.websocket import WebSocket
from gateway.server.wire import Gone, SocketWire, StreamWire, Wire
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.net.asgi import ASGIApp
    from gateway.server.bounds import ConnectionConfig
    from gateway.server.draining import Reason
    from gateway.server.wire import Socket

__all__ = ["Connection", "Shared"]

_LINGER_S = 1.0
"""How long an ended connection is still read, so that its last answer is not lost to a reset."""

_EXPECTED = (OSError, trio.BrokenResourceError, trio.TooSlowError)
"""What a client's leaving looks like from here."""


@attrs.frozen(slots=True)
class Shared:
    """What the connections of one address share.

    Args:
        config: The bounds of each.
        keep_alive: Ends those that wait for a request for too long.
        departures: Tells of those whose clients leave; `None` where the system cannot.
        draining: Whether clients are told to go.
    """

    config: ConnectionConfig
    keep_alive: Timeout
    departures: Departures | None
    draining: Callable[[], bool]

    @classmethod
    def of(cls, config: ConnectionConfig, draining: Callable[[], bool] = lambda: False) -> Shared:
        """What connections with these bounds share."""
        departures = None
        if Departures.supported():
            departures = Departures(half_close=not config.allow_half_close)
        return cls(config, Timeout(config.keep_alive), departures, draining)

    async def run(self) -> None:
        """Keep time and watch clients leave until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keep_alive.run)
            if self.departures is not None:
                nursery.start_soon(self.departures.run)


class Connection:
    """One client's connection, from its first byte to its end.

    Args:
        app: What answers its requests.
        shared: What it shares with others.
        accepted: A non-blocking socket, or a stream; a TLS handshake is not done yet.

    Cancellation: the connection is closed, what it sends is cut short, its requests end.
    """

    __slots__ = (
        "_app",
        "_dismissed",
        "_life",
        "_log",
        "_shared",
        "_speaker",
        "_waits",
        "_wire",
        "peer",
    )

    def __init__(
        self, app: ASGIApp, shared: Shared, accepted: socket.socket | trio.abc.Stream
    ) -> None:
        self._app = app
        self._shared = shared
        self._log = logger("gateway.server")
        send_timeout = shared.config.send_timeout
        self._wire: Wire
        if isinstance(accepted, socket.socket):
            self._wire = SocketWire(accepted, send_timeout)
        else:
            self._wire = StreamWire(accepted, send_timeout)
        self._life = trio.CancelScope()
        self._waits = False
        self._dismissed: Reason | None = None
        self._speaker: Http1 | Http2 | WebSocket | None = None
        self.peer = "local"

    async def run(self) -> None:
        """Serve the connection until it ends; only cancellation and interrupts are raised."""
        wire, departures = self._wire, self._shared.departures
        with contained(self._report):
            in_order = False
            try:
                with self._life:
                    await self._converse()
                    in_order = True
            finally:
                self._shared.keep_alive.stop(self._end)
                if departures is not None and wire.sock is not None:
                    departures.forget(wire.sock)
                if in_order or self._waits:
                    await wire.close()  # noqa: ASYNC102 - bounded, and at once when cancelled
                else:
                    await wire.reset()  # noqa: ASYNC102 - waits for nothing

    def dismiss(self, reason: Reason) -> None:
        """Have it end: now if it is idle, else after the answers it is in.

        A client that has just connected, and asked for nothing yet, has a moment to do so.

        Args:
            reason: What the client of a WebSocket is told.
        """
        self._dismissed = reason
        match self._speaker:
            case Http2() as http2:
                http2.dismiss()
            case WebSocket() as websocket:
                websocket.dismiss(reason)
            case Http1() as http1 if self._waits:
                if http1.first:
                    self._life.deadline = trio.current_time() + _LINGER_S
                else:
                    self._life.cancel()

    async def _converse(self) -> None:
        wire = self._wire
        secure, alpn = await self._handshake()
        about = self._about(secure=secure)
        departures = self._shared.departures
        if departures is not None and wire.sock is not None:
            departures.watch(wire.sock, self._left)
        takeover: Takeover | None = Takeover("h2", b"")
        if alpn != "h2":
            self._speaker = http1 = self._http1(about)
            takeover = await http1.run()
        if takeover is not None:
            await self._hand_over(takeover, about)
        if self._speaker is not None and not self._speaker.gone:
            await self._linger()

    def _http1(self, about: Mapping[str, Any]) -> Http1:
        return Http1(
            self._app,
            self._wire,
            self._shared.config,
            about=about,
            watched=self._watched,
            waiting=self._wait,
            draining=lambda: self._dismissed is not None or self._shared.draining(),
            report=self._report_app,
        )

    async def _hand_over(self, takeover: Takeover, about: Mapping[str, Any]) -> None:
        """Speak what the client would rather speak."""
        config, report = self._shared.config, self._report_app
        if self._speaker is not None and self._speaker.gone:
            return  # its leaving was told already, and is told once
        if takeover.handshake is None:
            self._speaker = http2 = Http2(self._app, self._wire, config, about=about, report=report)
            if self._dismissed is not None:
                http2.dismiss()
            await http2.run(takeover.data)
            return
        self._speaker = websocket = WebSocket(
            self._app,
            self._wire,
            config,
            head=takeover.handshake,
            about=about,
            watched=self._watched,
            report=report,
        )
        if self._dismissed is not None:
            websocket.dismiss(self._dismissed)
        await websocket.run(takeover.data)

    @property
    def _watched(self) -> bool:
        """Whether `_left` is called when the client leaves."""
        return self._shared.departures is not None and self._wire.sock is not None

    async def _handshake(self) -> tuple[bool, str]:
        """Whether the connection is TLS, and the protocol that its handshake agreed on."""
        stream = self._wire.stream if isinstance(self._wire, StreamWire) else None
        if not isinstance(stream, trio.SSLStream):
            return False, "http/1.1"
        with trio.fail_after(self._shared.config.header_timeout):
            await stream.do_handshake()
        return True, stream.selected_alpn_protocol() or "http/1.1"

    def _about(self, *, secure: bool) -> dict[str, Any]:
        client, server = _addresses(self._wire.sock)
        if client is not None:
            self.peer = "{}:{}".format(*client)
        return {"scheme": "https" if secure else "http", "client": client, "server": server}

    def _wait(self, waits: bool) -> bool:
        """Take note that the next request is waited for, or has come; whether it is to be read."""
        if self._life.cancel_called:
            return False
        self._waits = waits
        if waits:
            self._shared.keep_alive.start(self._end)
            if self._dismissed is not None:
                self._life.deadline = trio.current_time() + _LINGER_S
        else:
            self._shared.keep_alive.stop(self._end)
            if self._dismissed is not None:
                self._life.deadline = math.inf
        return True

    def _end(self) -> None:
        self._life.cancel()

    def _left(self) -> None:
        if self._speaker is not None:
            self._speaker.left()

    async def _linger(self) -> None:
        """Say that nothing more is sent, and read on for a moment.

        Closing with bytes unread would reset the connection, and the client could lose an answer
        that it has not read yet, such as a 413 sent while its body is still on its way.
        """
        await self._wire.send_eof()
        with trio.move_on_after(_LINGER_S):
            while await self._wire.receive():
                pass

    def _report(self, error: BaseException) -> None:
        errors = leaves(error)
        if all(isinstance(e, _EXPECTED) for e in errors):
            self._log.debug("connection lost", peer=self.peer, errors=_texts(errors))
        else:
            # Nearly always what the client sent, so no traceback, which anyone could have us write.
            self._log.warning("connection failed", peer=self.peer, errors=_texts(errors))
            self._log.debug("connection failed here", peer=self.peer, exc_info=error)

    def _report_app(self, error: BaseException) -> None:
        if all(isinstance(e, Gone) for e in leaves(error)):
            self._log.debug("client left", peer=self.peer)
        else:
            self._log.error("application failed", peer=self.peer, exc_info=error)


def _texts(errors: list[BaseException]) -> list[str]:
    return [ascii(f"{type(e).__name__}: {e}"[:200]) for e in errors[:5]]


def _addresses(sock: Socket | None) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    """The client's address and ours, as ASGI wants them; `None` for what has none."""
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return None, None
    try:
        return sock.getpeername()[:2], sock.getsockname()[:2]
    except OSError:  # the client has left already
        return None, None
