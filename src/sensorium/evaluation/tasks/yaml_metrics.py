"""How a YAML task is scored: its own `process_results` and aggregations, or metrics by the names that lmms-eval gives them."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sensorium.estimate import Rows, mean, median
from sensorium.evaluation.metrics import answers
from sensorium.evaluation.metrics.ngram import bleu, bleu_rows
from sensorium.evaluation.metrics.speech import error_rate, word_rows
from sensorium.evaluation.metrics.tokens import treebank_words
from sensorium.evaluation.metrics.vqa import official, vqa_accuracy
from sensorium.evaluation.task import Corpus, Item, Reply, Scores
from sensorium.evaluation.tasks.reading import LETTER
from sensorium.evaluation.tasks.yaml_file import TaskFile

Metric = Callable[[Item, Reply, Mapping[str, Any]], float]
AGGREGATIONS: Mapping[str, Callable[[Rows], float]] = {"mean": mean, "median": median}


@dataclass(frozen=True)
class Judge:
    """What a Task needs to score."""

    score: Callable[[Item, Reply], Scores | None]
    main: str
    corpus: Mapping[str, Corpus]
    missed: Mapping[str, float]
    extractor: str


def judge_of(file: TaskFile, output: str) -> Judge:
    """How the answers are scored.

    Raises:
        RequestError: a metric or an aggregation that is not known.
    """
    listed = file.values.get("metric_list") or [{"metric": "exact_match" if output == "generate_until" else _USUAL[output]}]
    wanted = {str(row["metric"]): row for row in listed}
    own = file.values.get("process_results")
    if own is not None and not callable(own):
        raise file.error("process_results", "is no function", "Write `!function FILE.NAME`, or take it out")
    single, corpus = dict[str, Mapping[str, Any]](), dict[str, Corpus]()
    for name, row in wanted.items():
        aggregation = row.get("aggregation", "mean")
        if callable(aggregation) or aggregation == "median":
            measure = aggregation if callable(aggregation) else AGGREGATIONS["median"]
            corpus[name] = _Aggregated(file, own, name, row, measure).corpus()
        elif aggregation != "mean":
            if name not in _CORPUS:
                known = f"{', '.join(AGGREGATIONS)}, or a function"
                raise file.error(f"metric_list, {name}, aggregation", f"is {aggregation!r}", f"Use {known}")
            corpus[name] = _CORPUS[name]
        elif own is None and name in _CORPUS:
            corpus[name] = _CORPUS[name]
        else:
            single[name] = row
        if own is None and name not in _METRICS[output] and name not in _CORPUS:
            known = ", ".join([*_METRICS[output], *_CORPUS])
            raise file.error(f"metric_list, {name}", "is not known without process_results", f"Known for {output}: {known}")
    score = _Own(file, own, tuple(single)) if own is not None else _Known(_METRICS[output], single)
    missed = {name: 1.0 for name, row in wanted.items() if row.get("higher_is_better") is False}
    return Judge(score, next(iter(wanted)), corpus, missed, _extractor(own, output))


def _extractor(own: object, output: str) -> str:
    if own is not None:
        return f"{getattr(own, '__name__', 'a function')} of the task's own"
    texts = {"generate_until": "the whole reply", "loglikelihood": "the likelihood of the right answer"}
    return texts.get(output, f"the likeliest choice; of a model that tells no likelihoods: {LETTER}")


@dataclass(frozen=True)
class _Known:
    """Metrics by name; a reply without words says nothing."""

    known: Mapping[str, Metric]
    wanted: Mapping[str, Mapping[str, Any]]

    def __call__(self, item: Item, reply: Reply) -> Scores | None:
        found = {name: self.known[name](item, reply, row) for name, row in self.wanted.items()}
        silent = not reply.text.strip() and not reply.logprobs
        return None if silent or any(math.isnan(value) for value in found.values()) else found


@dataclass(frozen=True)
class _Own:
    """The task's `process_results(doc, results)`; names that are aggregated by functions stand in the corpus."""

    file: TaskFile
    process: Callable[..., Any]
    wanted: tuple[str, ...]

    def __call__(self, item: Item, reply: Reply) -> Scores | None:
        if not reply.text.strip() and not reply.logprobs:
            return None
        found = processed(self.file, self.process, item, reply)
        scores = {}
        for name in self.wanted:
            if not isinstance(found.get(name), int | float):
                problem = f"gives {found.get(name)!r} for {name}, not a number, which a mean needs"
                raise self.file.error("process_results", problem, "Return a number, or give the metric an aggregation function")
            scores[name] = float(found[name])
        return scores


