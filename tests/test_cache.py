"""The cache is where the person or the system says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sensorium.cache import cache_folder


def test_the_cache_is_where_the_person_or_the_system_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("SENSORIUM_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/sensorium")
