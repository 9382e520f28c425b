"""A service that does as it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import attrs
import trio

from gateway.core.errors import GatewayError
from gateway.core.messages import Partial, Reply, Request
from gateway.core.service import Emit

__all__ = ["ScriptedService"]


@attrs.frozen(slots=True, kw_only=True)
class _Step:
    after_s: float
    reply: Callable[[Request], Any] | None = None
    error: Exception | None = None
    emitted: tuple[Partial, ...] = ()


class ScriptedService:
    """A `Service` with a script: each call takes the next step, the last step repeats.

    Without a script it replies at once with the call's arguments. It needs no network, and with
    Trio's `MockClock` no real time. Pass it to `create_app(..., services={"users": scripted})`.

    Attributes:
        requests: Every request it got, in order.
        active: Calls it is in the middle of.
        cancelled: Calls that were cancelled before their step was over.
        completed: Calls that replied or failed.
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self.requests: list[Request] = []
        self.active = 0
        self.cancelled = 0
        self.completed = 0

    def reply(
        self, value: Any = None, *, after_s: float = 0, emit: tuple[Partial, ...] = ()
    ) -> Self:
        """Next, reply with `value`.

        Args:
            value: JSON types, or a function from the request to them.
            after_s: Seconds it takes.
            emit: Partials that go out first.
        """
        produce = value if callable(value) else lambda _request: value
        self._steps.append(_Step(after_s=after_s, reply=produce, emitted=emit))
        return self

    def fail(self, error: Exception, *, after_s: float = 0) -> Self:
        """Next, raise `error` after `after_s` seconds: a `GatewayError`, or a bug."""
        self._steps.append(_Step(after_s=after_s, error=error))
        return self

    def hang(self) -> Self:
        """Next, never answer."""
        return self.reply(after_s=float("inf"))

    async def __call__(self, request: Request, emit: Emit, /) -> Reply:
        """Take the next step of the script."""
        number = len(self.requests)
        self.requests.append(request)
        self.active += 1
        done = False
        try:
            reply = await self._take(number, request, emit)
            done = True
            return reply
        except Exception:
            done = True
            raise
        finally:
            self.active -= 1
            if done:
                self.completed += 1
            else:
                self.cancelled += 1

    async def _take(self, number: int, request: Request, emit: Emit) -> Reply:
        if not self._steps:
            await trio.lowlevel.checkpoint()
            return Reply(dict(request.arguments))
        step = self._steps[min(number, len(self._steps) - 1)]
        for partial in step.emitted:
            await emit(partial)
        await trio.sleep(step.after_s)
        if step.error is not None:
            # Shared by all calls of this step, so told apart: a traceback must not grow.
            error = step.error
            raise error.blamed() if isinstance(error, GatewayError) else error
        assert step.reply is not None  # noqa: S101 - a step replies or fails
        return Reply(step.reply(request))
