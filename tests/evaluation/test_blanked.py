"""Blanked media are as large and as long as what they stand for, hold nothing, and are the same bytes each time."""

from __future__ import annotations

from sensorium.data.synthetic import World
from sensorium.data.synthetic.clip import mkv
from sensorium.data.synthetic.draw import png
from sensorium.data.synthetic.sound import wav
from sensorium.evaluation.blanked import BLANKED, blank
from sensorium.evaluation.task import Item
from sensorium.media import audio, document, image, video
from sensorium.parts import Audio, Document, Image, Message, Sample, Text, Video
from tests.media.made import pdf

SCENE = World(1).scene(3)


def test_a_picture_becomes_grey() -> None:
    fresh = blank(Image(png(SCENE.picture())))
    assert isinstance(fresh, Image)
    pixels = image.decode(fresh.source).pixels_CHW
    assert pixels.shape == (3, 64, 64) and set(pixels.unique().tolist()) == {128}


def test_a_recording_becomes_silence_of_the_same_stretch() -> None:
    fresh = blank(Audio(wav(SCENE.sound()), start=0.1, stop=0.3))
    assert isinstance(fresh, Audio)
    sound = audio.decode(fresh.source)
    assert abs(sound.seconds - 0.2) < 1e-3 and float(sound.wave_T.abs().max()) == 0


def test_a_spoken_question_is_still_asked() -> None:
    part = Audio(wav(SCENE.sound()), spoken=True)
    assert blank(part) is part


def test_a_clip_becomes_grey_and_silent() -> None:
    source = mkv(SCENE.clip())
    before, fresh = video.decode(source, frames=2), blank(Video(source))
    assert isinstance(fresh, Video)
    after = video.decode(fresh.source, frames=2)
    assert after.frames_FCHW.shape[1:] == before.frames_FCHW.shape[1:] and after.sound is not None
    assert abs(after.seconds - before.seconds) < 0.5
    assert int(after.frames_FCHW.amax()) - int(after.frames_FCHW.amin()) <= 2 and float(after.sound.wave_T.abs().max()) == 0


def test_pages_become_white_pages_of_their_size() -> None:
    fresh = blank(Document(pdf([["one"], ["two"], ["three"]]), first=2))
    assert isinstance(fresh, Document)
    pages = list(document.decode(fresh.source, dpi=72))
    assert [page.readings for page in pages] == [(), ()]
    assert all(page.picture.pixels_CHW.shape == (3, 200, 300) and int(page.picture.pixels_CHW.min()) == 255 for page in pages)


def test_the_item_keeps_its_words_and_its_name_and_is_the_same_each_time() -> None:
    parts = (Image(png(SCENE.picture())), Text("What is it?"), Document(pdf([["one"]])), Video(mkv(SCENE.clip())))
    item = Item(Sample("a", (Message("user", parts),)), {"answer": "moon"})
    fresh = BLANKED.change([item], 0)
    assert fresh.sample.id == "a" and fresh.gold == item.gold and fresh.sample.messages[0].parts[1] == Text("What is it?")
    assert fresh == BLANKED.change([item], 0) != item
