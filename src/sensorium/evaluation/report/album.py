"""What was asked, made small enough to look at in one page: pictures as JPEG, sound as MP3, within a number of bytes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor

from sensorium.errors import MediaError, SensoriumError
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import media
from sensorium.media import audio, document, image, video
from sensorium.media.source import Limits
from sensorium.parts import Audio, Document, Image, Json, Media, Text, Video, part_from_json

MEDIA = "media"
"""Where a run folder keeps media that lie in no file of their own, each under the SHA-256 of its bytes."""
_QUALITY, _RATE, _FRAMES = 82, 16_000, 4
_LIMITS = Limits(timeout=20.0)


class Shown(NamedTuple):
    """One part of a conversation, ready for a page.

    Args:
        kind: `text`, `picture`, `sound` or `missing`. text: the words; for a medium its name.
        url: a `data:` URL, empty for words and for what is missing. note: what was left out, or why it is missing.
    """

    kind: str
    text: str
    url: str = ""
    note: str = ""


class _Size(NamedTuple):
    """How large a medium may be shown."""

    side: int
    seconds: float


_Make = Callable[[Media, _Size], tuple[bytes, str]]


class Album:
    """Makes media small and counts their bytes.

    Args:
        roots: folders in which relative paths are looked for, in order. budget: bytes of all `data:` URLs together.
        side: of pictures, in pixels at most. seconds: of a recording at most.

    Attributes:
        left: bytes that may still be used. shown, left_out: media that found room, and that did not.
    """

    def __init__(self, roots: Sequence[Path], budget: int, side: int = 320, seconds: float = 10.0) -> None:
        self.roots, self.left, self.shown, self.left_out = tuple(roots), budget, 0, 0
        self._size = _Size(side, seconds)
        self._made: dict[tuple[str, str], Shown] = {}

    def show(self, part: Json) -> list[Shown]:
        """A part in the JSON of `parts` (or with `sha256` for its source); a clip gives its frames and its sound."""
        if part.get("type") == "text":
            return [Shown("text", str(part.get("text", "")))]
        name = _name(part)
        try:
            medium = self._find(part)
            made = [self._once(medium, kind, name, make) for kind, make in _FORMS[type(medium)].items()]
        except SensoriumError as error:
            return [Shown("missing", name, note=f"{error.problem}")]
        return [self._fit(item) for item in made if item.kind != "missing" or len(made) == 1]

    def _fit(self, item: Shown) -> Shown:
        if item.kind == "missing":
            return item
        if len(item.url) > self.left:
            self.left_out += 1
            return Shown("missing", item.text, note="left out to keep the page small")
        self.left -= len(item.url)
        self.shown += 1
        return item

    def _find(self, part: Json) -> Media:
        row = {name: value for name, value in part.items() if name not in ("sha256", "bytes")}
        if not {"path", "url", "base64"} & set(row):
            row["path"] = f"{MEDIA}/{part.get('sha256', '')}"
        if "path" in row:
            row["path"] = self._path(str(row["path"]))
        medium = part_from_json(row)
        assert not isinstance(medium, Text), "words are shown as they are"
        return medium

    def _path(self, name: str) -> str:
        for root in self.roots:
            if (root / name).is_file():
                return str(root / name)
        raise MediaError(name, "is not kept with the run", "Name the folder that holds it")

    def _once(self, medium: Media, kind: str, name: str, make: _Make) -> Shown:
        key = (repr(medium), kind)
        if key not in self._made:
            try:
                data, note = make(medium, self._size)
            except MediaError as error:
                self._made[key] = Shown("missing", name, note=error.problem)
            else:
                mime = {"picture": "image/jpeg", "sound": "audio/mpeg"}[kind]
                url = f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
                self._made[key] = Shown(kind, name, url, note)
        return self._made[key]


def roots(folder: Path) -> tuple[Path, ...]:
    """Where the media of a run lie: its own folder, and the data folder that it was run with."""
    told = folder / "run.json"
    data = json.loads(told.read_text("utf-8")).get("data") if told.is_file() else None
    return (folder, Path(data)) if isinstance(data, str) else (folder,)


def keep(folder: Path, items: Iterable[Item], most: int = 256_000_000) -> int:
    """Put those media of the items that are bytes into a run folder, so that reports can show them.

    Returns:
        How many there was no room for within `most` bytes.
    """
    over = 0
    for data in (part.source for item in items for part in media(item) if isinstance(part.source, bytes)):
        path = folder / MEDIA / hashlib.sha256(data).hexdigest()
        if path.is_file():
            continue
        if len(data) > most:
            over += 1
            continue
        most -= len(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return over


def thumbnail(pixels_CHW: Tensor, side: int) -> bytes:
    """The picture as JPEG, scaled down until it fits into a square; colours whole where it is small already."""
    height, width = (int(size) for size in pixels_CHW.shape[1:])
    scale = min(1.0, side / max(height, width))
    if scale < 1:
        pixels_CHW = image.resize(pixels_CHW, max(1, round(height * scale)), max(1, round(width * scale)))
    file = io.BytesIO()
    small = max(height, width) <= side // 2
    image.to_pillow(pixels_CHW).save(file, "JPEG", quality=94 if small else _QUALITY, subsampling=0 if small else 2)
    return file.getvalue()


def _picture(medium: Media, size: _Size) -> tuple[bytes, str]:
    assert isinstance(medium, Image)
    return thumbnail(image.decode(medium.source, _LIMITS).pixels_CHW, size.side), ""


def _sound(medium: Media, size: _Size) -> tuple[bytes, str]:
    assert isinstance(medium, Audio | Video)
    stop = medium.start + size.seconds if medium.stop is None else min(medium.stop, medium.start + size.seconds)
    sound = audio.decode(medium.source, medium.start, stop, _LIMITS, rate=_RATE)
    wave = np.clip(sound.wave_T.numpy(), -1, 1)
    file = io.BytesIO()
    soundfile.write(file, wave, _RATE, format="MP3", subtype="MPEG_LAYER_III")
    whole = (sound.seconds_total if medium.stop is None else medium.stop) - medium.start
    return file.getvalue(), f"the first {size.seconds:g} of {whole:.1f} s" if whole > size.seconds + 0.05 else ""


def _frames(medium: Media, size: _Size) -> tuple[bytes, str]:
    assert isinstance(medium, Video)
    clip = video.decode(medium.source, medium.start, medium.stop, _FRAMES, _LIMITS, sound=False)
    _, _, height, width = clip.frames_FCHW.shape
    scale = min(1.0, size.side / 2 / max(height, width))
    small = max(1, round(height * scale)), max(1, round(width * scale))
    strip = torch.cat([image.resize(frame_CHW, *small) for frame_CHW in clip.frames_FCHW], dim=2)
    times = ", ".join(f"{time:.1f}" for time in clip.times_F)
    return thumbnail(strip, 2 * size.side), f"frames at {times} of {clip.seconds:.1f} s"


def _page(medium: Media, size: _Size) -> tuple[bytes, str]:
    assert isinstance(medium, Document)
    pages = document.decode(medium.source, medium.first, medium.first, limits=_LIMITS)
    page = next(iter(pages))
    return thumbnail(page.picture.pixels_CHW, 2 * size.side), f"page {page.number} of {pages.total}"


_FORMS: Mapping[type[Media], Mapping[str, _Make]] = {
    Image: {"picture": _picture},
    Audio: {"sound": _sound},
    Video: {"picture": _frames, "sound": _sound},
    Document: {"picture": _page},
}


def _name(part: Json) -> str:
    source = str(part.get("path") or part.get("url") or "data:")
    kind = str(part.get("type", "medium"))
    return kind if source.startswith("data:") else f"{kind} {Path(source).name}"
