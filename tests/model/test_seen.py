"""Media kept by content: the same answers, read once, never more bytes than allowed, never one medium for another."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from sensorium.errors import MediaError
from sensorium.media.matroska import encode_mkv
from sensorium.model.generate import Assistant
from sensorium.model.presets import tiny
from sensorium.model.seen import Seen
from sensorium.parts import Image, Message, Part, Sample, Text, Video
from sensorium.protocols import Sampling

FEW = Sampling(max_tokens=4)


def png(red: int, width: int = 40) -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (width, 30), (red, 10, 10)).save(file, "PNG")
    return file.getvalue()


def ask(words: str, *media: Part) -> list[Message]:
    return [Message("user", (*media, Text(words)))]


@pytest.fixture(scope="module")
def plain() -> Assistant:
    model = tiny(adapter=True).eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3)
    return Assistant(model, "tiny")


def remembering(plain: Assistant, limit: int = 2**28) -> tuple[Assistant, Seen]:
    seen = Seen(plain.model, limit)
    return Assistant(plain.model, "tiny", seen), seen


def clip() -> Video:
    frames = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), dtype=np.uint8)
    return Video(encode_mkv(frames, 2, None, 16_000))


def asked() -> list[list[Message]]:
    """Two questions on one picture, one on two pictures, one on words alone."""
    one, two = Image(png(220)), Image(png(20, 60))
    return [ask("what is it", one), ask("and its colour", one), ask("which is red", two, one), ask("what is a cat")]


def test_answers_are_those_of_a_model_that_keeps_nothing(plain: Assistant) -> None:
    memory, seen = remembering(plain)
    for sampling in (FEW, replace(FEW, beams=2)):
        assert memory.answer(asked(), sampling) == plain.answer(asked(), sampling)
    assert (seen.misses, seen.hits) == (2, 6)


def test_a_clip_is_kept_too(plain: Assistant) -> None:
    memory, seen = remembering(plain)
    for _ in range(2):
        assert memory.answer([ask("what moves", clip())], FEW) == plain.answer([ask("what moves", clip())], FEW)
    assert (seen.misses, seen.hits) == (1, 1)


def test_likelihoods_and_choices_read_a_picture_once(plain: Assistant) -> None:
    memory, seen = remembering(plain)
    choices = replace(FEW, choices=("yes", "no", "a cat"))
    for messages in asked()[:2]:
        assert memory.score(messages, ["yes", "no"]) == plain.score(messages, ["yes", "no"])
        assert memory.answer([messages], choices) == plain.answer([messages], choices)
    assert (seen.misses, seen.hits) == (1, 3)


def test_a_stream_is_the_same(plain: Assistant) -> None:
    memory, _ = remembering(plain)
    assert list(memory.stream(asked()[0], FEW)) == list(plain.stream(asked()[0], FEW))


def test_what_a_file_holds_now_counts(plain: Assistant, tmp_path: Path) -> None:
    memory, seen = remembering(plain)
    path = tmp_path / "photo.png"
    for content in (png(220), png(20, 60)):
        path.write_bytes(content)
        (answer,) = memory.answer([ask("what is it", Image(str(path)))], FEW)
        (other,) = plain.answer([ask("what is it", Image(str(path)))], FEW)
        assert answer == other
    assert seen.misses == 2
    path.unlink()
    with pytest.raises(MediaError, match="does not exist"):
        memory.answer([ask("what is it", Image(str(path)))], FEW)


def test_another_name_place_or_way_of_reading_is_told_truly(plain: Assistant, tmp_path: Path) -> None:
    memory, seen = remembering(plain)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(220))
    first, second = (Image(str(tmp_path / name)) for name in ("a.png", "b.png"))
    (answer,) = memory.answer([ask("the same?", first, second, first)], FEW)
    told = [(use.part, Path(use.name).name) for use in answer.usage.media]
    assert told == [(0, "a.png"), (1, "b.png"), (2, "a.png")]
    before, reader = seen.misses, plain.model.reader
    plain.model.reader = replace(reader, policy=replace(reader.policy, min_confidence=0.1))
    try:
        memory.answer([ask("what is it", first)], FEW)
    finally:
        plain.model.reader = reader
    assert seen.misses == before + 1


@pytest.mark.parametrize("limit", [0, 10_000])
def test_it_never_holds_more_than_allowed(plain: Assistant, limit: int) -> None:
    memory, seen = remembering(plain, limit)
    pictures = [Image(png(red)) for red in range(12)]
    for picture in (*pictures, pictures[-1], pictures[0]):
        assert memory.answer([ask("what", picture)], FEW) == plain.answer([ask("what", picture)], FEW)
        assert seen.held <= limit
    assert (seen.hits, seen.misses) == ((0, 14) if limit == 0 else (1, 13))
    assert (seen.held > 0) == (limit > 0)


def test_a_refused_medium_leaves_nothing_behind(plain: Assistant) -> None:
    memory, seen = remembering(plain)
    samples: Sequence[Sample] = [Sample("0", tuple(ask("what", Image(b"no picture"))))]
    with pytest.raises(MediaError):
        seen.prompt(samples)
    assert (seen.held, seen.misses) == (0, 0)
    assert memory.answer(asked()[:1], FEW) == plain.answer(asked()[:1], FEW)
