"""Our MCP client: one request and its answer, under what is agreed with the server.

It is agreed once, by a task beside all calls, and anew when the server takes it no longer.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import attrs
import trio

from gateway.adapters.mcp import questions
from gateway.adapters.mcp.agreement import Agreement
from gateway.adapters.mcp.link import Era, Hear, Link, Outdated, Refused
from gateway.adapters.mcp.requests import Requests
from gateway.adapters.mcp.results import Errors
from gateway.core.errors import BadReply, GatewayError, Unreachable
from gateway.core.mcp import UNSUPPORTED_VERSION
from gateway.core.messages import Context
from gateway.core.peer import JsonRpcError
from gateway.core.service import Emit, discard
from gateway.net.request import tell_budget

__all__ = ["Client"]

logger = logging.getLogger(__name__)

_AGREE_S = 20.0
"""Seconds in which a server is to have agreed on a revision."""

_MAX_ROUNDS = 10
"""How often one request may be answered by one for input."""

_END_S = 1.0
"""Seconds that ending a session may take."""


@attrs.define(slots=True, eq=False)
class _Attempt:
    """One attempt to agree with the server, for all who wait for it."""

    ended: trio.Event = attrs.field(factory=trio.Event)
    era: Era | None = None
    error: GatewayError | None = None


class Client:
    """Asks one server.

    Args:
        name: The service's.
        link: How it is reached.
        errors: What its failures mean.
        hear: Takes each notification that is about no request.
    """

    def __init__(self, name: str, link: Link, errors: Errors, hear: Hear) -> None:
        self._name = name
        self._link = link
        self._errors = errors
        self._hear = hear
        self._requests = Requests(hear)
        self._agreement = Agreement(link, self._requests)
        self._era: Era | None = None
        self._attempt: _Attempt | None = None
        self._nursery: trio.Nursery | None = None
        self._courtesy = trio.CancelScope()
        self._hurried = False

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to ask; leaving ends the session and everything else, within seconds."""
        async with (
            self._link.open(self._hear, questions.declined),
            trio.open_nursery() as nursery,
        ):
            self._nursery = nursery
            self._hurried = False
            try:
                yield
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()
                era, self._era = self._era, None
                if era is not None and not era.is_modern and not self._hurried:
                    with trio.move_on_after(_END_S, shield=True) as self._courtesy:
                        await self._link.end(era)

    @property
    def agreed(self) -> Era | None:
        """What is agreed with the server now; `None` if nothing is."""
        return self._era

    def hurry(self) -> None:
        """End at once, now that `open` is left or about to be: nobody is told, programs are killed."""
        self._hurried = True
        self._courtesy.cancel()
        self._link.hurry()

    async def era(self) -> Era:
        """What is agreed with the server; if nothing is, it is asked, once for all who wait.

        Raises:
            GatewayError: The server cannot be reached, or agrees on nothing.

        Cancellation: the attempt goes on for the others; it is bounded.
        """
        if self._era is not None and self._era.life == self._link.life:
            return self._era
        if self._nursery is None:
            raise Unreachable(f"{self._name} is not open")
        attempt = self._attempt
        if attempt is None:
            attempt = self._attempt = _Attempt()
            self._nursery.start_soon(self._agree, attempt)
        await attempt.ended.wait()
        if attempt.era is None:
            raise (attempt.error or Unreachable(f"{self._name} is not open")).blamed()
        return attempt.era

    async def _agree(self, attempt: _Attempt) -> None:
        try:
            with trio.move_on_after(_AGREE_S) as scope:
                attempt.era = self._era = await self._agreement.reach()
            if scope.cancelled_caught:
                attempt.error = Unreachable(f"{self._name} does not answer within {_AGREE_S:g} s")
        except GatewayError as error:
            attempt.error = error
        except Refused as refused:
            attempt.error = self._errors.of_refusal(refused)
        except JsonRpcError as error:
            attempt.error = self._errors.of_error(error)
        except Outdated:
            attempt.error = Unreachable(f"{self._name} began anew meanwhile")
        except Exception as error:
            logger.exception("agreeing with %s failed", self._name)
            attempt.error = BadReply(f"agreeing with it failed: {type(error).__name__}")
        finally:
            self._attempt = None
            attempt.ended.set()

    async def ask(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        context: Context | None = None,
        emit: Emit = discard,
        headers: tuple[tuple[str, str], ...] = (),
        as_it_comes: bool = False,
    ) -> dict[str, Any]:
        """Ask for something, and give what input it requires, as far as the client that waits can.

        Args:
            method: What is asked for.
            params: Its parameters, without what `_meta` has to say about this hop.
            context: For whom; `None` if it is for the gateway itself.
            emit: Where progress goes.
            headers: Further ones, over HTTP in 2026-07-28.
            as_it_comes: Whether a result that requires input is returned too.

        Returns:
            The result as it came.

        Raises:
            JsonRpcError: The server's.
            DeadlineExceeded: Less than 1 ms of the budget was left; nothing was sent.
            GatewayError: It could not be asked, or what came is no answer.

        Cancellation: the server is told, over whatever its transport has for that.
        """
        peer = None if context is None else context.peer
        asked = params
        for _ in range(_MAX_ROUNDS):
            result = await self._ask(method, asked, context, emit, headers)
            if as_it_comes or not questions.requires_input(result):
                return result
            further = await questions.inputs(result, peer)
            if further is None:
                return result
            asked = {**params, **further}
        raise BadReply(f"{self._name} requires input again and again")

    async def _ask(
        self,
        method: str,
        params: Mapping[str, Any],
        context: Context | None,
        emit: Emit,
        headers: tuple[tuple[str, str], ...],
    ) -> dict[str, Any]:
        """One request; once more where the server took what was agreed no longer."""
        for _ in range(2):
            era = await self.era()
            call = self._requests.make(
                era,
                method,
                params,
                context=context,
                emit=emit,
                headers=headers,
                left_ms=None if context is None else await tell_budget(),
            )
            try:
                async with self._link.exchange(call) as exchange:
                    return await self._requests.answer(exchange, call, emit)
            except Refused as refused:
                raise self._errors.of_refusal(refused) from None
            except Outdated as outdated:
                said = outdated.said
            except JsonRpcError as error:
                if error.code != UNSUPPORTED_VERSION or not era.is_modern:
                    raise
                said = error.message
            self._forget(era)
        shown = self._errors.shown(said)
        raise BadReply(f"{self._name} refuses the session or the revision it agreed to: {shown}")

    def _forget(self, era: Era) -> None:
        if self._era is era:
            self._era = None

    async def listen(self, era: Era, uris: Sequence[str] = ()) -> None:
        """Hear what the server tells beside all requests, until it or the connection ends that.

        Args:
            era: What is agreed with it.
            uris: Resources to hear of, in 2026-07-28; none to hear of lists.

        Raises:
            GatewayError, JsonRpcError, Refused, Outdated: It cannot be heard.
        """
        if not era.is_modern:
            heard = self._link.listen(era)
            if heard is None:  # it is heard all the time
                await trio.sleep_forever()
            else:
                async with heard as exchange:
                    await self._requests.answer(exchange, None)
            return
        wanted: dict[str, Any] = {
            f"{key}ListChanged": True
            for key in ("tools", "prompts", "resources")
            if era.announces(key, "listChanged") and not uris
        }
        if uris:
            wanted["resourceSubscriptions"] = uris
        call = self._requests.make(era, "subscriptions/listen", {"notifications": wanted})
        async with self._link.exchange(call) as exchange:
            await self._requests.answer(exchange, call)
