"""One scene of the synthetic world: its things, and everything that can be made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sensorium.data.synthetic import captions as wordings
from sensorium.data.synthetic import questions as asking
from sensorium.data.synthetic.captions import Hallucination
from sensorium.data.synthetic.clip import Moving, film
from sensorium.data.synthetic.dice import Dice
from sensorium.data.synthetic.draw import Pixels, paint
from sensorium.data.synthetic.edits import Change, change
from sensorium.data.synthetic.questions import Question
from sensorium.data.synthetic.sound import Wave, tones
from sensorium.data.synthetic.thing import GROUPS, Thing, graph
from sensorium.data.synthetic.words import Language


@dataclass(frozen=True)
class Scene:
    """Things in the order in which they sound and appear.

    Args:
        index, split, seed: which scene it is; everything drawn from it depends on these alone.
        size: of its picture, in pixels. group: the synthetic sensitive attribute, one of `GROUPS`.
    """

    things: tuple[Thing, ...]
    index: int
    split: str = "train"
    seed: int = 0
    size: int = 64
    group: str = "plain"

    @cached_property
    def key(self) -> tuple[object, ...]:
        """What names it in every draw."""
        return self.seed, self.split, self.index

    def picture(self) -> Pixels:
        """Its pixels, uint8 `(size, size, 3)`, RGB."""
        return paint(self.things, self.size, self.group, Dice(*self.key, "paint"))

    def sound(self) -> Wave:
        """Its tones, one a thing, in order: float32 at 16 kHz."""
        return tones(self.things)

    def clip(self) -> Moving:
        """Its things appearing one by one, with their tones."""
        return film(self.things, self.size, self.group, self.key)

    def captions(self, language: Language = "en") -> tuple[str, ...]:
        """True captions, differently worded; each names every thing."""
        return wordings.captions(self.things, language)

    def hallucinated(self, language: Language = "en") -> Hallucination:
        """A caption that names one thing which is not there, as `captions(language)[0]` is worded."""
        return wordings.hallucinate(self.things, language, Dice(*self.key, "hallucination"))

    def questions(self, language: Language = "en") -> tuple[Question, ...]:
        """One question of each kind that the scene allows; the same ones in each language."""
        return asking.questions(self.things, language, Dice(*self.key, "questions"))

    def edit(self) -> tuple[Scene, Change]:
        """The same scene with one thing of another colour or shape, or gone; all other pixels stay."""
        things, changed = change(self.things, Dice(*self.key, "edit"))
        return replace(self, things=things), changed

    def swapped(self) -> Scene:
        """The counterfactual for the sensitive attribute: the same things before the other background."""
        return replace(self, group=GROUPS[1 - GROUPS.index(self.group)])

    def graph(self) -> dict[str, Any]:
        """Its scene graph as plain JSON."""
        return graph(self.things)
