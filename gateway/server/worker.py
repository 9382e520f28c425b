"""One worker's life: open the sockets, start the application, serve, drain, end."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from gateway.net.background import detached_nursery
from gateway.server.bounds import ConnectionConfig
from gateway.server.containment import leaves
from gateway.server.door import Door
from gateway.server.draining import Reason
from gateway.server.listeners import Listener, Listeners
from gateway.server.reception import Reception
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from gateway.admin.app import Status
    from gateway.config.settings import ServerSettings
    from gateway.net.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["Addresses", "Served", "StartError", "addresses_of", "serve"]

_GRACE_S = 0.5
"""After the drain, for the (partial) answers of what it cut."""

_LAST_S = 0.9
"""After the drain, everything is cancelled: within a second of it the worker has ended."""

_FAREWELL_S = 0.5
"""A replaced worker still takes requests on the connections it has, and tells their clients to go:
one that sends its request just then is answered, not cut off."""

_OPERATORS = 256
"""Connections to the admin address."""


class StartError(Exception):
    """The application did not start; the message says why."""


class Served(Protocol):
    """What a worker serves: an ASGI application with a beginning and an end."""

    @property
    def ready(self) -> bool:
        """Whether requests can be served."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. It runs only within `running`."""
        ...

    def running(self) -> AbstractAsyncContextManager[object]:
        """From start-up to shut-down; whatever entering it raises means that it did not start."""
        ...

    def begin_drain(self, seconds: float) -> None:
        """Give every request, under way or still to come, at most `seconds` from now."""
        ...


@attrs.frozen(slots=True)
class Addresses:
    """Where a worker is reached, port 0 replaced by the port that was free.

    Args:
        public: `http://127.0.0.1:8080`, `https://[::1]:8443`, `unix:/path`.
        admin: Likewise; `None` if there is no admin application.
    """

    public: tuple[str, ...]
    admin: str | None = None


