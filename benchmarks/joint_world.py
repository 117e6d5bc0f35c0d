"""The synthetic world as a joint model reads it: words of captions and questions, and things in regions with a name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.judged import On, judged
from sensorium.batch import Modality, Placement
from sensorium.data.synthetic import COLOURS, SHAPES, Scene, Split, World
from sensorium.estimate import Estimate
from sensorium.fusion.pairs import Pairs, Regions, Words, pad
from sensorium.model.joint import Joint
from sensorium.model.joint_config import BlockConfig, JointBlueprint, JointConfig, RegionConfig, Streams, word_tokenizer
from sensorium.objectives.loss import Loss
from sensorium.parts import Message, Role, Sample, Text
from sensorium.training.schedule import Plan

SIDE, DIM = 12, 64
CLASSES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)


class Detector(nn.Module):
    """In the place of UNITER's detector: crops of boxes to features, colours and shapes; trained first, then kept."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3 * SIDE * SIDE, 128), nn.GELU(), nn.Linear(128, DIM), nn.LayerNorm(DIM))
        self.colour, self.shape = nn.Linear(DIM, len(COLOURS)), nn.Linear(DIM, len(SHAPES))

    def forward(self, crops_GE: Tensor) -> tuple[Tensor, Tensor]:
        """Features `(G, DIM)`, and log-probabilities over `CLASSES`."""
        x_GD = self.body(crops_GE)
        colours_GC, shapes_GC = self.colour(x_GD).log_softmax(-1), self.shape(x_GD).log_softmax(-1)
        return x_GD, (colours_GC[:, :, None] + shapes_GC[:, None]).flatten(1)


def crops(scene: Scene) -> Tensor:
    """Each thing's box, stretched to `SIDE` by `SIDE` pixels, flat."""
    picture = Pillow.fromarray(scene.picture())
    found = []
    for thing in scene.things:
        top, left, bottom, right = thing.cells(scene.size)
        cut = picture.crop((left, top, right, bottom)).resize((SIDE, SIDE), Pillow.Resampling.BILINEAR)
        found.append(torch.from_numpy(np.asarray(cut, dtype=np.float32).reshape(-1) / 127.5 - 1))
    return torch.stack(found)


def train_detector(scenes: Sequence[Scene], cut: Sequence[Tensor], steps: int = 500, seed: int = 0) -> Detector:
    """On the truth of the scenes."""
    torch.manual_seed(seed)
    detector = Detector()
    crops_GE = torch.cat(list(cut))
    kinds_G = torch.tensor([CLASSES.index(" ".join(thing.pair)) for scene in scenes for thing in scene.things])

    def loss(step: int) -> Loss:
        rows_B = torch.randint(len(kinds_G), (64,), generator=torch.Generator().manual_seed(step))
        total = F.nll_loss(detector(crops_GE[rows_B])[1], kinds_G[rows_B], reduction="sum")
        return Loss(total, 64.0, {"detector": (float(total.detach()), 64.0)})

    train(detector, loss, steps, 2e-3)
    return detector.eval().requires_grad_(False)


@dataclass(frozen=True)
class Shown:
    """Scenes and their regions, row for row."""

    scenes: Sequence[Scene]
    regions: Regions

    def __len__(self) -> int:
        return len(self.scenes)


def show(scenes: Sequence[Scene], cut: Sequence[Tensor], detector: Detector) -> Shown:
    """The things of each scene as regions: one more for the whole picture would tell nothing here."""
    found = [detector(crops_GE) for crops_GE in cut]
    x, classes = pad([features for features, _ in found]), pad([names.exp() for _, names in found])
    boxes = pad([torch.tensor([thing.box for thing in scene.things]) for scene in scenes])
    spots = tuple(
        tuple(Placement(0, 0, 0, Modality.IMAGE, start, (1, 1), thing.box) for start, thing in enumerate(scene.things))
        for scene in scenes
    )
    return Shown(scenes, Regions(x.x_BTD, x.valid_BT, boxes.x_BTD, spots, classes.x_BTD))


class Splits(NamedTuple):
    """What is trained on, and what is measured on."""

    train: Shown
    test: Shown


