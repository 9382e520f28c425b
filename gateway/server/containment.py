"""What may leave a connection: cancellation and interrupts, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

__all__ = ["contained", "leaves"]

_PASSING = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)


@contextmanager
def contained(report: Callable[[BaseException], None]) -> Iterator[None]:
    """Report whatever is raised within, and let only cancellation and interrupts out.

    Of an exception group, the part that may leave leaves and the rest is reported. `SystemExit`
    is reported too: a handler that calls `sys.exit` must not end the process for everyone else.

    Args:
        report: Takes what was raised; it neither raises nor waits.
    """
    try:
        yield
    except _PASSING:
        raise
    except BaseExceptionGroup as group:
        passing, failed = group.split(_PASSING)
        if failed is not None:
            report(failed)
        if passing is not None:
            raise passing from None
    except BaseException as error:  # noqa: BLE001 - see the docstring
        report(error)


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions that are no groups, below `error` or `error` itself, in their order."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in leaves(inner)]
