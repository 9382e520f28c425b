"""Tokens for a service, by the client credentials grant of OAuth 2.0.

A token is fetched beside the calls that need it, once for all of them, and anew before it ends.

Source: RFC 6749, sections 2.3.1, 4.4, 5.1 and 5.2; RFC 6750.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn
from urllib.parse import quote_plus, urlsplit

import attrs
import msgspec
import trio

from gateway.config import fields
from gateway.config.fields import Secret, reveal
from gateway.config.secret import Redaction
from gateway.config.units import format_duration
from gateway.core.adapter import Environment
from gateway.core.errors import BadReply, GatewayError, Overloaded, Rejected, Unreachable
from gateway.net.background import detached_nursery
from gateway.net.client import ClientSettings, HttpClient, HttpReply, HttpRequest, open_client
from gateway.net.json_text import decode_json
from gateway.net.messages import Origin
from gateway.net.retry_after import parse_retry_after
from gateway.net.texts import encoded_target, form

__all__ = ["OAuth2Settings", "Tokens", "opened", "tokens_of"]

_LONGEST_S = 30.0
"""A fetch takes no longer: it belongs to no call whose deadline would bound it."""
_USUAL_S = 300.0
"""How long a token is good whose reply does not say."""
_AHEAD = 0.8
"""The part of its life after which a token is fetched anew, while it is used on."""
_MARGIN_S = 10.0
"""Seconds before its end that a token is not used any more, so that it arrives in time; of a short
life a tenth."""
_PAUSE_S = 5.0
"""Between two fetches ahead, if the first fails."""
_YOUNG_S = 10.0
"""A token that was fetched within these is not fetched anew because it is refused: it is not its age
that it is refused for."""
_MAX_REPLY = 65_536
_REMEMBERED = 8
"""Tokens that are kept out of what is shown: the last ones."""

_TOKEN = re.compile(r"[!-~]+")
_SAYABLE = re.compile(r"[ !#-\[\]-~]{1,200}")


@attrs.frozen(slots=True, kw_only=True)
class OAuth2Settings:
    """`oauth2` of a service: the client credentials grant."""

    token_url: str = fields.url(
        doc="The token endpoint.", example="https://id.internal/oauth2/token"
    )
    client_id: str | Secret = fields.string(
        reference=True, least=1, doc="Who the gateway is to the token endpoint."
    )
    client_secret: Secret = fields.string(secret=True, doc="The secret of `client_id`.")
    scope: str | None = fields.string(
        default=None, doc="The scopes that are asked for, with spaces between them."
    )
    audience: str | None = fields.string(
        default=None, doc="Whom the token is for, where the token endpoint wants that said."
    )
    auth: str = fields.one_of(
        *("basic", "body"),
        default="basic",
        doc="Whether id and secret are sent in a header or in the body.",
    )


class _Token(msgspec.Struct, frozen=True):
    """A token that is used.

    Args:
        text: Itself.
        since: When it came, on Trio's clock.
        ahead: From when on it is fetched anew.
        until: When it is used no more.
    """

    text: str
    since: float
    ahead: float
    until: float


class _Flight:
    """A token on its way, and how many wait for it."""

    __slots__ = ("ended", "error", "scope", "text", "waiting")

    def __init__(self) -> None:
        self.scope = trio.CancelScope(deadline=trio.current_time() + _LONGEST_S)
        self.ended = trio.Event()
        self.waiting = 0
        self.text = ""
        self.error: Exception | None = None


class Tokens:
    """The tokens of one service.

    Args:
        settings: Its `oauth2`.
        environment: What the gateway gives the service.
        allow_private: Whether private addresses may be connected to.
        budget_header: As the service's.
    """

    def __init__(
        self,
        settings: OAuth2Settings,
        environment: Environment,
        *,
        allow_private: bool,
        budget_header: str,
    ) -> None:
        self._environment = environment
        self._allow_private = allow_private
        self._budget_header = budget_header
        self._origin = Origin.of(settings.token_url)
        parts = urlsplit(settings.token_url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._target = encoded_target(target)
        self._headers, self._body = _asking(settings)
        self._shown = Redaction([settings.client_secret, *_sent_secrets(self._headers)])
        self._client: HttpClient | None = None
        self._nursery: trio.Nursery | None = None
        self._token: _Token | None = None
        self._flight: _Flight | None = None
        self._seen: deque[str] = deque(maxlen=_REMEMBERED)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to fetch; leaving closes the connection, and forgets."""
        settings = ClientSettings.of(
            [self._origin],
            self._environment,
            allow_private=self._allow_private,
            max_connections=1,
            max_reply_bytes=_MAX_REPLY,
            budget_header=self._budget_header,
        )
        # Not the app's background: that opens after the services, some of which ask as they open.
        async with open_client(settings) as self._client, detached_nursery() as nursery:
            self._nursery = nursery
            try:
                yield
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()
        self._client = self._token = None

    def hide(self, text: str) -> str:
        """`text` without the tokens that it may repeat."""
        for token in self._seen:
            text = text.replace(token, "***")
        return text

    async def token(self) -> str:
        """A token: at hand, else fetched; whoever waits for it meanwhile waits for the same one.

        Raises:
            Unreachable: The token endpoint is, or does not answer.
            Rejected: It refuses.
            BadReply: What it says is no token.
            Overloaded: The gateway is closing.

        Cancellation: the fetch goes on while somebody else waits for it, and ends if nobody does.
        """
        token = self._token
        if token is not None:
            now = trio.current_time()
            if now < token.until:
                if now >= token.ahead and self._flight is None:
                    self._fetch_ahead(token)
                return token.text
        return await self._wait(self._flight or self._begin())

    def distrust(self, token: str) -> bool:
        """As `Bearer`: one that was fetched just now is kept."""
        ours = self._token
        if ours is None or ours.text != token:
            return True  # another call has seen to it
        if trio.current_time() < ours.since + _YOUNG_S:
            return False
        self._token = None
        return True

    def _fetch_ahead(self, token: _Token) -> None:
        pause = trio.current_time() + _PAUSE_S
        self._token = msgspec.structs.replace(token, ahead=pause)
        with contextlib.suppress(Overloaded):  # the gateway is closing
            self._begin()

    def _begin(self) -> _Flight:
        if self._nursery is None:
            raise Overloaded("not called: the gateway is closing", retry_after_s=1)
        self._flight = flight = _Flight()
        self._nursery.start_soon(self._fly, flight)
        return flight

    async def _fly(self, flight: _Flight) -> None:
        """Fetch a token; what is raised is for those who wait for it."""
        try:
            with flight.scope:
                flight.text = await self._fetch()
        except Exception as error:  # noqa: BLE001 - it is raised where the token is waited for
            flight.error = error
        finally:
            self._forget(flight)
            flight.ended.set()

    def _forget(self, flight: _Flight) -> None:
        if self._flight is flight:
            self._flight = None

    async def _wait(self, flight: _Flight) -> str:
        flight.waiting += 1
        try:
            await flight.ended.wait()
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.ended.is_set():
                self._forget(flight)
                flight.scope.cancel()
                with trio.CancelScope(shield=True):  # nothing is left behind
                    await flight.ended.wait()
        if flight.text:
            return flight.text
        if isinstance(flight.error, GatewayError):
            raise flight.error.blamed()  # a copy: each who waits has a traceback of its own
        if flight.error is not None:
            raise flight.error
        if flight.scope.cancelled_caught:
            late = format_duration(_LONGEST_S)
            raise Unreachable(f"no token: the token endpoint did not answer within {late}")
        await trio.lowlevel.checkpoint_if_cancelled()
        raise Overloaded("not called: the gateway is closing", retry_after_s=1)

    async def _fetch(self) -> str:
        """A new token, kept from here on.

        Raises:
            GatewayError: There is none.
        """
        if self._client is None:
            raise Unreachable("no token: the service is not open")
        asked = HttpRequest("POST", self._origin, self._target, self._headers, self._body)
        try:
            reply = await self._client.send(asked)
        except Unreachable as error:
            raise Unreachable(_no_token(error), where=error.where) from error
        except BadReply as error:
            raise BadReply(_no_token(error)) from error
        if reply.status != 200:
            self._refuse(reply)
        text, lasts_s = _granted(reply)
        now = trio.current_time()
        until = now + lasts_s - min(_MARGIN_S, lasts_s / 10)
        self._token = _Token(text, now, now + lasts_s * _AHEAD, until)
        self._seen.append(text)
        return text

    def _refuse(self, reply: HttpReply) -> NoReturn:
        """Raise what a reply that grants nothing means; it is never the caller who is to blame.

        Source: RFC 6749, section 5.2.
        """
        said = f"no token: the token endpoint answered {reply.status}"
        with contextlib.suppress(ValueError):
            told = decode_json(reply.body)
            for key in ("error", "error_description"):
                text = told.get(key) if isinstance(told, dict) else None
                if isinstance(text, str) and _SAYABLE.fullmatch(text):
                    said += f": {self._shown(text)}"
        kind = Rejected if 400 <= reply.status < 500 else Unreachable
        raise kind(said, retry_after_s=parse_retry_after(reply.header("retry-after")))


