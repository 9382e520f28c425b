"""`gateway simulate FILE TOOL`: a tool under any weather, before production has it."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import attrs
import msgspec

from gateway.app import create_app
from gateway.cli.call import add_arguments_to, arguments_of, budget_of, tool_of
from gateway.config.text import did_you_mean
from gateway.config.units import format_duration, format_rate, parse_duration, parse_rate
from gateway.core.errors import BadReply, InvalidArguments
from gateway.plan.tool import Tool
from gateway.simulation import timeline
from gateway.simulation.differences import differences
from gateway.simulation.html import page
from gateway.simulation.once import Once, once
from gateway.simulation.scenario import Load, Scenario
from gateway.simulation.seeds import simulate
from gateway.simulation.text import report
from gateway.simulation.weather import Wishes
from gateway.telemetry.logs import configure

__all__ = ["add_to"]

_RANGE = re.compile(r"(-?[0-9]{1,15})\.\.(-?[0-9]{1,15})")
_BAR_WIDTH = 40
_MANY = ("for", "clients", "seeds", "jobs", "html")


def add_to(commands: Any) -> None:
    """Add the command to `commands`, the subparsers of `argparse`."""
    parser = commands.add_parser(
        "simulate",
        help="run one tool on a virtual clock, under any weather",
        description=(
            "Run one tool with its real plan and policies on a virtual clock, before services that "
            "do as they are told. Without --rate one request is made: its answer and a timeline. "
            "With --rate many are: outcomes, latencies, load. The same seed gives the same result. "
            "No service is called, no module of yours is imported. Exit status: 0 once it was "
            "simulated, whatever the answer; 2 if the file or the command line is wrong."
        ),
    )
    parser.add_argument("file", help="the configuration file")
    parser.add_argument("tool", help="the tool's name")
    add_arguments_to(parser)
    _add_weather_to(parser)
    _add_many_to(parser)
    parser.add_argument("--seed", metavar="N", help="what all chance follows from: 0 if left out")
    parser.add_argument("--compare", metavar="FILE", help="another configuration, side by side")
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="how to print: text if left out"
    )
    parser.set_defaults(run=_run)


def _add_weather_to(parser: argparse.ArgumentParser) -> None:
    weather = parser.add_argument_group(
        "weather", "NAME is a service, or TOOL.CALL; a time may follow, such as @10s..20s"
    )
    for option, form, text in (
        ("--latency", "NAME=HOW", "how long it takes: 80ms, lognormal:80ms,p99=2s, file:PATH, …"),
        ("--fail", "NAME=[SHARE:]FAILURE", "it fails: 30%%:503, unreachable"),
        ("--hang", "NAME[=SHARE]", "it never answers"),
        ("--down", "NAME", "it cannot be reached"),
        ("--reply", "NAME=FILE", "the JSON it replies with"),
    ):
        weather.add_argument(option, action="append", default=[], metavar=form, help=text)


def _add_many_to(parser: argparse.ArgumentParser) -> None:
    many = parser.add_argument_group("many requests")
    many.add_argument("--rate", metavar="RATE", help="how many requests come, such as 200/s")
    many.add_argument("--for", metavar="DURATION", help="for how long they do: 1m if left out")
    many.add_argument("--clients", metavar="N", help="how many there are at most, each waiting")
    many.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=1..1000",
        help="an argument that is another whole number in each request",
    )
    many.add_argument("--seeds", metavar="N", help="simulate so often, from --seed on")
    many.add_argument("--jobs", metavar="N", help="in so many processes at once: one if left out")
    many.add_argument("--html", metavar="FILE", help="also write a report with plots")


def _run(options: argparse.Namespace) -> int:
    configure(log="console", level="error")
    try:
        tool = tool_of(create_app(options.file), options.tool)
        load = _load(options)
        seeds, jobs = _number(options, "seeds", 1), _number(options, "jobs", 1)
        scenarios = _scenarios(options, tool)
        # Whatever is wrong shows here, before anything takes long.
        told = [once(scenario) for scenario in scenarios]
        _doubt_replies(tool, told)
        if load is None:
            _print_once(options, scenarios, told)
        else:
            _check_arguments(told)
            if options.html is not None:
                _write(options.html, "")
            _print_many(options, scenarios, load, seeds=seeds, jobs=jobs)
    except (ValueError, InvalidArguments) as error:
        print(f"gateway simulate: {error}", file=sys.stderr)
        return 2
    return 0


def _doubt_replies(tool: Tool, told: list[Once]) -> None:
    """Say how to give real replies, where made-up ones may be why there is no answer."""
    made_up = dict.fromkeys(
        call for one in told if isinstance(one.ended.error, BadReply) for call in one.made_up
    )
    if made_up:
        names, (call, *_) = ", ".join(made_up), made_up
        print(
            f"gateway simulate: the answer is bad_reply, and what {names} replied was made up: "
            f"--reply {tool.name}.{call}=FILE gives a reply as it would be",
            file=sys.stderr,
        )


def _scenarios(options: argparse.Namespace, tool: Tool) -> list[Scenario]:
    """What is simulated: of the file, and of the one to compare it with."""
    scenario = Scenario(
        file=options.file,
        tool=tool.name,
        arguments=arguments_of(options, tool),
        vary=_vary(options, tool),
        wishes=Wishes(
            latency=tuple(options.latency),
            fail=tuple(options.fail),
            hang=tuple(options.hang),
            down=tuple(options.down),
            reply=tuple(options.reply),
        ),
        timeout_s=budget_of(options),
        seed=_number(options, "seed", 0, least=0),
    )
    if options.compare is None:
        return [scenario]
    return [scenario, attrs.evolve(scenario, file=options.compare)]


def _load(options: argparse.Namespace) -> Load | None:
    """How many requests come; `None` for one."""
    if options.rate is None:
        for name in _MANY:
            if getattr(options, name) is not None:
                raise ValueError(f"--{name}: expected --rate with it, such as --rate 200/s")
        return None
    try:
        rate_per_s = parse_rate(options.rate)
    except ValueError:
        rate_per_s = 0.0
    if not rate_per_s:
        raise ValueError(f'--rate: expected a rate such as "200/s", got {options.rate!r}')
    length = getattr(options, "for") or "1m"
    try:
        length_s = parse_duration(length)
    except ValueError:
        length_s = 0.0
    if not length_s:
        raise ValueError(f'--for: expected a duration such as "5m", got {length!r}')
    clients = None if options.clients is None else _number(options, "clients", 0)
    return Load(rate_per_s=rate_per_s, length_s=length_s, clients=clients)


def _number(options: argparse.Namespace, name: str, default: int, *, least: int = 1) -> int:
    text = getattr(options, name)
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < least:
        raise ValueError(f"--{name}: expected a whole number from {least} on, got {text!r}")
    return int(text)


def _vary(options: argparse.Namespace, tool: Tool) -> dict[str, tuple[int, int]]:
    varied = {}
    for text in options.vary:
        name, _, numbers = text.partition("=")
        names = tool.arguments.names
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            near = did_you_mean(name, names)
            raise ValueError(
                f"--vary: expected an input of {tool.name} ({known}), got {name!r}{near}"
            )
        match = _RANGE.fullmatch(numbers)
        if match is None or int(match[1]) > int(match[2]):
            raise ValueError(f"--vary: expected whole numbers such as {name}=1..1000, got {text!r}")
        varied[name] = (int(match[1]), int(match[2]))
    return varied


def _check_arguments(told: list[Once]) -> None:
    """Refuse what every one of many requests would fail for.

    Raises:
        InvalidArguments: The arguments are wrong.
    """
    for one in told:
        if isinstance(one.ended.error, InvalidArguments):
            raise one.ended.error


def _print_once(options: argparse.Namespace, scenarios: list[Scenario], told: list[Once]) -> None:
    if options.format == "json":
        shown = [
            {"file": s.file, **timeline.as_json(one)}
            for s, one in zip(scenarios, told, strict=True)
        ]
        _print_json(options, shown)
        return
    if len(told) == 1:
        print(timeline.as_text(told[0]))
        return
    print("\n".join(_differences(options)))
    for scenario, one in zip(scenarios, told, strict=True):
        print(f"\n{scenario.file}\n\n{timeline.as_text(one)}")


def _print_many(
    options: argparse.Namespace,
    scenarios: list[Scenario],
    load: Load,
    *,
    seeds: int,
    jobs: int,
) -> None:
    subjects = []
    with _Progress(len(scenarios)) as progress:
        for scenario in scenarios:
            told = progress.next()
            subjects.append(simulate(scenario, load, seeds=seeds, jobs=jobs, progress=told))
    title = _title(scenarios[0], load, seeds)
    changed = [] if options.compare is None else _differences(options)
    if options.html is not None:
        _write(options.html, page(title, subjects, changed))
    if options.format == "json":
        _print_json(options, [{"file": one.name, **one.figures.json()} for one in subjects])
        return
    weather = [f"  {line}" for line in subjects[0].figures.weather]
    print("\n".join([title, "", "weather", *weather, "", *changed, *([""] if changed else [])]))
    print(report(subjects))


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"--html {path}: {error.strerror}") from None


def _print_json(options: argparse.Namespace, shown: list[dict[str, Any]]) -> None:
    value: Any = shown[0] if len(shown) == 1 else {"differences": _changed(options), "of": shown}
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _title(scenario: Scenario, load: Load, seeds: int) -> str:
    of = f"seed {scenario.seed}"
    if seeds > 1:
        of = f"seeds {scenario.seed} to {scenario.seed + seeds - 1}"
    clients = "" if load.clients is None else f" of {load.clients} clients"
    rate = f"{format_rate(load.rate_per_s)}{clients} for {format_duration(load.length_s)}"
    return f"{scenario.tool} of {scenario.file}: {rate}, {of}"


def _changed(options: argparse.Namespace) -> list[str]:
    return differences(options.file, options.compare)


def _differences(options: argparse.Namespace) -> list[str]:
    changed = [f"  {line}" for line in _changed(options)] or ["  nothing"]
    return [f"what {options.compare} changes", *changed]


class _Progress:
    """A bar on standard error, if that is a terminal, while something is simulated.

    Args:
        parts: How many parts of equal length there are.
    """

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._part = -1
        self._shown = -1
        self._is_terminal = os.isatty(2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._shown >= 0:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def next(self) -> Callable[[float], None]:
        """What takes the share of the next part that is done."""
        self._part += 1
        return self._tell

    def _tell(self, share: float) -> None:
        percent = math.floor((self._part + share) / self._parts * 100)
        if not self._is_terminal or percent == self._shown:
            return
        self._shown = percent
        done = percent * _BAR_WIDTH // 100
        bar = "█" * done + "░" * (_BAR_WIDTH - done)
        print(f"\r{bar} {percent:3} %", end="", file=sys.stderr, flush=True)
