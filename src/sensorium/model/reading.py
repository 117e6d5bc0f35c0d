"""What each medium shows the model: decoding, the encoders' own preprocessing, and the words read in a medium.

Words found by character recognition, by speech recognition or in a page's text layer are laid out as text tokens that keep the
place where they stand, so that an answer can be traced to a box, a page or a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sensorium.batch import Modality, Piece, Shown
from sensorium.errors import RequestError
from sensorium.fusion.layout import PartKey
from sensorium.media import audio, document, image, ocr, video
from sensorium.media.audio import Sound
from sensorium.media.document import Page
from sensorium.media.image import Picture
from sensorium.media.source import Access, Limits
from sensorium.parts import Audio, Document, Image, Media, Reading, Sample, Text, Use, Video, kind_of
from sensorium.protocols import Connector, Encoder

Listen = Callable[[Sound], Sequence[Reading]]
"""Speech recognition: the words of a recording, with their times on it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How media are read; part of the checkpoint.

    Args:
        words_in_images: read the words in pictures (and in pages without a text layer).
        words_in_sound: lay out the words heard in a recording or clip beside its features.
        sound_features: seconds up to which a recording is shown by features; a longer one is shown by its words alone. None is
            any length.
        page_pictures: show a document's pages as pictures too, not only their words.
        frames: frames of a clip. dpi: resolution at which pages are drawn.
        min_confidence: words read with less are left out, and counted in `usage`.
    """

    words_in_images: bool = True
    words_in_sound: bool = True
    sound_features: float | None = None
    page_pictures: bool = False
    frames: int = 8
    dpi: int = 144
    min_confidence: float = 0.8


@dataclass(frozen=True, slots=True)
class Reader:
    """Parts to Pieces for one model.

    Args:
        encoders, connectors: by modality; a modality without an encoder is one that the model cannot take in.
        listen: speech recognition, if the model has it.
        spliced: features take positions in the row; otherwise (cross-attention) a medium takes one, from which it is seen.
        limits, access: of the media connector.
    """

    encoders: Mapping[Modality, Encoder]
    connectors: Mapping[Modality, Connector]
    listen: Listen | None = None
    spliced: bool = True
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)

    def __call__(self, sample: Sample) -> dict[PartKey, Shown]:
        """Every media part of one conversation.

        Raises:
            RequestError: a medium that this model has no way to take in.
            MediaError: a medium that cannot be decoded.
        """
        return {
            (number, place): self.show(part, number, place)
            for number, message in enumerate(sample.messages)
            for place, part in enumerate(message.parts)
            if not isinstance(part, Text)
        }

    def show(self, part: Media, message: int = 0, place: int = 0) -> Shown:
        """One media part as pieces, with the account of what was read."""
        use = Use(message, place, kind_of(part), "")
        match part:
            case Image():
                return self._image(image.decode(part.source, self.limits, self.access), use)
            case Audio():
                return self._audio(audio.decode(part.source, part.start, part.stop, self.limits, self.access), part, use)
            case Video():
                return self._video(part, use)
            case Document():
                return self._document(part, use)

    def _image(self, picture: Picture, use: Use) -> Shown:
        pieces = self._encode(Modality.IMAGE, picture, picture.name)
        words, left_out = self._words_in(picture) if self.policy.words_in_images else ((), 0)
        use = replace(use, name=picture.name, tiles=len(pieces), words=_count(words), notes=_notes(picture.notes, left_out))
        return Shown((*pieces, *_as_text(words)), use)

    def _audio(self, sound: Sound, part: Audio, use: Use) -> Shown:
        heard = sound.stop - sound.start
        use = replace(use, name=sound.name, seconds=heard, seconds_total=sound.seconds_total, notes=sound.notes)
        if part.spoken:
            if self.listen is None:
                raise _cannot(sound.name, "speech recognition", "Type the question")
            words = tuple(self.listen(sound))
            if not words:
                raise RequestError(
                    sound.name, "holds no words that could be recognised", "Speak closer to the microphone, or type"
                )
            return Shown(_as_speech(words), replace(use, words=_count(words)))
        words, most = self._words_heard(sound), self.policy.sound_features
        if most is None or heard <= most:
            return Shown(
                (*self._encode(Modality.AUDIO, sound, sound.name), *_as_text(words)), replace(use, words=_count(words))
            )
        if not words:
            problem = (
                f"lasts {heard:.1f} s and holds no words that could be recognised; this model hears other sounds up to {most} s"
            )
            raise RequestError(sound.name, problem, "Give a recording of speech, or a shorter stretch (start, stop)")
        return Shown(_as_text(words), replace(use, words=_count(words), notes=(*use.notes, "shown by its words alone")))

    def _video(self, part: Video, use: Use) -> Shown:
        clip = video.decode(
            part.source, part.start, part.stop, frames=self.policy.frames, limits=self.limits, access=self.access
        )
        pieces = self._encode(Modality.VIDEO, clip, clip.name)
        words = self._words_heard(clip.sound) if clip.sound is not None else ()
        heard = clip.sound.stop - clip.sound.start if clip.sound is not None and self._hears() else 0.0
        use = replace(
            use, name=clip.name, frames=clip.times_F, frames_total=clip.frames_total, seconds=heard, seconds_total=clip.seconds,
            words=_count(words), notes=clip.notes,
        )  # fmt: skip
        return Shown((*pieces, *_as_text(words)), use)

    def _document(self, part: Document, use: Use) -> Shown:
        pages = document.decode(part.source, part.first, part.last, dpi=self.policy.dpi, limits=self.limits, access=self.access)
        pieces: list[Piece] = []
        numbers: list[int] = []
        notes: list[str] = []
        words, tiles = 0, 0
        for page in pages:
            seen, read, page_notes = self._page(page)
            pieces += seen
            tiles += sum(piece.modality is Modality.IMAGE for piece in seen)
            numbers.append(page.number)
            words += read
            notes += page_notes
        use = replace(
            use, name=pages.name, pages=tuple(numbers), pages_total=pages.total, tiles=tiles, words=words, notes=tuple(notes)
        )
        return Shown(tuple(pieces), use)

    def _page(self, page: Page) -> tuple[list[Piece], int, list[str]]:
        pieces: list[Piece] = []
        notes: list[str] = []
        if self.policy.page_pictures:
            pieces += [
                piece._replace(page=page.number) for piece in self._encode(Modality.IMAGE, page.picture, page.picture.name)
            ]
        words = page.readings
        if not words and self.policy.words_in_images:
            words, left_out = self._words_in(page.picture)
            notes.append(f"page {page.number} has no text layer: its {len(words)} lines were recognised in the picture")
            notes += [f"page {page.number}: {note}" for note in _notes((), left_out)]
        if not words and not pieces:
            notes.append(f"page {page.number} shows no words")
        pieces += [piece._replace(page=page.number) for piece in _as_text(words)]
        return pieces, _count(words), notes

    def _encode(self, modality: Modality, decoded: Picture | Sound | video.Clip, name: str) -> list[Piece]:
        encoder = self.encoders.get(modality)
        if encoder is None:
            known = ", ".join(self.encoders) or "text only"
            raise _cannot(name, f"encoder for {modality}", f"It takes {known}; choose another model with --model")
        connected = self.connectors[modality].grid
        return [
            piece._replace(grid=connected(piece.grid) if self.spliced else (1,) * len(piece.grid))
            for piece in encoder.prepare(decoded)
        ]

    def _hears(self) -> bool:
        return self.policy.words_in_sound and self.listen is not None

    def _words_heard(self, sound: Sound) -> tuple[Reading, ...]:
        return tuple(self.listen(sound)) if self.policy.words_in_sound and self.listen is not None else ()

    def _words_in(self, picture: Picture) -> tuple[tuple[Reading, ...], int]:
        found = ocr.read(picture)
        kept = tuple(reading for reading in found if reading.confidence >= self.policy.min_confidence)
        return kept, len(found) - len(kept)


def _as_text(words: Sequence[Reading]) -> tuple[Piece, ...]:
    """One piece a line, each on its own line."""
    return tuple(Piece(Modality.TEXT, reading.extent, text=reading.text + "\n") for reading in words)


def _as_speech(words: Sequence[Reading]) -> tuple[Piece, ...]:
    """What was said, as if it had been typed."""
    gaps = [" "] * (len(words) - 1) + [""]
    return tuple(
        Piece(Modality.TEXT, reading.extent, text=reading.text.strip() + gap) for reading, gap in zip(words, gaps, strict=True)
    )


def _count(words: Sequence[Reading]) -> int:
    return sum(len(reading.text.split()) for reading in words)


def _notes(notes: tuple[str, ...], left_out: int) -> tuple[str, ...]:
    return (*notes, f"{left_out} lines too faint to read were left out") if left_out else notes


def _cannot(name: str, lack: str, remedy: str) -> RequestError:
    return RequestError(name, f"cannot be taken in: this model has no {lack}", remedy)
