"""One worker's life: open the sockets, start the application, serve, drain, end."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from gateway.server.bounds import ConnectionConfig
from gateway.server.containment import leaves
from gateway.server.listeners import Listener, open_listeners, tls_context
from gateway.server.reception import Reception, SocketDoor
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from gateway.admin.app import Status
    from gateway.config.settings import ServerSettings
    from gateway.net.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["Addresses", "Served", "StartError", "serve"]

_GRACE_S = 0.5
"""After the drain, for the (partial) answers of what it cut."""

_LAST_S = 0.9
"""After the drain, everything is cancelled: within a second of it the worker has ended."""

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
    shutdown: trio.Event,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `shutdown` is set and what is in flight then is over.

    Public addresses are bound first and refuse connections until the application has started; the
    admin address answers from before the start until after the end. From `shutdown` on no
    connection is accepted, idle ones are closed, requests get `settings.drain` seconds and half a
    second to send their answers, then everything is cancelled: it returns within a second of the
    drain's end, whatever clients do.

    Args:
        app: What to serve.
        settings: The bounds of `[server]`.
        admin: From what tells the status to the admin application; without it the admin address
            stays closed.
        shutdown: Set it to end.
        task_status: Told the real addresses once requests are served.

    Raises:
        ListenError: An address cannot be bound, or the certificate cannot be used.
        StartError: The application did not start.
        Exception: The application broke down while it ran.

    Cancellation: everything ends at once; no connection, socket or socket file is left.
    """
    tls = tls_context(settings.tls.certificate, settings.tls.key) if settings.tls else None
    progress = _Progress(app, shutdown, task_status)
    async with (
        _bound(settings.bind) as public,
        _bound((settings.admin.bind,) if admin else ()) as operators,
        _answering(admin(progress.status) if admin else None, operators, settings),
    ):
        with trio.CancelScope() as whole:
            async with _running(app):
                serving = _Serving(
                    app=app,
                    settings=settings,
                    reception=Reception(
                        app, _config(settings), max_connections=settings.max_connections
                    ),
                    listeners=tuple(public),
                    tls=tls,
                )
                admin_address = _address(operators[0], None) if operators else None
                await serving.run(shutdown, whole, partial(progress.start, admin_address))
        if whole.cancelled_caught:
            logger("gateway.server").warning("cut at the end of the drain")


@attrs.define(slots=True)
class _Progress:
    """How far a worker has come, for whoever asks."""

    app: Served
    shutdown: trio.Event
    task_status: trio.TaskStatus[Addresses]
    started: bool = False

    def status(self) -> Status:
        """What readiness says."""
        if self.shutdown.is_set():
            return "draining"
        return "ready" if self.started and self.app.ready else "starting"

    def start(self, admin: str | None, public: tuple[str, ...]) -> None:
        """Requests are served at these addresses from now on."""
        self.started = True
        logger("gateway.server").info("serving", public=list(public), admin=admin)
        self.task_status.started(Addresses(public, admin))


@attrs.frozen(slots=True, kw_only=True)
class _Serving:
    """The public side, from the first connection to the last."""

    app: Served
    settings: ServerSettings
    reception: Reception
    listeners: tuple[Listener, ...]
    tls: ssl.SSLContext | None

    async def run(
        self,
        shutdown: trio.Event,
        whole: trio.CancelScope,
        tell: Callable[[tuple[str, ...]], None],
    ) -> None:
        """Accept until `shutdown`, then drain.

        Args:
            shutdown: Ends it.
            whole: Given its deadline when the drain begins.
            tell: Told the public addresses once connections are accepted.
        """
        for listener in self.listeners:
            listener.listen()
        async with self.reception.attended(), trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                for listener in self.listeners:
                    door = _door(listener, self.tls)
                    accepting.start_soon(self.reception.accept, door, connections)
                tell(tuple(_address(listener, self.tls) for listener in self.listeners))
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
            await self.reception.dismiss()


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
    )


def _door(listener: Listener, tls: ssl.SSLContext | None) -> SocketDoor:
    return SocketDoor(listener.sock, None if listener.path is not None else tls)


def _address(listener: Listener, tls: ssl.SSLContext | None) -> str:
    if listener.path is not None:
        return listener.address
    return f"{'http' if tls is None else 'https'}://{listener.address}"


@asynccontextmanager
async def _bound(binds: tuple[str, ...]) -> AsyncIterator[list[Listener]]:
    listeners = await open_listeners(binds)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


@asynccontextmanager
async def _answering(
    app: ASGIApp | None, listeners: list[Listener], settings: ServerSettings
) -> AsyncIterator[None]:
    """The admin side: answers as long as this context is open."""
    if app is None:
        yield
        return
    reception = Reception(app, _config(settings), max_connections=_OPERATORS)
    for listener in listeners:
        listener.listen()
    error: Exception | None = None
    async with reception.attended(), trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(reception.accept, _door(listener, None), nursery)
        try:
            yield
        except Exception as caught:  # noqa: BLE001 - carried out of the nursery, so it stays bare
            error = caught
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error


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
