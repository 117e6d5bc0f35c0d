"""Task x model -> answers -> scores -> estimates: kept as they come, resumable, and the same each time."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sensorium.errors import RequestError
from sensorium.estimate import Estimate, Rows, estimate, mean
from sensorium.evaluation import floors, kept
from sensorium.evaluation.ask import ask, find, how
from sensorium.evaluation.blanked import BLANKED
from sensorium.evaluation.journal import Journal, told
from sensorium.evaluation.kept import Kept
from sensorium.evaluation.limited import LIMITED, judged
from sensorium.evaluation.metrics import confidence
from sensorium.evaluation.report import album
from sensorium.evaluation.result import Outcome, Result, TaskResult
from sensorium.evaluation.shots import shots_curve, with_shots
from sensorium.evaluation.subject import Subject, code
from sensorium.evaluation.task import Item, Reply, Scores, Task
from sensorium.evaluation.unread import unread
from sensorium.evaluation.variant import BLIND, PLAIN, SHUFFLED, Variant, media, words_of

JOURNAL = "journal.jsonl"
CONFIDENCE = {
    "confidence: ECE": confidence.calibration_error(),
    "confidence: Brier": confidence.brier,
    "confidence: AUROC": confidence.auroc,
}
SHOTS = "shots"
FEW = 10
"""Right answers, and wrong ones, that there must be for a word on confidence."""


def floor_variants(_: Task) -> Sequence[Variant]:
    """Without the media, with another item's, and with blank ones."""
    return BLIND, SHUFFLED, BLANKED


@dataclass(frozen=True)
class Options:
    """How tasks are run.

    Args:
        data: the folder of the data. split: of each task; its last by default. limit: items of a task at most, spread evenly
            over it (`limited.judged`); 0 is all. shots: examples before each question. size: items answered together. seed: of
            examples and intervals.
        variants: of a task, the forms asked beside the plain one. curve: ask with 0, 1, 2 and 4 examples too.
        rounds: of the bootstrap.
    """

    data: Path
    split: str = ""
    limit: int = 0
    shots: int = 0
    size: int = 8
    seed: int = 0
    variants: Callable[[Task], Sequence[Variant]] = floor_variants
    curve: bool = False
    rounds: int = 1000


@dataclass(frozen=True)
class Listener:
    """What a caller is told while tasks run: `begin(task, variant, items)`, and `done(count)` as answers come."""

    begin: Callable[[str, str, int], None] = lambda *_: None
    done: Callable[[int], None] = lambda _: None


def evaluate(subject: Subject, tasks: Sequence[Task], options: Options, folder: Path, listen: Listener | None = None) -> Result:
    """Judge a model; the folder gets `results.json` and all answers, and takes up an interrupted run where it was.

    Raises:
        RequestError: a task's data is not there, or the model cannot be asked in the task's way.
    """
    state = code()
    with Journal(folder / JOURNAL, subject, state["source_sha256"]) as journal:
        runs = [_Run(subject, task, options, folder, journal, listen or Listener()) for task in tasks]
        result = Result(subject.told(), state, options.seed, tuple(run.result() for run in runs))
    kept.write_results(folder, result)
    return result


