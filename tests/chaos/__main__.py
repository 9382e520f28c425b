"""`python -m tests.chaos COUNT`: that many worlds, each by its seed; the failing ones are printed."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.chaos.world import World, live


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1000, help="default: 1000")
    parser.add_argument("--first", type=int, default=0, help="the first seed; default: 0")
    parser.add_argument("--seed", type=int, help="this one alone, shown as it is")
    options = parser.parse_args()
    if options.seed is not None:
        print(World.of(options.seed).document)
        live(options.seed)
        return 0
    failed = 0
    start = time.monotonic()
    for seed in range(options.first, options.first + options.count):
        try:
            live(seed)
        except Exception:  # noqa: BLE001 - it is told, and the next one tried
            failed += 1
            traceback.print_exc()
            print(f"seed {seed} failed: python -m tests.chaos --seed {seed}", flush=True)
    spent_s = time.monotonic() - start
    print(f"{options.count} worlds in {spent_s:.0f} s: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
