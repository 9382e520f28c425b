"""Tools that are Python functions: what the file leaves out, the function says."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from gateway.adapters.python.tools import Described, Named
from gateway.config.decode_functions import CALL, leaves_words
from gateway.config.decoded import Config, ToolConfig
from gateway.config.problems import Problems
from gateway.config.text import dotted

__all__ = ["with_functions"]

_SAID = ("input", "description", "output_schema")
"""Keys of a tool that its function has something to say to."""


def with_functions(
    config: Config, described: Mapping[Named, Described], problems: Problems
) -> Config:
    """`config` with the schemas and descriptions of tools that are functions.

    Args:
        config: As decoded.
        described: What every function of the file says of itself.
        problems: Takes what keeps a function from being a tool.
    """
    tools = dict(config.tools)
    for tool in config.tools.values():
        if not leaves_words(tool, config):
            continue
        said = described[_function(tool, config, problems)]
        if said.problem:
            problems.add(("tools", tool.name, "function"), said.problem)
            del tools[tool.name]
        else:
            tools[tool.name] = _with(tool, said, config)
    return attrs.evolve(config, tools=tools)


def _is_written(tool: ToolConfig, key: str, config: Config) -> bool:
    return dotted(("tools", tool.name, key)) in config.explicit


def _function(tool: ToolConfig, config: Config, problems: Problems) -> Named:
    service = tool.calls[CALL].common.service
    module, name = config.services[service].settings.module, tool.calls[CALL].keys.function
    return module, name, problems.origins.find(("services", service)).directory


def _with(tool: ToolConfig, said: Described, config: Config) -> ToolConfig:
    """`tool` with what its function says where it says nothing itself."""
    own = {key: getattr(tool.settings, key) for key in _SAID if _is_written(tool, key, config)}
    if not _is_written(tool, "output", config) and said.output is not None:
        own.setdefault("output_schema", said.output)
    own.setdefault("input", said.input)
    own.setdefault("description", said.description)
    return attrs.evolve(tool, settings=attrs.evolve(tool.settings, **own))
