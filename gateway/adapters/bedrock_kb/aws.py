"""AWS' two APIs of knowledge bases, by boto3: the extra `aws`. Everything here blocks.

A client's timeouts are its own for good, so there is one for each of a few lengths of time: the
shortest that is no less than what is left of the budget. Retries are ours, not boto3's.

Source: botocore, "Config"; AWS SDKs, "Retry behavior".
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import boto3
import botocore.exceptions as botocore_errors
import urllib3.exceptions
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from gateway.adapters.bedrock_kb.settings import KnowledgeBaseSettings
from gateway.config.secret import Redaction, Secret
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    InvalidArguments,
    Unreachable,
)
from gateway.net.refusal import refusal

__all__ = ["Api", "Aws"]

Api: TypeAlias = Literal["bedrock-agent-runtime", "bedrock-agent"]
"""The one that searches, and the one that tells what there is."""

_TIMEOUTS_S = (0.5, 1, 2, 5, 10, 30, 60, 300)
_READ_BYTES = 65_536


class Aws:
    """One account in one region.

    Args:
        service: The service's name, for failures.
        settings: Where and as whom AWS is asked.

    Attributes:
        region: Where it is.
        partition: Of AWS', as ARNs have it.

    Raises:
        ValueError: boto3 cannot be had ready: there is no such profile, no region is known.
    """

    region: str
    partition: str

    def __init__(self, service: str, settings: KnowledgeBaseSettings) -> None:
        self._service = service
        self._settings = settings
        self._lock = threading.Lock()
        self._clients: dict[tuple[Api, float], Any] = {}
        try:
            self._session: Any = boto3.Session(
                profile_name=settings.profile, region_name=settings.region
            )
            if self._session.region_name is None:
                raise ValueError("region: missing, and boto3 finds none")
            self.region = self._session.region_name
            self.partition = self._session.get_partition_for_region(self.region)
            self._client("bedrock-agent-runtime", _TIMEOUTS_S[-1])  # what is slow is done now
        except botocore_errors.BotoCoreError as error:
            raise ValueError(f"boto3: {error}") from error

    def ask(self, api: Api, operation: str, left_s: float, /, **parameters: Any) -> dict[str, Any]:
        """What an operation answers.

        Args:
            api: Which of the two.
            operation: Its name as boto3's clients have it.
            left_s: Seconds left of the budget; may be inf.
            **parameters: Of the operation.

        Raises:
            GatewayError: It failed.
        """
        try:
            answer: dict[str, Any] = getattr(self._client(api, left_s), operation)(**parameters)
        except GatewayError:
            raise
        except Exception as error:
            raise self._failure_of(error) from error
        return answer

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            for client in self._clients.values():
                client.close()

    def _client(self, api: Api, left_s: float) -> Any:
        timeout_s = next((one for one in _TIMEOUTS_S if one >= left_s), _TIMEOUTS_S[-1])
        with self._lock:  # making one is not for several threads at once
            found = self._clients.get((api, timeout_s))
            if found is None:
                found = self._clients[api, timeout_s] = self._made(api, timeout_s)
        return found

    def _made(self, api: Api, timeout_s: float) -> Any:
        config = Config(
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            max_pool_connections=self._settings.threads,
            retries={"mode": "standard", "total_max_attempts": 1},
        )
        client = self._session.client(
            api, config=config, endpoint_url=self._settings.endpoint_url or None
        )
        # boto3 reads all of a reply before anybody is asked; here it is read within its bound.
        send = client._endpoint.http_session.send  # noqa: SLF001 - there is no other way to it
        bounded = _bounded(send, self._settings.max_reply)
        client.meta.events.register(f"before-send.{api}", bounded)
        return client

    def _failure_of(self, error: Exception) -> GatewayError:
        """What a failure of boto3's means."""
        match error:
            case botocore_errors.ClientError():
                return self._refusal(error.response)
            case botocore_errors.ReadTimeoutError() | urllib3.exceptions.ReadTimeoutError():
                return DeadlineExceeded(f"{self._service} did not answer in time")
            case (
                botocore_errors.ConnectionError()
                | botocore_errors.HTTPClientError()
                | urllib3.exceptions.HTTPError()
            ):
                return Unreachable(f"no connection to {self._service}", where=str(error))
            case (
                botocore_errors.NoCredentialsError()
                | botocore_errors.PartialCredentialsError()
                | botocore_errors.CredentialRetrievalError()
                | botocore_errors.TokenRetrievalError()
            ):
                return Unreachable("not called: there are no AWS credentials", where=str(error))
            case botocore_errors.ParamValidationError():
                return InvalidArguments(f"not called: {' '.join(str(error).split())}")
        # Its parsers take a reply at its word, and fail as it comes.
        return BadReply(f"the reply of {self._service} cannot be read: {type(error).__name__}")

    def _refusal(self, response: dict[str, Any]) -> GatewayError:
        said = response.get("Error", {})
        about = response.get("ResponseMetadata", {})
        text = f"{said.get('Code', '')}: {said.get('Message', '')}"
        retry_after = about.get("HTTPHeaders", {}).get("retry-after")
        return refusal(
            self._service, about.get("HTTPStatusCode", 500), self._shown(text), retry_after
        )

    def _shown(self, text: str) -> str:
        """`text` without the credentials that it was sent with."""
        secrets: list[str | Secret] = []
        with contextlib.suppress(Exception):  # what cannot be had was not sent
            used = self._session.get_credentials()
            secrets = [Secret(part) for part in (used.secret_key, used.token) if part]
        return Redaction(secrets)(text)


def _bounded(send: Callable[[Any], Any], max_bytes: int) -> Callable[..., AWSResponse]:
    """A handler of `before-send` that sends in boto3's place, and reads no more than it may."""

    def handle(request: Any, **_: Any) -> AWSResponse:
        request.stream_output = True  # nothing is read yet
        response = send(request)
        pieces: list[bytes] = []
        left = max_bytes
        for piece in response.raw.stream(_READ_BYTES):
            left -= len(piece)
            if left < 0:
                response.raw.close()
                raise BadReply(f"the reply is over {max_bytes} bytes")
            pieces.append(piece)
        return AWSResponse(response.url, response.status_code, response.headers, _Read(pieces))

    return handle


class _Read:
    """A body that was read."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def stream(self) -> Iterator[bytes]:
        return iter(self._pieces)
