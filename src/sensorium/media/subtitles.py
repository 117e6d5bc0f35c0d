"""Subtitles, SRT and WebVTT, written and read."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sensorium.errors import MediaError, RequestError


class Segment(NamedTuple):
    """Words and when they are said, in seconds."""

    start: float
    stop: float
    text: str


_TIME = re.compile(r"^(?:(\d+):)?([0-5]?\d):([0-5]?\d)[.,](\d{3})$", re.ASCII)
_TAG = re.compile(r"</?[^<>]*>")


def write_srt(segments: Iterable[Segment]) -> str:
    """Segments as SRT: numbered from 1, `HH:MM:SS,mmm`, rounded to milliseconds; empty ones are left out.

    Raises:
        RequestError: a negative or reversed time.
    """
    cues = [(_times(segment, ","), _lines(segment.text)) for segment in segments]
    spoken = [(times, lines) for times, lines in cues if lines]
    return "".join(f"{n}\n{times}\n{lines}\n\n" for n, (times, lines) in enumerate(spoken, 1))


def write_vtt(segments: Iterable[Segment]) -> str:
    """Segments as WebVTT: `HH:MM:SS.mmm`, `&`, `<` and `>` escaped; empty ones are left out.

    Raises:
        RequestError: a negative or reversed time.
    """
    cues = [(_times(segment, "."), html.escape(_lines(segment.text), quote=False)) for segment in segments]
    return "WEBVTT\n\n" + "".join(f"{times}\n{lines}\n\n" for times, lines in cues if lines)


def read_srt(text: str, name: str = "subtitles") -> list[Segment]:
    """The inverse of `write_srt`; numbers are not needed.

    Raises:
        MediaError: a cue without times, or with times that are none.
    """
    return _cues(_blocks(text), name, tagged=False)


def read_vtt(text: str, name: str = "subtitles") -> list[Segment]:
    """The inverse of `write_vtt`; tags are taken out, notes, styles and cue settings are passed over.

    Raises:
        MediaError: no WEBVTT header, a cue without times, or with times that are none.
    """
    blocks = _blocks(text)
    if not blocks or not re.match(r"WEBVTT(?:[ \t]|$)", blocks[0][0]):
        raise MediaError(name, "does not begin with WEBVTT", "Give a WebVTT file, or read it as SRT")
    header = blocks[0][1:]
    body = ([header] if any("-->" in line for line in header) else []) + blocks[1:]
    return _cues([block for block in body if not re.match(r"(?:NOTE|STYLE|REGION)(?:[ \t]|$)", block[0])], name, tagged=True)


def timestamp(seconds: float, comma: str = ".") -> str:
    """`HH:MM:SS.mmm`, rounded to milliseconds; hours grow past two digits where they must."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{comma}{rest % 1000:03d}"


def _times(segment: Segment, comma: str) -> str:
    if not 0 <= segment.start <= segment.stop < float("inf"):
        problem = f"runs from {segment.start} s to {segment.stop} s"
        raise RequestError(f"segment {segment.text[:30]!r}", problem, "Give 0 <= start <= stop")
    return f"{timestamp(segment.start, comma)} --> {timestamp(segment.stop, comma)}"


def _lines(text: str) -> str:
    kept = (line.strip().replace("-->", "→") for line in text.splitlines())
    return "\n".join(line for line in kept if line)


def _blocks(text: str) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")):
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _cues(blocks: Sequence[list[str]], name: str, tagged: bool) -> list[Segment]:
    cues: list[Segment] = []
    for number, block in enumerate(blocks, 1):
        at = next((index for index, line in enumerate(block[:2]) if "-->" in line), None)
        if at is None:
            raise MediaError(name, f"has no times in cue {number} ({block[0][:40]!r})", "Write 00:00:01.000 --> 00:00:02.000")
        left, _, right = block[at].partition("-->")
        start, stop = _seconds(left, name, number), _seconds((right.split() or [""])[0], name, number)
        lines = [html.unescape(_TAG.sub("", line)) if tagged else line for line in block[at + 1 :]]
        cues.append(Segment(start, stop, "\n".join(line.strip() for line in lines)))
    return cues


def _seconds(text: str, name: str, number: int) -> float:
    match = _TIME.match(text.strip())
    if match is None:
        raise MediaError(name, f"has the time {text.strip()[:30]!r} in cue {number}", "Write times as 00:00:01.000")
    hours, minutes, seconds, milliseconds = (int(item or 0) for item in match.groups())
    return (((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds) / 1000
