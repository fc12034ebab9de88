"""Who is next on a kernel."""

from __future__ import annotations

import pytest

from kernel_gateway.errors import QueueFull
from kernel_gateway.runs.queue import Queue, Slot


def queue_of(*runs: str, bound: int = 1000) -> Queue[str]:
    queue: Queue[str] = Queue(bound)
    for run in runs:
        queue.put(run)
    return queue


def test_first_in_is_first_out_and_one_has_the_turn() -> None:
    queue = queue_of("a", "b", "c")
    assert "a" == queue.admit()
    assert queue.admit() is None
    assert ("a", 2) == (queue.in_flight, len(queue))
    queue.release("a")
    assert (None, "b") == (queue.in_flight, queue.admit())


def test_nobody_waits_and_nobody_has_the_turn() -> None:
    queue = queue_of()
    assert queue.admit() is None
    queue.release("somebody else")
    assert 0 == len(queue)


def test_the_position_is_zero_for_whose_turn_is_next() -> None:
    queue = queue_of("a", "b", "c")
    queue.admit()
    assert (None, 0, 1) == tuple(queue.position(run) for run in "abc")


def test_a_run_that_waits_may_be_over() -> None:
    queue = queue_of("a", "b", "c")
    queue.release("b")
    assert ("a", None, 0) == (queue.admit(), queue.position("b"), queue.position("c"))


def test_a_full_queue_says_so_before_a_run_is_created() -> None:
    queue = queue_of("a", "b", bound=2)
    with pytest.raises(QueueFull, match="2 runs wait"):
        queue.check_room()
    queue.admit()
    queue.check_room()


def test_a_run_has_its_turn_while_its_kernel_starts() -> None:
    queue = queue_of("a")
    assert (Slot.STARTING, "a", Slot.STARTING) == (queue.slot, queue.admit(), queue.slot)
    queue.kernel_up()
    assert Slot.TAKEN == queue.slot
    queue.release("a")
    assert [Slot.IDLE] == [queue.slot]


def test_a_slot_without_its_kernel_is_never_idle() -> None:
    queue = queue_of("a")
    queue.kernel_up()
    queue.admit()
    queue.kernel_gone()
    seen = [queue.slot]
    queue.release("a")
    seen.append(queue.slot)
    queue.kernel_up()
    assert [Slot.STARTING, Slot.STARTING, Slot.IDLE] == [*seen, queue.slot]


def test_a_closed_queue_gives_no_turn_and_back_who_waited() -> None:
    queue = queue_of("a", "b", "c")
    queue.kernel_up()
    queue.admit()
    assert ["b", "c"] == queue.close()
    queue.release("a")
    queue.put("d")
    assert (Slot.CLOSED, None) == (queue.slot, queue.admit())
    assert ["d"] == queue.close()


def test_a_queue_shows_itself_in_a_log_line() -> None:
    assert "<Queue STARTING waiting=2>" == repr(queue_of("a", "b"))
