"""A model's own speech recognition, asked like a model that answers."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from sensorium.data.synthetic.sound import wav
from sensorium.errors import MediaError, RequestError
from sensorium.evaluation.dictation import Dictation, recogniser
from sensorium.media.audio import Sound
from sensorium.model.segments import Segment
from sensorium.model.transcribe import SpeechModel
from sensorium.parts import Answer, Audio, Image, Message, Text
from sensorium.protocols import Generates, Sampling

TONE = wav(np.full(32_000, 0.1, dtype=np.float32))


class Ears:
    """Hears two segments in every sound, and keeps what it was given."""

    def __init__(self) -> None:
        self.heard: list[Sound] = []

    def transcribe(self, sound: Sound) -> Iterator[Segment]:
        self.heard.append(sound)
        for text, tokens in ((" Lay red ", (1, 2)), ("", ()), ("with p nine.", (3, 4, 5))):
            yield Segment(0.0, 1.0, text, tokens, -0.1, 0.0, (0.0, 2.0), "timestamps")


def ask(*parts: Audio | Image, ears: Ears | None = None) -> Answer:
    solved = [Message("user", (Audio(TONE), Text("Write."))), Message("assistant", (Text("Red."),))]
    asked = Message("user", (*parts, Text("Write down what is said.")))
    model: Generates = Dictation(cast("SpeechModel", ears or Ears()))
    return model.answer([[*solved, asked]], Sampling())[0]


def test_the_answer_is_what_is_heard_in_the_last_message() -> None:
    ears = Ears()
    answer = ask(Audio(TONE, 0.5, 1.5), ears=ears)
    assert answer.text == "Lay red with p nine."
    assert [(sound.start, sound.stop) for sound in ears.heard] == [(0.5, 1.5)]
    (use,) = answer.usage.media
    assert (use.kind, use.seconds, use.words, answer.usage.output_tokens) == ("audio", 1.0, 5, 5)


def test_it_streams_like_any_model() -> None:
    model = Dictation(cast("SpeechModel", Ears()))
    *pieces, answer = model.stream([Message("user", (Audio(TONE),))], Sampling())
    assert "".join(map(str, pieces)) == answer.text  # type: ignore[union-attr]


def test_it_refuses_anything_but_one_recording() -> None:
    for parts in ((), (Audio(TONE), Audio(TONE)), (Image(b""),)):
        with pytest.raises(RequestError, match=rf"is asked of {len(parts) if parts != (Image(b''),) else 0} recordings"):
            ask(*parts)
    with pytest.raises(MediaError):
        ask(Audio(b"no sound"))


def test_a_model_without_ears_has_none() -> None:
    assert recogniser(cast("Generates", SimpleNamespace())) is None
    assert recogniser(cast("Generates", SimpleNamespace(model=SimpleNamespace(speech=None)))) is None
