"""An item with its media blanked: there as before, of the same size and length, with nothing in them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import torch
from PIL import Image as Pillow

from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import Variant, with_parts
from sensorium.media import audio, document, image, video
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
    frame = torch.full((height, width, 3), _GREY, dtype=torch.uint8).numpy()
    target = io.BytesIO()
    with av.open(target, "w", format="matroska", options={"fflags": "bitexact"}) as file:
        shown = file.add_stream("ffv1", rate=_FPS)
        shown.height, shown.width, shown.pix_fmt = height, width, "bgr0"
        heard = file.add_stream("pcm_s16le", rate=_RATE, layout="mono") if clip.sound is not None else None
        for _ in range(max(1, round(seconds * _FPS))):
            file.mux(shown.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(shown.encode(None))
        if heard is not None:
            silence = torch.zeros((1, max(1, round(seconds * _RATE))), dtype=torch.int16).numpy()
            block = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
            block.sample_rate, block.time_base, block.pts = _RATE, Fraction(1, _RATE), 0
            file.mux(heard.encode(block))
            file.mux(heard.encode(None))
    return target.getvalue()


def _pages(pages: document.Pages) -> bytes:
    """As many white pages, each as large as its own."""
    white = [Pillow.new("L", (page.picture.width, page.picture.height), 255) for page in pages]
    target = io.BytesIO()
    white[0].save(target, "PDF", resolution=_DPI, save_all=True, append_images=white[1:], creationDate=None, modDate=None)
    return target.getvalue()
