"""Reading ahead: order, errors in their place, and no thread left behind."""

import threading
import time

import pytest

from vad_jax.data.ahead import ahead


def test_items_come_in_order():
    assert list(ahead(range(100), 3)) == list(range(100))
    assert list(ahead([], 3)) == []


def test_no_more_is_taken_than_asked_for():
    taken = []

    def items():
        for i in range(50):
            taken.append(i)
            yield i

    reader = ahead(items(), 4)
    next(reader)
    time.sleep(0.3)
    assert len(taken) <= 1 + 4 + 1  # handed out, waiting, and the one that waits to be put
    reader.close()


def test_an_error_comes_behind_the_items_before_it():
    def items():
        yield 1
        raise OSError("the disk is gone")

    reader = ahead(items(), 8)
    assert next(reader) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(reader)


def test_the_thread_ends_with_the_iterator():
    before = threading.active_count()
    readers = [ahead(iter(int, 1), 2) for _ in range(3)]  # zeros without end
    for reader in readers:
        next(reader)
        reader.close()
    for _ in range(40):
        if threading.active_count() <= before:
            break
        time.sleep(0.1)
    assert threading.active_count() <= before
