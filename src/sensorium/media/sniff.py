"""What a file is, from its first bytes; names and declared types are never believed."""

from __future__ import annotations

import codecs
import re

HEAD = 4096
"""Bytes that `sniff` wants to see."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"fLaC", "audio/flac"),
    (b".snd", "audio/basic"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x7fELF", "application/x-executable"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heic"}
_BOMS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_EXTENSIONS: dict[str, tuple[str, ...]] = {
    "image/jpeg": ("jpg", "jpeg", "jpe", "jfif"),
    "image/png": ("png", "apng"),
    "image/gif": ("gif",),
    "image/webp": ("webp",),
    "image/bmp": ("bmp", "dib"),
    "image/tiff": ("tif", "tiff"),
    "audio/wav": ("wav", "wave"),
    "audio/flac": ("flac",),
    "audio/aiff": ("aif", "aiff", "aifc"),
    "audio/basic": ("au", "snd"),
    "audio/mpeg": ("mp3", "mp2", "mpga"),
    "audio/aac": ("aac",),
    "audio/ogg": ("ogg", "oga", "opus"),
    "audio/mp4": ("m4a", "m4b", "mp4"),
    "video/mp4": ("mp4", "m4v", "m4a", "mov"),
    "video/quicktime": ("mov", "qt", "mp4"),
    "video/x-msvideo": ("avi",),
    "video/webm": ("webm", "weba"),
    "video/x-matroska": ("mkv", "mka", "webm"),
    "application/pdf": ("pdf", "ai"),
}
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def sniff(head: bytes) -> str:
    """The media type that the first bytes speak of.

    Args:
        head: the first `HEAD` bytes of the file, or all of it.

    Returns:
        Such as `image/png`, `text/plain`; `application/octet-stream` for what is not known.
    """
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return _RIFF.get(head[8:12], "application/octet-stream")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if head[4:8] == b"ftyp":
        return _brand(head)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "video/quicktime"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:128] else "video/x-matroska"
    if head.startswith(b"OggS"):
        return "video/ogg" if b"\x80theora" in head else "audio/ogg"
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    return _unmarked(head)


def fits(name: str, media_type: str) -> bool:
    """Whether a file name's extension goes with its content; names without a known extension fit anything."""
    extension = name.rpartition(".")[2].lower()
    known = any(extension in extensions for extensions in _EXTENSIONS.values())
    return not known or extension in _EXTENSIONS.get(media_type, ())


def _brand(head: bytes) -> str:
    brand = head[8:12]
    if brand in _BRANDS:
        return _BRANDS[brand]
    if brand in (b"M4A ", b"M4B "):
        return "audio/mp4"
    return "video/quicktime" if brand == b"qt  " else "video/mp4"


def _unmarked(head: bytes) -> str:
    if head.startswith(b"BM") and len(head) >= 18 and head[14:18] in _BMP_HEADERS:
        return "image/bmp"
    if head.startswith(b"ID3"):
        return "audio/mpeg"
    if head.startswith(_BOMS) or _is_utf8(head):
        return "text/plain"
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return _frame_sync(head)
    return "application/octet-stream"


_BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124))


def _frame_sync(head: bytes) -> str:
    layer, rate, sampling = head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    if layer == 0 and head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    return "audio/mpeg" if layer != 0 and rate != 15 and sampling != 3 else "application/octet-stream"


def _is_utf8(head: bytes) -> bool:
    if not head or _CONTROL.search(head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=False)
    except UnicodeDecodeError:
        return False
    return True
