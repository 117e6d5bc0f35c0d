"""The shared space: unit vectors of every medium, pictures near themselves, and no words read where none count."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from PIL import Image as Pillow

from sensorium.errors import RequestError
from sensorium.media import ocr
from sensorium.model.generate import Assistant
from sensorium.model.presets import tiny
from sensorium.parts import Audio, Image, Message, Reading, Text


def picture(colour: tuple[int, int, int]) -> Image:
    file = io.BytesIO()
    Pillow.new("RGB", (40, 30), colour).save(file, "PNG")
    return Image(file.getvalue())


@pytest.fixture(scope="module")
def assistant() -> Assistant:
    return Assistant(tiny(), "tiny")


def user(*parts: Image | Text | Audio) -> Message:
    return Message("user", parts)


def test_every_vector_has_length_one(assistant: Assistant) -> None:
    vectors_PD = assistant.embed([user(Text("a dog")), user(picture((200, 0, 0))), user(Text("a dog"), picture((0, 0, 200)))])
    torch.testing.assert_close(vectors_PD.norm(dim=1), torch.ones(3))


def test_equal_things_have_equal_vectors_and_others_do_not(assistant: Assistant) -> None:
    red, again, blue = assistant.embed([user(picture((200, 0, 0))), user(picture((200, 0, 0))), user(picture((0, 0, 200)))])
    torch.testing.assert_close(red, again)
    assert not torch.allclose(red, blue)


def test_words_in_a_picture_are_not_read_for_its_vector(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: object) -> tuple[Reading, ...]:
        raise AssertionError("read")

    monkeypatch.setattr(ocr, "read", never)
    assert assistant.embed([user(picture((200, 0, 0)))]).shape[0] == 1


def test_speech_is_embedded_as_its_words(assistant: Assistant) -> None:
    model = assistant.model
    model.reader = replace(model.reader, listen=lambda sound: [Reading("a dog", (0.0, 0.5))])
    wave = b"RIFF" + (36 + 16_000).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    wave += b"\x01\x00\x01\x00" + (16_000).to_bytes(4, "little") + (32_000).to_bytes(4, "little") + b"\x02\x00\x10\x00data"
    wave += (16_000).to_bytes(4, "little") + bytes(16_000)
    spoken, typed = assistant.embed([user(Audio(wave)), user(Text("a dog"))])
    torch.testing.assert_close(spoken, typed)


def test_a_message_without_parts_and_a_model_without_a_space_are_refused(assistant: Assistant) -> None:
    with pytest.raises(RequestError, match="has no parts"):
        assistant.embed([Message("user", ())])
    bare = tiny()
    bare.dual = None
    with pytest.raises(RequestError, match="no shared space"):
        Assistant(bare, "bare").embed([user(Text("a"))])