def splits(train_count: int, test_count: int, seed: int = 0, size: int = 64, steps: int = 500, *, on: On = "test") -> Splits:
    """Scenes through a detector that was trained on the first thousand of the training scenes; judged by `on`."""
    aside = judged(on, size, seed)
    taught = _scenes(World(seed, size), "train", train_count)
    asked = _scenes(aside.world, aside.split, test_count)
    cut = [crops(scene) for scene in taught]
    detector = train_detector(taught[:1000], cut[:1000], steps)
    return Splits(show(taught, cut, detector), show(asked, [crops(scene) for scene in asked], detector))


def _scenes(world: World, split: Split, count: int) -> list[Scene]:
    """The first scenes without writing, which a detector of things cannot read."""
    scenes = (world.scene(index, split) for index in itertools.count())
    return list(itertools.islice((scene for scene in scenes if not any(thing.text for thing in scene.things)), count))


def said(texts: Sequence[str], role: Role = "assistant") -> list[Sample]:
    """Texts as samples."""
    return [Sample(str(number), (Message(role, (Text(text),)),)) for number, text in enumerate(texts)]


def build(texts: Sequence[str], streams: Streams, width: int = 96, mlp: int = 192, answers: Sequence[str] = ()) -> Joint:
    """A joint model whose vocabulary is that of the texts."""
    tokenizer = word_tokenizer(texts)
    config = JointConfig(
        vocabulary=tokenizer.get_vocab_size(),
        blocks=BlockConfig(width=width, heads=4, mlp_width=mlp),
        regions=RegionConfig(dim=DIM, at="boxes", classes=CLASSES),
        streams=streams,
        answers=tuple(answers),
    )
    return Joint(JointBlueprint(config, tokenizer))


def read(model: Joint, texts: Sequence[str]) -> Words:
    """Words of texts."""
    return model.reader(said(texts), ("assistant",))


WORDINGS = 4


def captions(model: Joint, shown: Shown) -> Words:
    """Every caption of every scene: `WORDINGS` rows a scene."""
    return read(model, [text for scene in shown.scenes for text in scene.captions()])


def captioned(words: Words, shown: Shown, which: Sequence[int], seed: int, wordings: int = WORDINGS) -> Pairs:
    """Scenes by number with one of their `captions` each, of the first so many wordings."""
    return Pairs(words.take([row * WORDINGS + (row + seed) % wordings for row in which]), shown.regions.take(which))


def named(pairs: Pairs, row: int, scene: Scene, model: Joint) -> dict[int, int]:
    """Which word is of which thing: the positions of each thing's colour and shape in the caption of a row."""
    ids = pairs.words.ids_BL[row].tolist()
    found = {}
    for number, thing in enumerate(scene.things):
        colour, shape = (model.reader.tokenizer.token_to_id(word) for word in thing.pair)
        for place in range(len(ids) - 1):
            if ids[place] == colour and ids[place + 1] == shape:
                found[place] = found[place + 1] = number
    return found


def train(model: nn.Module, loss: Callable[[int], Loss], steps: int, rate: float) -> dict[str, list[float]]:
    """The shortest loop: AdamW, warm-up and cosine; the mean of each term at every step."""
    optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.01)
    plan, curves = Plan(steps, warmup=min(100, steps // 5)), dict[str, list[float]]()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * plan.rate(step, 0.0)
        found = loss(step)
        optimizer.zero_grad()
        (found.total / found.size).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for name, (total, count) in found.terms.items():
            curves.setdefault(name, []).append(total / max(count, 1e-9))
    return curves


def fall(curve: Sequence[float], first: int = 5, last: int = 20) -> float:
    """By what share a term fell: the mean of its last steps against that of its first."""
    return 1 - (sum(curve[-last:]) / last) / (sum(curve[:first]) / first)


class Result(NamedTuple):
    """What came of a training: measures by name, by how much each term fell, and seconds of processor time."""

    scores: dict[str, Estimate]
    falls: dict[str, float]
    seconds: float


def draw(step: int, count: int, rows: int) -> list[int]:
    """Rows of a step, without repetition."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(step))[:rows].tolist()
