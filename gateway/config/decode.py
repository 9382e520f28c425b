"""The raw document → the classes of `settings.py`, every mistake told once.

What depends on something wrong is not judged: a service of an unknown kind keeps its keys to
itself, a call to an unknown service too. What is right is decoded all the same, so that the
graphs of the calls can be checked in the same run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from gateway.config import unavailable
from gateway.config.addresses import is_loopback
from gateway.config.codec import Codec, expected
from gateway.config.decode_offers import decode_prompts, decode_resources
from gateway.config.decode_proxies import decode_proxies
from gateway.config.decode_tools import decode_tools
from gateway.config.decoded import Config, ServiceConfig
from gateway.config.problems import Refused
from gateway.config.settings import (
    AccessSettings,
    McpSettings,
    ServerSettings,
    StateSettings,
    TelemetrySettings,
)
from gateway.config.tables import codecs_of, decode_keys, optional
from gateway.config.text import KeyPath, alternatives, did_you_mean, dotted, nearest, show
from gateway.config.values import check_name

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.problems import Place, Problems
    from gateway.core.adapter import Kind

__all__ = ["SECTIONS", "Loaded", "decode", "profile_codec"]

Settings = TypeVar("Settings")

SECTIONS: Mapping[str, type[Any]] = {
    "server": ServerSettings,
    "access": AccessSettings,
    "state": StateSettings,
    "telemetry": TelemetrySettings,
    "mcp": McpSettings,
}
"""The sections whose keys are the fields of one class."""

_ROOT = (
    "include",
    *SECTIONS,
    *("services", "profiles", "tools", "proxies", "prompts", "resources"),
)
"""Every section there is."""


@attrs.frozen(slots=True)
class Loaded:
    """What became of a configuration.

    Args:
        config: All of it that could be decoded: keys that are wrong have their defaults, services,
            tools and calls that are wrong are left out. `None` if a file could not be read.
        problems: Every mistake; more may be told before it is raised.
        failed: What cannot be used: `("services", NAME)`, `("tools", NAME)`,
            `("tools", NAME, "calls", NAME)`. What refers to these is not wrong because of that.
            Tools and calls of these are here as far as their templates can be judged.
    """

    config: Config | None
    problems: Problems
    failed: frozenset[KeyPath] = frozenset()

    def failed_calls(self, tool: str) -> frozenset[str]:
        """The names of a tool's calls that were left out."""
        return frozenset(
            str(path[3]) for path in self.failed if path[:3] == ("tools", tool, "calls")
        )

    def unwrap(self) -> Config:
        """The configuration, if nothing is wrong with it.

        Raises:
            ConfigError: There are mistakes.
        """
        self.problems.raise_if_any()
        if self.config is None:
            raise AssertionError("a configuration that was not read has a problem that says why")
        return self.config


def decode(
    document: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    policies: Mapping[str, Codec],
    problems: Problems,
    *,
    path: Path,
) -> Loaded:
    """Decode a whole document.

    Args:
        document: As TOML has it, includes merged in.
        kinds: The kinds of services there are.
        policies: The codec of each policy's key.
        problems: Where mistakes are told.
        path: The file the document came from.
    """
    root = problems.place()
    policies = optional(policies)
    _check_sections(document, root)
    sections = {
        name: _section(cls, document.get(name, {}), root / name, name)
        for name, cls in SECTIONS.items()
    }
    profiles = _profiles(document.get("profiles", {}), root / "profiles", policies)
    profiles |= {name: {} for name in _misplaced(document, "profiles")}
    services = _Services(kinds, policies, profiles)
    services.decode(document.get("services", {}), root / "services")
    services.kinds_of.update(dict.fromkeys(_misplaced(document, "services")))
    kinds_of = services.kinds_of if isinstance(document.get("services", {}), Mapping) else None
    decoded = decode_tools(
        document.get("tools", {}), root / "tools", kinds_of, kinds, sound=services.decoded
    )
    proxies = decode_proxies(
        document.get("proxies", {}), root / "proxies", kinds_of, services.decoded
    )
    config = Config(
        path=path,
        services=services.decoded,
        tools=decoded.tools,
        proxies=proxies,
        prompts=decode_prompts(document.get("prompts", {}), root / "prompts"),
        resources=decode_resources(document.get("resources", {}), root / "resources"),
        explicit=frozenset(dotted(key) for key in _written(document, ())),
        notes=decoded.notes,
        **sections,
    )
    if not (
        problems.touches(("server", "bind"))
        or problems.touches(("access",))
        or any(nearest(name, _ROOT) == "access" for name in document if name not in _ROOT)
    ):
        _check_anonymous(config, root)
        _check_binds(config, root)
    return Loaded(config, problems, frozenset(services.failed) | decoded.failed)


