"""What is wrong with a medium: whether it is there, is what it is called, can be decoded whole, and shows anything at all."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium.data.checking.sketch import PictureSketch, sketch_picture
from sensorium.data.checking.words import Size
from sensorium.data.fault import RowError
from sensorium.errors import AccessError, LimitError, MediaError
from sensorium.media import audio, document, image, video
from sensorium.media.source import Blob, Limits, load
from sensorium.parts import Audio, Document, Image, Media, Video, kind_of

_REMEMBERED = 4096
_SMALLEST, _STRETCHED = 8, 16
_QUIET, _SHORTEST = 1e-4, 0.05
_FLAT = 3
_FRAMES = 4
_URL = ("http://", "https://")


class Verdict(NamedTuple):
    """What was found out about one medium.

    Args:
        faults: their fields are filled in by the caller.
        digest: of the bytes; nothing where they cannot be read. name: of its file, or nothing.
        size: of a picture. sketch: of a picture that shows something.
    """

    faults: tuple[RowError, ...] = ()
    digest: str = ""
    size: Size | None = None
    sketch: PictureSketch | None = None
    fetched: bool = True
    name: str = ""


@dataclass(slots=True)
class MediaCheck:
    """Decodes each medium once; the verdicts on the last few thousand are remembered, since rows share pictures.

    Args:
        limits: of one medium.
    """

    limits: Limits = field(default_factory=Limits)
    _known: OrderedDict[tuple[str, str], Verdict] = field(default_factory=OrderedDict)

    def __call__(self, part: Media) -> Verdict:
        """Look at one medium, whole: damage often sits at the end."""
        if isinstance(part.source, str) and part.source.lower().startswith(_URL):
            return Verdict(fetched=False)
        if not isinstance(part.source, str) or part.source.startswith("data:"):
            return self._look(part)  # nothing is kept of media that come inside their rows
        key = (kind_of(part), part.source)
        if key not in self._known:
            self._known[key] = self._look(part)._replace(name=part.source)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return self._known[key]

    def _look(self, part: Media) -> Verdict:
        source = part.source
        if isinstance(source, str) and not source.startswith("data:"):
            path = Path(source)
            if not path.is_file():
                what = "is a folder" if path.is_dir() else "does not exist"
                return Verdict((_fault("missing-media", f"{source} {what}", "Correct the path, or give --media FOLDER"),))
            if path.stat().st_size == 0:
                return Verdict((_fault("empty-media", f"{source} has 0 bytes", "Copy it again, or remove the row"),))
        try:
            blob = load(source, self.limits)
            return self._decoded(part, blob)
        except AccessError as error:
            return Verdict((_fault("missing-media", str(error), "Give a file"),))
        except LimitError as error:
            return Verdict((_fault("absurd-size", f"{error.thing} {error.problem}", error.remedy),))
        except MediaError as error:
            return Verdict((_fault("damaged-media", f"{error.thing} {error.problem}", error.remedy),))

    def _decoded(self, part: Media, blob: Blob) -> Verdict:
        wanted = kind_of(part)
        if not _is(wanted, blob.media_type):
            reason = f"{blob.name} is {blob.media_type}, not of kind {wanted}"
            return Verdict((_fault("wrong-medium", reason, "Put it into the column of its kind"),), blob.digest)
        faults = []
        if isinstance(part.source, str) and blob.notes and not part.source.startswith("data:"):
            reason = f"{blob.name} is {blob.notes[0]}"
            faults.append(_fault("wrong-extension", reason, f"Rename it to what it is, {blob.media_type}"))
        match part:
            case Image():
                return self._picture(blob, faults)
            case Audio():
                sound = audio.decode(blob, part.start, part.stop, self.limits)
                faults += _heard(blob.name, sound)
            case Video():
                video.decode(blob, part.start, part.stop, frames=_FRAMES, limits=self.limits, sound=False)
            case Document():
                for _ in document.decode(blob, part.first, part.last, limits=self.limits):
                    pass
        return Verdict(tuple(faults), blob.digest)

    def _picture(self, blob: Blob, faults: list[RowError]) -> Verdict:
        picture = image.decode(blob, self.limits)
        width, height = picture.width, picture.height
        if min(width, height) < _SMALLEST or max(width, height) > _STRETCHED * min(width, height):
            reason = (
                f"{blob.name} is {width} x {height} pixels: a side is under {_SMALLEST}, or under 1/{_STRETCHED} of the other"
            )
            faults.append(_fault("absurd-size", reason, "Remove the row, or find the real picture"))
            return Verdict(tuple(faults), blob.digest, (width, height))
        pixels_HWC = picture.pixels_CHW.permute(1, 2, 0).contiguous().numpy()
        if int(np.ptp(pixels_HWC, axis=(0, 1)).max()) <= _FLAT:
            faults.append(_fault("blank-image", f"{blob.name} is of one colour", "Remove the row, or find the real picture"))
            return Verdict(tuple(faults), blob.digest, (width, height))
        _, upright_height, upright_width = picture.pixels_CHW.shape
        return Verdict(tuple(faults), blob.digest, (upright_width, upright_height), sketch_picture(pixels_HWC))


def _heard(name: str, sound: audio.Sound) -> list[RowError]:
    if sound.seconds < _SHORTEST:
        reason = f"{name} lasts {sound.seconds:.3f} s, under {_SHORTEST} s"
        return [_fault("absurd-size", reason, "Remove the row, or find the real recording")]
    if float(sound.wave_T.abs().max()) < _QUIET:
        return [_fault("silent-audio", f"{name} is silent throughout", "Remove the row, or find the real recording")]
    return []


def _is(kind: str, media_type: str) -> bool:
    family = media_type.partition("/")[0]
    match kind:
        case "image":
            return family not in ("audio", "video", "text") and media_type != "application/pdf"
        case "audio":
            return family not in ("image", "text") and media_type != "application/pdf"
        case "video":
            return family not in ("audio", "text") and media_type != "application/pdf"
        case _:
            return True


def _fault(kind: str, reason: str, fix: str) -> RowError:
    return RowError("", kind, reason, fix)
