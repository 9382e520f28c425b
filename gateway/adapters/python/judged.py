"""Whether the modules and functions that a file names are there, told as its other mistakes are."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from gateway.adapters.python.settings import PythonSettings
from gateway.adapters.python.tools import Described, Named, describe_functions
from gateway.config.decode_functions import leaves_words
from gateway.config.decoded import CallConfig, Config, ToolConfig
from gateway.config.problems import Problems
from gateway.config.text import KeyPath, did_you_mean, dotted

__all__ = ["NamedFunctions"]


class NamedFunctions:
    """The modules of a file's services, and the functions that its calls name, looked at.

    Making one blocks, as `describe_functions` does.

    Args:
        config: As decoded.
        problems: Takes what is wrong.
        stand_ins: The services that something else stands in for: of theirs only tools are looked
            at that leave words to their functions.

    Attributes:
        described: What there is to say of each.
    """

    def __init__(self, config: Config, problems: Problems, stand_ins: Container[str]) -> None:
        self._config = config
        self._problems = problems
        self._modules: dict[str, Named] = {
            name: self._named(name)
            for name, service in config.services.items()
            if isinstance(service.settings, PythonSettings) and name not in stand_ins
        }
        asked = dict.fromkeys(self._modules.values(), False)
        for tool in config.tools.values():
            for call in tool.calls.values():
                if call.common.service in self._modules or leaves_words(tool, config):
                    function = self._named(call.common.service, call.keys.function)
                    is_tool = tool.settings.function is not None
                    asked[function] = asked.get(function, False) or is_tool
        self.described: Mapping[Named, Described] = describe_functions(asked)

    def _named(self, service: str, function: str = "") -> Named:
        directory = self._problems.origins.find(("services", service)).directory
        return self._config.services[service].settings.module, function, directory

    def _calls(self) -> Iterator[tuple[ToolConfig, CallConfig, Described]]:
        for tool in self._config.tools.values():
            for call in tool.calls.values():
                if call.common.service in self._modules:
                    function = self._named(call.common.service, call.keys.function)
                    yield tool, call, self.described[function]

    def tell(self) -> None:
        """Tell what keeps modules from being imported, and functions from being called.

        What was told already of tools that are functions is not told again.
        """
        for name, module in self._modules.items():
            if self.described[module].wrong == "module":
                self._tell_of_module(name, self.described[module].problem)
        for tool, call, said in self._calls():
            if said.wrong == "function":
                self._tell(_written(tool, call), said.problem)
            else:
                self._tell_of_call(tool, call, said)

    def _tell_of_call(self, tool: ToolConfig, call: CallConfig, said: Described) -> None:
        """Whether the function can run where it is to, with what it is given."""
        service = call.common.service
        called = "{}.{}".format(*self._named(service, call.keys.function))
        if said.bound_here and self._config.services[service].settings.processes:
            self._tell(_written(tool, call), f"{called} {said.bound_here}")
        if call.keys.arguments is None:
            return
        path: KeyPath = ("tools", tool.name, "calls", call.name, "arguments")
        for name in call.keys.arguments:
            if said.takes is not None and name not in said.takes:
                near = did_you_mean(name, said.takes)
                self._tell((*path, name), f"{called} takes no argument {name}{near}")
        missing = [name for name in said.needs if name not in call.keys.arguments]
        if missing:
            self._tell(path, f"{called} has to be given {', '.join(missing)}")

    def _tell_of_module(self, service: str, problem: str) -> None:
        """Where its service has it, or else the tools that are functions of it."""
        of_tools: list[KeyPath] = [
            ("tools", tool.name, "function")
            for tool, call, _ in self._calls()
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
