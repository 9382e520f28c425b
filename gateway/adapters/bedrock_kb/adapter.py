"""The adapter: requests to AWS in threads, several knowledge bases at once.

A thread cannot be stopped: one that is left behind ends with its request's own timeout, which is
little more than what was left of the budget; until then it keeps its place, and is counted.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from gateway.adapters.bedrock_kb.question import asked, knowledge_bases
from gateway.adapters.bedrock_kb.settings import KnowledgeBaseCall, KnowledgeBaseSettings, check
from gateway.core.adapter import Environment, Kind
from gateway.core.deadline import remaining_s
from gateway.core.errors import BadReply, DeadlineExceeded, GatewayError, Unreachable
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.threads import Threads

if TYPE_CHECKING:
    from gateway.adapters.bedrock_kb.aws import Aws

__all__ = ["KIND", "KnowledgeBaseAdapter"]

T = TypeVar("T")

_SHOWN = ("content", "location", "score", "metadata")
_PAGE = 100
_MOST_PAGES = 10
_MARGIN_S = 0.05
"""Seconds before the deadline that no reply of several is waited for, so that the others' are in time."""


class KnowledgeBaseAdapter:
    """The knowledge bases of one account in one region."""

    def __init__(self, settings: KnowledgeBaseSettings, environment: Environment) -> None:
        self._name = environment.service
        self._settings = settings
        self._limiter = trio.CapacityLimiter(settings.threads)
        self._threads = Threads(environment.service, environment.record, self._limiter)
        self._opening = trio.CapacityLimiter(1)
        self._aws: Aws | None = None

    def bind(self, call: KnowledgeBaseCall, /) -> Service:
        """The `Service` of `call`.

        Raises:
            ValueError: Neither it nor the service says which knowledge base is searched.
        """
        if call.operation == "list":
            return self._list
        written = call.knowledge_base or self._settings.knowledge_base
        if not written:
            raise ValueError("knowledge_base: missing, here and in the service")

        async def search(request: Request, _emit: Emit, /) -> Reply:
            given = request.arguments
            aws = self._opened()
            ids = knowledge_bases(given.get("knowledge_base") or self._settings.knowledge_base)
            question = asked(given, aws.partition, aws.region)
            found = await self._each([partial(_search, aws, one, question) for one in ids])
            return _merged(ids, found, given.get("results"))

        return search

    async def _list(self, _request: Request, _emit: Emit, /) -> Reply:
        aws = self._opened()
        bases = await self._threads.run(partial(_bases, aws))
        tag = self._settings.tag
        found = await self._each([partial(_described, aws, one, tag) for one in bases])
        ids = [_part(base, "knowledgeBaseId") for base in bases]
        listed = {
            one: about
            for one, about in zip(ids, found, strict=True)
            if about is not None and not isinstance(about, GatewayError)
        }
        return Reply(listed, missing=_failures(ids, found))

    def _opened(self) -> Aws:
        if self._aws is None:
            raise Unreachable(f"{self._name} is not open")
        return self._aws

    async def _each(self, works: Sequence[Callable[[float], T]]) -> list[T | GatewayError]:
        """What each of `works` gives, done at once as far as there are threads; or its failure.

        Of several, those that take too long have failed shortly before the deadline: what the
        others gave is there then.
        """
        if len(works) == 1:
            return [await self._threads.run(works[0])]
        left_s = remaining_s()
        found: list[Any] = [DeadlineExceeded("time ran out before its reply came") for _ in works]

        async def one(index: int) -> None:
            try:
                found[index] = await self._threads.run(works[index])
            except GatewayError as error:
                found[index] = error

        with trio.move_on_after(left_s - min(_MARGIN_S, left_s / 10)):
            async with trio.open_nursery() as nursery:
                for index in range(len(works)):
                    nursery.start_soon(one, index)
        failures = [each for each in found if isinstance(each, GatewayError)]
        if failures and len(failures) == len(found):
            raise failures[0]
        return found

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to ask; leaving closes the connections.

        Raises:
            ValueError: boto3 is not installed, or knows neither the profile nor a region.
        """

        def opened() -> Aws:
            try:
                from gateway.adapters.bedrock_kb.aws import Aws  # noqa: PLC0415 - an extra
            except ImportError as error:
                raise ValueError('needs boto3: pip install "trio-gateway[aws]"') from error
            return Aws(self._name, self._settings)

        try:
            aws = await trio.to_thread.run_sync(
                opened, abandon_on_cancel=False, limiter=self._opening
            )
        except ValueError as error:
            raise ValueError(f"services.{self._name}: {error}") from error
        self._aws = aws
        try:
            yield
        finally:
            self._aws = None
            with trio.CancelScope(shield=True):  # bounded: it waits for nobody's reply
                await trio.to_thread.run_sync(
                    aws.close, abandon_on_cancel=False, limiter=self._opening
                )


def _search(
    aws: Aws, knowledge_base: str, question: dict[str, Any], left_s: float
) -> list[dict[str, Any]]:
    """The documents that one knowledge base has for a question."""
    answer = aws.ask(
        "bedrock-agent-runtime", "retrieve", left_s, knowledgeBaseId=knowledge_base, **question
    )
    return [
        {key: document[key] for key in _SHOWN if key in document}
        | {"knowledge_base": knowledge_base}
        for document in _part(answer, "retrievalResults")
    ]


def _merged(
    ids: Sequence[str], found: list[list[dict[str, Any]] | GatewayError], results: int | None
) -> Reply:
    """What several knowledge bases have, the best first; what failed of it is missing."""
    documents = [one for part in found if not isinstance(part, GatewayError) for one in part]
    documents.sort(key=lambda one: -one.get("score", -math.inf))
    return Reply(documents[:results], missing=_failures(ids, found))


def _failures(ids: Sequence[str], found: Sequence[Any]) -> tuple[GatewayError, ...]:
    """The failures among `found`, each saying whose it is."""
    failures = []
    for one, part in zip(ids, found, strict=True):
        if isinstance(part, GatewayError):
            failure = part.blamed()
            failure.args = (f"{one}: {part.detail}",)
            failures.append(failure)
    return tuple(failures)


def _bases(aws: Aws, left_s: float) -> list[dict[str, Any]]:
    """Every knowledge base there is."""
    return _pages(aws, "list_knowledge_bases", "knowledgeBaseSummaries", left_s)


def _described(
    aws: Aws, base: dict[str, Any], tag: str | None, left_s: float
) -> dict[str, Any] | None:
    """What is told of a knowledge base, as AWS' own MCP server tells it; `None` without the tag."""
    its_id = _part(base, "knowledgeBaseId")
    if tag is not None and not _is_tagged(aws, its_id, tag, left_s):
        return None
    sources = _pages(
        aws, "list_data_sources", "dataSourceSummaries", left_s, knowledgeBaseId=its_id
    )
    return {
        "name": _part(base, "name"),
        "description": base.get("description", ""),
        "data_sources": [
            {"id": _part(one, "dataSourceId"), "name": _part(one, "name")} for one in sources
        ],
    }


