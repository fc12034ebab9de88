"""Who is next in a session."""

from __future__ import annotations

import pytest

from kernel_gateway.errors import QueueFull
from kernel_gateway.runs.queue import Queue


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


def test_whose_turn_would_be_next_is_known_while_nobody_has_it() -> None:
    queue = queue_of("a", "b")
    assert "a" == queue.next
    queue.admit()
    assert queue.next is None
    queue.release("a")
    queue.release("b")
    assert queue.next is None


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


def test_who_waits_in_vain_is_taken_out_and_the_others_keep_their_order() -> None:
    queue = queue_of("a1", "b1", "a2", "b2", "a3")
    queue.admit()
    assert ["a2", "a3"] == queue.withdraw(lambda run: run.startswith("a"))
    assert ("a1", 0, 1) == (queue.in_flight, queue.position("b1"), queue.position("b2"))


def test_a_queue_shows_itself_in_a_log_line() -> None:
    queue = queue_of("a", "b", "c")
    queue.admit()
    assert "<Queue in_flight='a' waiting=2>" == repr(queue)
