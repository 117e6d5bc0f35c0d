"""An item with its media blanked: there as before, of the same size and length, with nothing in them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as Pillow

from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import Variant, with_parts
from sensorium.media import audio, document, image, video
from sensorium.media.matroska import encode_mkv
from sensorium.parts import Audio, Document, Image, Part, Text, Video

_GREY, _RATE, _FPS, _DPI = 128, 16_000, 2, 72


def blank(part: Part) -> Part:
    """A grey picture, a silence, a grey and silent clip or white pages, as large and as long as what they stand for.

    Words and spoken questions stay: they are what is asked.

    Raises:
        SensoriumError: a medium that cannot be read.
    """
    match part:
        case Text() | Audio(spoken=True):
            return part
        case Image():
            height, width = image.decode(part.source).pixels_CHW.shape[1:]
            return Image(image.encode_png(torch.full((3, height, width), _GREY, dtype=torch.uint8)))
        case Audio():
            sound = audio.decode(part.source, part.start, part.stop)
            return Audio(audio.encode_wav(torch.zeros_like(sound.wave_T), sound.rate))
        case Video():
            clip = video.decode(part.source, part.start, part.stop, frames=1)
            stop = clip.seconds if part.stop is None else min(part.stop, clip.seconds)
            return Video(_clip(clip, stop - part.start))
        case Document():
            return Document(_pages(document.decode(part.source, part.first, part.last, dpi=_DPI)))


def _blanked(items: Sequence[Item], place: int) -> Item:
    return with_parts(items[place], lambda _, __, part: [blank(part)])


BLANKED = Variant("blanked", "blanked", 1.0, _blanked)


def _clip(clip: video.Clip, seconds: float) -> bytes:
    """Two pictures a second; sound where there was some."""
    height, width = clip.frames_FCHW.shape[2:]
    frames = np.broadcast_to(np.uint8(_GREY), (max(1, round(seconds * _FPS)), height, width, 3))
    silence = None if clip.sound is None else np.zeros(max(1, round(seconds * _RATE)), dtype=np.float32)
    return encode_mkv(frames, _FPS, silence, _RATE)


def _pages(pages: document.Pages) -> bytes:
    """As many white pages, each as large as its own."""
    white = [Pillow.new("L", (page.picture.width, page.picture.height), 255) for page in pages]
    target = io.BytesIO()
    white[0].save(target, "PDF", resolution=_DPI, save_all=True, append_images=white[1:], creationDate=None, modDate=None)
    return target.getvalue()
