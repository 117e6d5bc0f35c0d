"""A corpus of the synthetic world on disk, in a public dialect, with planted faults: the test bed of data checks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sensorium.data.fault import Fault
from sensorium.data.synthetic.dice import Dice
from sensorium.data.synthetic.draw import png
from sensorium.data.synthetic.planted import FORMS, PLANTS, Draft, Form
from sensorium.data.synthetic.scene import Scene
from sensorium.data.synthetic.sound import wav
from sensorium.data.synthetic.words import Language
from sensorium.data.synthetic.world import ASK, World
from sensorium.errors import RequestError

Dialect = Literal["messages", "sharegpt", "llava"]
FAULTS = tuple(PLANTS)
"""Kinds of faults that can be planted."""

_REPEATS = ("duplicate-row", "near-duplicate-row", "duplicate-image", "near-duplicate-image")
_STRANGE = 200


def write_corpus(
    folder: str | Path, n: int, seed: int = 0, dialect: Dialect = "messages", faults: Sequence[str] = (), start: int = 0
) -> list[Fault]:
    """Write `n` rows with their media into a folder: captions and questions about pictures, one row in ten about tones, one in
    five in German; every row with its licence, language and consent.

    Args:
        faults: of `FAULTS`; each is planted once, in a row of its own.
        start: the first scene, so that two corpora of one world share nothing.

    Returns:
        The planted faults with their true places, in the order of the rows. What a fault says is the checker's own.

    Raises:
        RequestError: an unknown dialect or fault, or too few rows for the faults.
    """
    if dialect not in FORMS or (unknown := [kind for kind in faults if kind not in PLANTS]):
        named, known = (dialect, FORMS) if dialect not in FORMS else (unknown[0], PLANTS)
        raise RequestError(f"corpus with {named!r}", "cannot be written", f"Use one of {', '.join(known)}")
    if n < 2 * len(faults):
        raise RequestError(f"corpus of {n} rows", f"is too small for {len(faults)} faults", f"Write at least {2 * len(faults)}")
    target, form, world = Path(folder), FORMS[dialect], World(seed)
    (target / "media").mkdir(parents=True, exist_ok=True)
    plan = _plan(n, seed, faults)
    drafts: list[Draft] = []
    planted: list[Fault] = []
    sound: list[dict[str, Any]] = []
    last = _record(0, world.scene(start), form, target, plain=True)
    for number in range(n):
        scene = world.scene(start + number)
        kind = plan.get(number)
        record = _record(number, scene, form, target, plain=kind is not None)
        drafts.append(Draft(form, target, scene, record, sound[-1] if sound else last, _unlike(scene, world)))
        if kind is not None:
            field = PLANTS[kind](drafts[-1])
            planted.append(Fault(str(target / form.file), number + 1, field, kind, "planted", "Take it out"))
            last = sound.pop() if kind in _REPEATS and sound else last
        elif number % 4 == 0 and form.image in record and record["language"] == "en":
            sound.append(record)
    lines = [draft.raw if draft.raw is not None else json.dumps(draft.record, ensure_ascii=False) for draft in drafts]
    text = "[\n" + ",\n".join(lines) + "\n]\n" if form.whole else "\n".join(lines) + "\n"
    (target / form.file).write_text(text, "utf-8")
    return planted


def _plan(n: int, seed: int, faults: Sequence[str]) -> Mapping[int, str]:
    """Which row gets which fault: every second row at most; those that repeat an earlier row come last."""
    dice = Dice(seed, "faults")
    rows = sorted(dice.shuffled(range(1, n, 2))[: len(faults)])
    order = sorted(dice.shuffled(faults), key=lambda kind: kind in _REPEATS)
    return dict(zip(rows, order, strict=True))


def _record(number: int, scene: Scene, form: Form, folder: Path, plain: bool) -> dict[str, Any]:
    """A sound row; a `plain` one is an English caption, which every fault can be planted in."""
    language: Language = "de" if number % 5 == 2 and not plain else "en"
    name = f"{scene.index:06d}"
    if number % 10 == 4 and not plain:
        shown, mark = f"media/{name}.wav", "<audio>"
        (folder / shown).write_bytes(wav(scene.sound()))
        asked = next(item for item in scene.questions(language) if item.medium == "audio")
        question, answer, column = asked.question, asked.answer, form.audio
    else:
        shown, mark, column = f"media/{name}.png", "<image>", form.image
        (folder / shown).write_bytes(png(scene.picture()))
        question, answer = ASK[language]["captions"], scene.captions(language)[0]
        if number % 4 == 2 and not plain:
            asked = Dice(*scene.key, "corpus").pick([item for item in scene.questions(language) if item.medium == "image"])
            question, answer = asked.question, asked.answer
    return {
        "id": name,
        column: [shown] if column.endswith("s") else shown,
        form.turns: [
            {form.role: form.user, form.content: f"{mark}\n{question}"},
            {form.role: form.assistant, form.content: answer},
        ],
        "licence": "CC0-1.0",
        "language": language,
        "consent": True,
    }


def _unlike(scene: Scene, world: World) -> Scene:
    """A scene that shares no colour and no shape with this one."""
    words = {word for thing in scene.things for word in thing.pair}
    others = (world.scene(scene.index + step, "test") for step in range(1, _STRANGE))
    return next((other for other in others if not words & {word for thing in other.things for word in thing.pair}), scene)
