"""The seeded synthetic world, where the right answer is always known: scenes by number, and samples made of them."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, overload

from sensorium.data.synthetic.captions import name
from sensorium.data.synthetic.clip import mkv
from sensorium.data.synthetic.dice import Dice
from sensorium.data.synthetic.draw import png
from sensorium.data.synthetic.questions import Question
from sensorium.data.synthetic.scene import Scene
from sensorium.data.synthetic.sound import wav
from sensorium.data.synthetic.thing import CLASSES, COLOURS, DIGITS, GROUPS, HELD_OUT, SHAPES, WORDS, Box, Thing
from sensorium.data.synthetic.words import Language, Phrase, phrase
from sensorium.errors import RequestError
from sensorium.parts import Audio, Image, Message, Part, Sample, Text, Video

What = Literal["captions", "questions", "classes", "sounds", "clips", "edits", "boxes"]
Split = Literal["train", "validation", "test", "novel"]

_PAIRS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
_SEEN = tuple(pair for pair in _PAIRS if pair not in HELD_OUT)
_WARM = {"red", "orange", "yellow", "pink"}
_SMALLEST, _LARGEST = 24, 192


@dataclass(frozen=True)
class World:
    """Endless scenes, each fixed by `(seed, split, index)`.

    Scenes of the split `novel` hold at least one pair of `HELD_OUT`; those of the others hold none.

    Args:
        size: width and height of the pictures, 24..192 pixels.
        bias: in this share of the scenes of `train` the sensitive attribute follows the first thing (striped behind red,
            orange, yellow and pink); otherwise, and in all other splits, it is a coin's toss.

    Raises:
        RequestError: a size or bias out of range.
    """

    seed: int = 0
    size: int = 64
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not _SMALLEST <= self.size <= _LARGEST:
            raise RequestError("synthetic world", f"has pictures of {self.size} pixels", f"Use {_SMALLEST}..{_LARGEST}")
        if not 0 <= self.bias <= 1:
            raise RequestError("synthetic world", f"has a bias of {self.bias}", "Use 0..1")

    def scene(self, index: int, split: Split = "train") -> Scene:
        """One to four things that do not touch, no two of the same colour and shape."""
        dice = Dice(self.seed, split, index, self.size)
        count = 1 + dice.pick((0, 0, 0, 1, 1, 1, 2, 2, 3, 3))
        pairs: list[tuple[str, str]] = [dice.pick(HELD_OUT)] if split == "novel" else []
        pool = _PAIRS if split == "novel" else _SEEN
        while len(pairs) < count:
            colour, shape = dice.pick(pool)
            if pairs and dice.chance(0.4):
                near = dice.pick(pairs)
                colour, shape = (near[0], shape) if dice.chance(0.5) else (colour, near[1])
            if (colour, shape) not in pairs and (split == "novel" or (colour, shape) not in HELD_OUT):
                pairs.append((colour, shape))
        return Scene(self._placed(pairs, dice), index, split, self.seed, self.size, self._group(pairs, split, dice))

    def single(self, index: int, split: Split = "train") -> Scene:
        """A scene of one thing, of one of the 16 `CLASSES`: for naming without training on the names."""
        dice = Dice(self.seed, split, index, self.size, "single")
        pairs = [dice.pick(CLASSES)]
        return Scene(self._placed(pairs, dice), index, split, self.seed, self.size, self._group(pairs, split, dice))

    def samples(self, count: int, split: Split = "train", what: What = "captions", language: Language = "en") -> Samples:
        """`count` samples, drawn when they are asked for; media are bytes, the truth is in `meta`.

        `captions`, `questions` and `boxes` show a picture; `classes` show one of the 16 pairs and say its name; `sounds` ask
        about tones, `clips` about films with sound; `edits` show a minimal pair and tell the change.

        Raises:
            RequestError: samples of no known kind.
        """
        if what not in get_args(What):
            raise RequestError(f"samples of {what!r}", "are not made", f"Use one of {', '.join(get_args(What))}")
        return Samples(self, count, split, what, language)

    def _group(self, pairs: Sequence[tuple[str, str]], split: Split, dice: Dice) -> str:
        tossed = dice.pick(GROUPS)
        return GROUPS[pairs[0][0] in _WARM] if split == "train" and dice.chance(self.bias) else tossed

    def _placed(self, pairs: Sequence[tuple[str, str]], dice: Dice) -> tuple[Thing, ...]:
        """Places found by trial, ever smaller ones when there is no room."""
        width, taken, things = self.size, list[tuple[int, int, int, int]](), list[Thing]()
        for colour, shape in pairs:
            size = dice.pick(("small", "large"))
            text = self._text(dice) if size == "large" and dice.chance(0.3) else ""
            room = None
            while room is None:
                low, high = _SIZES[size]
                side = width * (high if text else dice.between(low, high)) // 100
                room = _room(side, width, taken, dice)
                if room is None:
                    size, text = "small", ""
            taken.append(room)
            y0, x0, y1, x1 = (edge / width for edge in room)
            things.append(Thing(shape, colour, size, (y0, x0, y1, x1), text))
        return tuple(things)

    def _text(self, dice: Dice) -> str:
        """A digit, or a word where the picture is large enough for its letters."""
        if self.size < 40:
            return ""
        return dice.pick(DIGITS if self.size < 56 or dice.chance(0.5) else WORDS)


_SIZES: Mapping[str, tuple[int, int]] = {"small": (17, 22), "large": (33, 41)}
"""Widths in hundredths of the picture's."""


