"""What a model sees of one row: its spans in order, by whom they were said, what is learned, and the grids of its media."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

from sensorium.batch import Batch, Modality, Placement
from sensorium.parts import Text

Decode = Callable[[Sequence[int]], str]
"""Token ids to text, special tokens included."""
Kind = Literal["template", "words", "read", "image", "audio", "video"]


class Span(NamedTuple):
    """Positions `start` to `stop` that are one thing.

    Args:
        kind: `template` text, a person's `words`, words `read` in a medium, or a medium's features.
        role: whose turn it is in; nothing in the template. learn: whether it is trained on.
        text: as the model reads it; of a medium its grid, `<image 4x4>`.
    """

    start: int
    stop: int
    kind: Kind
    role: str
    learn: bool
    text: str

    def to_json(self) -> dict[str, Any]:
        """Its fields by name."""
        return self._asdict()


def spans(batch: Batch, row: int, decode: Decode) -> list[Span]:
    """Every position of one row, in order, none twice."""
    ids = batch.ids_BL[row, batch.valid_BL[row]].tolist()
    learn = batch.learn_BL[row].tolist()
    owner: list[Placement | None] = [None] * len(ids)
    for placement in batch.placements:
        if placement.sample == row:
            owner[placement.start : placement.stop] = [placement] * placement.length
    return list(_runs(batch, row, ids, learn, owner, decode))


def _runs(
    batch: Batch, row: int, ids: Sequence[int], learn: Sequence[bool], owner: Sequence[Placement | None], decode: Decode
) -> Iterator[Span]:
    messages = batch.samples[row].messages
    for (_, learned), places in groupby(range(len(ids)), key=lambda place: (id(owner[place]), learn[place])):
        positions = list(places)
        start, stop, placement = positions[0], positions[-1] + 1, owner[positions[0]]
        if placement is None:
            yield Span(start, stop, "template", "", learned, decode(ids[start:stop]))
            continue
        message = messages[placement.message]
        if placement.modality is not Modality.TEXT:
            kind: Kind = _MEDIA[placement.modality]
            grid = "x".join(map(str, placement.grid))
            yield Span(start, stop, kind, message.role, learned, f"<{kind} {grid}>")
            continue
        own = isinstance(message.parts[placement.part], Text)
        yield Span(start, stop, "words" if own else "read", message.role, learned, decode(ids[start:stop]))


def counts(shown: Sequence[Span]) -> dict[str, int]:
    """Positions by kind, and those that are learned."""
    total = Counter[str]()
    for span in shown:
        total[span.kind] += span.stop - span.start
        total["learned"] += (span.stop - span.start) * span.learn
        total["all"] += span.stop - span.start
    return dict(total)


_MEDIA: dict[Modality, Kind] = {Modality.IMAGE: "image", Modality.AUDIO: "audio", Modality.VIDEO: "video"}
