"""Search for settings with optuna: each trial is a run of a recipe in a folder of its own; going on skips finished ones."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.errors import CheckpointError, DependencyError, RequestError
from sensorium.training.recipe import execute

_RANGE = re.compile(r"(log|int|float)\(([^,()]+),([^,()]+)\)")
Suggest = Callable[[Any], str]


class Best(NamedTuple):
    """The best trial: its folder, the loss on held rows, and what was set."""

    folder: Path
    loss: float
    sets: tuple[str, ...]


def search(
    name: str, sets: Sequence[str], space: Sequence[str], trials: int, out: Path, *, seed: int = 0, command: Sequence[str] = ()
) -> Best:
    """Lower the held loss of a recipe's last training (tree-structured Parzen estimator, Bergstra et al. 2011).

    Args:
        sets: of every trial. space: `key=log(1e-5,1e-2)`, `key=float(0,1)`, `key=int(1,4)` or `key=a|b|c`.

    Raises:
        DependencyError: optuna is not installed. RequestError: a range that cannot be read, or no trial came to an end.
    """
    try:
        import optuna
    except ImportError as error:
        raise DependencyError("optuna", "is not installed", "Install sensorium[train]") from error
    ranges = [parse_range(text) for text in space]
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    done: list[Best] = []

    def objective(trial: Any) -> float:
        chosen = tuple(f"{key}={suggest(trial)}" for key, suggest in ranges)
        folder = out / f"trial-{trial.number:03d}"
        loss = _loss_of(folder, chosen)
        if loss is None:
            loss = _run(name, [*sets, *chosen], folder, command)
            (folder / "trial.json").write_text(json.dumps({"sets": chosen, "loss": loss}) + "\n", "utf-8")
        if math.isfinite(loss):
            done.append(Best(folder, loss, chosen))
            return loss
        raise optuna.TrialPruned

    study.optimize(objective, n_trials=trials)
    if not done:
        raise RequestError("search", f"none of {trials} trials came to an end", "Look into their logs, and narrow the ranges")
    best = min(done, key=lambda item: item.loss)
    (out / "best.json").write_text(
        json.dumps({"folder": best.folder.name, "loss": best.loss, "sets": best.sets}, indent=2) + "\n", "utf-8"
    )
    return best


def _run(name: str, sets: Sequence[str], folder: Path, command: Sequence[str]) -> float:
    """The held loss of one run; not a number where it came to grief, as trials with a high rate may."""
    try:
        outcomes = execute(name, sets, folder, resume=True, command=command)
    except CheckpointError:
        return math.nan
    last = list(outcomes.values())[-1].last
    losses = [value for key, value in last.items() if key == "loss" or key.endswith("/loss")]
    if not losses:
        raise RequestError("search", "has no held loss to go by", "Name rows with data.held")
    return float(sum(losses))


def _loss_of(folder: Path, chosen: Sequence[str]) -> float | None:
    file = folder / "trial.json"
    row = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return float(row["loss"]) if row.get("sets") == list(chosen) else None


def parse_range(text: str) -> tuple[str, Suggest]:
    """A key and what draws a value for it.

    Raises:
        RequestError: it is not of one of the forms.
    """
    key, equals, what = text.partition("=")
    found = _RANGE.fullmatch(what.replace(" ", ""))
    if not equals or (found is None and "|" not in what):
        remedy = "Write key=log(1e-5,1e-2), key=float(0,1), key=int(1,4) or key=a|b|c"
        raise RequestError(f"--search {text}", "is not a range", remedy)
    if found is None:
        words = what.split("|")
        return key, lambda trial: str(trial.suggest_categorical(key, words))
    kind, low, high = found.groups()
    if kind == "int":
        return key, lambda trial: str(trial.suggest_int(key, int(low), int(high)))
    return key, lambda trial: repr(trial.suggest_float(key, float(low), float(high), log=kind == "log"))
