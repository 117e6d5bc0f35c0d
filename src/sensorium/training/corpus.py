"""From files (or the synthetic world) to what a run learns from and what it is judged by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar, get_args

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from sensorium.batch import Batch, Modality
from sensorium.data.fault import Fault
from sensorium.data.flat import Flat, flatten
from sensorium.data.mixture import Mixture
from sensorium.data.reader import open_source
from sensorium.data.row import Indexed, Remarks, Row, Source
from sensorium.data.synthetic import Samples, World
from sensorium.data.synthetic.world import What
from sensorium.errors import DataError
from sensorium.model.multimodal import MultimodalLM
from sensorium.training.config import Settings
from sensorium.training.feed import Rows, UnlearnableError

SYNTHETIC = "synthetic:"
B = TypeVar("B")
R = TypeVar("R")


class Data(Settings):
    """What is learned from, and how it is put into batches.

    Args:
        train: files, folders or patterns of any dialect that `sensorium data` reads; or `synthetic:captions` (questions,
            classes, sounds, clips, edits, boxes), drawn as they are needed.
        held: the same, never learned from; left out, the last `judge` rows of each training source are held back.
        media: the folder that relative media paths start from. weights: how often each training source is drawn from.
        rows: a batch. parts: of a batch, one after the other (accumulation) or side by side in threads.
        judge: rows that each evaluation reads. seed: of the order. strict: a bad row stops the run.
        ahead: batches read, decoded and laid out by a thread while the step before them is computed; 0 is none. It changes
            nothing but the time.
        scenes: synthetic ones there are; pixels: how wide they are drawn.
    """

    train: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    media: str | None = None
    weights: tuple[float, ...] | None = None
    rows: int = Field(default=16, gt=0)
    parts: int = Field(default=1, gt=0)
    judge: int = Field(default=32, gt=0)
    seed: int = 0
    strict: bool = False
    ahead: int = Field(default=2, ge=0)
    scenes: int = Field(default=100_000, gt=0)
    pixels: int = Field(default=32, ge=24, le=192)


class Corpus(NamedTuple):
    """What a run learns from (`feed`) and is judged by (`held` batches of the rows `judged`); `fingerprint` is of the data."""

    feed: Rows[Any, Any]
    held: Sequence[Any]
    judged: Sequence[Row]
    fingerprint: str


class Share(Indexed):
    """Some rows of a source; also a source of samples that exist already.

    Args:
        rows: by number, from 0.
    """

    def __init__(self, name: str, size: int, row: Callable[[int], Row | Fault], mark: str, first: int = 0) -> None:
        self._name, self._size, self._row, self._mark, self._first = name, size, row, mark, first
        self._remarks = Remarks()

    @property
    def name(self) -> str:
        """As a person would name it."""
        return self._name

    @property
    def remarks(self) -> Remarks:
        """None of its own."""
        return self._remarks

    def __len__(self) -> int:
        return self._size

    def row(self, index: int) -> Row | Fault:
        """Row `index`, counted from 0."""
        return self._row(self._first + index)

    def rows(self, start: int = 0) -> Iterator[Row | Fault]:
        """All rows from the one after `start` on."""
        return (self.row(index) for index in range(start, self._size))

    def fingerprint(self) -> str:
        """Of the whole source, and which part of it this is."""
        return hashlib.sha256(f"{self._mark}/{self._first}/{self._size}".encode()).hexdigest()


def corpus(data: Data, lay: Callable[[Row], R], join: Callable[[Sequence[R]], B], world: tuple[int, int] = (0, 1)) -> Corpus:
    """Open the data.

    Args:
        lay: one row to what goes into a batch. join: some of them to one batch.
        world: this process's number, and how many there are; each draws its own rows of every batch.

    Raises:
        DataError: no training data, a source that cannot be read, or too few rows to hold any back.
    """
    if not data.train:
        raise DataError("data.train", "names nothing to learn from", "Set data.train=FILE, or synthetic:captions to try it out")
    sources = [_open(data, name, "train") for name in data.train]
    held: list[Source] = [_open(data, name, "validation") for name in data.held]
    if not held:
        pairs = [_parted(data, name, source) for name, source in zip(data.train, sources, strict=True)]
        sources, held = [kept for kept, _ in pairs], [aside for _, aside in pairs]
    rank, size = world
    if data.rows % size:
        raise DataError("data.rows", f"of {data.rows} cannot be shared by {size} processes", "Make it a multiple of that")
    count = data.parts
    mixture = Mixture(sources, data.weights, data.seed)

    def parts(laid: Sequence[R]) -> Sequence[B]:
        return [join(some) for part in range(count) if (some := laid[part::count])]

    mine = mixture.shard(rank, size) if size > 1 else mixture
    feed: Rows[R, B] = Rows(mine, lay, parts, data.rows // size, strict=data.strict, ahead=data.ahead)
    mine.broken = feed.drop
    usable = [(row, laid) for row in _judged(held, data.judge) if (laid := feed.laid(row)) is not None]
    starts = range(0, len(usable), data.rows)
    batches = [join([laid for _, laid in usable[start : start + data.rows]]) for start in starts]
    return Corpus(feed, batches, [row for row, _ in usable], mixture.fingerprint())


class Lay:
    """One row laid out for a language model: a batch of one.

    Raises:
        UnlearnableError: no token of the row is to be learned.
    """

    def __init__(self, model: MultimodalLM) -> None:
        self.model = model

    def __call__(self, row: Row) -> Batch:
        """The row, its media decoded."""
        batch = self.model.batch([row.sample])
        if not bool((batch.learn_BL & batch.valid_BL).any()):
            problem = f"({row.sample.id}) has no token to learn"
            raise UnlearnableError(f"{row.file}, row {row.row}", problem, "Give it an answer whose role is assistant")
        return batch


def join_flat(laid: Sequence[Batch]) -> Flat:
    """Rows end to end, none seeing another: nothing is padded."""
    return flatten(laid)


def join_for(model: MultimodalLM) -> Callable[[Sequence[Batch]], Flat | Batch]:
    """How a model's rows are joined: end to end, or side by side where media are read by cross-attention."""
    return partial(side_by_side, filler=model.layout.filler) if model.crossings else join_flat


