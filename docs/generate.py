# ruff: noqa: INP001 - a script beside the pages, not a package
"""`docs/reference/config.md`, made from the attrs fields that decode `gateway.toml`.

`python docs/generate.py` writes the page anew; `tests/test_docs.py` compares it with what stands
there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from gateway.adapters import ADAPTERS
from gateway.adapters.http.settings import Pages
from gateway.config import settings, unavailable
from gateway.config.decode import SECTIONS, profile_codec
from gateway.config.fields import Codec, codecs_of
from gateway.config.multipart import FilePart
from gateway.config.styled import StyledParameter
from gateway.net.health import HealthSettings
from gateway.net.oauth2 import OAuth2Settings
from gateway.policies import POLICIES

__all__ = ["PAGE", "config_page"]

PAGE = Path(__file__).parent / "reference" / "config.md"
"""What is written."""

_TABLES = {
    ("server", "tls"): settings.TlsSettings,
    ("server", "admin"): settings.AdminSettings,
}
"""The keys whose value is a table of keys of its own."""

_HEAD = """\
# gateway.toml

Every key, its type, its default. Made from the code by `python docs/generate.py`: change the
fields, not this page.

The file is strict: an unknown key, a missing key, a wrong type and a reference to nothing are
mistakes. All of them are reported at once, each with file, line and key, and nothing starts.
[`gateway check`](cli.md#gateway-check) reports them; [`gateway schema`](cli.md#gateway-schema)
prints a JSON Schema of the same keys for editors.

## Values

| what | written as |
| --- | --- |
| duration | `"250ms"`, `"2s"`, `"1m30s"`: numbers with `d h m s ms`, largest first, above zero |
| size | `"64KiB"`, `"1MiB"`: a whole number with `B KB MB GB` (powers of 1000) or `KiB MiB GiB` (of 1024), above zero |
| name | a letter, then up to 63 letters, digits, `_` or `-` |
| reference | `"env:NAME"`, an environment variable; `"file:PATH"`, a file's text, the path relative to the file it is named in |
| JMESPath | an expression over the inputs and the calls, such as `"profile.name"`: [templates](templates.md) |

A bare number where a unit belongs is a mistake. TOML's dates and times become ISO 8601 text.
"""

_INCLUDE = """\
## include

A list of files, or patterns such as `"services/*.toml"`, relative to the folder of the file that
includes them. They are merged into it; the same table in two files is a mistake that names both
places. A pattern that matches nothing is a mistake too. Only a file includes others, not a mapping
given to `create_app`.
"""


def config_page() -> str:
    """The whole page."""
    parts = [_HEAD, _INCLUDE]
    for name, cls in SECTIONS.items():
        parts.append(_section(f"[{name}]", _sentence(cls), codecs_of(cls), name))
    parts += [_services(), _profiles(), _tools(), _proxies(), _offers(), _absent()]
    return "\n".join(parts)


def _sentence(cls: type[Any]) -> str:
    """What a section's docstring says beside its name."""
    _, _, said = (cls.__doc__ or "").partition("\n")[0].partition(": ")
    return f"{said[:1].upper()}{said[1:]}" if said else ""


def _section(title: str, said: str, codecs: Mapping[str, Codec], name: str = "") -> str:
    lines = [f"## {title}", ""]
    if said:
        lines += [said, ""]
    lines += _rows(codecs)
    for key in codecs:
        cls = _TABLES.get((name, key))
        if cls is not None:
            lines += ["", f"`{key}`:", "", *_rows(codecs_of(cls))]
        elif "properties" in codecs[key].schema and codecs[key].wanted.startswith("a table with"):
            raise AssertionError(f"{name}.{key} holds a table: name its class in _TABLES")
    return "\n".join([*lines, ""])


def _rows(codecs: Mapping[str, Codec]) -> Iterator[str]:
    yield "| key | value | default | |"
    yield "| --- | --- | --- | --- |"
    for key, codec in codecs.items():
        cells = (f"`{key}`", codec.wanted, _default(codec), codec.doc)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(codec: Codec) -> str:
    default = codec.default
    if codec.required:
        return "**required**"
    if default is None:
        return ""
    if attrs.has(type(default)):
        return "its defaults"
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _services() -> str:
    lines = [
        "## [services.NAME]",
        "",
        "What is behind the gateway. Beside the keys of its kind a service has `kind` itself, any",
        "of the [policies](#policies), and `use`.",
        "",
        *_rows(
            {
                "kind": Codec(
                    decode=lambda value, _place: value,
                    wanted=" or ".join(f'"{kind}"' for kind in ADAPTERS),
                    doc="What kind of service this is.",
                ),
                "use": profile_codec({}),
            }
        ),
        "",
    ]
    for name, kind in ADAPTERS.items():
        lines += [
            f'### kind = "{name}"',
            "",
            f"See [{name}](adapters/{name}.md).",
            "",
            *_rows(codecs_of(kind.settings)),
            "",
        ]
        if name == "http":
            lines += ["`health`:", "", *_rows(codecs_of(HealthSettings)), ""]
            lines += [
                "`oauth2`, here and of other kinds:",
                "",
                *_rows(codecs_of(OAuth2Settings)),
                "",
            ]
    return "\n".join(lines)


def _profiles() -> str:
    codecs = {key: attrs.evolve(policy.codec, default=None) for key, policy in POLICIES.items()}
    links = ", ".join(f"[{key}](policies/{key}.md)" for key in POLICIES)
    return "\n".join(
        [
            "## Policies",
            "",
            "Guards around every call of a service. One that is not written is not there.",
            f"See {links}.",
            "",
            *_rows(codecs),
            "",
            "## [profiles.NAME]",
            "",
            'Policies by name: a service takes them by `use = "NAME"`. A policy that the service',
            "writes itself comes before the profile's.",
            "",
        ]
    )


def _tools() -> str:
    lines = [
        "## [tools.NAME]",
        "",
        "What clients call. `calls` is a table with at least one call, by name; in its place there may",
        "be a `function`: see [python](adapters/python.md#a-function-as-a-tool).",
        "",
        *_rows(codecs_of(settings.ToolSettings)),
        "",
        "### from_openapi",
        "",
        "With `from_openapi`, `[tools.NAME]` stands for the operations of an API instead, each of them",
        "a tool by its own name: see [OpenAPI documents](../how-to/openapi.md). It has these keys alone:",
        "",
        *_rows(codecs_of(settings.ImportSettings)),
        "",
        "## [tools.NAME.calls.NAME]",
        "",
        "One request to a service: see [plans](plan.md) and, for placeholders,",
        "[templates](templates.md). Every call has:",
        "",
        *_rows(codecs_of(settings.CallSettings)),
        "",
        "Further keys come from the kind of its service.",
        "",
    ]
    for name, kind in ADAPTERS.items():
        lines += [f"### A call to {name}", "", *_rows(codecs_of(kind.call)), ""]
        if name == "http":
            lines += ["Each of `parameters`:", "", *_rows(codecs_of(StyledParameter)), ""]
            lines += ["Each file of `multipart`:", "", *_rows(codecs_of(FilePart)), ""]
            lines += ["`pages`:", "", *_rows(codecs_of(Pages)), ""]
    return "\n".join(lines)


def _proxies() -> str:
    lines = [
        "## [proxies.NAME]",
        "",
        "Bytes through to a service: see [proxies](inbound-proxy.md).",
        "",
        *_rows(codecs_of(settings.ProxySettings)),
        "",
    ]
    return "\n".join(lines)


def _offers() -> str:
    lines = [
        "## [prompts.NAME]",
        "",
        "A text that clients offer to people: see [MCP](inbound-mcp.md#prompts).",
        "",
        *_rows(codecs_of(settings.PromptSettings)),
        "",
        "## [resources.NAME]",
        "",
        "What clients may read: see [MCP](inbound-mcp.md#resources). It has one of `uri` and",
        "`uri_template`, and one of `file` and `tool`.",
        "",
        *_rows(codecs_of(settings.ResourceSettings)),
        "",
    ]
    return "\n".join(lines)


def _absent() -> str:
    """What the language has and this version refuses."""
    rows = [
        ("sections", sorted(unavailable.SECTIONS[""].keys)),
        ("kinds of services", sorted(unavailable.KINDS - set(ADAPTERS))),
        ("policies", sorted(unavailable.POLICIES - set(POLICIES))),
    ]
    for name, cls in {**SECTIONS, "tools.NAME": settings.ToolSettings}.items():
        later = unavailable.SECTIONS[name.partition(".")[0]]
        rows.append((f"`[{name}]`", sorted(later.keys - set(codecs_of(cls)))))
    for name, kind in ADAPTERS.items():
        own = unavailable.service_of(name).keys - unavailable.POLICIES
        rows.append((f"services of kind {name}", sorted(own - set(codecs_of(kind.settings)))))
        of_call = unavailable.call_of(name).keys - set(codecs_of(kind.call))
        rows.append((f"calls to {name}", sorted(of_call)))
    lines = [
        "## Not in this version",
        "",
        'These names belong to the language and are refused with "not available in this version",',
        "never ignored:",
        "",
        "| where | names |",
        "| --- | --- |",
    ]
    lines += [f"| {where} | {_listed(names)} |" for where, names in rows if names]
    values = [
        f"`{key}` of `[{name}]`: {what} not available"
        for name, later in unavailable.SECTIONS.items()
        for key, (_, what) in later.values.items()
    ]
    values += [
        f"`{key}` of services of kind {name}: {what} not available"
        for name in ADAPTERS
        for key, (_, what) in unavailable.service_of(name).values.items()
    ]
    return "\n".join([*lines, "", "Nor are some values of keys there are:", "", *_items(values)])


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _items(texts: list[str]) -> Iterator[str]:
    for text in texts:
        yield f"* {text}"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(config_page(), encoding="utf-8")