def processed(file: TaskFile, process: Callable[..., Any], item: Item, reply: Reply) -> Mapping[str, Any]:
    """What the task's own function makes of a reply: of its text, or of `(logprob, greedy)` of each choice.

    Raises:
        RequestError: it gives no mapping.
    """
    results: list[Any] = [(value, None) for value in reply.logprobs] if reply.logprobs else [reply.text]
    found = process(dict(item.gold["doc"]), results)
    if not isinstance(found, Mapping):
        raise file.error("process_results", f"gives {type(found).__name__}", "Return {metric: value}")
    return found


@dataclass
class _Aggregated:
    """A metric whose aggregation is a function of the list of all values; rows are places in `values`, so that items can be
    drawn anew."""

    file: TaskFile
    process: Callable[..., Any] | None
    name: str
    row: Mapping[str, Any]
    measure: Callable[..., Any]
    values: list[Any] = field(default_factory=list)

    def corpus(self) -> Corpus:
        return Corpus(self._numbers, median) if self.measure is median else Corpus(self._rows, self._measured)

    def _numbers(self, items: Sequence[Item], replies: Sequence[Reply]) -> Rows:
        return np.array([self._value(item, reply) for item, reply in zip(items, replies, strict=True)], dtype=np.float64)

    def _rows(self, items: Sequence[Item], replies: Sequence[Reply]) -> Rows:
        start = len(self.values)
        self.values += [self._value(item, reply) for item, reply in zip(items, replies, strict=True)]
        return np.arange(start, len(self.values), dtype=np.float64)

    def _value(self, item: Item, reply: Reply) -> Any:
        if self.process is None:
            output = "multiple_choice" if item.choices else "generate_until"
            return _METRICS[output][self.name](item, reply, self.row)
        found = processed(self.file, self.process, item, reply)
        if self.name not in found:
            raise self.file.error(
                "process_results", f"gives {sorted(found)}, without {self.name}", "Return every metric listed"
            )
        return found[self.name]

    def _measured(self, rows: Rows) -> float:
        found = self.measure([self.values[int(place)] for place in rows])
        return float(found)


def _targets(item: Item) -> list[str]:
    target = item.gold["target"]
    return [str(one) for one in target] if isinstance(target, list) else [str(target)]


def _exact(item: Item, reply: Reply, row: Mapping[str, Any]) -> float:
    """As lm-eval has it: nothing is done to case and punctuation unless the file says so."""

    def normal(text: str) -> str:
        for pattern in row.get("regexes_to_ignore") or ():
            text = re.sub(pattern, "", text)
        text = text.lower() if row.get("ignore_case") else text
        text = text.translate(str.maketrans("", "", string.punctuation)) if row.get("ignore_punctuation") else text
        text = text.translate(str.maketrans("", "", string.digits)) if row.get("ignore_numbers") else text
        return text.strip()

    return answers.exact_match(reply.text, _targets(item), normal)


def _anls(item: Item, reply: Reply, row: Mapping[str, Any]) -> float:
    return answers.anls(reply.text.strip(), _targets(item), float(row.get("threshold", 0.5)))


def _relaxed(item: Item, reply: Reply, _: Mapping[str, Any]) -> float:
    return answers.relaxed_accuracy(reply.text.strip().rstrip("."), _targets(item))


def _vqa(item: Item, reply: Reply, _: Mapping[str, Any]) -> float:
    return vqa_accuracy(reply.text, _targets(item)) if official(reply.text) else math.nan


def _chosen(per: answers.Per) -> Metric:
    def accuracy(item: Item, reply: Reply, _: Mapping[str, Any]) -> float:
        if reply.logprobs:
            lengths = answers.byte_lengths(item.choices)
            said: int | None = answers.likeliest(reply.logprobs, per=per, lengths=lengths)
        else:
            said = answers.letter_of(reply.text, item.choices)
        return math.nan if said is None else float(said == item.gold["right"])

    return accuracy


def _likelihood(_: Item, reply: Reply, __: Mapping[str, Any]) -> float:
    return reply.logprobs[0] if reply.logprobs else math.nan


_METRICS: Mapping[str, Mapping[str, Metric]] = {
    "generate_until": {"exact_match": _exact, "anls": _anls, "relaxed_accuracy": _relaxed, "vqa_accuracy": _vqa},
    "multiple_choice": {"acc": _chosen("answer"), "acc_norm": _chosen("byte")},
    "loglikelihood": {"loglikelihood": _likelihood},
}
_USUAL = {"multiple_choice": "acc", "loglikelihood": "loglikelihood"}
"""Where a file lists no metric."""


def _bleu(items: Sequence[Item], replies: Sequence[Reply]) -> Rows:
    said = [treebank_words(reply.text) for reply in replies]
    return bleu_rows(said, [[treebank_words(text) for text in _targets(item)] for item in items])


def _words(items: Sequence[Item], replies: Sequence[Reply]) -> Rows:
    return word_rows([reply.text for reply in replies], [_targets(item)[0] for item in items])


_CORPUS: Mapping[str, Corpus] = {"bleu": Corpus(_bleu, bleu(4)), "wer": Corpus(_words, error_rate)}
