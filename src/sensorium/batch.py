"""Parts in tensor form, with the origin of every position; and the project's one legend of shape letters.

Names carry their shape as a suffix, `hidden_BLD`:

    B  rows (conversations)          L  positions in a row               D  width
    V  vocabulary                    S  key positions, past and present  Q  learned queries
    N  attention heads               K  key-value heads                  H  width of a head
    P  pieces of media, all rows     T  steps of one piece               M  mel bands or memory positions
    F  frames                        E  inner width of an MLP            R  rank of an adapter
    C  channels; in pictures HW is height and width: pixels_CHW
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import NamedTuple

from torch import Tensor

from sensorium.parts import Sample, Use


class Modality(StrEnum):
    """What fills a span of positions: token ids, or an encoder's features."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


_AXES: Mapping[Modality, int] = {Modality.IMAGE: 2, Modality.AUDIO: 1, Modality.VIDEO: 3}


class Features(NamedTuple):
    """A tensor and its mask, which never travel apart: `x_BTD` float, `valid_BT` bool."""

    x_BTD: Tensor
    valid_BT: Tensor


class Piece(NamedTuple):
    """One thing that a part shows the model: a tile, a stretch of sound, some frames, or words read in it.

    Args:
        modality: TEXT for words (`text` is set), otherwise the encoder that reads `tensor`.
        grid: positions it takes in the row, after the connector; empty for words, whose count the tokenizer decides.
        extent: see `Placement`.
    """

    modality: Modality
    extent: tuple[float, ...]
    grid: tuple[int, ...] = ()
    page: int | None = None
    tensor: Tensor | None = None
    text: str = ""


class Shown(NamedTuple):
    """All that one media part shows the model, in reading order, and what was read of it."""

    pieces: tuple[Piece, ...]
    use: Use


class Placement(NamedTuple):
    """Where one piece of one part went: the provenance of `length` positions from `start` on in row `sample`.

    Args:
        modality: what fills the positions. TEXT with a media part is words read in that medium.
        grid: text `(tokens,)`, image `(rows, cols)`, audio `(steps,)`, video `(frames, rows, cols)`.
        extent: what the span shows, measured on the part itself: of a Text `(c0, c1)` in characters; of an Image or a
            Document's page `(y0, x0, y1, x1)` in 0..1; of an Audio or a Video `(t0, t1)` in seconds.
        page: the page of a Document, from 1.
        cuts: of a Text part, where in its string each token begins, and the end: `tokens + 1` numbers.
    """

    sample: int
    message: int
    part: int
    modality: Modality
    start: int
    grid: tuple[int, ...]
    extent: tuple[float, ...]
    page: int | None = None
    cuts: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """Positions taken."""
        return prod(self.grid)

    @property
    def stop(self) -> int:
        """The first position after it."""
        return self.start + self.length

    def cell(self, position: int) -> tuple[float, ...]:
        """What the one position shows: characters `(c0, c1)` of a text, a box `(y0, x0, y1, x1)`, a stretch `(t0, t1)`, or
        `(t0, t1, y0, x0, y1, x1)` of a video. Words read in a medium share the extent of their line. Learned queries (a grid
        with another number of axes than its modality's) show the whole piece, each of them.

        Raises:
            IndexError: the position is not of this placement.
        """
        index = position - self.start
        if not 0 <= index < self.length:
            raise IndexError(f"position {position} is outside {self.start}..{self.stop - 1}")
        if self.modality is Modality.TEXT:
            return (float(self.cuts[index]), float(self.cuts[index + 1])) if self.cuts else self.extent
        if len(self.grid) != _AXES[self.modality]:
            return self.extent
        if self.modality is Modality.AUDIO:
            return _slice(self.extent, index, self.grid[0])
        rows, cols = self.grid[-2:]
        row, col = index // cols % rows, index % cols
        if self.modality is Modality.VIDEO:
            (y0, y1), (x0, x1) = _slice((0.0, 1.0), row, rows), _slice((0.0, 1.0), col, cols)
            return (*_slice(self.extent, index // (rows * cols), self.grid[0]), y0, x0, y1, x1)
        top, left, bottom, right = self.extent
        (y0, y1), (x0, x1) = _slice((top, bottom), row, rows), _slice((left, right), col, cols)
        return (y0, x0, y1, x1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows ready for the model.

    Args:
        samples: what the rows say.
        ids_BL: token ids, int64; at media positions the filler id, which `splice` overwrites.
        valid_BL: bool; rows are padded on the right.
        learn_BL: bool; positions whose token is a training target.
        media: for each encoder's modality one tensor a placement, in the order of `placements`.
        placements: sorted by row, then by start.
        uses: for each row what was read of its media.
    """

    samples: tuple[Sample, ...]
    ids_BL: Tensor
    valid_BL: Tensor
    learn_BL: Tensor
    media: Mapping[Modality, Sequence[Tensor]]
    placements: tuple[Placement, ...]
    uses: tuple[tuple[Use, ...], ...]

    def origin(self, row: int, position: int) -> Placement | None:
        """The placement that fills one position, or None for the template's own tokens and padding."""
        for placement in self.placements:
            if placement.sample == row and placement.start <= position < placement.stop:
                return placement
        return None


def _slice(span: tuple[float, ...], index: int, count: int) -> tuple[float, float]:
    low, high = span
    step = (high - low) / count
    return low + index * step, low + (index + 1) * step
