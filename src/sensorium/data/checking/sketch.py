"""Short sketches by which pictures and texts that are nearly alike are found."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Words = NDArray[np.uint32]

PERMUTATIONS = 64
"""Numbers in a text's sketch: the standard error of an estimated overlap is at most 1 / 16."""
SHINGLE = 8
"""Bytes that a text is compared by."""
_DCT, _LOW, _THUMB = 32, 8, 8
_BITS, _CELL, _MEAN = 10, 10, 2


class PictureSketch(NamedTuple):
    """What a picture looks like: a 64-bit hash for finding it and a thumbnail `(8, 8, 3)` for being sure."""

    hash: int
    thumb: bytes


def sketch_picture(pixels_HWC: NDArray[np.uint8]) -> PictureSketch:
    """A perceptual hash (Zauner 2010, section 3.2.1): signs about their median of the lowest 8 x 8 cosine coefficients of the
    grey picture at 32 x 32 pixels."""
    image = Image.fromarray(pixels_HWC)
    grey = np.asarray(image.convert("L").resize((_DCT, _DCT), Image.Resampling.BOX), dtype=np.float64)
    low = _COSINES @ grey @ _COSINES.T
    bits = (low > np.median(low)).ravel()
    number = int.from_bytes(np.packbits(bits).tobytes(), "big")
    return PictureSketch(number, image.resize((_THUMB, _THUMB), Image.Resampling.BOX).convert("RGB").tobytes())


def look_alike(one: PictureSketch, other: PictureSketch) -> bool:
    """Whether two pictures are one, scaled or compressed anew: no cell of their thumbnails differs by more than that makes it
    (10 of 255; 95 of 100 pictures of the synthetic world, saved as JPEG at quality 60 or at 3/4 of their size, stay below, and
    no two of 300 different ones come under 27), nor all of them together (2 on average)."""
    if (one.hash ^ other.hash).bit_count() > _BITS:
        return False
    thumbs = (np.frombuffer(sketch.thumb, dtype=np.uint8).astype(np.int16) for sketch in (one, other))
    apart = np.abs(next(thumbs) - next(thumbs))
    return bool(apart.max() <= _CELL and apart.mean() <= _MEAN)


def sketch_text(text: str) -> Words | None:
    """MinHash (Broder 1997) of the text's 8-byte shingles, `(64,)`; None for a text of fewer than 40 bytes, of which equality
    alone tells something."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).encode()
    if len(plain) < 5 * SHINGLE:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(plain, dtype=np.uint8), SHINGLE)
    shingles = np.unique(np.ascontiguousarray(windows).view("<u8").ravel())
    smallest = np.full(PERMUTATIONS, np.iinfo(np.uint32).max, dtype=np.uint32)
    for start in range(0, len(shingles), 4096):
        block = _mixed(shingles[start : start + 4096])
        hashed = (block[:, None] * _FACTORS[None] + _OFFSETS[None]) >> np.uint64(32)
        smallest = np.minimum(smallest, hashed.min(axis=0).astype(np.uint32))
    return smallest


def overlap(one: Words, other: Words) -> float:
    """The estimated share of shingles that two texts have in common (Jaccard)."""
    return float((one == other).mean())


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64: neighbouring values far apart."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed


_SEEDS = _mixed(np.arange(1, 2 * PERMUTATIONS + 1, dtype=np.uint64))
_FACTORS, _OFFSETS = _SEEDS[:PERMUTATIONS] | np.uint64(1), _SEEDS[PERMUTATIONS:]
_COSINES = np.cos(np.pi * np.arange(_LOW)[:, None] * (2 * np.arange(_DCT)[None] + 1) / (2 * _DCT))
