"""The supervisor's decisions where no process is needed; with processes: end_to_end/test_workers.py."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.server.listeners import ListenError
from gateway.server.offer import Generation, Offer
from gateway.server.supervisor import _Seat, _Supervisor
from tests.server.serving import Settings


@attrs.define
class Forks:
    """Refuses to fork, and counts how often it was asked."""

    asked: int = 0

    def __call__(self, _live: Any) -> Any:
        self.asked += 1
        raise OSError(errno.EAGAIN, "no room")


def offer(*bind: str, workers: int = 1, **settings: Any) -> Offer:
    def work(_post: Any) -> Any:
        raise AssertionError("nothing is served here")

    keys = Settings(bind=bind or ("127.0.0.1:0",), **settings)
    return Offer(settings=keys, workers=workers, work=work)  # type: ignore[arg-type]


@attrs.define
class Made:
    supervisor: _Supervisor
    forks: Forks
    offered: list[Offer]
    signals: socket.socket


@pytest.fixture
def made() -> Iterator[Made]:
    inbox, outbox = socket.socketpair()
    inbox.setblocking(False)
    forks, offered = Forks(), list[Offer]()
    supervisor = _Supervisor(inbox, offered.pop, forks)
    yield Made(supervisor, forks, offered, outbox)
    supervisor.clear()
    inbox.close()
    outbox.close()


def test_without_room_for_a_first_worker_nothing_is_left(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with pytest.raises(OSError, match="no room"):
        made.supervisor.run(offer(f"unix:{path}"))
    made.supervisor.clear()
    assert not path.exists()


def test_a_signal_from_before_it_begins_ends_it_before_anything_starts(
    made: Made, tmp_path: Path
) -> None:
    made.signals.send(bytes([signal.SIGTERM]))
    assert made.supervisor.run(offer(f"unix:{tmp_path / 'gateway.sock'}")) == 0
    assert made.forks.asked == 0
    assert list(tmp_path.iterdir()) == []


def test_a_second_one_is_its_status(made: Made) -> None:
    made.signals.send(bytes([signal.SIGTERM, signal.SIGINT]))
    assert made.supervisor.run(offer()) == 128 + signal.SIGINT
    assert made.forks.asked == 0


def test_without_room_for_another_worker_it_is_tried_again_and_again(made: Made) -> None:
    supervisor = made.supervisor
    supervisor._adopt(Generation.open(offer(workers=2), None))
    seat = supervisor._seats[1]
    for asked in range(1, 4):
        seat.due = 0
        supervisor._keep_time()
        assert made.forks.asked == asked
        assert 0 < seat.due < float("inf")
    assert seat.restarts == 0


def test_without_room_a_reload_changes_nothing(made: Made, tmp_path: Path) -> None:
    supervisor = made.supervisor
    current = Generation.open(offer(f"unix:{tmp_path / 'old'}"), None)
    supervisor._adopt(current)
    made.offered.append(offer(f"unix:{tmp_path / 'old'}", f"unix:{tmp_path / 'new'}"))
    supervisor._load_anew()
    assert made.forks.asked == 1
    assert (supervisor._current, supervisor._trial) == (current, None)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert current.listeners.public[0].sock.fileno() != -1


def test_told_to_reload_before_it_serves_it_reloads_after(made: Made) -> None:
    supervisor = made.supervisor
    supervisor._load_anew()
    assert made.forks.asked == 0
    made.offered.append(offer())
    supervisor._adopt(Generation.open(offer(), None))
    assert made.forks.asked == 1
    assert made.offered == []


@pytest.mark.parametrize("due", [float("inf"), 1e300, 0])
def test_it_waits_for_what_is_due_in_an_age(made: Made, due: float) -> None:
    made.supervisor._seats = [_Seat(due=due)]
    made.signals.send(bytes([signal.SIGCHLD]))
    made.supervisor._wait()
    assert made.supervisor._arrived() == bytes([signal.SIGCHLD])


def test_an_address_that_stays_keeps_its_socket(tmp_path: Path) -> None:
    gone, new = f"unix:{tmp_path / 'gone'}", f"unix:{tmp_path / 'new'}"
    before = Generation.open(offer("127.0.0.1:0", gone), None)
    after = Generation.open(offer("127.0.0.1:0", new), before)
    assert after.listeners.public[0] is before.listeners.public[0]
    assert after.listeners.admin[0] is before.listeners.admin[0]
    before.close(but=after)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert after.listeners.public[0].sock.fileno() != -1
    after.close(but=None)
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_taken_leaves_the_open_ones_open(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = Generation.open(offer(f"unix:{tmp_path / 'old'}"), None)
    binds = (f"unix:{tmp_path / 'old'}", f"unix:{tmp_path / 'new'}", f"unix:{tmp_path / 'file'}")
    with pytest.raises(ListenError, match="is no socket"):
        Generation.open(offer(*binds), before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "old"]
    before.close(but=None)


def test_a_process_that_inherited_them_leaves_the_files(tmp_path: Path) -> None:
    before = Generation.open(offer(f"unix:{tmp_path / 'gone'}"), None)
    after = Generation.open(offer(f"unix:{tmp_path / 'new'}"), before)
    before.forget(but=after)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gone", "new"]
    assert before.listeners.public[0].sock.fileno() == -1
    assert after.listeners.admin[0].sock.fileno() != -1
    after.close(but=None)
    before.close(but=None)
