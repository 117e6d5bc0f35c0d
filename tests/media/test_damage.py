"""Damaged and hostile files: every one is refused with reasons or read, none crashes, hangs, or costs much memory."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from sensorium.errors import MediaError
from sensorium.media.image import decode

from .damage import Damaged, damaged_files, spoiled
from .made import valid
from .ordeal import ordeal

SECONDS, MEGABYTES = 5.0, 1500.0


def judge(files: list[Damaged], folder: Path) -> Counter[str]:
    fates = list(ordeal(files, folder))
    bad = [
        fate for fate in fates if fate.end not in ("read", "refused") or fate.seconds > SECONDS or fate.megabytes > MEGABYTES
    ]
    assert not bad
    assert len(fates) == len(files)
    assert all(file.name in fate.words for file, fate in zip(files, fates, strict=True) if fate.end == "refused")
    return Counter(fate.end for fate in fates)


def test_the_same_seed_gives_the_same_files() -> None:
    files = damaged_files(1)
    assert len(files) >= 400
    assert len({file.name for file in files}) == len(files)
    assert files == damaged_files(1)
    assert files != damaged_files(2)


def test_a_sample(tmp_path: Path) -> None:
    ends = judge(random.Random(5).sample(damaged_files(), 60), tmp_path)
    assert ends["refused"] > 10
    assert ends["read"] > 10


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [7, 8])
def test_all(seed: int, tmp_path: Path) -> None:
    ends = judge(damaged_files(seed), tmp_path)
    assert ends["refused"] > 200
    assert ends["read"] > 150


def test_a_png_is_never_read_wrong() -> None:
    """Its checksums see to it: pixels that come out of a damaged file are the file's own."""
    read = 0
    for name in ("plain.png", "grey16.png"):
        kept_CHW = decode(valid()[name]).pixels_CHW
        for file in (file for seed in range(12) for file in spoiled(name, valid()[name], random.Random(seed))):
            with suppress(MediaError):
                assert torch.equal(decode(file.data).pixels_CHW, kept_CHW), file.name
                read += 1
    assert read > 40


def test_the_ordeal_sees_crashes_and_other_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge itself can find fault."""
    (tmp_path / "sitecustomize.py").write_text(SPOILER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    fates = list(ordeal([("dies.png", b"x"), ("escapes.png", b"x")], tmp_path))
    assert [(fate.end, fate.words) for fate in fates] == [("crashed", "exit code -6"), ("escaped", "builtins.KeyError: 'x'")]


SPOILER = """
import importlib.abc, os, sys

def spoiled_load(path, *_):
    if os.path.basename(path) == "dies.png":
        os.abort()
    raise KeyError("x")

class Spoiler(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "sensorium.media.text":
            import sensorium.media.source
            sensorium.media.source.load = spoiled_load

sys.meta_path.insert(0, Spoiler())
"""
