"""The synthetic world's exams: one a kind of question, and one on pairs of colour and shape that training never shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice

from sensorium.data.sentences import as_sentence
from sensorium.data.synthetic.clip import mkv
from sensorium.data.synthetic.draw import png
from sensorium.data.synthetic.questions import KINDS, Question
from sensorium.data.synthetic.scene import Scene
from sensorium.data.synthetic.sound import wav
from sensorium.data.synthetic.thing import HELD_OUT
from sensorium.data.synthetic.world import Split, World
from sensorium.evaluation.metrics.vqa import official
from sensorium.evaluation.task import Item, Reply, Scores, Task
from sensorium.evaluation.tasks.asking import ask
from sensorium.evaluation.tasks.reading import OFFICIAL
from sensorium.parts import Audio, Image, Media, Video
from sensorium.protocols import Sampling

ITEMS = 300
WORLD, TWIN = World(), World(seed=7_777_777)
"""What is asked about, and a world of another seed: its scenes are drawn alike and stand in no exam and no training."""
NAMES = tuple(f"world_{kind}" for kind in (*KINDS, "composition"))

_SPLITS: tuple[Split, ...] = ("train", "test")


def world(kind: str) -> Task:
    """One of `KINDS`, or `composition`: colours and shapes of things whose pair of both is in no other split."""
    if kind == "composition":
        about = "Colours and shapes of things in pairs of both that training never shows; beside world_colour and world_shape"
        return _task(kind, about, _composition, ("train", "novel"), ("image",))
    media = {"order": ("video",), "sound": ("audio",)}.get(kind, ("image",))
    return _task(kind, f"Questions of {kind} in the synthetic world", partial(_asked, kind), _SPLITS, media)


def _task(
    kind: str, about: str, items: Callable[[World, str], Iterator[Item]], splits: tuple[str, ...], needs: tuple[str, ...]
) -> Task:
    return Task(
        name=f"world_{kind}",
        about=about,
        items=lambda _, split: items(WORLD, split),
        score=_right,
        main="exact_match",
        answer=lambda item: as_sentence(item.gold["answer"]),
        twins=lambda _, split: items(TWIN, split),
        sampling=Sampling(max_tokens=16),
        splits=splits,
        needs=needs,
        extractor=OFFICIAL,
    )


def _right(item: Item, reply: Reply) -> Scores | None:
    said = official(reply.text)
    return {"exact_match": float(said == official(item.gold["answer"]))} if said else None


def _asked(kind: str, world: World, split: str) -> Iterator[Item]:
    """The first scenes of the split that can be asked so."""
    where = next(known for known in _SPLITS if known == split)
    scenes = (world.scene(number, where) for number in count())
    asked = ((scene, question) for scene in scenes for question in scene.questions() if question.kind == kind)
    return (_item(scene, question) for scene, question in islice(asked, ITEMS))


def _composition(world: World, split: str) -> Iterator[Item]:
    """Of the split `novel`: only questions about the one thing that is new. Examples are of the split `train`, as they come."""
    where: Split = "novel" if split == "novel" else "train"
    scenes = (world.scene(number, where) for number in count())
    asked = ((scene, item) for scene in scenes for item in scene.questions() if item.kind in ("colour", "shape"))
    kept = ((scene, item) for scene, item in asked if where == "train" or _new(scene, item))
    return (_item(scene, question) for scene, question in islice(kept, ITEMS))


def _new(scene: Scene, question: Question) -> bool:
    return any(thing.box == question.box and thing.pair in HELD_OUT for thing in scene.things)


def _item(scene: Scene, question: Question) -> Item:
    name = f"{scene.split}-{scene.index}"
    gold = {"answer": question.answer, "type": question.type}
    return ask(f"{name}-{question.kind}", [_shown(scene, question)], question.question, gold, name)


def _shown(scene: Scene, question: Question) -> Media:
    if question.medium == "audio":
        return Audio(wav(scene.sound()))
    return Video(mkv(scene.clip())) if question.medium == "video" else Image(png(scene.picture()))
