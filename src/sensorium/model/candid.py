"""An answer that says when a medium it was asked about is not there or cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from sensorium.errors import AccessError, LimitError, MediaError
from sensorium.media import audio, document, image, video
from sensorium.media.source import Access, Limits
from sensorium.parts import Answer, Audio, Document, Image, Media, Message, Text, Use, Video, kind_of
from sensorium.protocols import Generates, Sampling

_NOUNS = {"image": "picture", "audio": "recording", "video": "clip", "document": "document"}
_SPOKEN_OF: Mapping[str, tuple[str, frozenset[str]]] = {
    "picture": (r"photo(?:graph)?|picture|image|screenshot", frozenset({"image", "video", "document"})),
    "recording": (r"recording|audio(?: clip| file)?", frozenset({"audio", "video"})),
    "clip": (r"video(?: clip)?|clip|footage", frozenset({"video"})),
    "document": (r"document|pdf|scan", frozenset({"document", "image"})),
}
_LONGEST = 300
"""Characters of a piece of text that may be the question; longer ones are material."""


class Lack(NamedTuple):
    """A medium that was left out: where it stood, what it is, and what is wrong with it, in the words of its `MediaError`."""

    message: int
    part: int
    kind: str
    name: str
    problem: str

    def __str__(self) -> str:
        return f"The {_NOUNS[self.kind]} {self.name} could not be used: it {self.problem}."


class _Asked(NamedTuple):
    """A conversation as the model gets it; `places` are the parts left of each message, by their first numbers."""

    messages: tuple[Message, ...]
    places: tuple[tuple[int, ...], ...]
    lacks: tuple[Lack, ...] = ()


class Candid:
    """A model whose answers begin with what they cannot rest on; `usage` holds it too.

    Where the question speaks of a picture, recording, clip or document (in English, by a short list of words) and the
    conversation holds none, the answer says so. With given choices the statement stands in `usage.notes` alone.

    Args:
        leave_out: a medium that cannot be read is left out, and the answer says so, instead of its error. A medium over a limit
            or not allowed is refused always.
        limits, access: of the media connector, with which it is found out what cannot be read.
    """

    def __init__(
        self, model: Generates, leave_out: bool = False, limits: Limits | None = None, access: Access | None = None
    ) -> None:
        self.model, self.leave_out = model, leave_out
        self._limits, self._access = limits or Limits(), access or Access()

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        """As the model's own, the statement first. Raises what it raises, but for media left out."""
        asked = _whole(messages)
        pieces = self.model.stream(messages, sampling)
        try:
            first = next(pieces)
        except MediaError as error:
            asked = self._without(messages, error)
            pieces = self.model.stream(asked.messages, sampling)
            first = next(pieces)
        said = _statement(messages, asked.lacks)
        if said and not sampling.choices:
            yield said + "\n"
        for piece in chain([first], pieces):
            yield _candid(piece, asked, said, bool(sampling.choices)) if isinstance(piece, Answer) else piece

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:
        """As the model's own; one medium that cannot be read leaves the other conversations as they are."""
        asked = [_whole(messages) for messages in conversations]
        try:
            answers = self.model.answer(conversations, sampling)
        except MediaError as error:
            asked = [self._without(messages, error, some=False) for messages in conversations]
            if not any(one.lacks for one in asked):
                raise
            answers = self.model.answer([one.messages for one in asked], sampling)
        return [
            _candid(answer, one, _statement(messages, one.lacks), bool(sampling.choices))
            for answer, one, messages in zip(answers, asked, conversations, strict=True)
        ]

    def _without(self, messages: Sequence[Message], error: MediaError, some: bool = True) -> _Asked:
        """The conversation less the media that cannot be read.

        Raises:
            MediaError: the given error, where none is to be left out, there is `some` to be found and none is, or nothing would
                be left of a message.
        """
        if not self.leave_out or isinstance(error, LimitError | AccessError):
            raise error
        lacks = [
            Lack(number, place, kind_of(part), found.thing, found.problem)
            for number, message in enumerate(messages)
            for place, part in enumerate(message.parts)
            if not isinstance(part, Text) and (found := self._wrong(part)) is not None
        ]
        gone = {(lack.message, lack.part) for lack in lacks}
        places = tuple(
            tuple(place for place in range(len(message.parts)) if (number, place) not in gone)
            for number, message in enumerate(messages)
        )
        if (some and not lacks) or not all(places):
            raise error
        left = (
            replace(message, parts=tuple(message.parts[place] for place in own))
            for message, own in zip(messages, places, strict=True)
        )
        return _Asked(tuple(left), places, tuple(lacks))

    def _wrong(self, part: Media) -> MediaError | None:
        """What is wrong with a medium that cannot be read."""
        try:
            match part:
                case Image():
                    image.decode(part.source, self._limits, self._access)
                case Audio():
                    audio.decode(part.source, part.start, part.stop, self._limits, self._access)
                case Video():
                    video.decode(part.source, part.start, part.stop, limits=self._limits, access=self._access)
                case Document():
                    document.decode(part.source, part.first, part.last, limits=self._limits, access=self._access)
        except (LimitError, AccessError):
            raise
        except MediaError as error:
            return error
        return None


