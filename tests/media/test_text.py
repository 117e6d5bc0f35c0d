"""Plain text, and which Part a file becomes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import MediaError
from sensorium.media import audio, document, image, source, video
from sensorium.media.source import load
from sensorium.media.text import decode, kind_of_file, part_from_source
from sensorium.parts import Audio, Document, Image, Text, Video

from .made import encoded, valid

KINDS = {"gif": "image", "pdf": "document"} | dict.fromkeys(("jpg", "png", "webp", "bmp", "tiff"), "image")
KINDS |= dict.fromkeys(("wav", "flac", "mp3", "ogg", "m4a", "aac"), "audio") | dict.fromkeys(
    ("mp4", "webm", "mov", "mkv"), "video"
)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"), min_size=1)


@given(words, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_unicode_text_is_read(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("Grüße".encode("latin-1"), r"is not UTF-8 text \(byte 2\). Convert it: iconv"),
        ("text".encode("utf-16") + b"\0", r"is not UTF-16 text \(byte 10\)"),
        (b"ab\0cd", r"holds a NUL character \(at 2\), so it is no text"),
    ],
)
def test_what_is_no_text(data: bytes, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        decode(data)


def test_line_ends_become_newlines() -> None:
    assert decode(b"one\r\ntwo\rthree\n") == "one\ntwo\nthree\n"


@pytest.mark.parametrize("name", list(valid()))
def test_the_kind_of_every_format(name: str) -> None:
    kind = "video" if name.startswith("moving") else KINDS[name.rpartition(".")[2]]
    assert kind_of_file(load(valid()[name])) == kind


def test_large_files_are_read_from_disk_with_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_EAGER", 100)
    for name, read in READERS.items():
        path = tmp_path / name
        path.write_bytes(valid()[name])
        blob = load(str(path))
        assert blob.content is None
        assert torch.equal(read(blob), read(load(valid()[name])))


READERS: dict[str, Callable[[source.Blob], torch.Tensor]] = {
    "plain.jpg": lambda blob: image.decode(blob).pixels_CHW,
    "lzw.tiff": lambda blob: image.decode(blob).pixels_CHW,
    "plain.flac": lambda blob: audio.decode(blob).wave_T,
    "aac.m4a": lambda blob: audio.decode(blob).wave_T,
    "h264.mp4": lambda blob: video.decode(blob).frames_FCHW,
    "moving.webp": lambda blob: video.decode(blob).frames_FCHW,
    "plain.pdf": lambda blob: next(iter(document.decode(blob))).picture.pixels_CHW,
}


def test_a_container_without_pictures_is_a_recording() -> None:
    for form, codec in (("mp4", "aac"), ("webm", "libopus"), ("matroska", "libmp3lame")):
        assert kind_of_file(load(encoded(form, codec, rate=48_000))) == "audio"


def test_a_path_becomes_a_part(tmp_path: Path) -> None:
    files = {"a.png": Image, "b.gif": Video, "c.wav": Audio, "d.mp4": Video, "e.pdf": Document}
    data = [valid()[name] for name in ("plain.png", "moving.gif", "pcm16.wav", "h264.mp4", "plain.pdf")]
    for (name, kind), content in zip(files.items(), data, strict=True):
        path = tmp_path / name
        path.write_bytes(content)
        assert part_from_source(str(path)) == kind(str(path))
    path = tmp_path / "notes.txt"
    path.write_text("some words")
    assert part_from_source(str(path)) == Text("some words")
    path.write_bytes(valid()["plain.jpg"])
    assert part_from_source(str(path)) == Image(str(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04" + bytes(30), "is application/zip, which is not read. Unpack it, or save an office document as PDF"),
        (b"\0\0\0\x18ftypheic", "is image/heic, which is not read. Convert it to JPEG or PNG"),
        (
            b"\x7fELF",
            "is application/x-executable, which is not read. Give a picture, a recording, a video",
        ),
    ],
)
def test_what_is_not_read_says_what_to_do(data: bytes, message: str) -> None:
    with pytest.raises(MediaError) as caught:
        kind_of_file(load(data))
    assert message in str(caught.value)


def test_naming_parts_does_not_load_torch() -> None:
    code = "import sys, sensorium.media.text, sensorium.media.subtitles; sys.exit(not {'torch', 'PIL'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
