"""Notes of what was lost are told from notes of what was done."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.evaluation.unread import unread
from sensorium.media.matroska import encode_mkv
from sensorium.media.source import Access, Limits
from sensorium.model.remote_settings import Settings
from sensorium.model.remote_wire import Sender
from sensorium.parts import Message, Text, Video


@pytest.mark.parametrize(
    "note",
    [
        "photo.jpg: 3 lines too faint to read were left out",
        "its sound was not read: it holds no samples",
        "its sound was not sent",
        "the file breaks off: its last page is missing",
        "the file breaks off before frame 3 of 9",
        "the first of 12 frames was read; give it as a video to read more",
        "the pictures end at 2.00 s, before the end that the header promises",
        "4 damaged packets of video were passed over",
        "shown by its words alone",
    ],
)
def test_what_was_lost(note: str) -> None:
    assert unread(("mixed", note))


@pytest.mark.parametrize(
    "note",
    [
        "sent as 8 pictures of frames",
        "sent whole as a file",
        "sent as a mono WAV of 16000 samples a second",
        "2 channels mixed to one",
        "transparent parts are shown on white",
        "named .jpg, but read as image/png, which it is",
        "the server does not count its tokens; 0 stands for that",
        "page 1 has no text layer: its 4 lines were recognised in the picture",
    ],
)
def test_what_was_only_done(note: str) -> None:
    assert not unread((note,))


@pytest.mark.parametrize("silent", [True, False])
def test_a_clip_sent_as_frames_has_lost_its_sound_if_it_had_one(silent: bool) -> None:
    frames = np.zeros((4, 32, 32, 3), dtype=np.uint8)
    clip = encode_mkv(frames, 2, None if silent else np.zeros(16_000, dtype=np.float32), 16_000)
    sender = Sender(Settings(base_url="http://127.0.0.1:1/v1", model="any"), Limits(), Access())
    _, (use,) = sender([Message("user", (Video(clip), Text("What?")))])
    assert any("sent as" in note for note in use.notes) and unread(use.notes) is not silent