class _Run:
    """One task."""

    def __init__(
        self, subject: Subject, task: Task, options: Options, folder: Path, journal: Journal, listen: Listener
    ) -> None:
        self.subject, self.options = subject, options
        self.task = replace(task, sampling=subject.able(task.sampling))
        self.asked_for = task.sampling
        self.folder, self.journal, self.listen = folder, journal, listen
        self.split = options.split or task.splits[-1]
        if self.split not in task.splits:
            raise RequestError(f"split {self.split}", f"is none of {task.name}'s", f"Choose from {', '.join(task.splits)}")
        self.items = list(judged(task, options.data, self.split, options.limit))
        self.train = self._train()
        self.gallery = list(task.gallery(options.data, self.split)) if task.gallery is not None else []

    def result(self) -> TaskResult:
        """The plain form, the others, and the floors."""
        outcomes, curves = {PLAIN.name: self._outcome(PLAIN)}, dict[str, list[Variant]]()
        for variant in self._variants():
            outcomes[variant.name] = self._outcome(variant)
            curves.setdefault(variant.kind, []).append(variant)
        under = {
            name: self._estimates(self.items, replies)
            for name, replies in floors.floors(self.task, self.items, self.train, self.gallery).items()
        }
        ordered = {
            kind: tuple(item.name for item in sorted(some, key=lambda item: item.level)) for kind, some in curves.items()
        }
        return TaskResult(self.task.name, self.task.main, self._about(), outcomes, under, ordered)

    def _train(self) -> list[Item]:
        """Items whose right answers may be known: those of the task's first split, when that is another one."""
        if self.task.splits[0] == self.split or self.task.answer is None:
            return []
        return list(self.task.items(self.options.data, self.task.splits[0]))

    def _variants(self) -> list[Variant]:
        """Those that change anything here, and the curve of examples."""
        wanted = [*self.options.variants(self.task)]
        if self.options.curve:
            wanted += shots_curve(self.train or self.items, self._answer(), self.options.seed)
        some = range(min(len(self.items), 8))
        return [
            item
            for item in wanted
            if item.level == 0 or any(item.change(self.items, place) != self.items[place] for place in some)
        ]

    def _answer(self) -> Callable[[Item], str]:
        if self.task.answer is None:
            problem = f"are not possible for {self.task.name}, whose answers are no text"
            raise RequestError("examples", problem, "Leave --num-fewshot and --shots-curve out")
        return self.task.answer

    def _asked(self, variant: Variant) -> list[Item]:
        items = [variant.change(self.items, place) for place in range(len(self.items))]
        if not self.options.shots or variant.kind == SHOTS:
            return items
        return with_shots(items, self.train or self.items, self.options.shots, self._answer(), self.options.seed)

    def _outcome(self, variant: Variant) -> Outcome:
        asked = self._asked(variant)
        self.listen.begin(self.task.name, variant.name, len(asked) + len(self.gallery))
        if self.gallery:
            replies = find(self.subject, asked, self.gallery, self.journal, self.options.size, self.listen.done)
        else:
            replies = ask(self.subject, self.task, asked, self.journal, self.options.size, self.listen.done)
        way = how(self.subject, self.task, asked)
        rows = [
            Kept(
                item.sample.id,
                item.cluster,
                self.journal.key(item, way, self.task.sampling if way == "text" else None),
                told(item.sample.messages, self.options.data),
                item.gold,
                reply,
                self._score(item, reply),
            )
            for item, reply in zip(asked, replies, strict=True)
        ]
        kept.write_answers(self.folder, self.task.name, variant.name, rows)
        if variant is PLAIN:
            album.keep(self.folder, asked)
        return self._estimates(asked, replies)

    def _score(self, item: Item, reply: Reply) -> Scores | None:
        return None if reply.finish == "refused" else self.task.score(item, reply)

    def _estimates(self, items: Sequence[Item], replies: Sequence[Reply]) -> Outcome:
        """Of each score, with unparsed and refused items as missed ones; of what no mean gives; and of the confidence."""
        scored = [self._score(item, reply) for item, reply in zip(items, replies, strict=True)]
        names = sorted({name for row in scored if row is not None for name in row} | {self.task.main} - set(self.task.corpus))
        clusters = [item.cluster or f"item {item.sample.id}" for item in items]
        missed = {name: self.task.missed.get(name, 0.0) for name in names}
        scores = {name: self._estimate([(missed if row is None else row)[name] for row in scored], clusters) for name in names}
        for name, corpus in self.task.corpus.items():
            scores[name] = self._estimate(corpus.rows(items, replies), clusters, corpus.measure)
        scores |= self._confidence(scored, replies, clusters)
        refused = sum(reply.finish == "refused" for reply in replies)
        unparsed = sum(row is None for row in scored) - refused
        lost = sum(reply.finish != "refused" and unread(reply.notes) for reply in replies)
        return Outcome(scores, len(items), unparsed, refused, lost)

    def _confidence(
        self, scored: Sequence[Scores | None], replies: Sequence[Reply], clusters: Sequence[str]
    ) -> dict[str, Estimate]:
        """Calibration, where every answer has a confidence and is right or wrong, some of each."""
        sure = [reply.confidence for reply in replies if reply.confidence is not None]
        right = [0.0 if row is None else row.get(self.task.main, math.nan) for row in scored]
        if len(sure) < len(replies) or not set(right) <= {0.0, 1.0} or min(right.count(0.0), right.count(1.0)) < FEW:
            return {}
        rows = confidence.confidence_rows(sure, right)
        return {name: self._estimate(rows, clusters, measure) for name, measure in CONFIDENCE.items()}

    def _estimate(
        self, rows: Sequence[float] | Rows, clusters: Sequence[str], measure: Callable[[Rows], float] = mean
    ) -> Estimate:
        return estimate(rows, measure, clusters=clusters, rounds=self.options.rounds, seed=self.options.seed)

    def _about(self) -> dict[str, object]:
        """What pins the score."""
        task, settings = self.task, self.subject.settings
        return {
            "about": task.about,
            "version": task.version,
            "split": self.split,
            "n": len(self.items),
            "limit": self.options.limit,
            **({"limited": LIMITED} if self.options.limit else {}),
            "shots": self.options.shots,
            "judged": how(self.subject, task, self.items),
            "sampling": asdict(task.sampling),
            **({"not_followed": self.subject.cannot(self.asked_for)} if self.asked_for != task.sampling else {}),
            "extractor": task.extractor,
            "missed": dict(task.missed),
            "floors": floors.basis(task, self.train),
            "media": sorted({type(part).__name__.lower() for item in self.items for part in media(item)}),
            "data_sha256": _digest(
                [[item.sample.id, told(item.sample.messages, self.options.data), dict(item.gold)] for item in self.items]
            ),
            "prompts_sha256": _digest(words_of(item) for item in self.items),
            "template_sha256": settings.get("template_sha256", "the server's own"),
            "preprocessing_sha256": settings.get("preprocessing_sha256", "the server's own"),
        }


def _digest(rows: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