async def serve(
    app: Served,
    settings: ServerSettings,
    *,
    admin: Callable[[Callable[[], Status]], ASGIApp] | None = None,
    listeners: Listeners | None = None,
    succeeds: bool = False,
    ahead: Callable[[int], bool] | None = None,
    shutdown: trio.Event,
    reason: Callable[[], Reason] = lambda: "ending",
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `shutdown` is set and what is in flight then is over.

    Public addresses are bound first and refuse connections until the application has started; the
    admin address answers from before the start until after the end. From `shutdown` on no
    connection is accepted, idle ones are closed, requests get `settings.drain` seconds and half a
    second to send their answers, then everything is cancelled: it returns within a second of the
    drain's end, whatever clients do. A worker that is replaced leaves the admin address to its
    successor at once, and closes idle connections only after half a second, so that no request is
    lost that is on its way.

    Args:
        app: What to serve.
        settings: The bounds of `[server]`.
        admin: From what tells the status to the admin application; without it the admin address
            stays closed.
        listeners: Where to listen, instead of what `settings` say; they are closed.
        succeeds: Whether somebody else answers on the admin address until this one serves.
        ahead: From this worker's connections to whether another one that accepts on the same
            sockets has fewer; `None` where there is no other.
        shutdown: Set it to end.
        reason: Asked once `shutdown` is set.
        task_status: Told the real addresses once requests are served.

    Raises:
        ListenError: An address cannot be bound, or the certificate cannot be used.
        StartError: The application did not start.
        Exception: The application broke down while it ran.

    Cancellation: everything ends at once; no connection, socket or socket file is left.
    """
    progress = _Progress(app, shutdown, task_status)
    if not succeeds:
        progress.answers.set()
    async with (
        _listening(settings, listeners, operators=admin is not None) as open_,
        _answering(
            admin(progress.status) if admin else None,
            open_.admin,
            settings,
            shutdown,
            progress.answers,
        ) as answering,
    ):
        with trio.CancelScope() as whole:
            async with _running(app):
                serving = _Serving(
                    app=app,
                    settings=settings,
                    reception=Reception(
                        app,
                        _config(settings),
                        max_connections=settings.max_connections,
                        draining=shutdown.is_set,
                    ),
                    listeners=open_.public,
                    tls=open_.tls,
                    ahead=ahead,
                    reason=reason,
                    answering=answering,
                )
                await serving.run(shutdown, whole, partial(progress.start, addresses_of(open_)))
        if whole.cancelled_caught:
            logger("gateway.server").warning("cut at the end of the drain")


@attrs.define(slots=True)
class _Progress:
    """How far a worker has come, for whoever asks."""

    app: Served
    shutdown: trio.Event
    task_status: trio.TaskStatus[Addresses]
    started: bool = False
    answers: trio.Event = attrs.field(factory=trio.Event)

    def status(self) -> Status:
        """What readiness says."""
        if self.shutdown.is_set():
            return "draining"
        return "ready" if self.started and self.app.ready else "starting"

    def start(self, addresses: Addresses) -> None:
        """Requests are served at these addresses from now on."""
        self.started = True
        self.answers.set()
        logger("gateway.server").info(
            "serving", public=list(addresses.public), admin=addresses.admin
        )
        self.task_status.started(addresses)


@attrs.frozen(slots=True, kw_only=True)
class _Serving:
    """The public side, from the first connection to the last."""

    app: Served
    settings: ServerSettings
    reception: Reception
    listeners: tuple[Listener, ...]
    tls: ssl.SSLContext | None
    ahead: Callable[[int], bool] | None
    reason: Callable[[], Reason]
    answering: trio.CancelScope

    async def run(
        self, shutdown: trio.Event, whole: trio.CancelScope, tell: Callable[[], None]
    ) -> None:
        """Accept until `shutdown`, then drain.

        Args:
            shutdown: Ends it.
            whole: Given its deadline when the drain begins.
            tell: Called once connections are accepted.
        """
        for listener in self.listeners:
            listener.listen()
        async with self.reception.attended(), detached_nursery() as connections:
            async with trio.open_nursery() as accepting:
                for listener in self.listeners:
                    accepting.start_soon(self.reception.accept, self._at(listener), connections)
                tell()
                await shutdown.wait()
                accepting.cancel_scope.cancel()
            drained = trio.current_time() + self.settings.drain
            connections.cancel_scope.deadline = drained + _GRACE_S
            whole.deadline = drained + _LAST_S
            logger("gateway.server").info(
                "draining", connections=self.reception.open, drain_s=self.settings.drain
            )
            for listener in self.listeners:
                listener.close()
            self.app.begin_drain(self.settings.drain)
            if self.reason() == "restarting":
                self.answering.cancel()
                await trio.sleep(min(_FAREWELL_S, self.settings.drain))
            self.reception.dismiss(self.reason())

    def _at(self, listener: Listener) -> Door:
        tls = None if listener.local else self.tls
        if self.ahead is None:
            return Door(listener.sock, tls)
        ahead = self.ahead
        return Door(listener.sock, tls, ahead=lambda: ahead(self.reception.open))


def _config(settings: ServerSettings) -> ConnectionConfig:
    return ConnectionConfig(
        header_timeout=settings.header_timeout,
        send_timeout=settings.send_timeout,
        body_timeout=settings.body_timeout,
        keep_alive=settings.keep_alive,
        max_headers=settings.max_headers,
        max_message=settings.max_body,
        allow_half_close=settings.allow_half_close,
        http2_prior_knowledge=settings.http2_prior_knowledge,
        websocket_compression=settings.websocket_compression,
    )


def addresses_of(listeners: Listeners) -> Addresses:
    """Where a server with these sockets is reached."""
    scheme = "https" if listeners.tls else "http"
    admin = listeners.admin[0] if listeners.admin else None
    return Addresses(
        tuple(_address(listener, scheme) for listener in listeners.public),
        None if admin is None else _address(admin, "http"),
    )


def _address(listener: Listener, scheme: str) -> str:
    return listener.address if listener.local else f"{scheme}://{listener.address}"


@asynccontextmanager
async def _listening(
    settings: ServerSettings, listeners: Listeners | None, *, operators: bool
) -> AsyncIterator[Listeners]:
    if listeners is None:
        # In a thread: names are looked up. Not abandoned: what it opens must be closed.
        listeners = await trio.to_thread.run_sync(
            partial(Listeners.open, settings, operators=operators),
            abandon_on_cancel=False,
            limiter=trio.CapacityLimiter(1),
        )
    try:
        yield listeners
    finally:
        listeners.close()


@asynccontextmanager
async def _answering(
    app: ASGIApp | None,
    listeners: tuple[Listener, ...],
    settings: ServerSettings,
    shutdown: trio.Event,
    begin: trio.Event,
) -> AsyncIterator[trio.CancelScope]:
    """The admin side: answers from `begin` on, as long as this context is open.

    Yields:
        Cancelled, it accepts no further connection.
    """
    if app is None:
        yield trio.CancelScope()
        return
    reception = Reception(
        app, _config(settings), max_connections=_OPERATORS, draining=shutdown.is_set
    )
    error: Exception | None = None
    async with reception.attended(), trio.open_nursery() as nursery:
        accepting = await nursery.start(_accept_all, reception, listeners, begin, nursery)
        try:
            yield accepting
        except Exception as caught:  # noqa: BLE001 - carried out of the nursery, so it stays bare
            error = caught
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error


async def _accept_all(
    reception: Reception,
    listeners: tuple[Listener, ...],
    begin: trio.Event,
    connections: trio.Nursery,
    *,
    task_status: trio.TaskStatus[trio.CancelScope],
) -> None:
    """Accept on every listener, from `begin` until the scope that was told is cancelled."""
    for listener in listeners:
        listener.listen()
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await begin.wait()
        async with trio.open_nursery() as accepting:
            for listener in listeners:
                accepting.start_soon(reception.accept, Door(listener.sock), connections)
    for listener in listeners:
        listener.close()


@asynccontextmanager
async def _running(app: Served) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(app.running())
        except Exception as error:
            first, *others = leaves(error)
            more = f" (and {len(others)} more)" if others else ""
            text = f"{type(first).__name__}: {first}" if str(first) else type(first).__name__
            raise StartError(f"start-up failed: {text}{more}") from error
        yield
