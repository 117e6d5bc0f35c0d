"""Plain text files; and what kind of Part a file becomes."""

from __future__ import annotations

import codecs
from typing import Literal

from sensorium.errors import MediaError
from sensorium.media.animation import animation
from sensorium.media.source import Access, Blob, Limits, load
from sensorium.parts import Audio, Document, Image, Part, Source, Text, Video

Kind = Literal["image", "audio", "video", "document", "text"]

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTAINERS = ("video/mp4", "video/quicktime", "video/webm", "video/x-matroska", "video/ogg")
_PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff")


def decode(source: Source | Blob, limits: Limits | None = None, access: Access | None = None) -> str:
    """Read UTF-8, or UTF-16 and UTF-32 with a byte order mark. Line ends become newlines; nothing is guessed.

    Raises:
        MediaError: not text, or in another encoding. LimitError, AccessError: see `source.load`.
    """
    blob = load(source, limits, access)
    encoding = next((name for bom, name in _BOMS if blob.data.startswith(bom)), "utf-8")
    try:
        text = blob.data.decode(encoding)
    except UnicodeDecodeError as error:
        problem = f"is not {encoding.removesuffix('-sig').upper()} text (byte {error.start})"
        raise MediaError(blob.name, problem, "Convert it: iconv -f latin1 -t utf-8") from error
    if "\0" in text:
        raise MediaError(blob.name, f"holds a NUL character (at {text.index(chr(0))}), so it is no text", "Give a text file")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def kind_of_file(blob: Blob, limits: Limits | None = None) -> Kind:
    """What a blob is to be read as. An animated picture is a video; a container without moving pictures is a recording.

    Raises:
        MediaError: of no kind that is read here, or a damaged container. LimitError: the container takes too long to open.
    """
    if blob.media_type in _PICTURES:
        return "video" if len(animation(blob.data, blob.media_type).durations) > 1 else "image"
    if blob.media_type in _CONTAINERS:
        from sensorium.media.stream import has_picture

        return "video" if has_picture(blob, (limits or Limits()).deadline(blob.name)) else "audio"
    if blob.media_type == "application/pdf":
        return "document"
    if blob.media_type == "text/plain":
        return "text"
    kind = blob.media_type.partition("/")[0]
    if kind == "audio":
        return "audio"
    if kind == "video":
        return "video"
    raise MediaError(blob.name, f"is {blob.media_type}, which is not read", _remedy(blob.media_type))


def part_from_source(source: Source, limits: Limits | None = None, access: Access | None = None) -> Part:
    """The Part that a file, bytes, a data URL or an allowed URL becomes; its content decides, not its name.

    Raises:
        MediaError, LimitError, AccessError: see `source.load` and `kind_of_file`.
    """
    blob = load(source, limits, access)
    match kind_of_file(blob, limits):
        case "image":
            return Image(source)
        case "audio":
            return Audio(source)
        case "video":
            return Video(source)
        case "document":
            return Document(source)
        case "text":
            return Text(decode(blob, limits))


def _remedy(media_type: str) -> str:
    if media_type.startswith("image/"):
        return "Convert it to JPEG or PNG"
    if media_type == "application/zip":
        return "Unpack it, or save an office document as PDF"
    return "Give a picture, a recording, a video, a PDF or a text file"
