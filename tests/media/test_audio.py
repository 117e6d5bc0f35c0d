"""Sound: formats, stretches, mixing, resampling, cutting."""

from __future__ import annotations

import io
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import LimitError, MediaError, RequestError
from sensorium.media.audio import Sound, chunks, decode, encode_wav
from sensorium.media.source import Limits

from .made import encoded, filmed, recorded, tone, valid


def loudness_at(sound: Sound, pitch: float) -> float:
    """Amplitude of one pitch in the middle half of a sound."""
    length = sound.wave_T.shape[0]
    middle = sound.wave_T[length // 4 : 3 * length // 4].double()
    steps = torch.arange(len(middle)).double()
    return float((middle * torch.exp(-2j * torch.pi * pitch / sound.rate * steps)).mean().abs() * 2)


@pytest.mark.parametrize(
    "subtype", ["PCM_16", "PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "MS_ADPCM", "IMA_ADPCM"]
)
def test_every_wav(subtype: str) -> None:
    sound = decode(recorded("WAV", subtype))
    assert sound.wave_T.dtype == torch.float32
    expected = torch.from_numpy(tone())
    precise = {"PCM_16": 4e-5, "PCM_24": 1e-6, "PCM_32": 1e-6, "FLOAT": 0.0, "DOUBLE": 1e-7}
    assert (sound.wave_T[100 : len(expected)] - expected[100:]).abs().max() <= precise.get(subtype, 0.05)
    assert (sound.rate, sound.start, sound.notes) == (16_000, 0.0, ())
    assert sound.seconds_total == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    "name", ["plain.flac", "plain.mp3", "vorbis.ogg", "opus.ogg", "aac.m4a", "aac.aac", "mpeg4.mp4", "vp9.webm"]
)
def test_every_format(name: str) -> None:
    sound = decode(valid()[name])
    assert sound.rate == 16_000
    assert sound.seconds == pytest.approx(2.0 if name in ("mpeg4.mp4", "vp9.webm") else 0.5, abs=0.06)
    assert sound.stop == pytest.approx(sound.seconds_total, abs=1e-3)
    assert loudness_at(sound, 440) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("form", ["AIFF", "AU"])
def test_older_formats(form: str) -> None:
    assert torch.equal(decode(recorded(form, "FLOAT")).wave_T, torch.from_numpy(tone()))


@pytest.mark.parametrize(("data", "precise"), [(encoded("mov", "alac"), 1e-4), (recorded("FLAC", "PCM_24", rate=44_100), 1e-4)])
def test_resampling_keeps_the_wave(data: bytes, precise: float) -> None:
    sound = decode(data)
    expected = torch.from_numpy(tone())
    inner = slice(500, 7500)
    assert sound.wave_T.shape == expected.shape
    assert (sound.wave_T[inner] - expected[inner]).abs().max() < precise


def test_channels_are_mixed_and_that_is_said() -> None:
    sound = decode(recorded("WAV", "FLOAT", channels=3))
    assert sound.notes == ("3 channels mixed to one",)
    assert torch.allclose(sound.wave_T, torch.from_numpy(tone()) * (1 + 0.5 + 0.25) / 3, atol=1e-6)


@pytest.mark.parametrize("name", ["pcm16.wav", "plain.flac", "vorbis.ogg"])
def test_a_stretch_is_a_slice(name: str) -> None:
    whole, part = decode(valid()[name]), decode(valid()[name], 0.125, 0.25)
    assert torch.equal(part.wave_T, whole.wave_T[2000:4000])
    assert (part.start, part.stop) == (0.125, 0.25)
    assert part.seconds_total == pytest.approx(0.5)


def test_a_stretch_far_into_a_long_file() -> None:
    """The pitch changes at 20 s, so a jump to the wrong place would be heard."""
    wave = np.concatenate([tone(20, 44_100, 300), tone(20, 44_100, 600)])
    for form in ("ipod", "FLAC", "MP3"):
        file = io.BytesIO()
        if form == "ipod":
            import av

            with av.open(file, "w", format=form) as container:
                stream = container.add_stream("aac", rate=44_100, layout="mono")
                frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
                frame.sample_rate = 44_100
                for packet in [*stream.encode(frame), *stream.encode(None)]:
                    container.mux(packet)
        else:
            soundfile.write(file, wave, 44_100, format=form)
        before, after = decode(file.getvalue(), 19, 20), decode(file.getvalue(), 20.05, 22)
        assert loudness_at(before, 300) > 0.4 > 0.1 > loudness_at(before, 600)
        assert loudness_at(after, 600) > 0.4 > 0.1 > loudness_at(after, 300)
        assert after.seconds == pytest.approx(1.95, abs=1e-3)
        assert after.seconds_total == pytest.approx(40, abs=0.1)
        late = decode(file.getvalue(), 38)
        assert late.stop == pytest.approx(40, abs=0.1)


def test_a_stretch_that_reaches_past_the_end_ends_there() -> None:
    sound = decode(valid()["pcm16.wav"], 0.25, 9)
    assert (sound.start, sound.stop) == (0.25, 0.5)


@pytest.mark.parametrize(("start", "stop"), [(-1.0, None), (2.0, 1.0), (1.0, 1.0), (float("nan"), None), (0.0, float("inf"))])
def test_times_that_are_no_stretch(start: float, stop: float | None) -> None:
    with pytest.raises(RequestError, match=r"is not a stretch of time. Give 0 <= start < stop"):
        decode(valid()["pcm16.wav"], start, stop)


@pytest.mark.parametrize("name", ["pcm16.wav", "aac.m4a", "aac.aac"])
def test_a_start_past_the_end(name: str) -> None:
    with pytest.raises(MediaError, match=r"Choose an earlier start"):
        decode(valid()[name], 90)


def test_the_limit_on_seconds_is_of_the_stretch() -> None:
    data = recorded("WAV", "PCM_16", seconds=3)
    words = r"is 3 s long, over the limit of 2 s. Choose a stretch with start and stop, or raise Limits.seconds"
    with pytest.raises(LimitError, match=words):
        decode(data, limits=Limits(seconds=2))
    assert decode(data, 0.5, 2.5, limits=Limits(seconds=2)).seconds == 2
    with pytest.raises(LimitError, match="over the limit of 1 s"):
        decode(encoded("adts", "aac", seconds=4), limits=Limits(seconds=1))


def test_a_wav_that_breaks_off_says_so() -> None:
    sound = decode(valid()["pcm16.wav"][:10_000])
    assert sound.notes == ("the file breaks off: 6,044 bytes of sound that its header promises are missing",)
    assert sound.seconds_total == sound.stop == pytest.approx(9956 / 32_000)


def test_an_ogg_that_breaks_off_says_so() -> None:
    data = recorded("OGG", "VORBIS", seconds=20)
    assert decode(data).notes == ()
    assert decode(data[: len(data) // 2]).notes == ("the file breaks off: its last page is missing",)


def test_a_header_of_unknown_length_is_usual_in_streams() -> None:
    data = valid()["pcm16.wav"]
    at = data.index(b"data") + 4
    assert decode(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]).notes == ()


def test_samples_that_are_not_numbers_are_silence() -> None:
    data = bytearray(recorded("WAV", "FLOAT"))
    data[-8:] = struct.pack("<ff", float("nan"), float("inf"))
    sound = decode(bytes(data))
    assert sound.notes == ("2 samples are not numbers and read as silence",)
    assert sound.wave_T[-2:].tolist() == [0, 0]


def test_what_holds_no_sound(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"holds no sound. Give a recording, or a video with sound"):
        decode(filmed("mp4", "mpeg4", count=3))
    with pytest.raises(MediaError, match="holds no samples of sound"):
        decode(recorded("WAV", "PCM_16", seconds=0))
    with pytest.raises(MediaError, match="is image/png, not sound that can be read"):
        decode(valid()["plain.png"])
    path = tmp_path / "list.mp3"
    path.write_text("#EXTM3U\nfile:///etc/passwd\n")
    with pytest.raises(MediaError, match="is text/plain, not sound that can be read"):
        decode(str(path))


def test_absurd_rates_are_refused() -> None:
    data = bytearray(valid()["pcm16.wav"])
    struct.pack_into("<I", data, 24, 1)
    with pytest.raises(MediaError, match=r"declares 1 samples a second, outside 1000..768000"):
        decode(bytes(data))


def wave_of(length: int, seed: int) -> Sound:
    wave_T = torch.rand(length, generator=torch.Generator().manual_seed(seed)) - 0.5
    return Sound(wave_T, 1000, 5.0, 5.0 + length / 1000, 99.0, "noise")


@settings(max_examples=60)
@given(st.integers(1, 9000), st.integers(0, 9), st.floats(0.01, 3), st.floats(0, 5))
def test_chunks_lose_nothing(length: int, seed: int, seconds: float, search: float) -> None:
    sound = wave_of(length, seed)
    pieces = chunks(sound, seconds, search)
    assert torch.equal(torch.cat([piece.wave_T for piece in pieces]), sound.wave_T)
    assert all(0 < piece.wave_T.shape[0] <= seconds * 1000 for piece in pieces)
    assert pieces[0].start == sound.start
    assert pieces[-1].stop == pytest.approx(sound.stop)
    for piece, following in pairwise(pieces):
        assert piece.stop == following.start
        assert piece.seconds == pytest.approx(piece.stop - piece.start)


def test_chunks_cut_where_it_is_quiet() -> None:
    sound = wave_of(5000, 0)
    sound.wave_T[1600:1700] = 0
    cut = chunks(sound, 2.0, 1.0)[0].wave_T.shape[0]
    assert 1600 < cut <= 1700
    assert chunks(sound, 10.0)[0].wave_T is not None
    assert len(chunks(sound, 10.0)) == 1
    with pytest.raises(RequestError, match="are shorter than one sample"):
        chunks(sound, 0.0001)


def test_wav_round_trip() -> None:
    wave_T = torch.from_numpy(tone())
    again = decode(encode_wav(wave_T, 16_000))
    assert (again.wave_T - wave_T).abs().max() < 4e-5
    assert decode(encode_wav(wave_T * 4, 16_000)).wave_T.abs().max() <= 1
