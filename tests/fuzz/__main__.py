"""`python -m tests.fuzz --connections 200000 --seed 1`: mutated connections, and what they do.

`--only N` replays connection N of the same seed. Exit status 1 if anything was found.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from functools import partial

import trio

from tests.fuzz.run import fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--connections", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=32, help="connections open at once")
    parser.add_argument("--only", type=int, help="replay this one connection")
    arguments = parser.parse_args()
    numbers = range(arguments.connections)
    if arguments.only is not None:
        numbers = range(arguments.only, arguments.only + 1)
        logging.basicConfig(level=logging.DEBUG)
    began = time.monotonic()

    def progress(done: int) -> None:
        rate = done / (time.monotonic() - began)
        left = (len(numbers) - done) / rate
        print(f"{done:>8} connections, {rate:.0f}/s, {left:.0f} s to go", flush=True)

    run = partial(fuzz, numbers, seed=arguments.seed, workers=arguments.workers, progress=progress)
    findings = trio.run(run)
    took = time.monotonic() - began
    print(f"{len(numbers)} connections in {took:.0f} s; {findings.answers} right answers beside")
    print(findings if findings.texts else "nothing found")
    return 1 if findings.texts else 0


if __name__ == "__main__":
    sys.exit(main())
