"""2026-07-28: a call that has to ask its client something ends, and is made again with the answer.

The revision knows no requests of a server's: a result says which input is required, and the client
sends its request once more with what it has found. Nothing waits here meanwhile: the call that
asked was cancelled with everything below it, and what the client answered in earlier rounds goes
with it as `requestState`, signed.

Source: MCP 2026-07-28, Multi Round-Trip Requests.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
import trio

from gateway.core.errors import CannotAsk, InvalidRequest
from gateway.core.mcp import INVALID_PARAMS, MISSING_CAPABILITY
from gateway.core.messages import Context
from gateway.inbound.mcp.jsonrpc import ProtocolError
from gateway.inbound.mcp.signing import Signer

__all__ = ["STATE_S", "Round", "Rounds", "unable"]

STATE_S: Final = 3600.0
"""Seconds for which a state is taken."""

_MAX_QUESTIONS: Final = 20


def unable(error: CannotAsk) -> ProtocolError:
    """What a client is told that lacks what it would have to be asked for."""
    return ProtocolError(
        MISSING_CAPABILITY,
        f"Missing required client capability: {error.capability}",
        data={"requiredCapabilities": {error.capability: {}}},
        booked=True,
    )


class _State(msgspec.Struct, frozen=True, array_like=True):
    """What `requestState` holds: which request it is for, and the answers so far.

    Where a server behind us asks in rounds itself, it keeps the answers, in a state of its own.
    """

    until: float
    request: str
    answers: dict[str, dict[str, Any]]
    is_passed: bool = False
    theirs: str | None = None


class Round:
    """A client as a `Peer`, for one round of a request.

    Args:
        capabilities: What it can be asked for.
        answers: What it has answered, by key.
        further: What the request brings for a server behind us that asked in the round before.

    Attributes:
        in_rounds: As `Peer`: it is.
        scope: Cancelled when a question comes up that it has not answered.
        asked: Those questions, by key.
    """

    __slots__ = ("_seen", "answers", "asked", "capabilities", "further", "scope")

    in_rounds = True

    def __init__(
        self,
        capabilities: Mapping[str, Any],
        answers: Mapping[str, Mapping[str, Any]],
        further: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.capabilities = capabilities
        self.answers = answers
        self.further = further
        self.asked: dict[str, dict[str, Any]] = {}
        self.scope = trio.CancelScope()
        self._seen: dict[str, int] = {}

    async def __call__(
        self, method: str, params: Mapping[str, Any], /, *, key: str | None = None
    ) -> Mapping[str, Any]:
        """The client's answer, if it is there; else the round ends here.

        Raises:
            InvalidRequest: It cannot end here: what asks is not cancelled with the request.
        """
        name = self._named(method, params) if key is None else key
        if name in self.answers:
            return self.answers[name]
        if len(self.asked) < _MAX_QUESTIONS:
            self.asked[name] = {"method": method, "params": params}
        self.scope.cancel()
        await trio.lowlevel.checkpoint()
        raise InvalidRequest("what is committed cannot ask its client anything")

    def _named(self, method: str, params: Mapping[str, Any]) -> str:
        """A name that the same question has in every round, and no other one has."""
        said = msgspec.json.encode([method, params], order="deterministic")
        digest = hashlib.sha256(said).hexdigest()[:16]
        number = self._seen[digest] = self._seen.get(digest, 0) + 1
        return digest if number == 1 else f"{digest}-{number}"


class Rounds:
    """Begins rounds with what a request brings, and ends them with what it lacks.

    Args:
        signer: Signs states.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def begin(
        self,
        method: str,
        params: Mapping[str, Any],
        capabilities: Mapping[str, Any],
        context: Context,
    ) -> Round:
        """A round of a request.

        Args:
            method: The request's.
            params: The request's.
            capabilities: What its client can be asked for.
            context: Who asks.

        Raises:
            ProtocolError: Its `inputResponses` are malformed, or its `requestState` was not made
                here, for this request and this principal, within the last hour.
        """
        given = params.get("inputResponses", {})
        if not isinstance(given, dict) or not all(isinstance(one, dict) for one in given.values()):
            raise ProtocolError(
                INVALID_PARAMS, "Invalid params: inputResponses: expected objects by key"
            )
        state = params.get("requestState")
        if state is None:
            return Round(capabilities, given, {"inputResponses": given} if given else {})
        opened = self._opened(state, _request(method, params, context))
        if not opened.is_passed:
            return Round(capabilities, opened.answers | given)
        theirs = {} if opened.theirs is None else {"requestState": opened.theirs}
        return Round(capabilities, {}, {"inputResponses": given, **theirs})

    def _opened(self, state: Any, request: str) -> _State:
        payload = self._signer.opened(state) if isinstance(state, str) else None
        if payload is not None:
            found = msgspec.json.decode(payload, type=_State)
            if found.request == request and found.until > time.time():
                return found
        raise ProtocolError(
            INVALID_PARAMS, "Invalid params: requestState: not one of this request, or too old"
        )

    def result(
        self, round_: Round, method: str, params: Mapping[str, Any], context: Context
    ) -> dict[str, Any]:
        """The result that asks for what a round lacked."""
        answers = {key: dict(answer) for key, answer in round_.answers.items()}
        state = _State(time.time() + STATE_S, _request(method, params, context), answers)
        return {
            "resultType": "input_required",
            "inputRequests": round_.asked,
            "requestState": self._signer.signed(msgspec.json.encode(state)),
        }

    def passed(
        self,
        result: Mapping[str, Any],
        method: str,
        params: Mapping[str, Any],
        context: Context,
    ) -> dict[str, Any]:
        """The result of a server behind us that requires input; its state goes within ours."""
        theirs = result.get("requestState")
        state = _State(
            time.time() + STATE_S,
            _request(method, params, context),
            {},
            is_passed=True,
            theirs=theirs if isinstance(theirs, str) else None,
        )
        return {**result, "requestState": self._signer.signed(msgspec.json.encode(state))}


def _request(method: str, params: Mapping[str, Any], context: Context) -> str:
    """Which request it is, whatever it brings in addition, and whose."""
    said = [params.get(key) for key in ("name", "uri", "arguments")]
    known = [context.principal, method, *said]
    return hashlib.sha256(msgspec.json.encode(known, order="deterministic")).hexdigest()