def _room(side: int, width: int, taken: Sequence[tuple[int, int, int, int]], dice: Dice) -> tuple[int, int, int, int] | None:
    """A free square with a pixel of air around it, or None after 20 trials."""
    for _ in range(20):
        y, x = dice.between(1, width - side - 1), dice.between(1, width - side - 1)
        if all(y + side < top or bottom < y or x + side < left or right < x for top, left, bottom, right in taken):
            return y, x, y + side, x + side
    return None


class Samples(Sequence[Sample]):
    """A list of samples that are drawn when they are asked for, the same ones every time."""

    def __init__(self, world: World, count: int, split: Split, what: What, language: Language) -> None:
        self.world, self.split, self.what, self.language = world, split, what, language
        self._range = range(count)

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> Iterator[Sample]:
        return (_SAMPLES[self.what](self, index) for index in self._range)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Samples: ...
    def __getitem__(self, index: int | slice) -> Sample | Samples:
        if isinstance(index, slice):
            part = Samples(self.world, 0, self.split, self.what, self.language)
            part._range = self._range[index]
            return part
        return _SAMPLES[self.what](self, self._range[index])

    def scene(self, index: int) -> Scene:
        """The scene behind the sample `index`."""
        number = self._range[index]
        make = self.world.single if self.what == "classes" else self.world.scene
        return make(number, self.split)


ASK: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "captions": "Describe the picture.",
        "classes": "Name the thing.",
        "edits": "What has changed from the first picture to the second?",
        "boxes": "Where is {}?",
    },
    "de": {
        "captions": "Beschreibe das Bild.",
        "classes": "Nenne das Ding.",
        "edits": "Was hat sich vom ersten zum zweiten Bild geändert?",
        "boxes": "Wo ist {}?",
    },
}
"""The instructions that samples other than questions begin with."""


def box_answer(box: Box, label: str, size: int) -> str:
    """A box as it is written in answers: `{"bbox_2d": [x0, y0, x1, y1], "label": ...}` in pixels."""
    y0, x0, y1, x1 = (round(edge * size) for edge in box)
    return json.dumps({"bbox_2d": [x0, y0, x1, y1], "label": label}, ensure_ascii=False)


def _sample(samples: Samples, scene: Scene, shown: Sequence[Part], ask: str, reply: str, **meta: Any) -> Sample:
    facts = {"scene": scene.graph(), "group": scene.group, "language": samples.language, "licence": "CC0-1.0", **meta}
    said = Message("user", (*shown, Text(ask))), Message("assistant", (Text(reply),), learn=True)
    return Sample(f"{samples.what}-{scene.split}-{scene.index}", said, types.MappingProxyType(facts))


def _caption(samples: Samples, index: int) -> Sample:
    scene = samples.world.scene(index, samples.split)
    said = scene.captions(samples.language)
    caption = Dice(*scene.key, "caption").pick(said)
    shown = [Image(png(scene.picture()))]
    return _sample(samples, scene, shown, ASK[samples.language]["captions"], caption, captions=list(said))


def _class(samples: Samples, index: int) -> Sample:
    scene = samples.world.single(index, samples.split)
    caption = name(scene.things[0], samples.language)
    number = CLASSES.index(scene.things[0].pair)
    return _sample(
        samples, scene, [Image(png(scene.picture()))], ASK[samples.language]["classes"], caption, **{"class": number}
    )


def _question(medium: str, show: Callable[[Scene], Part]) -> Callable[[Samples, int], Sample]:
    def sample(samples: Samples, index: int) -> Sample:
        scene = samples.world.scene(index, samples.split)
        asked: Sequence[Question] = [item for item in scene.questions(samples.language) if item.medium == medium]
        if not asked:  # one thing has no order: its tones are counted from the film instead
            asked = [item for item in scene.questions(samples.language) if item.medium == "audio"]
        item = Dice(*scene.key, "question").pick(asked)
        box = list(item.box) if item.box else None
        truth = {"kind": item.kind, "type": item.type, "answer": item.answer, "box": box}
        return _sample(samples, scene, [show(scene)], item.question, item.answer, **truth)

    return sample


def _edit(samples: Samples, index: int) -> Sample:
    scene = samples.world.scene(index, samples.split)
    other, change = scene.edit()
    shown = [Image(png(scene.picture())), Image(png(other.picture()))]
    return _sample(
        samples,
        scene,
        shown,
        ASK[samples.language]["edits"],
        change.said(samples.language),
        kind=change.kind,
        box=list(change.box),
        after=other.graph(),
    )


def _box(samples: Samples, index: int) -> Sample:
    scene, language = samples.world.scene(index, samples.split), samples.language
    thing = Dice(*scene.key, "box").pick(scene.things)
    what: Phrase = phrase(thing)
    y0, x0, y1, x1 = thing.box
    return _sample(
        samples,
        scene,
        [Image(png(scene.picture()))],
        ASK[language]["boxes"].format(what.the(language)),
        box_answer(thing.box, what.bare(language), scene.size),
        box=list(thing.box),
        objects={"ref": [what.bare(language)], "bbox": [[x0, y0, x1, y1]], "bbox_type": "norm1"},
    )


_SAMPLES: Mapping[What, Callable[[Samples, int], Sample]] = {
    "captions": _caption,
    "classes": _class,
    "questions": _question("image", lambda scene: Image(png(scene.picture()))),
    "sounds": _question("audio", lambda scene: Audio(wav(scene.sound()))),
    "clips": _question("video", lambda scene: Video(mkv(scene.clip()))),
    "edits": _edit,
    "boxes": _box,
}
