"""Our own prompts and resources, from the file; what the file says of the catalogue, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from gateway.config.text import did_you_mean, show
from gateway.inbound.mcp.prompts import Prompt
from gateway.inbound.mcp.resources import Resource
from gateway.inbound.mcp.search import HELPERS

if TYPE_CHECKING:
    from gateway.config.decoded import Config
    from gateway.config.problems import Problems
    from gateway.plan.tool import Tool

__all__ = ["check_search", "make_prompts", "make_resources"]


def make_prompts(
    config: Config, tools: Mapping[str, Tool], problems: Problems
) -> dict[str, Prompt]:
    """Every prompt whose file is a template, or whose tool is there."""
    prompts: dict[str, Prompt] = {}
    for name, settings in config.prompts.items():
        if settings.tool is not None:
            tool = _tool(settings.tool, ("prompts", name, "tool"), config, tools, problems)
            if tool is not None:
                prompts[name] = Prompt.of_tool(name, settings, tool)
        elif settings.file is not None:
            try:
                prompts[name] = Prompt.of_file(name, settings, settings.file)
            except (ValueError, OSError) as error:
                message = f"expected a text with placeholders: {error}"
                problems.add(("prompts", name, "file"), message)
    return prompts


def _tool(
    wanted: str,
    place: tuple[str, ...],
    config: Config,
    tools: Mapping[str, Tool],
    problems: Problems,
) -> Tool | None:
    """The tool that is named at `place`; that there is none is told, unless it failed itself."""
    tool = tools.get(wanted)
    if tool is None and wanted not in config.tools and not problems.touches(("tools",)):
        near = did_you_mean(wanted, config.tools)
        problems.add(place, f"expected the name of a tool, got {show(wanted)}{near}")
    return tool


def make_resources(
    config: Config, tools: Mapping[str, Tool], problems: Problems
) -> tuple[Resource, ...]:
    """Every resource; its URI is its own, and its tool can be called with what the URI says."""
    owners: dict[str, str] = {}
    for name, settings in config.resources.items():
        key = "uri" if settings.uri_template is None else "uri_template"
        if settings.key in owners:
            message = (
                f"expected one of its own, got {settings.key}, taken by {owners[settings.key]}"
            )
            problems.add(("resources", name, key), message)
        owners.setdefault(settings.key, f"resources.{name}.{key}")
        if settings.tool is None:
            continue
        tool = _tool(settings.tool, ("resources", name, "tool"), config, tools, problems)
        for message in _unfit(Resource.of(name, settings), tool) if tool is not None else ():
            problems.add(("resources", name, key), message)
    return tuple(Resource.of(name, settings) for name, settings in config.resources.items())


def _unfit(resource: Resource, tool: Tool) -> Iterator[str]:
    """Why a tool cannot be called with what a resource's URI says."""
    given = resource.template.names
    for name in sorted({name for name in given if given.count(name) > 1}):
        yield f"{{{name}}} stands in it twice"
    for name in sorted(set(given) - tool.arguments.names):
        yield f"{{{name}}} is no input of tools.{tool.name}"
    for name in sorted(set(tool.arguments.required) - set(given)):
        yield f"expected {{{name}}} in it: tools.{tool.name} requires that input"


def check_search(config: Config, problems: Problems, *, judge_pinned: bool) -> None:
    """The names of `search_tools` and `call_tool` are free, and what is pinned is there.

    Args:
        config: The file.
        problems: Where mistakes are told.
        judge_pinned: Whether all tools are known by now.
    """
    taken = HELPERS if config.mcp.tools == "search" else ()
    for name in filter(config.tools.__contains__, taken):
        message = 'expected another name: [mcp] tools = "search" offers a tool of this one'
        problems.add(("tools", name), message)
    for index, name in enumerate(config.mcp.pinned if judge_pinned else ()):
        if name not in config.tools:
            near = did_you_mean(name, config.tools)
            message = f"expected the name of a tool, got {show(name)}{near}"
            problems.add(("mcp", "pinned", index), message)
