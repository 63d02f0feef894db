"""The pool above the kernels."""

from __future__ import annotations

import threading

import pytest

from weightcodecs.threads import map_threads


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_results_stand_in_the_order_of_the_items(threads: int) -> None:
    assert map_threads(lambda item: item * item, range(50), threads) == [item * item for item in range(50)]
    assert map_threads(str, [], threads) == []


def test_the_calling_thread_works_beside_the_helpers() -> None:
    together = threading.Barrier(2, timeout=60)
    workers = map_threads(lambda _: (together.wait(), threading.get_ident())[1], range(2), 2)
    assert threading.get_ident() in workers
    assert len(set(workers)) == 2


def test_threads_inside_threads_do_not_wait_for_each_other() -> None:
    def outer(item: int) -> int:
        return sum(map_threads(lambda inner: inner + item, range(10), 2))

    assert map_threads(outer, range(8), 2) == [45 + 10 * item for item in range(8)]


def test_the_first_error_is_raised_and_nothing_new_is_begun() -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"^[01]$"):
        map_threads(work, range(1000), 2)
    assert len(begun) <= 2
