"""Where a request's microseconds go: py-spy's samples of the worker, by layer and by line."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from tests.benchmarks.measure import AT, Bench, Round, started
from tests.benchmarks.processes import pinned, youngest
from tests.benchmarks.scenarios import Scenario

__all__ = ["Profile", "Sample", "layer_of", "profile", "read_samples"]

_PER_S = 400
_WARM_UP_S = 0.5
_AROUND_S = 1.5

_LAYERS: Sequence[tuple[str, str]] = (
    ("gateway/server/wire.py:receive", "server: socket read"),
    ("gateway/server/wire.py", "server: socket write"),
    ("gateway/server/heads.py", "server: parse"),
    ("gateway/server/bodies.py", "server: parse"),
    ("gateway/server/", "server: ASGI"),
    ("gateway/net/asgi.py", "server: ASGI"),
    ("gateway/app.py", "dispatch"),
    ("gateway/dispatch.py", "dispatch"),
    ("gateway/access/", "dispatch"),
    ("gateway/inbound/", "inbound: decode and encode"),
    ("gateway/plan/arguments.py", "inbound: decode and encode"),
    ("gateway/plan/merge.py", "merge"),
    ("gateway/plan/", "plan"),
    ("gateway/core/trace.py", "inbound: decode and encode"),
    ("gateway/core/", "plan"),
    ("gateway/policies/", "policies"),
    ("gateway/adapters/", "adapter"),
    ("gateway/net/json_text.py", "adapter: JSON"),
    ("gateway/net/wire.py:receive", "client: socket read"),
    ("gateway/net/wire.py:is_stale", "client: pool and requests"),
    ("gateway/net/wire.py", "client: socket write"),
    ("gateway/net/reply.py", "client: parse"),
    ("gateway/net/", "client: pool and requests"),
    ("gateway/telemetry/", "telemetry"),
    ("tests/benchmarks/apps/", "application"),
    ("trio/", "Trio"),
)
"""From where a line stands, file or file and function, to its layer; the first that fits."""

_OTHER = "other"


@attrs.frozen(slots=True)
class Frame:
    """A line of a stack: `function (file:line)`."""

    function: str
    file: str
    line: int

    @classmethod
    def read(cls, text: str) -> Frame:
        """From py-spy's form."""
        function, _, place = text.rpartition(" (")
        file, _, line = place.removesuffix(")").rpartition(":")
        return cls(function, file, int(line) if line.isdigit() else 0)

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}"


@attrs.frozen(slots=True)
class Sample:
    """A stack, outermost frame first, and how often it was seen."""

    frames: tuple[Frame, ...]
    count: int


@attrs.frozen(slots=True, kw_only=True)
class Profile:
    """One scenario's requests, taken apart.

    Args:
        scenario: Which.
        cpu_us: Microseconds of the worker's CPU time for a request.
        layers: From a layer to the microseconds spent in it, the most first.
        lines: From a line to the microseconds spent in it and in what it calls of the standard
            library and of C, the most first.
        samples: How many there were.
    """

    scenario: Scenario
    cpu_us: float
    layers: tuple[tuple[str, float], ...]
    lines: tuple[tuple[str, float], ...]
    samples: int


def profile(scenario: Scenario, at: Bench, seconds: float) -> Profile:
    """Take apart what our worker does under `AT` connections.

    Args:
        scenario: What it is asked.
        at: Where.
        seconds: For how long samples are taken.

    Raises:
        RuntimeError: The subject does not start, or py-spy may not look at it.
    """
    with started(scenario.ours, scenario.ask, at) as subject:
        subject.round(scenario.ask, AT, _WARM_UP_S)
        spy = _Spy(youngest(subject.process), at.folder / "samples.txt", seconds, at.cores.load)
        spy.start()
        one = subject.round(scenario.ask, AT, seconds + _AROUND_S)
        spy.join()
    if spy.error:
        raise RuntimeError(f"py-spy: {spy.error}")
    return _told(scenario, one, read_samples((at.folder / "samples.txt").read_text()))


class _Spy(threading.Thread):
    """py-spy, beside the load."""

    def __init__(self, pid: int, file: Path, seconds: float, core: int) -> None:
        super().__init__()
        self._pid, self._file, self._seconds, self._core = pid, file, seconds, core
        self.error = ""

    def run(self) -> None:
        command = [_py_spy(), "record", "--format", "raw", "--rate", str(_PER_S)]
        command += ["--duration", str(round(self._seconds)), "--output", str(self._file)]
        told = subprocess.run(
            pinned(self._core, [*command, "--pid", str(self._pid)]),
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode:
            self.error = told.stderr.strip() or f"it ended with {told.returncode}"


def _py_spy() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else "py-spy"


def read_samples(text: str) -> list[Sample]:
    """What py-spy wrote of the main thread: `frame;frame;frame count` on each line.

    Idle threads of a pool are seen as if they worked; requests run in the main thread alone.
    """
    samples = []
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = tuple(Frame.read(frame) for frame in stack.split(";") if " (" in frame)
        if frames and frames[0].file != "threading.py":
            samples.append(Sample(frames, int(count)))
    return samples


def layer_of(sample: Sample) -> tuple[str, Frame]:
    """The layer a sample belongs to, and the line of it: the innermost that is in a layer.

    The standard library and other libraries work for whoever called them.
    """
    for frame in reversed(sample.frames):
        for place, layer in _LAYERS:
            file, _, function = place.partition(":")
            if frame.file.startswith(file) and frame.function.endswith(function):
                return layer, frame
    return _OTHER, sample.frames[-1]


def _told(scenario: Scenario, one: Round, samples: Sequence[Sample]) -> Profile:
    total = sum(sample.count for sample in samples)
    if not total or not one.per_cpu_s():
        raise RuntimeError(f"{scenario.key}: nothing was seen of it")
    cpu_us = 1e6 / one.per_cpu_s()
    layers: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for sample in samples:
        layer, frame = layer_of(sample)
        layers[layer] += sample.count
        lines[str(frame)] += sample.count
    return Profile(
        scenario=scenario,
        cpu_us=cpu_us,
        layers=_in_us(layers.most_common(), cpu_us / total),
        lines=_in_us(lines.most_common(), cpu_us / total),
        samples=total,
    )


def _in_us(counts: Iterable[tuple[str, int]], each_us: float) -> tuple[tuple[str, float], ...]:
    return tuple((name, count * each_us) for name, count in counts)
