"""Captions read aloud by espeak-ng, where it is installed."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave

import numpy as np
import soxr

from sensorium.data.synthetic.sound import RATE, Wave
from sensorium.data.synthetic.words import Language
from sensorium.errors import DependencyError

_PROGRAM = "espeak-ng"


def can_say() -> bool:
    """Whether espeak-ng is installed."""
    return shutil.which(_PROGRAM) is not None


def say(text: str, language: Language = "en", speed: int = 160) -> Wave:
    """The text as speech, float32 at 16 kHz; `speed` in words a minute. The same bytes on the same installation only.

    Raises:
        DependencyError: espeak-ng is not installed or cannot speak the text.
    """
    program = shutil.which(_PROGRAM)
    if program is None:
        raise DependencyError(_PROGRAM, "is not installed", "Install it (apt install espeak-ng), or use the scene's tones")
    run = subprocess.run(
        [program, "-v", language, "-s", str(speed), "--stdout", "--", text], capture_output=True, timeout=60, check=False
    )
    if run.returncode or not run.stdout:
        raise DependencyError(_PROGRAM, f"failed: {run.stderr.decode(errors='replace').strip()}", "Check its installation")
    with wave.open(io.BytesIO(run.stdout)) as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    spoken: Wave = soxr.resample(samples.astype(np.float32) / np.float32(32768), rate, RATE).astype(np.float32)
    return spoken
