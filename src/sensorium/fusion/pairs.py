"""A text beside a picture's regions, each position with its origin: what single- and two-stream models read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sensorium.batch import Features, Placement
from sensorium.errors import RequestError

Spots = tuple[tuple[Placement, ...], ...]
"""For each row the placements that fill it, their starts counted from the row's first word, or first region."""


@dataclass(frozen=True, slots=True)
class Words:
    """Texts, right-padded.

    Args:
        ids_BL: int64. valid_BL: bool. tags_BL: bool, positions that hold object tags (OSCAR) rather than the text.
        spots: where each token comes from; special tokens come from nowhere.
    """

    ids_BL: Tensor
    valid_BL: Tensor
    tags_BL: Tensor
    spots: Spots

    def take(self, rows: Sequence[int]) -> Words:
        """The given rows, repeats allowed, without columns that are padding in all of them."""
        at_B = torch.tensor(list(rows), dtype=torch.int64)
        length = int(self.valid_BL[at_B].sum(1).max())
        ids_BL, valid_BL, tags_BL = (x_BL[at_B, :length] for x_BL in (self.ids_BL, self.valid_BL, self.tags_BL))
        return Words(ids_BL, valid_BL, tags_BL, _take(self.spots, rows))

    def with_ids(self, ids_BL: Tensor) -> Words:
        """The same places with other ids in them, as masking makes."""
        return replace(self, ids_BL=ids_BL)


@dataclass(frozen=True, slots=True)
class Regions:
    """What an encoder saw at G places of each picture: the cells of its grid, or object boxes.

    Args:
        x_BGD: features. valid_BG: bool. boxes_BGX: `(y0, x0, y1, x1)` in 0..1, so X is 4.
        spots: where each region comes from; a box is a placement of its own.
        classes_BGC: what a detector takes each region for, a distribution; the targets of masked-region classification.
    """

    x_BGD: Tensor
    valid_BG: Tensor
    boxes_BGX: Tensor
    spots: Spots
    classes_BGC: Tensor | None = None

    def take(self, rows: Sequence[int]) -> Regions:
        """The given rows, repeats allowed."""
        at_B = torch.tensor(list(rows), dtype=torch.int64)
        return Regions(
            self.x_BGD[at_B],
            self.valid_BG[at_B],
            self.boxes_BGX[at_B],
            _take(self.spots, rows),
            None if self.classes_BGC is None else self.classes_BGC[at_B],
        )

    def blind(self) -> Regions:
        """The same regions with nothing to see in them: features and boxes at zero, for ablations."""
        x_BGD, boxes_BGX = torch.zeros_like(self.x_BGD), torch.zeros_like(self.boxes_BGX)
        return replace(self, x_BGD=x_BGD, boxes_BGX=boxes_BGX)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Row b's text and row b's regions. Positions count through: words 0..L-1, then regions L..L+G-1."""

    words: Words
    regions: Regions

    def __post_init__(self) -> None:
        if (texts := len(self.words.ids_BL)) != (pictures := len(self.regions.x_BGD)):
            raise RequestError("pairs", f"are {texts} texts with {pictures} pictures", "Give one picture for each text")

    def __len__(self) -> int:
        return len(self.words.ids_BL)

    def take(self, texts: Sequence[int], pictures: Sequence[int]) -> Pairs:
        """Text `texts[i]` with picture `pictures[i]`: matched where the two numbers agree."""
        return Pairs(self.words.take(texts), self.regions.take(pictures))

    def origin(self, row: int, position: int) -> Placement | None:
        """What fills a position, its start counted through; None for special tokens and padding."""
        length = self.words.ids_BL.shape[1]
        region = position >= length
        for spot in (self.regions if region else self.words).spots[row]:
            if spot.start <= position - region * length < spot.stop:
                return spot._replace(sample=row, start=spot.start + region * length)
        return None


def _take(spots: Spots, rows: Sequence[int]) -> Spots:
    return tuple(spots[row] for row in rows)


def cells(grid: tuple[int, ...], extent: Sequence[float]) -> Tensor:
    """The boxes `(rows * cols, 4)` of a grid's cells, row by row."""
    y0, x0, y1, x1 = extent
    rows, cols = grid
    y_R, x_C = torch.linspace(y0, y1, rows + 1), torch.linspace(x0, x1, cols + 1)
    tops, lefts = torch.meshgrid(y_R[:-1], x_C[:-1], indexing="ij")
    bottoms, rights = torch.meshgrid(y_R[1:], x_C[1:], indexing="ij")
    return torch.stack([tops, lefts, bottoms, rights], -1).flatten(0, 1)


def pool_boxes(x_TD: Tensor, cells_TX: Tensor, boxes_GX: Tensor) -> Tensor:
    """Features `(G, D)` of boxes: the mean of the cells `(T, D)` weighted by how much of each lies in the box.

    Raises:
        RequestError: a box that covers no cell.
    """
    low_GTY = torch.maximum(boxes_GX[:, None, :2], cells_TX[None, :, :2])
    high_GTY = torch.minimum(boxes_GX[:, None, 2:], cells_TX[None, :, 2:])
    area_GT = (high_GTY - low_GTY).clamp_min(0).prod(-1)
    share_G1 = area_GT.sum(1, keepdim=True)
    if bool((share_G1 <= 0).any()):
        box = [round(value, 3) for value in boxes_GX[int(share_G1[:, 0].argmin())].tolist()]
        raise RequestError(f"box {box}", "covers nothing of the picture", "Give (y0, x0, y1, x1) in 0..1 with y0 < y1, x0 < x1")
    return (area_GT / share_G1) @ x_TD


def geometry(boxes_BGX: Tensor) -> Tensor:
    """UNITER's seven numbers of a box, `(..., 7)`: x0, y0, x1, y1, width, height, area (Chen et al. 2020, section 3.1)."""
    y0, x0, y1, x1 = boxes_BGX.unbind(-1)
    return torch.stack([x0, y0, x1, y1, x1 - x0, y1 - y0, (x1 - x0) * (y1 - y0)], -1)


def pad(rows: Sequence[Tensor]) -> Features:
    """Rows `(T, D)` of any lengths as one tensor and its mask."""
    lengths_B = torch.tensor([len(row) for row in rows])
    x_BTD = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return Features(x_BTD, torch.arange(x_BTD.shape[1]) < lengths_B[:, None])
