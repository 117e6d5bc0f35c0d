"""Videos and animations: which frames, when, with which sound."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.errors import LimitError, MediaError, RequestError
from sensorium.media import audio, film
from sensorium.media.animation import animation
from sensorium.media.source import Limits, load
from sensorium.media.stream import has_picture, open_stream
from sensorium.media.video import Clip, decode

from .made import filmed, moving, recorded, saved, valid

FORMS = [
    ("mp4", "mpeg4", "aac"),
    ("mp4", "libx264", "aac"),
    ("mov", "libx264", "aac"),
    ("webm", "libvpx-vp9", "libopus"),
    ("matroska", "mpeg4", "libmp3lame"),
    ("avi", "mpeg4", "libmp3lame"),
]


def greys(clip: Clip) -> list[int]:
    return clip.frames_FCHW[:, 0, 20, 20].tolist()


@pytest.mark.parametrize(("form", "codec", "sound"), FORMS)
def test_frames_are_those_on_show_in_the_middle_of_each_slice(form: str, codec: str, sound: str) -> None:
    clip = decode(filmed(form, codec, sound, count=20, fps=10), frames=4)
    assert clip.frames_FCHW.shape == (4, 3, 48, 64)
    assert clip.times_F == pytest.approx((0.2, 0.7, 1.2, 1.7), abs=0.002)
    assert greys(clip) == pytest.approx([20, 70, 120, 170], abs=4)
    assert (clip.frames_total, clip.fps) == (20, 10)
    assert clip.seconds == pytest.approx(2, abs=0.05)
    assert clip.sound is not None
    assert clip.sound.seconds == pytest.approx(2, abs=0.05)
    assert clip.notes == ()


def test_a_stretch() -> None:
    clip = decode(filmed("mp4", "libx264", "aac", count=20, fps=10), 0.5, 1.5, frames=5)
    assert clip.times_F == pytest.approx((0.6, 0.8, 1.0, 1.2, 1.4))
    assert greys(clip) == pytest.approx([60, 80, 100, 120, 140], abs=4)
    assert clip.sound is not None
    assert (clip.sound.start, clip.sound.stop) == (0.5, 1.5)
    assert clip.seconds == pytest.approx(2, abs=0.05)


def test_a_jump_into_a_long_video_lands_on_the_same_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    data = filmed("mp4", "libx264", count=250, fps=10, options={"g": "20", "bf": "2"})
    walked = decode(data, frames=7)
    jumps = []
    monkeypatch.setattr(film, "_JUMP", 0.5)
    monkeypatch.setattr(film.Film, "_frames", lambda self, walk=film.Film._frames: jumps.append(1) or walk(self))
    jumped = decode(data, frames=7)
    assert len(jumps) == 8
    assert jumped.times_F == walked.times_F == pytest.approx([1.7, 5.3, 8.9, 12.5, 16.0, 19.6, 23.2])
    assert torch.equal(jumped.frames_FCHW, walked.frames_FCHW)


@pytest.mark.parametrize(
    ("matrix", "bright", "dark"),
    [
        ((1, 0, 0, 1), (24, 5), (24, 58)),
        ((0, 1, -1, 0), (5, 24), (58, 24)),
        ((-1, 0, 0, -1), (24, 58), (24, 5)),
        ((0, -1, 1, 0), (58, 24), (5, 24)),
    ],
    ids=["upright", "clockwise", "half", "counterclockwise"],
)
def test_rotation_is_obeyed(matrix: tuple[int, ...], bright: tuple[int, int], dark: tuple[int, int]) -> None:
    """A white left half, turned by the matrix of the track's header (ISO 14496-12, 8.3.2)."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:, :32] = 255
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")), *stream.encode()]:
            container.mux(packet)
    data = bytearray(file.getvalue())
    a, b, c, d = (65536 * number for number in matrix)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    frame_CHW = decode(bytes(data), frames=1).frames_FCHW[0]
    assert frame_CHW.shape == ((3, 48, 64) if matrix[0] else (3, 64, 48))
    assert frame_CHW[(0, *bright)] > 200
    assert frame_CHW[(0, *dark)] < 50


