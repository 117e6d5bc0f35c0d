"""SRT and WebVTT, exact to the millisecond."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import MediaError, RequestError
from sensorium.media.subtitles import Segment, read_srt, read_vtt, timestamp, write_srt, write_vtt

SAID = [Segment(0.0, 1.5, "Hello."), Segment(1.5, 3661.0425, "Tom & <Jerry>\nsecond line"), Segment(3661.1, 400_000, "End")]

SRT = """1
00:00:00,000 --> 00:00:01,500
Hello.

2
00:00:01,500 --> 01:01:01,042
Tom & <Jerry>
second line

3
01:01:01,100 --> 111:06:40,000
End

"""

VTT = """WEBVTT

00:00:00.000 --> 00:00:01.500
Hello.

00:00:01.500 --> 01:01:01.042
Tom &amp; &lt;Jerry&gt;
second line

01:01:01.100 --> 111:06:40.000
End

"""


def test_written_form() -> None:
    assert write_srt(SAID) == SRT
    assert write_vtt(SAID) == VTT


def test_times_round_to_the_nearest_millisecond() -> None:
    assert timestamp(59.9996) == "00:01:00.000"
    assert timestamp(0.0004) == "00:00:00.000"
    assert timestamp(3599.9994, ",") == "00:59:59,999"


moments = st.integers(0, 500_000_000).map(lambda milliseconds: milliseconds / 1000)
lines = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=30)
words = st.lists(lines, max_size=3).map("\n".join)
segments = st.lists(st.tuples(moments, moments, words).map(lambda row: Segment(min(row[:2]), max(row[:2]), row[2])), max_size=5)


@given(segments)
def test_what_is_written_is_read_again(said: list[Segment]) -> None:
    expected = []
    for start, stop, text in said:
        kept = "\n".join(line.strip().replace("-->", "→") for line in text.split("\n") if line.strip())
        expected += [Segment(start, stop, kept)] if kept else []
    assert read_srt(write_srt(said)) == expected
    assert read_vtt(write_vtt(said)) == expected


def test_what_others_write_is_read() -> None:
    text = "\ufeffWEBVTT - a title\r\nKind: captions\r\n\r\nNOTE not this\r\n\r\nSTYLE\r\n::cue {}\r\n\r\n"
    text += "intro\r\n01:02.500 --> 01:03.000 align:start\r\n<v Bob>Hi <i>you</i></v> &amp; me\r\n"
    assert read_vtt(text) == [Segment(62.5, 63.0, "Hi you & me")]
    assert read_srt("00:00:01,000 --> 00:00:02,000\n<i>Hi</i>\n") == [Segment(1.0, 2.0, "<i>Hi</i>")]


@pytest.mark.parametrize(("start", "stop"), [(-1.0, 2.0), (3.0, 2.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_times_that_are_none_are_refused(start: float, stop: float) -> None:
    for write in (write_srt, write_vtt):
        with pytest.raises(RequestError, match=r"Give 0 <= start <= stop"):
            write([Segment(start, stop, "x")])


def test_files_that_are_none_are_refused() -> None:
    with pytest.raises(MediaError, match=r"film.vtt: does not begin with WEBVTT"):
        read_vtt("1\n00:00:01.000 --> 00:00:02.000\nHi\n", "film.vtt")
    with pytest.raises(MediaError, match=r"has no times in cue 1 \('just words'\)"):
        read_srt("just words\nand more\n")
    with pytest.raises(MediaError, match=r"has the time '1.5' in cue 1. Write times as 00:00:01.000"):
        read_srt("1.5 --> 2.5\nHi\n")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_srt, read_vtt):
        with suppress(MediaError):
            assert all(cue.start >= 0 for cue in read(text))
