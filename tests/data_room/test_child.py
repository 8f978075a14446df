"""A child process: requests and messages, deadlines, limits, and that none is left behind."""

import os
import signal
import time

import pytest

from vad_jax.data.child import Child, Silent

ECHO = """
import json, sys, time
from vad_jax.data import limits
from vad_jax.data.child import serve

def answer(request, send):
    print("what a library prints is no message")
    sys.stdout.flush()
    time.sleep(request.get("sleep", 0))
    if "exit" in request:
        sys.exit(request["exit"])
    if "memory" in request:
        limits.memory(request["memory"])
        try:
            bytearray(2 * request["memory"])
        except MemoryError:
            send(b"M")
            return
    send(b"E", json.dumps(request).encode(), b"tail")

serve(answer)
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    (tmp_path / "echoing.py").write_text(ECHO)
    monkeypatch.syspath_prepend(tmp_path)
    child = Child("echoing", most_bytes=100, environment={"WHO": "child"})
    yield child
    child.end()


def test_a_request_is_answered_with_a_kind_and_bytes(child):
    for number in range(3):
        child.ask({"number": number})
        assert child.answer(60) == (b"E", b'{"number": %d}tail' % number)
    assert child.ready()


def test_one_that_is_late_is_said_to_be_silent(child):
    child.ask({"sleep": 60})
    began = time.monotonic()
    with pytest.raises(Silent, match=r"was silent for 0\.2 seconds"):
        child.answer(0.2)
    assert time.monotonic() - began < 30


def test_one_that_dies_is_named_with_its_cause(child):
    child.ask({"number": 0})
    child.answer(60)
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(Silent, match=r"died \(signal 9\)"):
        child.answer(60)
    assert not child.ready()


def test_one_that_ends_itself_is_named_with_its_last_line(child):
    child.ask({"exit": "the camera is gone"})
    with pytest.raises(Silent, match=r"died \(exit 1: the camera is gone\)"):
        child.answer(60)


def test_a_message_that_is_too_long_is_not_read(child):
    child.ask({"text": "x" * 100})
    with pytest.raises(Silent, match=r"sent a message of 116 bytes, more than any has"):
        child.answer(60)


def test_memory_beyond_the_limit_is_an_error_within(child):
    child.ask({"memory": 1 << 30})
    assert child.answer(60) == (b"M", b"")


def test_one_that_is_ended_is_gone(child):
    child.end()
    assert not child.ready()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
