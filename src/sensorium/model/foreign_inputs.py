"""Our Parts as the typed dictionaries that foreign chat templates and processors read, with an account of what was decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sensorium.errors import RequestError
from sensorium.media import audio, document, image, video
from sensorium.media.audio import Sound
from sensorium.media.source import Access, Limits
from sensorium.parts import Audio, Document, Image, Media, Message, Text, Use, Video, kind_of

Key = tuple[int, int]
"""(message, part)."""


@dataclass(frozen=True, slots=True)
class Senses:
    """What a foreign model takes in.

    Args:
        model: its name, for messages. kinds: of `image`, `audio`, `video`.
        rate: samples a second of its sound. seconds: of one recording at most; None is no limit of its own.
        frames: frames shown of a clip. dpi: at which a document's pages are drawn.
        blocks: contents are lists of typed parts (for models with a processor) rather than plain strings.
    """

    model: str
    kinds: frozenset[str]
    rate: int = 16_000
    seconds: float | None = None
    frames: int = 8
    dpi: float = 144.0
    blocks: bool = True
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)

    def need(self, kind: str, name: str, thing: str) -> None:
        """Refuse a medium that the model has no tower for; `thing` says what it is, in words.

        Raises:
            RequestError: names the medium, the model and what it takes.
        """
        if kind not in self.kinds:
            takes = ", ".join(sorted({"text"} | self.kinds))
            raise RequestError(name, f"is {thing}, and {self.model} takes only {takes}", "Choose another model with --model")


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation for a processor.

    Args:
        turns: `[{"role", "content"}]`. owners: for each kind, the media part behind each picture, sound or clip, in order.
        uses: what was read of each media part. rates: frames a second at which each clip was sampled.
    """

    turns: list[dict[str, Any]]
    owners: Mapping[str, list[Key]]
    uses: Mapping[Key, Use]
    rates: tuple[float, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of media in it, sorted."""
        return tuple(sorted(kind for kind, keys in self.owners.items() if keys))

    def clips(self) -> list[Any]:
        """The frames of each clip, uint8 `(F, H, W, 3)`."""
        blocks = [block for turn in self.turns if not isinstance(turn["content"], str) for block in turn["content"]]
        return [block["video"] for block in blocks if block["type"] == "video"]

    def texts(self) -> list[str]:
        """Everything a person wrote."""
        parts = [
            part for turn in self.turns for part in ([turn["content"]] if isinstance(turn["content"], str) else turn["content"])
        ]
        return [
            part if isinstance(part, str) else part["text"] for part in parts if isinstance(part, str) or part["type"] == "text"
        ]


@dataclass(slots=True)
class _Shown:
    blocks: list[dict[str, Any]]
    use: Use
    rate: float | None = None


def converse(messages: Sequence[Message], senses: Senses) -> Conversation:
    """Decode the media of a conversation and write it in the foreign form.

    Raises:
        RequestError: no messages, or a medium that the model has no tower for. MediaError: one that cannot be decoded.
    """
    if not messages:
        raise RequestError("conversation", "has no messages", "Ask something")
    turns: list[dict[str, Any]] = []
    owners: dict[str, list[Key]] = {"image": [], "audio": [], "video": []}
    uses: dict[Key, Use] = {}
    rates: list[float] = []
    for number, message in enumerate(messages):
        blocks: list[dict[str, Any]] = []
        for place, part in enumerate(message.parts):
            if isinstance(part, Text):
                blocks.append({"type": "text", "text": part.text})
                continue
            key = (number, place)
            shown = _show(part, senses, Use(number, place, kind_of(part), ""))
            uses[key] = shown.use
            blocks += shown.blocks
            rates += [shown.rate] if shown.rate is not None else []
            for block in shown.blocks:
                owners[block["type"]].append(key)
        content: Any = blocks if senses.blocks else "".join(block["text"] for block in blocks)
        turns.append({"role": message.role, "content": content})
    return Conversation(turns, owners, uses, tuple(rates))


def _show(part: Media, senses: Senses, use: Use) -> _Shown:
    match part:
        case Image():
            return _image(part, senses, use)
        case Audio():
            return _audio(part, senses, use)
        case Video():
            return _video(part, senses, use)
        case Document():
            return _document(part, senses, use)


def _name(part: Media) -> str:
    return part.source if isinstance(part.source, str) and len(part.source) < 200 else f"the given {kind_of(part)}"


def _image(part: Image, senses: Senses, use: Use) -> _Shown:
    senses.need("image", _name(part), "a picture")
    picture = image.decode(part.source, senses.limits, senses.access)
    block = {"type": "image", "image": image.to_pillow(picture.pixels_CHW)}
    return _Shown([block], replace(use, name=picture.name, tiles=1, notes=picture.notes))


def _audio(part: Audio, senses: Senses, use: Use) -> _Shown:
    senses.need("audio", _name(part), "a recording")
    sound = audio.decode(part.source, part.start, part.stop, senses.limits, senses.access, senses.rate)
    _check_seconds(sound, senses)
    block = {"type": "audio", "audio": sound.wave_T.numpy()}
    heard = sound.stop - sound.start
    return _Shown([block], replace(use, name=sound.name, seconds=heard, seconds_total=sound.seconds_total, notes=sound.notes))


def _video(part: Video, senses: Senses, use: Use) -> _Shown:
    senses.need("video", _name(part), "a clip")
    clip = video.decode(part.source, part.start, part.stop, senses.frames, senses.limits, senses.access)
    notes = (*clip.notes, "its sound is not heard by this model") if clip.sound is not None else clip.notes
    block = {"type": "video", "video": clip.frames_FCHW.permute(0, 2, 3, 1).contiguous().numpy()}
    stop = clip.seconds if part.stop is None else min(part.stop, clip.seconds)
    rate = len(clip.times_F) / max(stop - part.start, 1e-3)
    use = replace(
        use, name=clip.name, frames=clip.times_F, frames_total=clip.frames_total, seconds_total=clip.seconds, notes=notes
    )
    return _Shown([block], use, rate)


def _document(part: Document, senses: Senses, use: Use) -> _Shown:
    """A page is a picture."""
    senses.need("image", _name(part), "a document, shown as pictures of its pages")
    pages = document.decode(part.source, part.first, part.last, senses.dpi, senses.limits, senses.access)
    blocks = [{"type": "image", "image": image.to_pillow(page.picture.pixels_CHW)} for page in pages]
    numbers = tuple(pages.numbers)
    use = replace(use, name=pages.name, tiles=len(blocks), pages=numbers, pages_total=pages.total, notes=tuple(pages.notes))
    return _Shown(blocks, use)


def _check_seconds(sound: Sound, senses: Senses) -> None:
    if senses.seconds is not None and sound.seconds > senses.seconds + 1e-6:
        raise RequestError(
            sound.name,
            f"lasts {sound.seconds:.2f} s, and {senses.model} hears {senses.seconds:g} s at most; the rest would be cut off",
            "Choose a stretch with start and stop, or ask about one stretch after the other",
        )
