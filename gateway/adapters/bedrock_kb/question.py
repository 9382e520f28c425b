"""What a call asks, from its keys' values.

Source: Agents for Amazon Bedrock Runtime, `Retrieve`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.config.values import is_integer
from gateway.core.errors import InvalidArguments

__all__ = ["asked", "knowledge_bases"]

_MODELS = {"AMAZON": "amazon.rerank-v1:0", "COHERE": "cohere.rerank-v3-5:0"}
"""Models that rank anew, by the names that AWS' own MCP server has for them."""
_MOST = 100
"""Knowledge bases of one call, and documents of one request."""


def knowledge_bases(value: Any) -> tuple[str, ...]:
    """The ids that a call names, each once.

    Raises:
        InvalidArguments: It names none, or too many.
    """
    ids = [value] if isinstance(value, str) else value
    is_some = isinstance(ids, list | tuple) and 0 < len(ids) <= _MOST
    if not is_some or not all(isinstance(one, str) and one for one in ids):
        raise InvalidArguments(
            f"not called: knowledge_base: expected an id, or a list of 1 to {_MOST} of them"
        )
    return tuple(dict.fromkeys(ids))


def asked(given: Mapping[str, Any], partition: str, region: str) -> dict[str, Any]:
    """The parameters of `Retrieve`, but for the knowledge base.

    Args:
        given: The call's values.
        partition: Of AWS': `aws`.
        region: Where models are.

    Raises:
        InvalidArguments: One of them cannot be meant.
    """
    search: dict[str, Any] = {}
    results = given.get("results")
    if results is not None:
        if not is_integer(results) or not 1 <= results <= _MOST:
            raise InvalidArguments(f"not called: results: expected a number from 1 to {_MOST}")
        search["numberOfResults"] = results
    chosen = given.get("filter")
    if chosen:
        if not isinstance(chosen, Mapping):
            raise InvalidArguments(
                "not called: filter: expected an object, as Bedrock's API has it"
            )
        search["filter"] = chosen
    model = _model(given.get("rerank"), partition, region)
    if model is not None:
        search["rerankingConfiguration"] = {
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {"modelConfiguration": {"modelArn": model}},
        }
    question: dict[str, Any] = {"retrievalQuery": {"text": given.get("query") or ""}}
    if search:
        question["retrievalConfiguration"] = {"vectorSearchConfiguration": search}
    return question


def _model(value: Any, partition: str, region: str) -> str | None:
    """The ARN of the model that ranks anew; `None` if none does."""
    if value is None or value is False or value == "":
        return None
    if value is True:
        value = "AMAZON"
    if not isinstance(value, str):
        raise InvalidArguments("not called: rerank: expected true, false or a model")
    if value.startswith("arn:"):
        return value
    model = _MODELS.get(value.upper(), value)
    return f"arn:{partition}:bedrock:{region}::foundation-model/{model}"
