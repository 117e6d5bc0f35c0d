"""Where a machine keeps what is made once for it: assembled checkpoints, compiled kernels."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """`SENSORIUM_CACHE`, or the system's place for caches."""
    if given := os.environ.get("SENSORIUM_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "sensorium" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sensorium"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sensorium"
