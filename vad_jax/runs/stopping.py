"""Work that ends when it is asked to, where it can go on later."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from vad_jax import messages

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def until_signal() -> Iterator[Callable[[], bool]]:
    """Within it Ctrl-C and SIGTERM only turn the answer of what it yields to true.

    The work that asks for it can so end where it can go on later. A second signal interrupts at
    once. Outside the main thread, where Python takes no signals, nothing changes.
    """
    asked = []

    def handle(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        messages.say("Stopping as soon as all is saved; again: at once.")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