def _no_token(error: GatewayError) -> str:
    return f"no token: the token endpoint: {error.detail}"


def _asking(settings: OAuth2Settings) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """The headers and the body of every request for a token."""
    pair = {
        "client_id": reveal(settings.client_id),
        "client_secret": reveal(settings.client_secret),
    }
    asked = {
        "grant_type": "client_credentials",
        "scope": settings.scope,
        "audience": settings.audience,
    }
    headers = [
        ("accept", "application/json"),
        ("content-type", "application/x-www-form-urlencoded"),
    ]
    if settings.auth == "body":
        return tuple(headers), form({**asked, **pair})
    # Encoded before they are joined: either may hold a colon. RFC 6749, section 2.3.1.
    joined = ":".join(map(quote_plus, pair.values()))
    headers.append(("authorization", f"Basic {base64.b64encode(joined.encode()).decode()}"))
    return tuple(headers), form(asked)


def _sent_secrets(headers: Iterable[tuple[str, str]]) -> list[Secret]:
    return [Secret(value) for name, value in headers if name == "authorization"]


def _granted(reply: HttpReply) -> tuple[str, float]:
    """The token that a reply holds, and the seconds it is good.

    Raises:
        BadReply: It holds none.
    """
    try:
        granted: Any = decode_json(reply.body)
    except ValueError as error:
        raise BadReply("no token: what the token endpoint says is not JSON") from error
    token = granted.get("access_token") if isinstance(granted, dict) else None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise BadReply("no token: what the token endpoint says holds no access_token")
    if str(granted.get("token_type", "bearer")).lower() != "bearer":
        raise BadReply("no token: the token endpoint's token is no bearer token")
    return token, _lasting_s(granted.get("expires_in"))


