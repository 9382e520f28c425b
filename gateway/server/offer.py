"""What a server of several processes serves, and what of it each worker is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import attrs

from gateway.server.listeners import Listeners
from gateway.server.siblings import Siblings
from gateway.server.worker import Addresses, addresses_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.admin.app import Complete, Render, Status
    from gateway.config.settings import ServerSettings
    from gateway.net.asgi import ASGIApp
    from gateway.server.worker import Served

__all__ = ["Generation", "Offer", "Post", "Work"]


@attrs.frozen(slots=True, kw_only=True)
class Post:
    """A worker's place among its like.

    Args:
        number: From 0 up.
        size: How many there are.
        restarts: How many workers in this place ended unasked before this one.
        on_trial: Whether others serve, until this one has shown that it can.
        tell: Tells the other workers something; `None` where there are none.
    """

    number: int
    size: int
    restarts: int = 0
    on_trial: bool = False
    tell: Callable[[bytes], Awaitable[None]] | None = None


@attrs.frozen(slots=True, kw_only=True)
class Work:
    """What one worker serves.

    Args:
        app: The application.
        metrics: What this process counts.
        admin: Makes the admin application, from what tells the status, and from what makes this
            worker's metrics those of all (`None` where it is the only one).
        hear: Called with what other workers tell.
    """

    app: Served
    metrics: Render
    admin: Callable[[Callable[[], Status], Complete | None], ASGIApp]
    hear: Callable[[bytes], None] = lambda _message: None


@attrs.frozen(slots=True, kw_only=True)
class Offer:
    """A configuration that was read and found right, ready to be served.

    Args:
        settings: The bounds of `[server]`.
        workers: How many processes.
        work: Called in each worker's process.
        serving: Called in the supervisor once it is served, with where.
    """

    settings: ServerSettings
    workers: int
    work: Callable[[Post], Work]
    serving: Callable[[Addresses], None] = lambda _addresses: None


@attrs.frozen(slots=True, eq=False)
class Generation:
    """The workers of one offer: the sockets they listen on, what they know of one another.

    Args:
        siblings: `None` where there is one worker.
    """

    offer: Offer
    listeners: Listeners
    siblings: Siblings | None

    @classmethod
    def open(cls, offer: Offer, before: Generation | None) -> Self:
        """Open the sockets of `offer`, those aside that are open.

        Args:
            offer: What will be served.
            before: What is served now.

        Raises:
            ListenError: An address cannot be bound, or the certificate cannot be used.
            OSError: There are too many open files.
        """
        kept = before.listeners if before else None
        listeners = Listeners.open(offer.settings, kept=kept)
        try:
            return cls(offer, listeners, Siblings(offer.workers) if offer.workers > 1 else None)
        except BaseException:
            listeners.close(but=kept)
            raise

    def close(self, *, but: Generation | None) -> None:
        """Close what `but` does not use, in this process; remove the files of closed sockets."""
        self.listeners.close(but=but.listeners if but else None)
        if self.siblings is not None:
            self.siblings.close()

    def forget(self, *, but: Generation) -> None:
        """Close what `but` does not use, in a process that inherited it: files stay."""
        self.listeners.lent().close(but=but.listeners)
        if self.siblings is not None:
            self.siblings.close()

    @property
    def addresses(self) -> Addresses:
        """Where it is reached."""
        return addresses_of(self.listeners)

    def mark(self, number: int, status: Status | None) -> None:
        """Let every worker know what worker `number` is about."""
        if self.siblings is not None:
            self.siblings.mark(number, status)
