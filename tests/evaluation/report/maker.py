"""Run folders of make-believe models on the synthetic world: what an evaluation leaves behind, without any model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sensorium.data.synthetic import World, png
from sensorium.estimate import estimate, mean
from sensorium.evaluation.journal import told
from sensorium.evaluation.kept import Kept, write_answers, write_results
from sensorium.evaluation.metrics import confidence
from sensorium.evaluation.report.album import keep
from sensorium.evaluation.result import Finding, Outcome, Result, TaskResult
from sensorium.evaluation.task import Item, Reply
from sensorium.parts import Audio, Image, Message, Sample, Text

WORDS = ("yes", "no", "red", "blue", "2", "3", "circle", "star")
HOSTILE = '</article><script>alert("x")</script><img src=x onerror=alert(1)> | **bold** `code` &amp; {{ 7 * 7 }}'
Answer = Callable[[Item, np.random.Generator], Reply]


def pictures(folder: Path, count: int) -> list[Item]:
    """Questions about pictures, several of one picture, which lie as files below `folder`."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    items: list[Item] = []
    for number in range(count):
        scene = World(seed=5, size=96).scene(number, "test")
        path = folder / "pictures" / f"{number:03}.png"
        path.write_bytes(png(scene.picture()))
        asked = [item for item in scene.questions() if item.medium == "image"][:3]
        for place, item in enumerate(asked):
            message = Message("user", (Image(str(path)), Text(item.question)))
            gold = {"answer": item.answer, "kind": item.kind}
            items.append(Item(Sample(f"{number:03}-{place}", (message,)), gold, f"picture {number}"))
    return items[:count]


def sounds(count: int) -> list[Item]:
    """Questions about tones, whose media are bytes."""
    made = World(seed=5).samples(count, "test", "sounds")
    items = []
    for sample in made:
        audio = next(part for part in sample.messages[0].parts if isinstance(part, Audio))
        question = next(part for part in sample.messages[0].parts if isinstance(part, Text))
        gold = {"answer": str(sample.meta["answer"])}
        items.append(Item(Sample(sample.id, (Message("user", (audio, question)),)), gold))
    return items


def guesser(skill: float, hostile: bool = False) -> Answer:
    """A model that knows this share of the answers and is surer of those; now and then it says nothing or refuses.

    Args:
        hostile: its first answer is made to break out of a page.
    """

    def answer(item: Item, dice: np.random.Generator) -> Reply:
        luck, sure = dice.random(), float(dice.beta(5, 2))
        if hostile and item.sample.id == "000-0":
            return Reply(HOSTILE, confidence=0.99)
        if luck < 0.02:
            return Reply("", "refused", notes=("picture 7.png: has 900 x 900 pixels, over the limit. Scale it down.",))
        if luck < 0.05:
            return Reply("", confidence=0.2)
        if luck < skill:
            return Reply(f"{item.gold['answer']}".capitalize() + ".", confidence=round(0.3 + 0.7 * sure, 3))
        wrong = [word for word in WORDS if word != item.gold["answer"]]
        return Reply(
            wrong[int(dice.integers(len(wrong)))],
            confidence=round(sure, 3),
            notes=("picture read in part",) if luck > 0.9 else (),
        )

    return answer


def judge(item: Item, reply: Reply) -> dict[str, float] | None:
    """Exact match without case and full stop."""
    said = reply.text.strip(" .").casefold()
    return {"exact_match": float(said == str(item.gold["answer"]).casefold())} if said and reply.finish != "refused" else None


