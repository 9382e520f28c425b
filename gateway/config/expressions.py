"""Codecs of JMESPath expressions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jmespath
import jmespath.exceptions

from gateway.config.codec import Codec, decode_each, expected, sound
from gateway.config.problems import Refused
from gateway.config.text import one_line, show

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["jmespath_expression", "jmespath_output", "syntax_problem"]

_MAX_LENGTH = 10_000


def jmespath_expression() -> Codec:
    """A JMESPath expression, its syntax checked; it stays text."""
    wanted = 'a JMESPath expression such as "profile.name"'

    def decode(value: Any, _place: Place) -> str:
        return sound(value, wanted, syntax_problem)

    return Codec(decode=decode, wanted=wanted, schema={"type": "string", "minLength": 1})


def syntax_problem(expression: str) -> str | None:
    """What is wrong with a JMESPath expression; `None` if it is one."""
    if len(expression) > _MAX_LENGTH:
        return f"longer than {_MAX_LENGTH} characters"
    try:
        jmespath.compile(expression)
    except jmespath.exceptions.EmptyExpressionError:
        return "it is empty"
    except jmespath.exceptions.IncompleteExpressionError:
        return "it ends too early"
    except jmespath.exceptions.LexerError as error:
        return f"{one_line(error.message, 80)} at character {error.lex_position + 1}"
    except jmespath.exceptions.ParseError as error:
        if error.token_type == "EOF":  # noqa: S105 -- a lexer's token
            return "it ends too early"
        return f"unexpected {show(error.token_value)} at character {error.lex_position + 1}"
    except jmespath.exceptions.JMESPathError as error:
        return one_line(str(error), 80)
    except RecursionError:
        return "nested too deeply"
    return None


def jmespath_output() -> Codec:
    """A tool's output: one JMESPath expression, or a table of them by key."""
    wanted = "a JMESPath expression, or a table of them"
    expression = jmespath_expression()

    def decode_item(value: Any, place: Place) -> Any:
        if place.path[-1] == "_errors":
            raise Refused("this key is the gateway's own: it names the calls that are missing")
        return expression.decode(value, place)

    def decode(value: Any, place: Place) -> Any:
        if isinstance(value, str):
            return expression.decode(value, place)
        if not isinstance(value, Mapping):
            raise expected(wanted, value)
        return decode_each(value.items(), place, decode_item)

    text = expression.schema
    table = {
        "type": "object",
        "additionalProperties": text,
        "propertyNames": {"not": {"const": "_errors"}},
    }
    return Codec(decode=decode, wanted=wanted, schema={"anyOf": [text, table]})