def spoken_of(messages: Sequence[Message]) -> str | None:
    """What the last message of the user speaks of (`picture`, `recording`, `clip`, `document`) and the conversation lacks."""
    kinds = {kind_of(part) for message in messages for part in message.parts}
    asked = next((message for message in reversed(messages) if message.role == "user"), None)
    texts = [part.text for part in asked.parts if isinstance(part, Text) and len(part.text) <= _LONGEST] if asked else []
    for noun, (words, fitting) in _SPOKEN_OF.items():
        named = rf"\b(?:the|this|that|these|those|my|attached)\s+(?:{words})s?\b"
        if not kinds & fitting and any(re.search(named, text, re.IGNORECASE) for text in texts):
            return noun
    return None


def _statement(messages: Sequence[Message], lacks: Sequence[Lack]) -> str:
    """What a reader must know before the answer, or nothing."""
    gone = {(lack.message, lack.part) for lack in lacks}
    left = [
        _NOUNS[kind_of(part)]
        for number, message in enumerate(messages)
        for place, part in enumerate(message.parts)
        if not isinstance(part, Text) and (number, place) not in gone
    ]
    said = [str(lack) for lack in lacks]
    if (noun := spoken_of(messages)) is not None:
        said.append(f"The question speaks of a {noun}, and none was given.")
    if not said:
        return ""
    rest = [f"the {noun}{'s' if left.count(noun) > 1 else ''}" for noun in dict.fromkeys(left)]
    ground = " and ".join([", ".join(rest), "the words"]) if rest else "the words alone"
    return " ".join([*said, f"This answer rests on {ground}."])


def _candid(answer: Answer, asked: _Asked, said: str, choices: bool) -> Answer:
    """The answer with its statement, its uses numbered as the conversation was given, those left out among them."""
    if not said:
        return answer
    uses = [replace(use, part=asked.places[use.message][use.part]) for use in answer.usage.media]
    uses += [
        Use(lack.message, lack.part, lack.kind, lack.name, notes=(f"left out: it {lack.problem}",)) for lack in asked.lacks
    ]
    usage = replace(
        answer.usage,
        media=tuple(sorted(uses, key=lambda use: (use.message, use.part))),
        notes=(*answer.usage.notes, said),
    )
    if choices:
        return replace(answer, usage=usage)
    message = replace(answer.message, parts=(Text(said + "\n"), *answer.message.parts))
    return replace(answer, usage=usage, message=message)


def _whole(messages: Sequence[Message]) -> _Asked:
    return _Asked(tuple(messages), tuple(tuple(range(len(message.parts))) for message in messages))
