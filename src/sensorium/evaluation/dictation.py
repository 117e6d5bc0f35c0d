"""A model's own speech recognition as a model that answers: what it hears in the recording is the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sensorium.errors import RequestError
from sensorium.media import audio
from sensorium.model.transcribe import SpeechModel
from sensorium.parts import Answer, Audio, Message, Text, Usage, Use, Video
from sensorium.protocols import Generates, Sampling


def recogniser(model: Generates) -> Dictation | None:
    """Of a model of ours that has one, as `sensorium transcribe` finds it."""
    speech = getattr(getattr(model, "model", None), "speech", None)
    return Dictation(speech) if isinstance(speech, SpeechModel) else None


class Dictation:
    """Satisfies `Generates`. How answers are drawn is the recogniser's own; `sampling` does not reach it."""

    def __init__(self, speech: SpeechModel) -> None:
        self.speech = speech

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        """The words in one piece, then the Answer."""
        (answer,) = self.answer([messages], sampling)
        yield answer.text
        yield answer

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:  # noqa: ARG002
        """What is said in the recording or clip of each conversation's last message.

        Raises:
            RequestError: there is not exactly one. MediaError: it cannot be read.
        """
        return [self._heard(messages[-1]) for messages in conversations]

    def _heard(self, asked: Message) -> Answer:
        found = [(place, part) for place, part in enumerate(asked.parts) if isinstance(part, Audio | Video)]
        if len(found) != 1:
            raise RequestError("transcript", f"is asked of {len(found)} recordings", "Give one recording or clip")
        ((place, part),) = found
        sound = audio.decode(part.source, part.start, part.stop)
        segments = list(self.speech.transcribe(sound))
        text = " ".join(segment.text.strip() for segment in segments if segment.text.strip())
        use = Use(
            0,
            place,
            "audio" if isinstance(part, Audio) else "video",
            sound.name,
            seconds=sound.stop - sound.start,
            seconds_total=sound.seconds_total,
            words=len(text.split()),
            notes=sound.notes,
        )
        usage = Usage(0, sum(len(segment.tokens) for segment in segments), (use,))
        return Answer(Message("assistant", (Text(text),)), usage, "stop")