def make_run(
    folder: Path, skill: float = 0.7, name: str = "nano", count: int = 60, seed: int = 1, hostile: bool = False
) -> Path:
    """A run with two tasks, floors, three curves and findings; the pictures lie in `folder/../data`."""
    data = folder.parent / "data"
    tasks = [
        _task(folder, data, "world_picture", pictures(data, count), skill, seed, hostile),
        _task(folder, data, "world_sound", sounds(max(count // 3, 4)), skill - 0.1, seed + 1, False),
    ]
    head = tasks[0].outcomes
    findings = (
        Finding("grounding", "world_sound", "The answers need their sound.", True, head["as it is"].scores["exact_match"]),
        Finding(
            "grounding",
            "world_picture",
            "Of the right answers, half stay the same when the picture is taken away.",
            False,
            head["blind"].scores["exact_match"],
            ("answers/world_picture/blind.jsonl",),
        ),
    )
    model = {"name": name, "kind": "sensorium", "fingerprint": hashlib.sha256(name.encode()).hexdigest(), "options": {}}
    code = {"version": "0.1.0", "source_sha256": "0" * 64}
    write_results(folder, Result(model, code, 0, tuple(tasks), findings))
    return folder


def _task(folder: Path, data: Path, task: str, items: list[Item], skill: float, seed: int, hostile: bool) -> TaskResult:
    forms = {"as it is": skill, "blind": 0.3, "shuffled": 0.25}
    forms |= {f"blur-{level}": max(skill - 0.08 * level, 0.3) for level in range(1, 6)}
    forms |= {f"noise-{level}": max(skill - 0.11 * level, 0.25) for level in range(1, 6)}
    forms |= {f"shots-{shots}": min(skill + 0.02 * shots, 0.95) for shots in (0, 2, 4, 8)}
    outcomes = {
        form: _outcome(folder, data, task, form, items, guesser(known, hostile and form == "as it is"), seed)
        for form, known in forms.items()
    }
    keep(folder, items)
    majority = [float(item.gold["answer"] == "yes") for item in items]
    clusters = [item.cluster or item.sample.id for item in items]
    floors = {"majority": Outcome({"exact_match": estimate(majority, clusters=clusters)}, len(items))}
    curves = {
        "blur": tuple(f"blur-{level}" for level in range(1, 6)),
        "noise": tuple(f"noise-{level}" for level in range(1, 6)),
        "shots": tuple(f"shots-{shots}" for shots in (0, 2, 4, 8)),
        "removed": ("blind",),
        "shuffled": ("shuffled",),
    }
    about = {
        "about": "Questions in the synthetic world",
        "version": "1",
        "split": "test",
        "n": len(items),
        "limit": 0,
        "shots": 0,
        "extractor": "the whole answer, without case and full stop",
        "sampling": {"max_tokens": 16, "temperature": 0.0},
        "data_sha256": hashlib.sha256(repr(items).replace(str(data), "").encode()).hexdigest(),
        "prompts_sha256": hashlib.sha256(repr([item.sample.messages[0].parts[1] for item in items]).encode()).hexdigest(),
        "template_sha256": "1" * 64,
        "preprocessing_sha256": "2" * 64,
    }
    return TaskResult(task, "exact_match", about, outcomes, floors, curves)


def _outcome(folder: Path, data: Path, task: str, form: str, items: Sequence[Item], answer: Answer, seed: int) -> Outcome:
    dice = np.random.default_rng([seed, *form.encode()])
    replies = [answer(item, dice) for item in items]
    rows = [
        Kept(
            item.sample.id,
            item.cluster,
            hashlib.sha256(f"{seed}{form}{item.sample.id}".encode()).hexdigest(),
            told(item.sample.messages, data),
            item.gold,
            reply,
            judge(item, reply),
        )
        for item, reply in zip(items, replies, strict=True)
    ]
    write_answers(folder, task, form, rows)
    right = [0.0 if row.scores is None else row.scores["exact_match"] for row in rows]
    clusters = [item.cluster or item.sample.id for item in items]
    scores = {"exact_match": estimate(right, mean, clusters=clusters, rounds=200)}
    if all(reply.confidence is not None for reply in replies) and 0 < sum(right) < len(right):
        both = confidence.confidence_rows([reply.confidence or 0.0 for reply in replies], right)
        for name, measure in (("ECE", confidence.calibration_error()), ("AUROC", confidence.auroc)):
            scores[f"confidence: {name}"] = estimate(both, measure, clusters=clusters, rounds=100)
    refused = sum(reply.finish == "refused" for reply in replies)
    unparsed = sum(row.scores is None for row in rows) - refused
    return Outcome(scores, len(items), unparsed, refused, sum(bool(reply.notes) for reply in replies) - refused)