def test_a_short_video_gives_each_frame_once() -> None:
    clip = decode(filmed("mp4", "mpeg4", count=3), frames=8)
    assert clip.times_F == pytest.approx((0.0, 0.1, 0.2))
    assert clip.notes == ("3 different frames are there, of the 8 asked for", "the video has no sound")
    assert clip.sound is None
    assert decode(filmed("mp4", "mpeg4", count=3), frames=3, sound=False).notes == ()


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_animations_keep_their_own_times(form: str) -> None:
    data = moving(form, 6, durations=[100, 100, 400, 200, 100, 100], **({"lossless": True} if form == "WEBP" else {}))
    clip = decode(data, frames=5)
    assert clip.seconds == pytest.approx(1.0)
    assert clip.times_F == pytest.approx((0.1, 0.2, 0.6, 0.9))
    assert greys(clip) == [20, 40, 60, 100]
    assert (clip.frames_total, clip.fps) == (6, pytest.approx(6))
    assert clip.sound is None
    assert clip.notes == ("4 different frames are there, of the 5 asked for", "an animated picture has no sound")
    part = decode(data, 0.6, 0.9, frames=2, sound=False)
    assert part.times_F == pytest.approx((0.6, 0.8))
    assert greys(part) == [60, 80]


def test_frames_without_a_duration_count_as_a_tenth_of_a_second() -> None:
    data = moving("GIF", 3, durations=0)
    assert animation(data, "image/gif").durations == (0.1, 0.1, 0.1)


def test_a_still_before_the_animation_is_no_frame_of_it() -> None:
    frames = [Image.new("RGB", (8, 8), (20 * k, 0, 0)) for k in range(4)]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=100, default_image=True)
    clip = decode(data, frames=3, sound=False)
    assert clip.frames_FCHW[:, 0, 4, 4].tolist() == [20, 40, 60]
    assert clip.times_F == pytest.approx((0.0, 0.1, 0.2))


def test_transparent_animations_say_so_once() -> None:
    frames = [Image.new("RGBA", (8, 8), (0, 0, 0, 10 * k)) for k in range(4)]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    assert decode(data, sound=False, frames=4).notes == ("transparent parts are shown on white",)


def test_limits() -> None:
    data = filmed("mp4", "mpeg4", "aac", count=20)
    with pytest.raises(LimitError, match=r"was to give 9 frames, over the limit of 8. Ask for fewer, or raise Limits.frames"):
        decode(data, frames=9, limits=Limits(frames=8))
    with pytest.raises(LimitError, match="has 64 x 48 = 3,072 pixels, over the limit of 3,000"):
        decode(data, limits=Limits(pixels=3000))
    with pytest.raises(LimitError, match=r"was to give 9 frames of 64 x 48, 27,648 pixels, over the limit of 25,600"):
        decode(data, frames=9, limits=Limits(pixels=3200))
    with pytest.raises(LimitError, match="is 2 s long, over the limit of 1 s"):
        decode(data, limits=Limits(seconds=1))
    assert decode(data, 0.5, 1.0, limits=Limits(seconds=1)).seconds == 2
    with pytest.raises(LimitError, match="takes over -1 s to decode"):
        decode(data, limits=Limits(timeout=-1))
    with pytest.raises(LimitError, match="is 0 s long, over the limit of 0 s"):
        decode(moving("GIF", 3), limits=Limits(seconds=0.2))


def test_requests_that_make_no_sense() -> None:
    with pytest.raises(RequestError, match="is not a stretch of time"):
        decode(valid()["mpeg4.mp4"], 2, 1)
    with pytest.raises(RequestError, match="are not a number of frames"):
        decode(valid()["mpeg4.mp4"], frames=0)
    with pytest.raises(MediaError, match=r"lasts 2.0\d s, and the stretch begins at 5.00 s. Choose an earlier start"):
        decode(valid()["mpeg4.mp4"], 5)


