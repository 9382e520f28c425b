"""What a plan sees: of a result its value, of a failure one of the gateway's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.adapters.mcp.link import Refused
from gateway.adapters.mcp.questions import requires_input
from gateway.config.secret import Redaction, Secret
from gateway.core.errors import BadReply, GatewayError, Rejected
from gateway.core.mcp import INVALID_PARAMS, RESOURCE_NOT_FOUND
from gateway.core.peer import JsonRpcError
from gateway.net.json_text import decode_json
from gateway.net.refusal import refusal

__all__ = ["Errors", "value_of"]

_STATUS = {INVALID_PARAMS: 422, RESOURCE_NOT_FOUND: 404}
"""HTTP's words for JSON-RPC's, where they mean the same."""


class Errors:
    """A server's failures as the gateway's, without secrets.

    Args:
        name: The service's.
        values: What may be secret among its settings.

    Attributes:
        hide: Takes out of a text what is secret for a while: tokens.
    """

    def __init__(self, name: str, values: Iterable[str | Secret]) -> None:
        self._name = name
        self._redact = Redaction(values)
        self.hide: Callable[[str], str] = str

    def shown(self, text: str, at_most: int = 500) -> str:
        """What may be shown of what it says.

        Args:
            text: As it came.
            at_most: Characters of it.
        """
        return self._redact(self.hide(text), at_most)

    def of_refusal(self, refused: Refused) -> GatewayError:
        """What a status other than 200 means."""
        said = self.shown(refused.said)
        return refusal(self._name, refused.status, said, refused.retry_after)

    def of_error(self, error: JsonRpcError) -> GatewayError:
        """What a JSON-RPC error means."""
        said = self.shown(error.message)
        detail = f"{self._name} gave error {error.code}" + (f": {said}" if said else "")
        if error.code in _STATUS:
            return Rejected(detail, service_status=_STATUS[error.code])
        return BadReply(detail)

    def of_result(self, result: Mapping[str, Any]) -> Rejected:
        """What a result means that says it is an error."""
        said = self.shown("\n".join(_texts(result)))
        return Rejected(f"{self._name}: {said}" if said else f"{self._name} says it failed")


def value_of(result: Mapping[str, Any], errors: Errors) -> Any:
    """What a plan sees of the result of a tool.

    Args:
        result: As it came.
        errors: Whose it is.

    Returns:
        `structuredContent` if it has any; else its text, as JSON's value where it is JSON; of
        content that is more than text, all of it.

    Raises:
        Rejected: It says that it is an error, or requires input that nobody is there to give.
        BadReply: It is no tool's result.
    """
    if requires_input(result):
        raise Rejected("it requires input from its user, and there is none to ask")
    if result.get("isError") is True:
        raise errors.of_result(result)
    if result.get("structuredContent") is not None:
        return result["structuredContent"]
    content = result.get("content")
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise BadReply("what came is no result of a tool: content is not a list of objects")
    texts = _texts(result)
    if len(texts) < len(content):
        return content
    text = "\n".join(texts)
    try:
        return decode_json(text.encode())
    except ValueError:
        return text


def _texts(result: Mapping[str, Any]) -> list[str]:
    content = result.get("content")
    return [
        block["text"]
        for block in (content if isinstance(content, list) else ())
        if isinstance(block, dict)
        and block.get("type") == "text"
        and isinstance(block.get("text"), str)
    ]
