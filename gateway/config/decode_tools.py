"""Tools and their calls: from tables to `ToolConfig`, by the kinds of the services they call."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from gateway.config import unavailable
from gateway.config.codec import Codec, expected
from gateway.config.decode_functions import CALL, Functions
from gateway.config.decode_imports import DecodeTool, Imports, is_import
from gateway.config.decoded import CallConfig, ServiceConfig, ToolConfig
from gateway.config.expressions import syntax_problem
from gateway.config.settings import CallSettings, ToolSettings
from gateway.config.tables import codecs_of, decode_keys
from gateway.config.text import KeyPath, did_you_mean, nearest, show
from gateway.config.values import check_name

if TYPE_CHECKING:
    from gateway.config.problems import Place
    from gateway.core.adapter import Kind

__all__ = ["DecodedTools", "decode_tools", "tool_decoder"]

_CONTENT = ("calls", "from_openapi", "function")
"""Keys of which a tool has one."""


@attrs.frozen(slots=True)
class DecodedTools:
    """What became of the section.

    Args:
        tools: By name.
        failed: The paths of tools and calls that failed.
        notes: What is no mistake and worth knowing.
    """

    tools: Mapping[str, ToolConfig]
    failed: frozenset[KeyPath]
    notes: tuple[str, ...] = ()


def decode_tools(
    tables: Any,
    place: Place,
    services: Mapping[str, str | None] | None,
    kinds: Mapping[str, Kind],
    *,
    sound: dict[str, ServiceConfig],
) -> DecodedTools:
    """Decode every tool.

    Args:
        tables: The section `tools`.
        place: Where it stands.
        services: The kind of every service that is written; `None` where it is none.
            `None` for the whole where no name can be judged.
        kinds: The kinds there are.
        sound: The services nothing is wrong with; calls to the others have failed. Those of
            functions that are whole tools come among them.
    """
    tools: dict[str, ToolConfig] = {}
    if not isinstance(tables, Mapping):
        place.tell(expected("a table", tables))
        return DecodedTools(tools, frozenset())
    functions = Functions(sound, kinds)
    calls = _Calls(services, kinds, sound)
    # Its own: of an operation that is left out no failure counts, whoever has its name.
    calls_of_imports = _Calls(services, kinds, sound)
    imports = Imports(services, partial(_tool, calls=calls_of_imports, functions=functions), tables)
    for name, table in tables.items():
        here = place / name
        named = check_name(name, here)
        if is_import(table):
            imported = imports.decode(table, here)
            if imported is None or not named:
                calls.failed.add(here.path)
            else:
                tools |= imported
                calls.failed |= {path for path in calls_of_imports.failed if path[1] in imported}
            continue
        tool = _tool(name, table, here, calls, functions)
        if tool is None or not named:
            calls.failed.add(here.path)
        else:
            tools[name] = tool
    return DecodedTools(tools, frozenset(calls.failed), tuple(imports.notes))


def tool_decoder(services: Mapping[str, str | None], kinds: Mapping[str, Kind]) -> DecodeTool:
    """What decodes one tool's table, all services being sound.

    Args:
        services: The kind of each.
        kinds: The kinds there are.
    """
    return partial(_tool, calls=_Calls(services, kinds, services), functions=Functions({}, kinds))


def _tool(
    name: str, table: Any, place: Place, calls: _Calls, functions: Functions
) -> ToolConfig | None:
    """One tool; `None` where its input or its calls are so wrong that nothing can be judged."""
    if not isinstance(table, Mapping):
        place.tell(expected("a table with calls", table))
        return None
    rest = {key: value for key, value in table.items() if key != "calls"}
    codecs = codecs_of(ToolSettings)
    near = {key: nearest(key, (*_CONTENT, *codecs)) for key in rest if key not in codecs}
    misspelt = [key for key, meant in near.items() if meant in _CONTENT]
    for key in misspelt:
        (place / key).problem(f'unknown key; did you mean "{near[key]}"?')
        del rest[key]
    decoded = decode_keys(codecs, rest, place, unavailable.SECTIONS["tools"])
    if table.get("calls") is None and (misspelt or "function" in decoded.failed):
        return None
    settings = ToolSettings(**decoded.values)
    plan = _plan(settings, table.get("calls"), place, calls, functions)
    if plan is None:
        return None
    if settings.function is not None and settings.output is None:
        settings = attrs.evolve(settings, output=f'"{CALL}"')
    if "input" in decoded.failed:
        names = _property_names(rest.get("input"))
        if names is None:
            return None
        calls.failed.add(place.path)
        schema = {"type": "object", "properties": {name: {} for name in names}}
        settings = attrs.evolve(settings, input=schema)
    if "output" in decoded.failed and isinstance(rest.get("output"), Mapping):
        settings = attrs.evolve(settings, output=_readable(rest["output"]))
    wait, count = settings.wait, len(table.get("calls") or plan)
    if isinstance(wait, int) and wait > count:
        (place / "wait").problem(f"expected at most {count}, the number of calls, got {wait}")
    return ToolConfig(name=name, settings=settings, calls=plan)


def _plan(
    settings: ToolSettings, written: Any, place: Place, calls: _Calls, functions: Functions
) -> dict[str, CallConfig] | None:
    """A tool's calls, or the one that its function is; `None` where nothing of them can be judged."""
    if settings.function is None:
        return calls.decode(written, place / "calls")
    if written is not None:
        (place / "function").problem("expected a function or calls, got both")
        return None
    return functions.call(settings.function, place / "function")


