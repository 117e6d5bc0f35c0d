"""Sources: what is opened, what is refused, what the messages say."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import AccessError, LimitError, MediaError
from sensorium.media import source
from sensorium.media.source import Access, Limits, load

from .made import valid


def test_a_path_bytes_and_a_data_url_give_the_same_content(tmp_path: Path) -> None:
    data = valid()["plain.png"]
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    blobs = [load(str(path)), load(data), load(url)]
    assert [blob.data for blob in blobs] == [data] * 3
    assert {blob.media_type for blob in blobs} == {"image/png"}
    assert {blob.digest for blob in blobs} == {hashlib.sha256(data).hexdigest()}
    assert [blob.name for blob in blobs] == [str(path), "the given bytes", "data URL of image/png"]
    assert [blob.notes for blob in blobs] == [(), (), ()]


def test_a_large_file_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_EAGER", 100)
    path = tmp_path / "film.mp4"
    path.write_bytes(valid()["h264.mp4"])
    blob = load(str(path))
    assert blob.content is None
    assert blob.media_type == "video/mp4"
    assert blob.digest == hashlib.sha256(valid()["h264.mp4"]).hexdigest()
    assert "data" not in vars(blob)
    assert blob.data == valid()["h264.mp4"]


def test_a_wrong_extension_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(valid()["plain.png"])
    assert load(str(path)).notes == ("named .jpg, but read as image/png, which it is",)
    declared = load("data:image/jpeg;base64," + base64.b64encode(valid()["plain.png"]).decode())
    assert declared.notes == ("declared as image/jpeg, but read as image/png, which it is",)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path, "a directory"), (tmp_path / "pipe", "a pipe"), (Path("/dev/zero"), "a device")):
        with pytest.raises(MediaError, match=f"is {what}, not a regular file"):
            load(str(path))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no/such.png", "does not exist"),
        ("a\0b.png", "cannot be opened"),
        ("x" * 5000, "cannot be opened"),
        ("", "does not exist"),
    ],
)
def test_paths_that_cannot_be_opened(path: str, words: str) -> None:
    with pytest.raises(MediaError, match=words):
        load(path)


def test_an_unreadable_file_says_why(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(MediaError, match=r"Permission denied"):
        load(str(path))


def test_limits_on_bytes(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(bytes(101))
    limits = Limits(bytes=100)
    url = "data:;base64," + base64.b64encode(bytes(101)).decode()
    for given_source in (str(path), bytes(101), url, "data:," + "a" * 101, load(bytes(101))):
        with pytest.raises(LimitError, match=r"has 10\d bytes, over the limit of 100. Shorten it, or raise Limits.bytes"):
            load(given_source, limits)


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.touch()
    for given_source in (str(path), b"", "data:,", "data:;base64,"):
        with pytest.raises(MediaError, match=r"is empty \(0 bytes\). Give a file with content"):
            load(given_source)


def test_access(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(valid()["plain.png"])
    with pytest.raises(AccessError, match=r"paths may not be read here. Send the file itself"):
        load(str(path), access=Access(files=False))
    assert load(valid()["plain.png"], access=Access(files=False)).size
    for url in ("file:///etc/passwd", "FILE:/etc/passwd", "ftp://host/x", "gopher://host/x", "s3://bucket/x"):
        with pytest.raises(AccessError, match=r"has the scheme"):
            load(url)
    with pytest.raises(AccessError, match=r"allowed hosts: none"):
        load("https://example.org/photo.png")


@given(st.binary(min_size=1, max_size=300), st.booleans(), st.sampled_from(["", "image/png", "text/plain;charset=utf-8"]))
def test_data_urls_round_trip(data: bytes, coded: bool, declared: str) -> None:
    payload = base64.b64encode(data).decode() if coded else quote_from_bytes(data)
    assert load(f"data:{declared}{';base64' if coded else ''},{payload}").data == data


@given(st.text(max_size=60))
def test_any_data_url_is_read_or_refused(rest: str) -> None:
    with suppress(MediaError):
        blob = load("data:" + rest)
        assert blob.size == len(blob.data) > 0


def test_base64_is_taken_as_people_write_it() -> None:
    plain = base64.b64encode(b"some bytes").decode()
    for payload in (plain, plain.rstrip("="), plain[:5] + "\n " + plain[5:], plain.replace("=", "%3D")):
        assert load(f"data:;base64,{payload}").data == b"some bytes"
    with pytest.raises(MediaError, match=r"is not base64"):
        load("data:image/png;base64,***!")
    with pytest.raises(MediaError, match=r"has no comma"):
        load("data:image/png;base64")


def test_pixels_and_deadline_messages() -> None:
    with pytest.raises(
        LimitError, match=r"has 20 x 30 = 600 pixels, over the limit of 500. Scale it down, or raise Limits.pixels"
    ):
        Limits(pixels=500).check_pixels("photo", 20, 30)
    with pytest.raises(MediaError, match=r"declares a size of 0 x 5 pixels"):
        Limits().check_pixels("photo", 0, 5)
    check = Limits(timeout=-1).deadline("film")
    with pytest.raises(LimitError, match=r"film: takes over -1 s to decode"):
        check()
    Limits().deadline("film")()


def test_the_page_on_media_tells_the_limits_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "media.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE))
    assert {name: float(value) for name, value in told.items()} == dataclasses.asdict(Limits())
