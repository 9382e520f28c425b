"""The keys of `[services.NAME]` with `kind = "bedrock_kb"`, and of a call to one."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from gateway.config import fields, values

__all__ = ["KnowledgeBaseCall", "KnowledgeBaseSettings", "check"]


@attrs.frozen(slots=True, kw_only=True)
class KnowledgeBaseSettings:
    """`[services.NAME]` with `kind = "bedrock_kb"`."""

    region: str | None = fields.string(
        default=None, doc="AWS' region; left out, the one that boto3 finds."
    )
    profile: str | None = fields.string(
        default=None, doc="Of AWS' configuration files; left out, credentials as boto3 finds them."
    )
    knowledge_base: str | tuple[str, ...] | None = fields.field(
        values.either(
            values.string(least=1),
            values.list_of(values.string(least=1), wanted='a list such as ["KB12345678"]'),
        ),
        default=None,
        doc="The id of the one that is asked, or of several; a call may say others.",
    )
    tag: str | None = fields.string(
        default=None, doc="Only knowledge bases with this tag, its value `true`, are listed."
    )
    threads: int = fields.integer(
        default=10, minimum=1, doc="Requests to AWS at once; further ones wait."
    )
    max_reply: int = fields.size(default="8MiB", doc="Largest reply to one request.")
    endpoint_url: str | None = fields.url(
        default=None, query=False, doc="Where AWS is asked; left out, where boto3 finds it."
    )


@attrs.frozen(slots=True, kw_only=True)
class KnowledgeBaseCall:
    """The keys of a call to knowledge bases."""

    operation: Literal["query", "list"] = fields.one_of(
        "query",
        "list",
        default="query",
        doc="Whether they are searched, or told of with their data sources.",
    )
    query: str | None = fields.template_text(doc="What is searched for.")
    knowledge_base: Any = fields.template_value(
        doc="The id of the one that is searched, or a list of them; left out, the service's."
    )
    results: Any = fields.template_value(
        doc="Documents, 1 to 100; of several knowledge bases the best of all. Left out, AWS' number."
    )
    filter: Any = fields.template_value(
        doc="Which documents count, as `RetrievalFilter` of Bedrock's API; nothing is no filter."
    )
    rerank: Any = fields.template_value(
        doc="`true`, `AMAZON`, `COHERE`, or a model's id or ARN: documents are ranked anew by it."
    )


def check(call: KnowledgeBaseCall) -> list[tuple[str, str]]:
    """What is wrong with a call, as `Kind.check`."""
    if call.operation == "query":
        return [] if call.query else [("query", "missing")]
    of_queries = ("query", "knowledge_base", "results", "filter", "rerank")
    return [
        (key, 'goes with operation = "query"')
        for key in of_queries
        if getattr(call, key) is not None
    ]
