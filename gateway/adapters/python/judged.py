"""Whether the modules and functions that a file names are there, told as its other mistakes are."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator, Mapping

from gateway.adapters.python.settings import PythonSettings
from gateway.adapters.python.tools import Described, Named, looked_at
from gateway.config.decoded import CallConfig, Config, ToolConfig
from gateway.config.problems import Problems
from gateway.config.text import KeyPath, dotted

__all__ = ["functions_judged"]


@contextlib.contextmanager
def functions_judged(
    config: Config, problems: Problems, stand_ins: Container[str]
) -> Iterator[None]:
    """Tell what keeps modules from being imported, and functions from being called.

    Until the context is left tools that are functions may be asked about, at no further cost; what
    was told of them in it is not told again.

    Args:
        config: As decoded.
        problems: Takes what is wrong.
        stand_ins: The services that something else stands in for: theirs is not asked for.
    """
    asked = _Asked(config, problems, stand_ins)
    if not asked.modules:
        yield
        return
    with looked_at(asked.functions) as found:
        yield
    asked.tell(found)


class _Asked:
    """The modules of a file's services, and the functions that its calls name.

    Attributes:
        modules: By service.
        functions: What is to be looked at, and whether it is a tool.
    """

    def __init__(self, config: Config, problems: Problems, stand_ins: Container[str]) -> None:
        self._config = config
        self._problems = problems
        self.modules: dict[str, Named] = {
            name: (service.settings.module, "", problems.origins.find(("services", name)).directory)
            for name, service in config.services.items()
            if isinstance(service.settings, PythonSettings) and name not in stand_ins
        }
        self.functions: dict[Named, bool] = dict.fromkeys(self.modules.values(), False)
        for tool, call in self._calls():
            function = self._function(call)
            is_tool = tool.settings.function is not None
            self.functions[function] = self.functions.get(function, False) or is_tool

    def _calls(self) -> Iterator[tuple[ToolConfig, CallConfig]]:
        for tool in self._config.tools.values():
            for call in tool.calls.values():
                if call.common.service in self.modules:
                    yield tool, call

    def _function(self, call: CallConfig) -> Named:
        module, _, directory = self.modules[call.common.service]
        return module, call.keys.function, directory

    def tell(self, found: Mapping[Named, Described]) -> None:
        """Tell what is wrong, each mistake once."""
        for name, module in self.modules.items():
            if found[module].wrong == "module":
                self._tell_of_module(name, found[module].problem)
        for tool, call in self._calls():
            said = found[self._function(call)]
            if said.wrong == "function":
                self._tell(_written(tool, call), said.problem)

    def _tell_of_module(self, service: str, problem: str) -> None:
        """Where its service has it, or else the tools that are functions of it."""
        of_tools: list[KeyPath] = [
            ("tools", tool.name, "function")
            for tool, call in self._calls()
            if call.common.service == service and tool.settings.function is not None
        ]
        in_file: KeyPath = ("services", service, "module")
        if dotted(in_file) in self._config.explicit:
            if not any(map(self._problems.touches, of_tools)):
                self._problems.add(in_file, problem)
            return
        for path in of_tools:
            self._tell(path, problem)

    def _tell(self, path: KeyPath, problem: str) -> None:
        if not self._problems.touches(path):
            self._problems.add(path, problem)


def _written(tool: ToolConfig, call: CallConfig) -> KeyPath:
    """Where the file names the function of a call."""
    if tool.settings.function is not None:
        return ("tools", tool.name, "function")
    return ("tools", tool.name, "calls", call.name, "function")
