"""The attrs fields of settings classes: one function per type of value that a key may hold.

```python
@attrs.frozen(slots=True, kw_only=True)
class Settings:
    url: str = fields.url(doc="Where the service is.")
    max_reply: int = fields.size(default="8MiB", doc="Largest reply.")
```

Each function takes `doc`, one sentence for the reference, and `default`, written as the file
would write it; without a default the key is required, and `None` means that absence has a meaning
of its own. The decoded default is the field's own, so `Settings(url="…")` in Python is complete.
A key whose text may hold placeholders takes `template` too: see `template_of`.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import attrs

from gateway.config import addresses, expressions, input_schema, json_values, values
from gateway.config import headers as header_codecs
from gateway.config import tables as keyed
from gateway.config import variables as variable_codecs
from gateway.config.codec import Codec, Template
from gateway.config.problems import Location, Origins, Place, Problems, Refused
from gateway.config.secret import Secret, reveal
from gateway.config.tables import codec_of, codecs_of

__all__ = [
    "Codec",
    "Secret",
    "address",
    "bind",
    "binds",
    "boolean",
    "codec_of",
    "codecs_of",
    "duration",
    "encoding",
    "field",
    "file",
    "forwarded_headers",
    "header_templates",
    "headers",
    "integer",
    "jmespath",
    "jmespath_output",
    "json",
    "json_schema",
    "matching",
    "methods",
    "name",
    "networks",
    "one_of",
    "path",
    "prefix",
    "rate",
    "reveal",
    "route",
    "share",
    "size",
    "string",
    "strings",
    "table",
    "template_mapping",
    "template_of",
    "template_path",
    "template_text",
    "template_value",
    "url",
    "variables",
    "wait",
    "workers",
]


def field(
    codec: Codec,
    *,
    doc: str,
    default: Any = attrs.NOTHING,
    template: Template | None = None,
    show: bool = True,
) -> Any:
    """A field whose value `codec` decodes: what every function below returns.

    Args:
        codec: Decodes the value.
        doc: One sentence for the reference.
        default: As the file would write it; `NOTHING` makes the key required.
        template: How placeholders in the value are filled in.
        show: Whether the value may stand in the `repr` of its class.

    Raises:
        ValueError: `codec` refuses `default`.
    """
    codec = attrs.evolve(codec, doc=doc, default=default, template=template)
    decoded = _decoded_default(codec)
    if isinstance(decoded, (dict, list)):
        decoded = attrs.Factory(lambda original=decoded: copy.deepcopy(original))  # type: ignore[misc]
    return attrs.field(default=decoded, metadata={keyed.KEY: codec}, repr=show)


def _decoded_default(codec: Codec) -> Any:
    default = codec.default
    if default is attrs.NOTHING or default is None or attrs.has(type(default)):
        return default
    nowhere = Problems(Origins(Location("a default", None, Path())))
    raw = list(default) if isinstance(default, tuple) else default
    try:
        return codec.decode(raw, Place(nowhere))
    except Refused as refused:
        raise ValueError(refused.message or "; ".join(map(str, nowhere))) from None


def template_of(attribute: Any) -> Template | None:
    """How placeholders in a field's value are filled in.

    Args:
        attribute: A field of a class, such as `attrs.fields(cls).get`.

    Returns:
        `"path"`: text, each placeholder percent-encoded as one segment. `"text"`: text.
        `"value"`: any JSON value; a string that is one placeholder keeps its type. `None`: the
        value holds no placeholders.
    """
    return codec_of(attribute).template


def string(
    *,
    doc: str,
    default: Any = attrs.NOTHING,
    reference: bool = False,
    secret: bool = False,
    least: int = 0,
    template: Template | None = None,
) -> Any:
    """Text, of at least so many characters → `str`.

    With `reference` it may be `env:NAME` or `file:PATH`, and such a value is a `Secret`. With
    `secret` it is one always, and `check --strict` refuses a literal.
    """
    codec = values.string(reference=reference, secret=secret, least=least)
    return field(codec, doc=doc, default=default, template=template)


def name(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A name as tools, services and calls have them → `str`."""
    return field(values.name(), doc=doc, default=default)


