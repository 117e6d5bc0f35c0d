"""Harmed clips: the frames that a model looks at are those meant, and the sound stays."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from sensorium.data.synthetic import World, mkv
from sensorium.evaluation.stress import video
from sensorium.evaluation.stress.video import FRAMES, KINDS, MOVED, SHARES, remake
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import media
from sensorium.media.matroska import encode_mkv
from sensorium.media.video import Clip, decode
from sensorium.parts import Message, Sample, Video


def counted(frames: int = 48, fps: int = 12) -> bytes:
    """A clip whose every frame has its number as its shade; with sound."""
    shades = np.arange(frames, dtype=np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2).repeat(3, 3)
    wave_T = 0.1 * np.sin(np.arange(frames * 16_000 // fps) / 9).astype(np.float32)
    return encode_mkv(shades, fps, wave_T)


def shades(clip: Clip) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in clip.frames_FCHW]


@pytest.mark.parametrize("frames", [8, 24])
def test_written_again_in_order_a_clip_shows_the_same_pictures(frames: int) -> None:
    again = remake(Video(counted()), range(FRAMES))
    before, after = decode(counted(), frames=frames), decode(again.source, frames=frames)
    assert torch.equal(before.frames_FCHW, after.frames_FCHW)
    assert after.seconds == pytest.approx(before.seconds, abs=0.05)
    assert before.sound is not None and after.sound is not None
    assert torch.allclose(before.sound.wave_T, after.sound.wave_T[: len(before.sound.wave_T)], atol=1e-4)


def test_a_clip_of_few_frames_and_one_without_sound_can_be_written_again() -> None:
    film = mkv(World(0).scene(2).clip())
    assert torch.equal(decode(remake(Video(film), range(FRAMES)).source).frames_FCHW, decode(film).frames_FCHW)
    silent = encode_mkv(np.zeros((3, 8, 8, 3), np.uint8), 4)
    assert decode(remake(Video(silent), range(FRAMES)).source).sound is None


def test_a_stretch_is_what_is_written() -> None:
    part = remake(Video(counted(), start=2.0, stop=4.0), range(FRAMES))
    clip = decode(part.source)
    assert clip.seconds == pytest.approx(2.0, abs=0.05) and min(shades(clip)) >= 24


def test_reversed_frames_go_back_and_a_frozen_frame_stays() -> None:
    plain = shades(decode(counted(), frames=FRAMES))
    assert shades(decode(remake(Video(counted()), video.backwards(1, 0)).source, frames=FRAMES)) == plain[::-1]
    assert set(shades(decode(remake(Video(counted()), video.frozen(1, 0)).source))) == {plain[FRAMES // 2]}


def test_orders_lose_and_move_the_stated_shares() -> None:
    for level in range(1, 6):
        lost, moved = video.dropped(level, 9), video.shuffled(level, 9)
        assert len(set(lost)) == FRAMES - round(SHARES[level - 1] * (FRAMES - 1))
        assert lost[0] == 0 and lost == sorted(lost) and all(frame <= place for place, frame in enumerate(lost))
        assert Counter(moved) == Counter(range(FRAMES))
        assert sum(frame != place for place, frame in enumerate(moved)) == round(MOVED[level - 1] * FRAMES)


def test_variants_are_the_same_each_time_and_a_broken_clip_stays() -> None:
    item = Item(Sample("a", (Message("user", (Video(counted()),)),)), {})
    broken = Item(Sample("b", (Message("user", (Video(b"\x1aE\xdf\xa3 nothing more"),)),)), {})
    for kind in KINDS:
        variant = kind.variants()[-1]
        assert variant.change([item, broken], 0) == variant.change([item, broken], 0)
        assert media(variant.change([item, broken], 0)) != media(item)
        assert variant.change([item, broken], 1) == broken
    assert [variant.name for kind in KINDS[2:] for variant in kind.variants()] == ["frames-reversed", "frames-frozen"]
