"""The keys of `[services.NAME]` with `kind = "sql"`, and of a call to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from gateway.config import fields
from gateway.config.fields import Secret

__all__ = ["SqlCall", "SqlSettings"]


@attrs.frozen(slots=True, kw_only=True)
class SqlSettings:
    """`[services.NAME]` with `kind = "sql"`."""

    url: str | Secret = fields.string(
        reference=True,
        doc='The database: `"sqlite:///data.db"`, relative to the file, or `"postgresql://…"`.',
    )
    threads: int = fields.integer(
        default=10, minimum=1, doc="Statements at once, and connections; further calls wait."
    )
    read_only: bool = fields.boolean(
        default=True, doc="Whether nothing can be written, whatever a statement says."
    )
    max_rows: int = fields.integer(
        default=1000, minimum=1, doc="Rows of a reply; a statement that gives more has failed."
    )
    max_reply: int = fields.size(default="8MiB", doc="Largest reply, as text.")


@attrs.frozen(slots=True, kw_only=True)
class SqlCall:
    """The keys of a call to a database."""

    sql: str = fields.string(
        doc="One statement; `:name` is a parameter. Nothing else in it is ever filled in."
    )
    parameters: Mapping[str, Any] | None = fields.template_mapping(
        default=None, doc="Values of its parameters. Left out: the tool's inputs of the same names."
    )
    one: bool = fields.boolean(
        default=False, doc="Whether the reply is the single row, or null, instead of a list."
    )
    max_rows: int | None = fields.integer(
        default=None, minimum=1, doc="Rows of its reply; left out, the service's."
    )
    write: bool = fields.boolean(
        default=False, doc="Whether it changes something; it runs in a transaction of its own."
    )