def _check_sections(document: Mapping[str, Any], root: Place) -> None:
    later = unavailable.SECTIONS[""]
    for name in document:
        if name in later.keys:
            (root / name).problem("not available in this version")
        elif name not in _ROOT:
            (root / name).problem("unknown section" + did_you_mean(name, _ROOT))


def _misplaced(document: Mapping[str, Any], section: str) -> Iterator[str]:
    """Names that stand in a section whose own name has a slip: what refers to them is right."""
    for name, table in document.items():
        if name not in _ROOT and nearest(name, _ROOT) == section and isinstance(table, Mapping):
            yield from table


def _section(cls: type[Settings], table: Any, place: Place, name: str) -> Settings:
    """A section; its wrong keys are told and have their defaults."""
    later = unavailable.SECTIONS[name]
    return cls(**decode_keys(codecs_of(cls), _as_table(table, place), place, later).values)


def _as_table(value: Any, place: Place) -> Mapping[str, Any]:
    """`value` if it is a table; else an empty one, and the mistake is told."""
    if isinstance(value, Mapping):
        return value
    place.tell(expected("a table", value))
    return {}


def _profiles(
    tables: Any, place: Place, policies: Mapping[str, Codec]
) -> dict[str, Mapping[str, Any]]:
    """The decoded policies of every profile, used or not."""
    later = unavailable.Unavailable(unavailable.POLICIES)
    profiles: dict[str, Mapping[str, Any]] = {}
    for name, table in _as_table(tables, place).items():
        here = place / name
        check_name(name, here)
        profiles[name] = decode_keys(policies, _as_table(table, here), here, later).values
    return profiles


def profile_codec(profiles: Mapping[str, Any]) -> Codec:
    """The codec of `use`: the name of a profile."""
    wanted = "the name of a profile"

    def decode_name(value: Any, _place: Place) -> str:
        if not isinstance(value, str) or value not in profiles:
            raise Refused(f"expected {wanted}, got {show(value)}{did_you_mean(value, profiles)}")
        return value

    return Codec(
        decode=decode_name,
        wanted=wanted,
        schema={"type": "string"},
        doc="A profile whose policies hold where the service has none of its own.",
        default=None,
    )


