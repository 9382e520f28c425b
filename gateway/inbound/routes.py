"""Routes as a trie of path segments: a literal segment goes before a placeholder, by method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar
from urllib.parse import unquote

__all__ = ["Routes"]

T = TypeVar("T")


class Routes(Generic[T]):
    """Paths such as `/customers/{id}` and what answers them, by method."""

    def __init__(self) -> None:
        self._root: _Branch[T] = _Branch()

    def add(self, method: str, path: str, target: T) -> T | None:
        """Let `target` answer `method` on `path`.

        Args:
            method: In capitals.
            path: Starts with `/`; a segment `{name}` takes any one segment that is not empty.
            target: What answers.

        Returns:
            What answers there already, in which case nothing was added; else `None`.
        """
        branch = self._root
        names: list[str] = []
        for segment in path.split("/")[1:]:
            if segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                branch.any = branch.any or _Branch()
                branch = branch.any
            else:
                branch = branch.literal.setdefault(unquote(segment), _Branch())
        if method in branch.targets:
            return branch.targets[method][0]
        branch.targets[method] = (target, tuple(names))
        return None

    def find(self, path: str) -> Mapping[str, tuple[T, Mapping[str, str]]]:
        """What answers on `path`, by method, each with the values of its placeholders.

        Args:
            path: As it came, percent-encoded: an encoded slash does not end a segment.

        Returns:
            An empty mapping where there is nothing.
        """
        segments = path.split("/")[1:]
        if "%" in path:
            segments = [unquote(segment) for segment in segments]
        answers: dict[str, tuple[T, Mapping[str, str]]] = {}
        self._root.find(segments, 0, (), answers)
        return answers


class _Branch(Generic[T]):
    """What may follow one segment."""

    __slots__ = ("any", "literal", "targets")

    def __init__(self) -> None:
        self.literal: dict[str, _Branch[T]] = {}
        self.any: _Branch[T] | None = None
        self.targets: dict[str, tuple[T, tuple[str, ...]]] = {}

    def find(
        self,
        segments: list[str],
        at: int,
        values: tuple[str, ...],
        answers: dict[str, tuple[T, Mapping[str, str]]],
    ) -> None:
        """Add what answers on every branch that the path leads to, the most literal first."""
        if at == len(segments):
            for method, (target, names) in self.targets.items():
                if method not in answers:
                    answers[method] = target, dict(zip(names, values, strict=True))
            return
        segment = segments[at]
        literal = self.literal.get(segment)
        if literal is not None:
            literal.find(segments, at + 1, values, answers)
        if self.any is not None and segment:
            self.any.find(segments, at + 1, (*values, segment), answers)