def _lasting_s(expires_in: Any) -> float:
    """How long a token is good; some say it as text."""
    try:
        return max(0.0, float(expires_in))
    except (TypeError, ValueError):
        return _USUAL_S


def tokens_of(
    settings: OAuth2Settings | None,
    environment: Environment,
    *,
    url: str,
    written: Mapping[str, Iterable[str]],
    allow_private: bool,
    budget_header: str,
) -> Tokens | None:
    """The tokens of a service; `None` if it has no `oauth2`.

    Args:
        settings: Its `oauth2`.
        environment: What the gateway gives it.
        url: Its own.
        written: The names of headers, in lower case, by the key that writes them.
        allow_private: As the service's.
        budget_header: As the service's.

    Raises:
        ValueError: Something else writes `authorization` as well.
    """
    if settings is None:
        return None
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError("oauth2: url names a user: authorization is the token's")
    for key, names in written.items():
        if "authorization" in names:
            raise ValueError(f"{key}: with oauth2, authorization is the token's")
    return Tokens(settings, environment, allow_private=allow_private, budget_header=budget_header)


def opened(tokens: Tokens | None) -> AbstractAsyncContextManager[None]:
    """`tokens`, open, if there are any."""
    return contextlib.nullcontext() if tokens is None else tokens.open()
