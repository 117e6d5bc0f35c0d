"""What a file is, from its content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.media.sniff import HEAD, fits, sniff

from .made import valid

TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "pdf": "application/pdf",
}


@pytest.mark.parametrize("name", list(valid()))
def test_every_format(name: str) -> None:
    media_type = sniff(valid()[name][:HEAD])
    assert media_type == TYPES[name.rpartition(".")[2]]
    assert fits(name, media_type)
    assert not fits("x.docx.png" if media_type != "image/png" else "x.jpg", media_type)


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"plain words\n", "text/plain"),
        ("Grüße".encode()[:3], "text/plain"),
        ("wide".encode("utf-16"), "text/plain"),
        ("wide".encode("utf-32"), "text/plain"),
        ("Grüße aus Köln".encode("latin-1"), "application/octet-stream"),
        (b"text\0text", "application/octet-stream"),
        (b"BM is how this sentence begins", "text/plain"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
        (b"PK\x03\x04", "application/zip"),
        (b"#EXTM3U\n", "text/plain"),
        (b"RIFF\0\0\0\0ACON", "application/octet-stream"),
    ],
)
def test_what_has_no_format_of_its_own(head: bytes, media_type: str) -> None:
    assert sniff(head) == media_type


def test_names_without_a_known_extension_fit() -> None:
    assert fits("README", "image/png")
    assert fits("photo.backup", "image/png")


@given(st.binary(max_size=64))
def test_anything_has_a_type(head: bytes) -> None:
    assert "/" in sniff(head)