def side_by_side(laid: Sequence[Batch], filler: int) -> Batch:
    """Batches of one as a batch, padded on the right."""
    length = max(batch.ids_BL.shape[1] for batch in laid)

    def padded(tensors: Sequence[Tensor], value: int) -> Tensor:
        return torch.cat([F.pad(tensor, (0, length - tensor.shape[1]), value=value) for tensor in tensors])

    media: dict[Modality, list[Tensor]] = {}
    for batch in laid:
        for kind, tensors in batch.media.items():
            media.setdefault(kind, []).extend(tensors)
    return Batch(
        tuple(sample for batch in laid for sample in batch.samples),
        padded([batch.ids_BL for batch in laid], filler),
        padded([batch.valid_BL for batch in laid], 0),
        padded([batch.learn_BL for batch in laid], 0),
        media,
        tuple(spot._replace(sample=row) for row, batch in enumerate(laid) for spot in batch.placements),
        tuple(uses for batch in laid for uses in batch.uses),
    )


def _open(data: Data, name: str, split: str) -> Source:
    if not name.startswith(SYNTHETIC):
        return open_source(name, media=data.media)
    what = name.removeprefix(SYNTHETIC)
    if what not in get_args(What):
        raise DataError(name, "is not a kind of synthetic samples", f"Use synthetic: and one of {', '.join(get_args(What))}")
    count = data.scenes if split == "train" else data.judge
    samples: Samples = World(data.seed, data.pixels).samples(count, "train" if split == "train" else "validation", what)  # type: ignore[arg-type]
    return Share(name, count, lambda index: Row(samples[index], name, index + 1), f"{name}/{split}/{data.seed}/{data.pixels}")


def _parted(data: Data, name: str, source: Source) -> tuple[Source, Source]:
    """What is learned from and what is held back; of the synthetic world its own split."""
    if name.startswith(SYNTHETIC):
        return source, _open(data, name, "validation")
    if not isinstance(source, Indexed) or len(source) < 2:
        raise DataError(name, "has no rows that could be held back for the evaluation", "Name some with data.held=FILE")
    aside = min(data.judge, max(1, len(source) // 10))
    kept, mark = len(source) - aside, source.fingerprint()
    return Share(name, kept, source.row, mark), Share(name, aside, source.row, mark, kept)


def _judged(sources: Sequence[Source], count: int) -> list[Row]:
    """The first good rows of every source in turn."""
    found: list[Row] = []
    streams = [(item for item in source.rows() if isinstance(item, Row)) for source in sources]
    while streams and len(found) < count:
        for stream in list(streams):
            row = next(stream, None)
            if row is None:
                streams.remove(stream)
            elif len(found) < count:
                found.append(row)
    return found
