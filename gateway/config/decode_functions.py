"""`function = "module:name"`: a tool that is a Python function, and the service that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.config.decoded import CallConfig, ServiceConfig
from gateway.config.settings import CallSettings
from gateway.config.text import dotted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.decoded import Config, ToolConfig
    from gateway.config.problems import Place
    from gateway.core.adapter import Kind

__all__ = ["CALL", "KIND", "Functions", "leaves_words"]

KIND = "python"
"""The kind of services that have functions."""

CALL = "return"
"""The name of the one call of such a tool: no parameter of a function can have it."""


def leaves_words(tool: ToolConfig, config: Config) -> bool:
    """Whether a tool is a function, and the file leaves it to that what it takes or is for."""
    return tool.settings.function is not None and not all(
        dotted(("tools", tool.name, key)) in config.explicit for key in ("input", "description")
    )


class Functions:
    """Finds the service of a function, and makes one for a module that has none.

    Args:
        services: Those that are right, by name; those that are made come among them.
        kinds: The kinds there are.
    """

    def __init__(self, services: dict[str, ServiceConfig], kinds: Mapping[str, Kind]) -> None:
        self._services = services
        self._kinds = kinds

    def call(self, written: str, place: Place) -> dict[str, CallConfig] | None:
        """The calls of a tool that is `written`, `module:name`; `None` after a mistake is told.

        A service with that module is the function's: its threads, processes and policies hold.

        Args:
            written: As the file has it.
            place: Where.
        """
        kind = self._kinds.get(KIND)
        if kind is None:
            place.problem(f"needs the kind {KIND}, which is not there")
            return None
        module, _, name = written.partition(":")
        service = self._service(kind, module, place)
        if service is None:
            return None
        return {
            CALL: CallConfig(
                name=CALL,
                common=CallSettings(service=service),
                keys=kind.call(function=name),
                has_default=False,
            )
        }

    def _service(self, kind: Kind, module: str, place: Place) -> str | None:
        """The name of the service with this module; a new one if there is none."""
        there = [
            name
            for name, one in self._services.items()
            if one.kind == KIND and one.settings.module == module
        ]
        if len(there) > 1:
            several = " and ".join(there)
            place.problem(
                f"services {several} have the module {module}: write calls to one of them"
            )
            return None
        if there:
            return there[0]
        name = f"{KIND}:{module}"  # no name that a file can write
        settings: Any = kind.settings(module=module)
        self._services[name] = ServiceConfig(name=name, kind=KIND, settings=settings, policies={})
        # What it names is looked up where the tool is written.
        origins = place.problems.origins
        origins.places[("services", name)] = origins.find(place.path)
        return name
