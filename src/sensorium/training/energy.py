"""Energy that a run took, where this machine counts the processor's; otherwise it says why not, instead of guessing."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_COUNTERS = Path("/sys/class/powercap")


def counters(folder: Path = _COUNTERS) -> list[Path]:
    """The processor's energy counters that may be read."""
    return [path for path in sorted(folder.glob("*/energy_uj")) if os.access(path, os.R_OK)] if folder.is_dir() else []


def start_meter() -> Callable[[], dict[str, Any]]:
    """Begin to measure; what comes back ends it and says what was found: an estimate, since only the processor is counted."""
    if not counters():
        return lambda: {"energy": "not measurable", "because": "no energy counter of the processor can be read"}
    if importlib.util.find_spec("codecarbon") is None:
        return lambda: {"energy": "not measurable", "because": "codecarbon is not installed (extra `train`)"}
    from codecarbon import OfflineEmissionsTracker

    # The country only turns energy into emissions, which are not reported.
    tracker = OfflineEmissionsTracker(country_iso_code="FRA", save_to_file=False, log_level="error", allow_multiple_runs=True)
    tracker.start()

    def stop() -> dict[str, Any]:
        tracker.stop()
        how = "codecarbon: the processor's counters, and what memory of this size usually takes; all that runs here is in it"
        return {"estimated_kwh": float(tracker.final_emissions_data.energy_consumed), "by": how}

    return stop