def test_what_is_no_video() -> None:
    with pytest.raises(MediaError, match=r"is a still picture, not a video. Give it as an image"):
        decode(valid()["plain.png"])
    with pytest.raises(MediaError, match=r"holds no moving pictures. Give it as a recording of sound"):
        decode(valid()["aac.m4a"])
    with pytest.raises(MediaError, match="is application/pdf, not video that can be read"):
        decode(valid()["plain.pdf"])


def test_the_cover_of_an_album_is_no_video() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=44_100, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 48, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.int16), format="s16", layout="mono")
        frame.sample_rate = 44_100
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 48, 3), np.uint8), format="rgb24")
        for packet in [*cover.encode(picture), *cover.encode(), *sound.encode(frame), *sound.encode(None)]:
            container.mux(packet)
    blob = load(file.getvalue())
    with open_stream(blob, "video", lambda: None) as container:
        assert len(container.streams.video) == 1
    assert not has_picture(blob, lambda: None)
    assert audio.decode(blob).seconds == pytest.approx(1, abs=0.1)


def test_a_video_that_breaks_off_says_where() -> None:
    data = filmed("webm", "libvpx-vp9", count=30, fps=10)
    clip = decode(data[: len(data) * 2 // 3], frames=6)
    assert len(clip.times_F) < 6
    assert clip.notes[0].startswith("the pictures end at ")
    assert clip.notes[1] == f"{len(clip.times_F)} different frames are there, of the 6 asked for"


def test_a_file_without_a_duration_is_measured_by_its_packets() -> None:
    data = bytearray(filmed("webm", "libvpx-vp9", count=20, fps=10))
    at = data.index(b"\x44\x89\x88")
    assert struct.unpack_from(">d", data, at + 3) == (2000.0,)
    data[at : at + 2] = b"\xec\x89"  # the element becomes a void one of the same length
    clip = decode(bytes(data), frames=4)
    assert clip.seconds == pytest.approx(2, abs=0.11)
    assert len(clip.times_F) == 4


def test_a_playlist_opens_nothing() -> None:
    blob = load(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    with pytest.raises(MediaError, match="is text/plain, not video that can be read"):
        decode(blob)


def test_pictures_whose_clock_stands_still_are_spread_at_their_rate() -> None:
    """The track's table of durations (stts) says 0 for every frame but the last, as some editors write it."""
    data = bytearray(filmed("mp4", "mpeg4", "aac", count=20, fps=10))
    at = data.index(b"stts")
    assert struct.unpack_from(">II", data, at + 8) == (1, 20)
    data[at + 8 : at + 20] = struct.pack(">5I", 2, 19, 0, 1, 512)
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        place = data.index(kind) - 4
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + 8)
    clip = decode(bytes(data), frames=4)
    assert clip.fps == pytest.approx(10, abs=0.5)  # twenty frames beside two seconds of sound
    assert clip.times_F == pytest.approx([k / clip.fps for k in (2, 7, 12, 17)])
    assert greys(clip) == pytest.approx([20, 70, 120, 170], abs=4)
    assert clip.seconds == pytest.approx(2, abs=0.1)
    assert clip.notes == (f"its pictures carry no times; reckoned at {clip.fps:g} a second",)


def test_a_file_that_cannot_be_sought_is_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = filmed("matroska", "mpeg4", count=100, fps=10)
    walked = decode(data, frames=5)
    monkeypatch.setattr(film, "_JUMP", 0.5)
    monkeypatch.setattr(film.Film, "_seek", lambda self, _: setattr(self, "_jump", float("inf")))
    assert decode(data, frames=5).times_F == walked.times_F


def test_sound_that_is_damaged_does_not_cost_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MediaError("film", "holds noise", "Record it again")

    monkeypatch.setattr("sensorium.media.audio.decode", refuse)
    clip = decode(valid()["mpeg4.mp4"])
    assert clip.sound is None
    assert clip.notes == ("its sound was not read: it holds noise",)


def test_recordings_are_not_mistaken_for_videos() -> None:
    assert animation(recorded("WAV"), "audio/wav").durations == ()
