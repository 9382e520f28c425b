"""What may leave a connection: cancellation and interrupts, nothing else."""

from __future__ import annotations

from collections.abc import Callable

import trio

__all__ = ["contained", "leaves"]

_PASSING = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)


class contained:  # noqa: N801 - used as the function it would be; a generator costs several times more
    """Report whatever is raised within, and let only cancellation and interrupts out.

    Of an exception group, the part that may leave leaves and the rest is reported. `SystemExit`
    is reported too: a handler that calls `sys.exit` must not end the process for everyone else.

    Args:
        report: Takes what was raised; it neither raises nor waits.
    """

    __slots__ = ("_report",)

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._report = report

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None or isinstance(error, _PASSING):
            return False
        if not isinstance(error, BaseExceptionGroup):
            self._report(error)
            return True
        passing, failed = error.split(_PASSING)
        if failed is not None:
            self._report(failed)
        if passing is not None:
            raise passing from None
        return True


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions that are no groups, below `error` or `error` itself, in their order."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in leaves(inner)]
