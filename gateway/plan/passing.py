"""One request that goes on to one service as it came: no plan, no validation, one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from gateway.core.adapter import Record
from gateway.core.deadline import remaining_s
from gateway.core.errors import DeadlineExceeded, GatewayError, Internal, Skipped
from gateway.core.federation import Federated
from gateway.core.messages import Branch, Context, Reply, Request
from gateway.core.peer import JsonRpcError
from gateway.core.service import Emit, Service
from gateway.net.asgi import ClientLeft, client_has_left
from gateway.plan.ledger import Ledger, refused_by
from gateway.plan.outcomes import outcome_of, shown
from gateway.plan.root import Root
from gateway.telemetry.events import CallEnded, CallStarted

__all__ = ["Passable", "Passing"]


@attrs.frozen(slots=True)
class Passable:
    """A server that requests go on to.

    Args:
        server: What it offers.
        ask: `server.ask` as a `Service`, the policies of its service around it: the request's name
            is the method, its arguments are the params, the reply's value is the result.
    """

    server: Federated
    ask: Service


class Passing:
    """One such request, told to telemetry as the one call of a tool. For one use.

    Args:
        to: Where it goes.
        method: What is asked for; the name of the call as well.
        params: Its parameters.
        request: The client's, as telemetry knows it.
        record: Where events go.
    """

    __slots__ = (
        "_branch",
        "_budget_s",
        "_method",
        "_params",
        "_record",
        "_request",
        "_start",
        "_to",
    )

    def __init__(
        self,
        to: Passable,
        method: str,
        params: Mapping[str, Any],
        request: Request,
        record: Record,
    ) -> None:
        self._to = to
        self._method = method
        self._params = params
        self._request = request
        self._record = record
        self._start = trio.current_time()
        self._budget_s = float("inf")
        self._branch: Branch | None = None

    async def under(
        self, ledger: Ledger, budget_s: float, within: Callable[[float], Root], emit: Emit
    ) -> dict[str, Any]:
        """Ask, in a scope of the request's own.

        Args:
            ledger: Of the request, entered.
            budget_s: Seconds it is granted.
            within: Opens the scope.
            emit: Where progress goes.

        Returns:
            The result, as it came.

        Raises:
            JsonRpcError: The server's own.
            GatewayError: It could not be asked in time, or what came is no answer.
            ClientLeft: Nobody waits for it any more.

        Cancellation: the server is told.
        """
        if budget_s < 0.001:
            raise DeadlineExceeded("less than 1 ms of the budget was left on arrival")
        ledger.run = self
        result: dict[str, Any] | None = None
        with within(budget_s):
            result = await self._ask(emit)
        if client_has_left():
            raise ClientLeft
        if result is None:
            raise self._expired()
        ledger.reply = Reply(None, self.branches)
        return result

    async def _ask(self, emit: Emit) -> dict[str, Any]:
        self._budget_s = remaining_s()
        service = self._to.server.name
        self._record(
            CallStarted(
                request=self._request, tool=self._request.name, call=self._method, service=service
            )
        )
        context: Context = self._request.context
        try:
            reply = await self._to.ask(Request(self._method, self._params, context), emit)
        except JsonRpcError as error:
            self._end(refused_by(error))
            raise
        except GatewayError as error:
            self._end(error)
            raise error.blamed(service=service) from error.__cause__
        except Exception as error:
            bug = Internal("a service raised what is no GatewayError")
            bug.__cause__ = error
            self._end(bug)
            raise bug from error
        self._end(None)
        result: dict[str, Any] = reply.value
        return result

    def _expired(self) -> DeadlineExceeded:
        """Book that there was no time left for it; what the client is to be told."""
        error = DeadlineExceeded(
            f"no reply within the budget of {shown(self._budget_s)}", service=self._to.server.name
        )
        self._end(error)
        return error

    @property
    def branches(self) -> tuple[Branch, ...]:
        """How it ended; empty where it has not."""
        return () if self._branch is None else (self._branch,)

    def abandon(self, reason: str) -> None:
        """Book that it was cut off because nobody waits for the answer any more.

        Args:
            reason: Why nobody does, such as `the client left`.
        """
        if self._branch is None:
            self._end(Skipped(f"cancelled: {reason}"))

    def _end(self, error: GatewayError | None) -> None:
        now = trio.current_time() - self._start
        self._branch = Branch(
            call=self._method,
            service=self._to.server.name,
            outcome=outcome_of(error),
            error=error and error.blamed(call=self._method, service=self._to.server.name),
            started_s=0.0,
            ended_s=now,
            budget_left_s=max(0.0, self._budget_s - now),
        )
        self._record(CallEnded(request=self._request, tool=self._request.name, branch=self._branch))
