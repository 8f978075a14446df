"""Several runs side by side, from what is on disk."""

import json
import shutil

import pytest

from vad_jax.runs.comparing import compare
from vad_jax.types import ConfigError


def test_two_runs_of_one_name_are_refused(level_run):
    with pytest.raises(ConfigError, match="Two workdirs are called level"):
        compare([level_run[0], level_run[0]])


def test_a_table_comes_from_the_files(level_run, capsys):
    found = compare([level_run[0]])
    assert list(found) == ["level"]
    assert "| level | 0 |" in capsys.readouterr().out


def test_intervals_of_an_earlier_version_are_said(level_run, tmp_path, caplog):
    other = shutil.copytree(level_run[0], tmp_path / "other")
    metrics = json.loads((other / "metrics.json").read_text())
    (other / "metrics.json").write_text(json.dumps(metrics | {"version": 1}))
    compare([level_run[0], other])
    (said,) = (record.getMessage() for record in caplog.records if "earlier" in record.message)
    assert said.startswith("other: its intervals are those of an earlier version")


def test_comparing_writes_a_page_into_the_first_workdir(level_run, tmp_path, capsys):
    other = shutil.copytree(level_run[0], tmp_path / "other")
    compare([other, level_run[0]])
    assert f"Page: {other / 'comparison.html'}" in capsys.readouterr().out
    text = (other / "comparison.html").read_text(encoding="utf-8")
    assert "minus other, paired" in text
    assert f"--workdir={other},{level_run[0]}" in text