def boolean(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """`true` or `false` → `bool`."""
    return field(values.boolean(), doc=doc, default=default)


def integer(
    *,
    doc: str,
    default: Any = attrs.NOTHING,
    minimum: int | None = None,
    maximum: int | None = None,
) -> Any:
    """A whole number within bounds, both included → `int`."""
    return field(values.integer(minimum=minimum, maximum=maximum), doc=doc, default=default)


def duration(*, doc: str, default: Any = attrs.NOTHING, none: bool = False) -> Any:
    """`"250ms"`, `"1m30s"`: above zero → `float`, seconds; `"none"` → inf, where `none` allows it."""
    return field(values.duration(none=none), doc=doc, default=default)


def size(*, doc: str, default: Any = attrs.NOTHING, none: bool = False) -> Any:
    """`"64KiB"`, `"1MB"`: above zero → `int`, bytes; `"none"` → inf, where `none` allows it."""
    return field(values.size(none=none), doc=doc, default=default)


def rate(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """`"500/s"`, `"100/h"`: above zero → `float`, so many a second."""
    return field(values.rate(), doc=doc, default=default)


def share(*, doc: str, default: Any = attrs.NOTHING, none: bool = False) -> Any:
    """`"20%"`: above zero → `float`, 0.2; `"none"` → inf, where `none` allows it."""
    return field(values.share(none=none), doc=doc, default=default)


def one_of(*choices: Any, doc: str, default: Any = attrs.NOTHING) -> Any:
    """One of `choices`: strings, integers, booleans."""
    return field(values.one_of(*choices), doc=doc, default=default)


def strings(*, doc: str, default: Any = attrs.NOTHING, template: Template | None = None) -> Any:
    """A list of strings → `tuple[str, ...]`."""
    return field(values.strings(), doc=doc, default=default, template=template)


def file(*, doc: str, default: Any = attrs.NOTHING, example: str = "file:tls.crt") -> Any:
    """`"file:PATH"` or `"PATH"`, a file that is there → `Path`; messages show `example`."""
    return field(addresses.file(example), doc=doc, default=default)


def address(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """`"host:port"`, `"[::1]:port"` of a peer → `str`."""
    return field(addresses.address(), doc=doc, default=default)


def encoding(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A text encoding, by a name that Python knows → `str`, its usual one."""
    return field(addresses.encoding(), doc=doc, default=default)


def bind(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """`"host:port"`, `"[::1]:port"`, `"unix:/path"` → `str`."""
    return field(addresses.bind(), doc=doc, default=default)


def binds(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A list of at least one address, each as for `bind` → `tuple[str, ...]`."""
    return field(addresses.binds(), doc=doc, default=default)


def networks(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A list of addresses and networks, `"10.0.0.0/8"` → `tuple[IPv4Network | IPv6Network, ...]`."""
    return field(addresses.networks(), doc=doc, default=default)


def path(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A path of ours, `"/mcp"` → `str`."""
    return field(addresses.path(), doc=doc, default=default)


def prefix(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A path of ours that others are below, `"/files/"` → `str`."""
    return field(addresses.prefix(), doc=doc, default=default)


def methods(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A list of methods of HTTP, `["GET", "PUT"]` → `tuple[str, ...]`."""
    return field(addresses.methods(), doc=doc, default=default)


def url(
    *,
    doc: str,
    default: Any = attrs.NOTHING,
    schemes: tuple[str, ...] = ("http", "https"),
    reference: bool = True,
    query: bool = True,
    example: str | None = None,
) -> Any:
    """A URL with one of `schemes`, a host, no fragment → `str`, left out of the class's `repr`.

    With `reference` it may be `env:NAME` or `file:PATH`. The value is what that held: it may carry
    a password, so it is not for logs. Without `query` it has none. Messages show `example`.
    """
    codec = addresses.url(schemes=schemes, reference=reference, query=query, example=example)
    return field(codec, doc=doc, default=default, show=False)


def headers(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A table of headers → `dict[str, str | Secret]`, names in lower case; see `reveal`."""
    return field(header_codecs.headers(), doc=doc, default=default)


def variables(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A table of environment variables → `dict[str, str | Secret]`; see `reveal`."""
    return field(variable_codecs.variables(), doc=doc, default=default)


def forwarded_headers(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A list of names of headers → `tuple[str, ...]`, in lower case."""
    return field(header_codecs.forwarded_headers(), doc=doc, default=default)


def header_templates(*, doc: str, default: Any = None) -> Any:
    """A table of headers whose values may hold placeholders → `dict`; mode `"value"`.

    It is left out of the class's `repr`.
    """
    codec = header_codecs.header_templates()
    return field(codec, doc=doc, default=default, template="value", show=False)


def table(cls: type[Any], *, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A table whose keys are the fields of `cls` → an instance of it.

    The default may be an instance too.
    """
    return field(keyed.table(cls), doc=doc, default=default)


def json(*, doc: str, default: Any = attrs.NOTHING, template: Template | None = None) -> Any:
    """Any value, in JSON's types; TOML's dates and times become ISO 8601 text."""
    return field(json_values.json_value(), doc=doc, default=default, template=template)


def jmespath(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A JMESPath expression, its syntax checked → `str`."""
    return field(expressions.jmespath_expression(), doc=doc, default=default)


def jmespath_output(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A JMESPath expression or a table of them → `str | dict[str, str]`."""
    return field(expressions.jmespath_output(), doc=doc, default=default)


def json_schema(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """JSON Schema 2020-12 of an object, short forms spelt out → `dict`."""
    return field(input_schema.input_schema(), doc=doc, default=default)


def route(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """`"GET /customers/{id}"` → `str`: the method in capitals, one space, the path."""
    return field(addresses.route(), doc=doc, default=default)


def wait(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """`"all"`, `"first"` or a whole number from 1 up → `str | int`."""
    return field(values.wait(), doc=doc, default=default)


def workers(*, doc: str, default: Any = attrs.NOTHING) -> Any:
    """A number of processes, or `"auto"`: one per core that may be used → `int`."""
    return field(values.workers(), doc=doc, default=default)


def template_path(*, doc: str, default: Any = None) -> Any:
    """A path of a service with placeholders, `"/customers/{id}"` → `str`; mode `"path"`."""
    return field(addresses.path_template(), doc=doc, default=default, template="path")


def template_text(*, doc: str, default: Any = None) -> Any:
    """Text with placeholders → `str`; mode `"text"`."""
    return field(values.string(), doc=doc, default=default, template="text")


def template_value(*, doc: str, default: Any = None) -> Any:
    """Any JSON value whose strings may hold placeholders; mode `"value"`."""
    return field(json_values.json_value(), doc=doc, default=default, template="value")


def template_mapping(*, doc: str, default: Any = None, tables: bool = True) -> Any:
    """A table of names to values whose strings may hold placeholders → `dict`; mode `"value"`.

    Only with `tables` a value may be a table itself: a query has none.
    """
    return field(json_values.mapping(tables=tables), doc=doc, default=default, template="value")


def matching(pattern: str, *, wanted: str, doc: str, default: Any = attrs.NOTHING) -> Any:
    """Text that `pattern` matches as a whole → `str`.

    Args:
        pattern: A regular expression of Python and JSON Schema alike.
        wanted: What belongs here, as messages say it.
        doc: One sentence for the reference.
        default: As the file would write it.
    """
    return field(values.matching(pattern, wanted), doc=doc, default=default)
