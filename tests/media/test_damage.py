"""Damaged and hostile files: every one is refused with reasons or read, none crashes, hangs, or costs much memory."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
import torch

from sensorium.errors import MediaError
from sensorium.media.image import decode

from .damage import Damaged, damaged_files
from .made import valid
from .ordeal import Fate, ordeal

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
    kept = {name: decode(data).pixels_CHW for name, data in valid().items() if name in ("plain.png", "grey16.png")}
    read = 0
    for seed in range(12):
        for file in damaged_files(seed)[:0] or _spoiled_png(seed):
            try:
                pixels_CHW = decode(file.data).pixels_CHW
            except MediaError:
                continue
            read += 1
            assert torch.equal(pixels_CHW, kept[file.name.rpartition(" ")[2]]), file.name
    assert read > 10


def _spoiled_png(seed: int) -> list[Damaged]:
    from .damage import _spoiled

    draw = random.Random(seed)
    files = [file for name in ("plain.png", "grey16.png") for file in _spoiled(name, valid()[name], draw)]
    return [file for file in files if not file.name.startswith("wrong")]


def test_the_ordeal_sees_crashes_and_other_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge itself can find fault."""
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, os, sys\n"
        "def crash(path, *a):\n"
        "    os.abort() if 'crash' in path else (_ for _ in ()).throw(KeyError('escaped'))\n"
        "import importlib.abc\n"
        "class Spoil(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'sensorium.media.text':\n"
        "            import sensorium.media.source as source\n"
        "            source.load = crash\n"
        "sys.meta_path.insert(0, Spoil())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    fates = list(ordeal([("crash.png", b"x"), ("escape.png", b"x"), ("crash again.png", b"x")], tmp_path))
    assert [fate.end for fate in fates] == ["crashed", "escaped", "crashed"]
    assert isinstance(fates[0], Fate)
