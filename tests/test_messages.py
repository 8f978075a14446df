"""Who hears the messages of the house, and that bars and lines do not share a line."""

import io
import logging
import sys
import types

import pytest

from vad_jax import messages

OURS, ROOT = logging.getLogger("vad_jax"), logging.getLogger()


@pytest.fixture
def script(monkeypatch):
    """Makes the process one in which nobody listens: no handler, no level.

    To be called in the test: pytest adds its handlers when the test begins.
    """

    def begin():
        for logger, level in ((ROOT, logging.WARNING), (OURS, logging.NOTSET)):
            monkeypatch.setattr(logger, "handlers", [])
            monkeypatch.setattr(logger, "level", level)
        monkeypatch.setattr(OURS, "propagate", True)
        OURS.manager._clear_cache()  # of what is enabled, which `setLevel` would clear

    yield begin
    monkeypatch.undo()
    OURS.manager._clear_cache()


@pytest.fixture
def notebook(monkeypatch):
    """A process that is a notebook's kernel."""
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))


def said(capsys):
    logging.getLogger("vad_jax.runs").info("epoch 1")
    return capsys.readouterr().err


def test_a_script_hears_the_messages_once(capsys, script):
    script()
    assert said(capsys) == ""
    messages.speak()
    messages.speak()
    assert said(capsys) == "epoch 1\n"


def test_a_program_with_logging_of_its_own_gets_them_itself(capsys, script):
    script()
    listening = io.StringIO()
    ROOT.addHandler(logging.StreamHandler(listening))
    ROOT.setLevel(logging.INFO)
    messages.speak()
    assert said(capsys) == ""
    assert listening.getvalue() == "epoch 1\n"


def test_logging_that_comes_later_is_found_by_the_next_job(capsys, script):
    script()
    messages.speak()
    listening = io.StringIO()
    ROOT.addHandler(logging.StreamHandler(listening))
    ROOT.setLevel(logging.INFO)
    messages.speak()
    assert said(capsys) == ""
    assert listening.getvalue() == "epoch 1\n"


def test_a_file_for_warnings_is_logging_of_its_own(capsys, script, tmp_path):
    script()
    ROOT.addHandler(logging.FileHandler(tmp_path / "log"))
    messages.speak()
    assert said(capsys) == ""
    assert OURS.level == logging.NOTSET


def test_a_handler_that_a_library_has_caused_is_not(capsys, script):
    """Python adds it when something calls `logging.warning`; notebooks come with one."""
    script()
    logging.warning("of a library")
    assert ROOT.handlers
    capsys.readouterr()
    messages.speak()
    assert said(capsys) == "epoch 1\n"


def test_a_level_that_the_user_has_set_stays(capsys, script):
    script()
    OURS.setLevel(logging.ERROR)
    messages.speak()
    assert said(capsys) == ""
    assert OURS.level == logging.ERROR


def test_a_command_called_in_a_script_is_heard_once(capsys, script):
    script()
    messages.speak()
    with messages.on_the_terminal():
        assert said(capsys) == "epoch 1\n"
    assert said(capsys) == "epoch 1\n"


def test_a_command_is_heard_by_a_handler_of_the_user_too(capsys, script):
    script()
    listening = io.StringIO()
    OURS.addHandler(logging.StreamHandler(listening))
    with messages.on_the_terminal():
        assert said(capsys) == "epoch 1\n"
    assert listening.getvalue() == "epoch 1\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_message_is_a_line_of_its_own_beside_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with messages.progress(total=3, desc="train") as bar, messages.on_the_terminal():
        bar.update()
        OURS.info("epoch 1")
        bar.update()
    lines = [part.strip() for part in terminal.getvalue().replace("\r", "\n").split("\n")]
    assert "epoch 1" in lines
    assert any(line.startswith("train") for line in lines)


def test_bars_are_for_terminals_and_notebooks(monkeypatch, request):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert messages.progress(total=1).disable
    request.getfixturevalue("notebook")
    assert not messages.progress(total=1).disable
    assert messages.progress(total=1, disable=True).disable
