"""A view of a run while it goes on, beside its log: TensorBoard's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sensorium.errors import DependencyError


def live_view(kind: str, folder: Path) -> Callable[[int, Mapping[str, Any]], None] | None:
    """What is told the figures of a step or an evaluation: a TensorBoard log, if asked for.

    Raises:
        DependencyError: it is not installed.
    """
    if kind == "none":
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DependencyError(
            "tensorboard", "is not installed", "Install sensorium[train], or set training.live=none"
        ) from error
    writer = SummaryWriter(str(folder))

    def write(step: int, row: Mapping[str, Any]) -> None:
        for key, value in row.items():
            if isinstance(value, int | float) and key not in ("step", "minutes"):
                writer.add_scalar(key, value, step)
        writer.flush()

    return write
