"""Conversations as the chat wire writes them, with an account of what is sent of each medium."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sensorium.errors import RequestError
from sensorium.heads.text import check_sampling
from sensorium.media import audio, document, image, video
from sensorium.media.source import Access, Blob, Limits, load
from sensorium.model.remote_settings import Dialect, Settings
from sensorium.parts import Audio, Document, Image, Media, Message, Text, Use, Video, kind_of
from sensorium.protocols import Sampling

Block = dict[str, Any]
_AS_IT_IS = ("image/jpeg", "image/png", "image/webp")
"""Picture files that servers read; they are sent untouched where nothing has to be done to them."""
_SOUNDS: Mapping[str, str] = {"audio/wav": "wav", "audio/mpeg": "mp3"}
_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Sender:
    """Writes conversations for one server. `limits` and `access` are of the media connector."""

    settings: Settings
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)

    def __call__(self, messages: Sequence[Message]) -> tuple[list[Block], tuple[Use, ...]]:
        """The `messages` of a request, and what is sent of each medium.

        Raises:
            RequestError: no messages, a role the wire has no place for, or a form that cannot show what is asked for.
            MediaError: a medium that cannot be read.
        """
        if not messages:
            raise RequestError("conversation", "has no messages", "Ask something")
        rows: list[Block] = []
        uses: list[Use] = []
        for number, message in enumerate(messages):
            if message.role == "tool":
                problem = "is of the role tool, whose call has no id here"
                raise RequestError(f"message {number}", problem, "Write what the tool said as a message of the user")
            blocks: list[Block] = []
            for place, part in enumerate(message.parts):
                if isinstance(part, Text):
                    blocks += [_text(part.text)] if part.text else []
                    continue
                more, use = self._show(part, Use(number, place, kind_of(part), ""))
                blocks += more
                uses.append(use)
            plain = all(block["type"] == "text" for block in blocks)
            content = "".join(block["text"] for block in blocks) if plain else blocks
            rows.append({"role": message.role, "content": content})
        return rows, tuple(uses)

    def _show(self, part: Media, use: Use) -> tuple[list[Block], Use]:
        match part:
            case Image():
                return self._image(part, use)
            case Audio():
                return self._audio(part, use)
            case Video():
                return self._video(part, use)
            case Document():
                return self._document(part, use)

    def _image(self, part: Image, use: Use) -> tuple[list[Block], Use]:
        blob = load(part.source, self.limits, self.access)
        picture = image.decode(blob, self.limits, self.access)
        use = replace(use, name=picture.name, tiles=1, notes=picture.notes)
        if blob.media_type in _AS_IT_IS and not picture.turned and picture.notes == blob.notes:
            return [self._picture(blob.data, blob.media_type)], use
        return [self._picture(image.encode_png(picture.pixels_CHW), "image/png")], use

    def _audio(self, part: Audio, use: Use) -> tuple[list[Block], Use]:
        blob = load(part.source, self.limits, self.access)
        sound = audio.decode(blob, part.start, part.stop, self.limits, self.access, _RATE)
        form, data, notes = _SOUNDS.get(blob.media_type, ""), blob.data, blob.notes
        if not form or part.start > 0 or part.stop is not None:
            form, data = "wav", audio.encode_wav(sound.wave_T, _RATE)
            notes = (*sound.notes, f"sent as a mono WAV of {_RATE} samples a second")
        heard, total = sound.stop - sound.start, sound.seconds_total
        use = replace(use, name=sound.name, seconds=heard, seconds_total=total, notes=notes)
        return [{"type": "input_audio", "input_audio": {"data": _base64(data), "format": form}}], use

    def _video(self, part: Video, use: Use) -> tuple[list[Block], Use]:
        form = self.settings.video
        blob = load(part.source, self.limits, self.access)
        if form != "frames" and (part.start > 0 or part.stop is not None):
            problem = f"is to be shown in part, and {form} sends it whole"
            raise RequestError(blob.name, problem, "Give video=frames, or cut the clip first")
        clip = video.decode(blob, part.start, part.stop, self.settings.frames, self.limits, self.access)
        use = replace(use, name=clip.name, frames_total=clip.frames_total, seconds_total=clip.seconds)
        if form == "frames":
            blocks = [self._picture(image.encode_png(frame_CHW), "image/png") for frame_CHW in clip.frames_FCHW]
            silent = ("its sound was not sent",) if clip.sound is not None else ()
            notes = (*clip.notes, f"sent as {len(blocks)} pictures of frames", *silent)
            return blocks, replace(use, tiles=len(blocks), frames=clip.times_F, notes=notes)
        use = replace(use, seconds=clip.sound.seconds if clip.sound is not None else 0.0)
        use = replace(use, notes=(*blob.notes, f"sent whole as {form}; the server chooses its frames and does not tell them"))
        if form == "video_url":
            return [{"type": "video_url", "video_url": {"url": _data_url(blob.data, blob.media_type)}}], use
        return [{"type": "input_video", "input_video": {"data": _base64(blob.data)}}], use

    def _document(self, part: Document, use: Use) -> tuple[list[Block], Use]:
        blob = load(part.source, self.limits, self.access)
        pages = document.decode(blob, part.first, part.last, self.settings.dpi, self.limits, self.access)
        use = replace(use, name=pages.name, pages=tuple(pages.numbers), pages_total=pages.total, notes=tuple(pages.notes))
        if self.settings.documents == "file":
            return self._file(blob, use)
        blocks: list[Block] = []
        words, tiles = 0, 0
        for page in pages:
            lines = [reading.text for reading in page.readings]
            words += sum(len(line.split()) for line in lines)
            blocks += [_text("".join(f"{line}\n" for line in lines))] if lines else []
            blocks.append(self._picture(image.encode_png(page.picture.pixels_CHW), "image/png"))
            tiles += 1
        notes = (*use.notes, f"sent as {tiles} pictures of pages with the words of their text layer")
        return blocks, replace(use, tiles=tiles, words=words, notes=notes)

    def _file(self, blob: Blob, use: Use) -> tuple[list[Block], Use]:
        if len(use.pages) < use.pages_total:
            problem = f"is to be shown in part ({len(use.pages)} of {use.pages_total} pages), and documents=file sends it whole"
            raise RequestError(blob.name, problem, "Give documents=pages")
        name = blob.name.replace("\\", "/").rpartition("/")[2] if blob.name.lower().endswith(".pdf") else "document.pdf"
        file = {"file_data": _data_url(blob.data, blob.media_type), "filename": name}
        return [{"type": "file", "file": file}], replace(use, notes=(*use.notes, "sent whole as a file"))

    def _picture(self, data: bytes, media_type: str) -> Block:
        shown = {"url": _data_url(data, media_type)}
        return {"type": "image_url", "image_url": shown | ({"detail": self.settings.detail} if self.settings.detail else {})}


def options(sampling: Sampling, settings: Settings, dialect: Dialect, logprobs: bool) -> Block:
    """How an answer is drawn, as fields of a request.

    All that the dialect has a field for is sent, filters that are off too: servers have defaults of their own.

    Raises:
        RequestError: options that mean nothing, or that this server cannot take.
    """
    check_sampling(sampling)
    if sampling.beams > 1:
        problem = f"is {sampling.beams}, and a server searches no beams for its callers"
        raise RequestError("beams", problem, "Set beams to 1")
    body: Block = {
        settings.limit_field: sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    wanted: list[tuple[str, str, float, float]] = [
        ("top_k", dialect.top_k, sampling.top_k, 0),
        ("min_p", dialect.min_p, sampling.min_p, 0.0),
        ("repetition_penalty", dialect.repetition_penalty, sampling.repetition_penalty, 1.0),
    ]
    for name, theirs, value, off in wanted:
        if theirs:
            body[theirs] = dialect.no_top_k if name == "top_k" and value == off else value
        elif value != off:
            problem = f"is {value}, and a server that speaks the dialect {dialect.name!r} has no field for it"
            raise RequestError(name, problem, f"Set it to {off:g}, or name the server's dialect (dialect=vllm)")
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if logprobs:
        body |= {"logprobs": True} | ({"top_logprobs": sampling.top_logprobs} if sampling.top_logprobs else {})
    elif sampling.top_logprobs:
        problem = f"is {sampling.top_logprobs}, and the server at {settings.base_url} tells no log-probabilities"
        raise RequestError("top_logprobs", problem, "Set it to 0")
    return body


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{_base64(data)}"
