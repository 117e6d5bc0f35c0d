"""`sensorium train`: recipes by name and by path, settings, and what is said of a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from sensorium.errors import RequestError

Run = Callable[..., Result]
QUICK = ("training.precision=fp32", "training.steps=2", "data.rows=2", "data.judge=2", "words=false", "model=tiny")


def test_a_recipe_is_run_and_gone_on_with(run: Run, tmp_path: Path) -> None:
    words = ("train", "connect", "--set", "data.train=synthetic:captions", *QUICK, "--out", tmp_path / "run")
    first = run(*words, model=False)
    assert first.exit_code == 0, first.output
    assert "step 2  loss " in first.stdout
    assert "gap_swapped" in first.stdout
    assert first.stdout.strip().endswith(str(tmp_path / "run" / "model"))
    again = run(*words, model=False)
    assert isinstance(again.exception, RequestError)
    assert "Add --resume" in str(again.exception)
    assert run(*words, "--resume", model=False).exit_code == 0


def test_a_wrong_setting_is_named_with_the_nearest(run: Run, tmp_path: Path) -> None:
    result = run("train", "connect", "--set", "training.stpes=3", "--out", tmp_path / "run", model=False)
    assert isinstance(result.exception, RequestError)
    assert "The nearest setting is training.steps" in str(result.exception)
    assert not (tmp_path / "run").exists()
    assert "--out: is missing" in str(run("train", "connect", model=False).exception)


def test_a_recipe_can_be_copied_and_its_settings_listed(run: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    assert run("train", "speak", "--copy", mine, model=False).exit_code == 0
    listed = run("train", mine, "--keys", model=False)
    assert "parts.connectors.audio.rate=0.0005" in listed.stdout
    assert "training.schedule.kind=cosine" in listed.stdout
    assert "words=none" in listed.stdout
    assert isinstance(run("train", "speak", "--copy", mine, model=False).exception, RequestError)
