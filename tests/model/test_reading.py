"""What each medium shows the model, and that the account of it is true."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as Pillow

from sensorium.batch import Modality
from sensorium.cli.scene import PAGE, lay_out
from sensorium.errors import LimitError, RequestError
from sensorium.media.audio import Sound
from sensorium.media.source import Limits
from sensorium.model.presets import tiny
from sensorium.model.reading import Policy, Reader
from sensorium.parts import Audio, Document, Image, Message, Reading, Sample, Text, Video


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {name: str(path) for name, path in lay_out(tmp_path_factory.mktemp("media")).items()}


def listen(sound: Sound) -> Sequence[Reading]:
    """A recogniser that hears two words in the first and the second half."""
    middle = (sound.start + sound.stop) / 2
    return [Reading("hello", (sound.start, middle)), Reading("there", (middle, sound.stop))]


@pytest.fixture(scope="module")
def reader() -> Reader:
    return replace(tiny().reader, listen=listen, policy=Policy(words_in_images=False))


def test_a_picture_is_its_tiles(reader: Reader, media: dict[str, str]) -> None:
    shown = reader.show(Image(media["photo"]))
    assert [piece.modality for piece in shown.pieces] == [Modality.IMAGE] * shown.use.tiles
    assert shown.use.kind == "image"
    assert shown.use.name.endswith("astronaut.jpg")


def test_a_recording_is_sound_and_the_words_heard_in_it(reader: Reader, media: dict[str, str]) -> None:
    shown = reader.show(Audio(media["note"]))
    kinds = [piece.modality for piece in shown.pieces]
    assert kinds[0] is Modality.AUDIO
    assert kinds[-2:] == [Modality.TEXT] * 2
    assert shown.pieces[-1].text == "there\n"
    assert shown.pieces[-1].extent == pytest.approx((shown.use.seconds / 2, shown.use.seconds))
    assert shown.use.words == 2
    assert shown.use.seconds == pytest.approx(shown.use.seconds_total)


def test_a_stretch_of_a_recording_is_accounted_for_as_such(reader: Reader, media: dict[str, str]) -> None:
    use = reader.show(Audio(media["note"], 1.0, 3.0)).use
    assert use.seconds == pytest.approx(2.0, abs=0.01)
    assert use.seconds_total > 6


def test_a_recording_longer_than_its_features_go_is_its_words_alone(reader: Reader, media: dict[str, str]) -> None:
    short = replace(reader, policy=replace(reader.policy, sound_features=2.5))
    shown = short.show(Audio(media["note"]))
    assert [piece.modality for piece in shown.pieces] == [Modality.TEXT] * 2
    assert shown.use.notes[-1] == "shown by its words alone"
    assert short.show(Audio(media["note"], 1.0, 3.0)).pieces[0].modality is Modality.AUDIO
    with pytest.raises(
        RequestError, match=r"holds no words that could be recognised; this model hears other sounds up to 2.5 s"
    ):
        replace(short, listen=lambda sound: []).show(Audio(media["note"]))


def test_a_spoken_question_is_laid_out_like_a_typed_one(media: dict[str, str]) -> None:
    model = tiny()
    model.reader = replace(model.reader, listen=listen)
    spoken = model.batch([Sample("s", (Message("user", (Audio(media["question"], spoken=True),)),))], reply=True)
    typed = model.batch([Sample("t", (Message("user", (Text("hello there"),)),))], reply=True)
    assert spoken.ids_BL.tolist() == typed.ids_BL.tolist()
    assert spoken.placements[0].extent[0] == 0.0
    assert spoken.uses[0][0].words == 2


def test_a_spoken_question_without_words_is_refused(reader: Reader, media: dict[str, str]) -> None:
    deaf = replace(reader, listen=lambda sound: [])
    with pytest.raises(RequestError, match="holds no words"):
        deaf.show(Audio(media["question"], spoken=True))


def test_a_clip_is_its_frames_and_what_is_said(reader: Reader, media: dict[str, str]) -> None:
    shown = reader.show(Video(media["clip"]))
    assert shown.pieces[0].modality is Modality.VIDEO
    assert len(shown.use.frames) == reader.policy.frames < shown.use.frames_total
    assert shown.use.words == 2
    assert shown.use.seconds == pytest.approx(6.15, abs=0.2)


def test_a_page_is_its_lines_with_boxes(reader: Reader, media: dict[str, str]) -> None:
    shown = reader.show(Document(media["page"]))
    assert [piece.text for piece in shown.pieces] == [f"{line}\n" for line in PAGE if line]
    assert {piece.page for piece in shown.pieces} == {1}
    assert all(len(piece.extent) == 4 for piece in shown.pieces)
    assert (shown.use.pages, shown.use.pages_total) == ((1,), 1)


def test_pages_may_be_shown_as_pictures_too(reader: Reader, media: dict[str, str]) -> None:
    shown = replace(reader, policy=Policy(page_pictures=True)).show(Document(media["page"]))
    assert shown.pieces[0].modality is Modality.IMAGE
    assert shown.pieces[0].page == 1
    assert shown.use.tiles >= 1


def test_a_medium_without_a_tower_is_refused_and_never_dropped(reader: Reader, media: dict[str, str]) -> None:
    blind = replace(reader, encoders={}, connectors={})
    for part in (Image(media["photo"]), Audio(media["note"]), Video(media["clip"])):
        with pytest.raises(RequestError, match="has no encoder for"):
            blind.show(part)


def test_speech_recognition_is_needed_for_a_spoken_question(reader: Reader, media: dict[str, str]) -> None:
    with pytest.raises(RequestError, match="speech recognition"):
        replace(reader, listen=None).show(Audio(media["question"], spoken=True))


def test_the_limits_of_the_reader_hold(reader: Reader) -> None:
    file = io.BytesIO()
    Pillow.new("RGB", (200, 200)).save(file, "PNG")
    with pytest.raises(LimitError, match="40000|40,000"):
        replace(reader, limits=Limits(pixels=1000)).show(Image(file.getvalue()))


@pytest.mark.slow
def test_words_in_a_picture_are_read_with_their_boxes(reader: Reader, tmp_path: Path) -> None:
    from PIL import ImageDraw

    path = tmp_path / "sign.png"
    picture = Pillow.new("RGB", (400, 120), "white")
    ImageDraw.Draw(picture).text((30, 40), "HELLO 42", fill="black", font_size=40)
    picture.save(path)
    shown = replace(reader, policy=Policy()).show(Image(str(path)))
    assert shown.pieces[-1].text == "HELLO 42\n"
    assert shown.use.words == 2