def _property_names(schema: Any) -> list[str] | None:
    """The names that an input schema with mistakes declares all the same; `None` if none can be."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return list(properties) if isinstance(properties, Mapping) else None


def _readable(output: Mapping[str, Any]) -> dict[str, str]:
    """The expressions of an output with mistakes that are expressions all the same."""
    return {
        key: value
        for key, value in output.items()
        if isinstance(value, str) and syntax_problem(value) is None
    }


class _Calls:
    """Decodes calls.

    Args:
        services: The kind of every service that is written; `None` where it is none.
            `None` for the whole where no name can be judged.
        kinds: The kinds there are.
        sound: The services nothing is wrong with.
    """

    def __init__(
        self,
        services: Mapping[str, str | None] | None,
        kinds: Mapping[str, Kind],
        sound: Container[str],
    ) -> None:
        self._sound = sound
        self._services = services
        self._kinds = kinds
        self.failed: set[KeyPath] = set()

    def decode(self, tables: Any, place: Place) -> dict[str, CallConfig] | None:
        """A tool's calls; `None` where there are none at all.

        One with a mistake has failed, and is here as far as its templates can be judged.
        """
        if tables is None or (isinstance(tables, Mapping) and not tables):
            missing = "missing; " if tables is None else ""
            place.problem(f"{missing}expected at least one call")
            return None
        if not isinstance(tables, Mapping):
            place.tell(expected("a table of calls", tables))
            return None
        calls = {}
        for name, table in tables.items():
            here = place / name
            named = check_name(name, here)
            found = len(place.problems)
            call = self._call(name, table, here)
            if call is not None and named:
                calls[name] = call
            wrong = not named or len(place.problems) > found
            if wrong or name not in calls or calls[name].common.service not in self._sound:
                self.failed.add(here.path)
        return calls

    def _call(self, name: str, table: Any, place: Place) -> CallConfig | None:
        """A call as far as it can be judged; `None` where it cannot be."""
        if not isinstance(table, Mapping):
            place.tell(expected("a table with service", table))
            return None
        common = codecs_of(CallSettings)
        # The name of a service is judged by whether there is one, not by its letters.
        del common["service"]
        service = self._service(table, place, (*common, "service"))
        kind = None if self._services is None or service is None else self._services[service]
        rest = {key: value for key, value in table.items() if key != "service"}
        if service is None or kind is None:
            decode_keys(common, {key: rest[key] for key in rest if key in common}, place)
            return None
        own = codecs_of(self._kinds[kind].call)
        decoded = decode_keys(common | own, rest, place, unavailable.call_of(kind))
        values = {key: value for key, value in decoded.values.items() if key in own}
        if decoded.failed:
            values |= _templates(own, rest, decoded.failed)
        keys = self._kinds[kind].call(**values)
        if not decoded.failed:
            for key, message in self._kinds[kind].check(keys):
                (place / key if key else place).problem(message)
        settings = {key: value for key, value in decoded.values.items() if key not in own}
        return CallConfig(
            name=name,
            common=CallSettings(service=service, **settings),
            keys=keys,
            has_default="default" in table,
        )

    def _service(self, table: Mapping[str, Any], place: Place, known: Iterable[str]) -> str | None:
        """The service a call names, `None` where there is no such, and that is told."""
        wanted = "the name of a service"
        if "service" not in table:
            for key in table:
                if key not in known and nearest(key, known) == "service":
                    (place / key).problem('unknown key; did you mean "service"?')
                    return None
            (place / "service").problem(f"missing; expected {wanted}")
            return None
        value = table["service"]
        if self._services is None:
            return None
        if isinstance(value, str) and value in self._services:
            return value
        near = did_you_mean(value, self._services)
        (place / "service").problem(f"expected {wanted}, got {show(value)}{near}")
        return None


def _templates(
    codecs: Mapping[str, Codec], table: Mapping[str, Any], failed: frozenset[str]
) -> dict[str, Any]:
    """What stands in for the wrong keys of a call: text with placeholders as it is, else nothing."""
    values: dict[str, Any] = {}
    for key in failed.intersection(codecs):
        written = table.get(key)
        shapes = (str, Mapping, list) if codecs[key].template == "value" else str
        is_template = codecs[key].template is not None and isinstance(written, shapes)
        values[key] = written if is_template else None
    return values
