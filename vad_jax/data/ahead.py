"""Reading ahead: a thread takes the next items while the present one is worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def ahead(items: Iterable[Item], number: int) -> Iterator[Item]:
    """Yields the items in order, up to `number` of them taken before they are asked for.

    An error of the items is raised in its place. The thread ends with the items, or soon after
    the iterator is closed or dropped.
    """
    waiting: queue.Queue = queue.Queue(maxsize=number)
    closed = threading.Event()

    def put(answer) -> bool:
        while not closed.is_set():
            try:
                waiting.put(answer, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def take() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((_END, None))
        except BaseException as error:  # raised again where it is waited for
            put((_END, error))

    threading.Thread(target=take, daemon=True).start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        closed.set()
