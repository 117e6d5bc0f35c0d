"""What a training leaves in its run's log: each step with what it learned from, each evaluation with what was dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sensorium.data.fault import Tally
from sensorium.training.feed import Watched
from sensorium.training.rig import Exchange, Step
from sensorium.training.truth import account

Row = Mapping[str, Any]
"""A line of the log."""


class Log(Protocol):
    """Writes one."""

    def __call__(self, event: str, **values: Any) -> None:
        """With its kind and its values."""
        ...


class Trail:
    """Writes steps and evaluations, and finds the first and the last again.

    Args:
        log: writes a line of the run's log. rows: reads it. feeds: of the tasks, by name. name: of the training.
        exchange: sums what was dropped over the processes.
    """

    def __init__(
        self, log: Log, rows: Callable[[], Iterable[Row]], feeds: Mapping[str, Watched[Any]], name: str, exchange: Exchange
    ) -> None:
        self.log, self.rows, self.feeds, self.name, self.exchange = log, rows, feeds, name, exchange

    def step(self, step: Step) -> None:
        """A step, and what its batches held."""
        seen = {name: found for name, feed in self.feeds.items() if (found := _counted(feed.last))}
        rate, minutes = step.rate, round(step.minutes, 4)
        row = {"terms": step.terms, "rate": rate, "norm": step.norm, "norms": step.norms, "seen": seen, "minutes": minutes}
        self.log("step", training=self.name, step=step.step, **row)

    def evaluation(self, step: int, values: Mapping[str, Any]) -> None:
        """An evaluation, and the rows dropped so far."""
        dropped = {name: told for name, feed in self.feeds.items() if (told := _dropped(feed.dropped, self.exchange))}
        self.log("evaluation", training=self.name, step=step, values=values, dropped=dropped)

    def first(self) -> dict[str, float]:
        """The terms of the first step that has any."""
        return next((row["terms"] for row in self._rows("step") if row["terms"]), {})

    def last(self, step: int | None) -> dict[str, Any]:
        """The values of the last evaluation, or of that at a step."""
        rows = reversed(self._rows("evaluation"))
        return next((row["values"] for row in rows if step in (None, row["step"])), {})

    def _rows(self, event: str) -> list[Row]:
        return [row for row in self.rows() if row["event"] == event and row["training"] == self.name]


def _counted(batches: Sequence[Any]) -> dict[str, Any]:
    """Positions, learned ones and their share, and what media took, of the parts of a batch."""
    counts = [found for batch in batches if (found := account(batch)) is not None]
    if not counts:
        return {}
    tokens, supervised = sum(one.tokens for one in counts), sum(one.supervised for one in counts)
    media: dict[str, int] = {}
    for one in counts:
        for kind, count in one.media.items():
            media[kind] = media.get(kind, 0) + count
    share = round(supervised / max(tokens, 1), 4)
    rows = sum(one.rows for one in counts)
    return {"rows": rows, "tokens": tokens, "supervised": supervised, "share": share, "media": media}


def _dropped(tally: Tally | None, exchange: Exchange) -> dict[str, Any]:
    """Rows left out so far, by kind, and the first of this process's."""
    if tally is None or not (kinds := exchange.total(tally.kinds)):
        return {}
    shown = [f"{fault.file}, row {fault.row}: {fault.reason}" for fault in tally.first[:3]]
    return {"kinds": {kind: int(count) for kind, count in kinds.items()}, "such as": shown}
