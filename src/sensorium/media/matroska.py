"""Pictures and sound as a Matroska file without loss (FFV1 and PCM), whatever was decoded."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray


def encode_mkv(
    frames_FHWC: NDArray[np.uint8], fps: Fraction | int, wave_T: NDArray[np.float32] | None = None, rate: int = 16_000
) -> bytes:
    """The file; decoding it gives the same pixels, and the sound as 16-bit samples.

    Args:
        frames_FHWC: RGB. fps: pictures a second. wave_T: mono; what is outside -1..1 is clipped. rate: its samples a second.
    """
    target = io.BytesIO()
    with av.open(target, "w", format="matroska", options={"fflags": "bitexact"}) as file:
        video = file.add_stream("ffv1", rate=fps)
        video.height, video.width, video.pix_fmt = *frames_FHWC.shape[1:3], "bgr0"
        audio = None if wave_T is None else file.add_stream("pcm_s16le", rate=rate, layout="mono")
        for picture_HWC in frames_FHWC:
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture_HWC, format="rgb24")))
        file.mux(video.encode(None))
        if audio is not None and wave_T is not None:
            samples = np.clip(np.rint(wave_T * 32768), -32768, 32767).astype(np.int16)[None]
            block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            block.sample_rate, block.time_base, block.pts = rate, Fraction(1, rate), 0
            file.mux(audio.encode(block))
            file.mux(audio.encode(None))
    return target.getvalue()