def _is_tagged(aws: Aws, knowledge_base: str, tag: str, left_s: float) -> bool:
    about = aws.ask("bedrock-agent", "get_knowledge_base", left_s, knowledgeBaseId=knowledge_base)
    arn = _part(_part(about, "knowledgeBase"), "knowledgeBaseArn")
    tags = aws.ask("bedrock-agent", "list_tags_for_resource", left_s, resourceArn=arn)
    return bool(tags.get("tags", {}).get(tag) == "true")


def _part(answer: dict[str, Any], key: str) -> Any:
    """A part that an answer has by its description; boto3 does not look.

    Raises:
        BadReply: It is not there.
    """
    if key not in answer:
        raise BadReply(f"the reply has no {key}")
    return answer[key]


def _pages(
    aws: Aws, operation: str, key: str, left_s: float, **parameters: Any
) -> list[dict[str, Any]]:
    """All that an operation lists, page by page."""
    found: list[dict[str, Any]] = []
    for _ in range(_MOST_PAGES):
        page = aws.ask("bedrock-agent", operation, left_s, maxResults=_PAGE, **parameters)
        found += _part(page, key)
        if not page.get("nextToken"):
            break
        parameters["nextToken"] = page["nextToken"]
    return found


KIND = Kind(
    settings=KnowledgeBaseSettings,
    call=KnowledgeBaseCall,
    create=KnowledgeBaseAdapter,
    check=check,
    idempotent=lambda _call: True,
    read_only=lambda _call: True,
)
"""How `bedrock_kb` is declared."""