class _Services:
    """Decodes services, and remembers of which kind each one is.

    Args:
        kinds: The kinds of services there are.
        policies: The codec of each policy's key.
        profiles: The decoded policies of each profile.
    """

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        policies: Mapping[str, Codec],
        profiles: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._kinds = kinds
        self._policies = policies
        self._profiles = profiles
        self._use = profile_codec(profiles)
        self.decoded: dict[str, ServiceConfig] = {}
        self.kinds_of: dict[str, str | None] = {}
        self.failed: set[KeyPath] = set()

    def decode(self, tables: Any, place: Place) -> None:
        """Decode every service."""
        for name, table in _as_table(tables, place).items():
            here = place / name
            named = check_name(name, here)
            self.kinds_of[name] = None
            service = self._service(name, table, here)
            if service is None or not named:
                self.failed.add(here.path)
            else:
                self.decoded[name] = service

    def _service(self, name: str, table: Any, place: Place) -> ServiceConfig | None:
        if not isinstance(table, Mapping):
            place.tell(expected("a table with kind", table))
            return None
        kind = self._kind(table, place)
        self.kinds_of[name] = kind
        if kind is None:
            # Its own keys cannot be judged; the policies can, whatever the kind.
            codecs = {"use": self._use, **self._policies}
            later = unavailable.Unavailable(unavailable.POLICIES)
            known = {key: table[key] for key in table if key in codecs or key in later.keys}
            decode_keys(codecs, known, place, later)
            return None
        own = codecs_of(self._kinds[kind].settings)
        # A kind's own key comes before a policy of that name.
        codecs = {"use": self._use, **self._policies, **own}
        rest = {key: value for key, value in table.items() if key != "kind"}
        decoded = decode_keys(codecs, rest, place, unavailable.service_of(kind))
        if decoded.failed:
            return None
        profile = decoded.values.get("use")
        policies = dict(self._profiles[profile]) if profile is not None else {}
        policies |= {
            key: value
            for key, value in decoded.values.items()
            if key in self._policies and key not in own
        }
        settings = {key: value for key, value in decoded.values.items() if key in own}
        return ServiceConfig(
            name=name,
            kind=kind,
            profile=profile,
            settings=self._kinds[kind].settings(**settings),
            policies={key: policies[key] for key in self._policies if key in policies},
        )

    def _kind(self, table: Mapping[str, Any], place: Place) -> str | None:
        """The service's kind; `None` where it is none, and that is told."""
        if "kind" not in table:
            for key in table:
                if key not in unavailable.POLICIES and nearest(key, ("kind",)):
                    (place / key).problem('unknown key; did you mean "kind"?')
                    return None
            (place / "kind").problem(f"missing; expected {alternatives(self._kinds)}")
            return None
        kind = table["kind"]
        try:
            if isinstance(kind, str) and kind in self._kinds:
                return kind
        except ValueError as error:  # a package that is installed has it, and cannot give it
            (place / "kind").problem(str(error))
            return None
        if isinstance(kind, str) and kind in unavailable.KINDS:
            (place / "kind").problem(f"{show(kind)} is not available in this version")
        else:
            near = did_you_mean(kind, self._kinds)
            wanted = alternatives(self._kinds)
            (place / "kind").problem(f"expected {wanted}, got {show(kind)}{near}")
        return None


def _check_anonymous(config: Config, root: Place) -> None:
    """Nobody who has not said so serves the world."""
    anonymous = config.access.anonymous
    if anonymous is False:
        (root / "access" / "anonymous").problem(
            "needs keys or jwt, which are not available in this version"
        )
    if anonymous is not None:
        return
    for bind in config.server.bind:
        if not is_loopback(bind):
            (root / "server" / "bind").problem(
                f"expected loopback addresses only, got {show(bind)}: "
                "say [access] anonymous = true to serve everyone who can reach it"
            )
            return


def _check_binds(config: Config, root: Place) -> None:
    """Each address is listened on once: the operator's is never the public one."""
    public: set[str] = set()
    for index, bind in enumerate(config.server.bind):
        if bind in public and not bind.endswith(":0"):
            (root / "server" / "bind" / index).problem(
                f"expected another address, got {show(bind)} twice"
            )
        public.add(bind)
    admin = config.server.admin.bind
    if admin in public and not admin.endswith(":0"):
        (root / "server" / "admin" / "bind").problem(
            f"expected an address of its own, got {show(admin)}, which is public"
        )


def _written(table: Mapping[str, Any], path: KeyPath) -> Iterator[KeyPath]:
    for key, value in table.items():
        yield (*path, key)
        if isinstance(value, Mapping):
            yield from _written(value, (*path, key))
