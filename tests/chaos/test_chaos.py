"""Many worlds by chance: `python -m tests.chaos 10000` tries more, `python -m tests.chaos --seed 7` one.

How long is tried here, in seconds, is `CHAOS_SECONDS`; 10 if it is not said.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.chaos.world import World, collected, live

SECONDS = float(os.environ.get("CHAOS_SECONDS", "10"))
BATCHES = 8


@pytest.mark.parametrize("batch", range(BATCHES))
def test_what_must_hold_holds_in_every_world(batch: int) -> None:
    end = time.monotonic() + SECONDS / BATCHES
    seed = batch
    while time.monotonic() < end:
        try:
            live(seed)
        except BaseException as error:
            error.add_note(f"python -m tests.chaos --seed {seed}")
            raise
        seed += BATCHES
    collected()
    assert seed > batch


def test_a_world_follows_from_its_seed() -> None:
    assert World.of(3) == World.of(3)
    assert World.of(3) != World.of(4)
