"""What a check says of one row's words, media and fields: each message is read here."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from sensorium.data.checking.media import MediaCheck
from sensorium.data.checking.memory import Memory, Place
from sensorium.data.checking.policy import Policy
from sensorium.data.checking.sketch import look_alike, overlap, sketch_picture, sketch_text
from sensorium.data.checking.words import check_words, repaired, unmangled
from sensorium.data.synthetic import World, mkv, png, wav
from sensorium.media.source import Limits
from sensorium.parts import Audio, Document, Image, Media, Message, Part, Role, Sample, Text, Video, message_to_json


def sample(*turns: tuple[Role, str], **meta: object) -> Sample:
    return Sample("s", tuple(Message(role, (Text(text),), role == "assistant") for role, text in turns), meta)


def said(row: Sample, **options: object) -> list[str]:
    return [f"{error.field}: {error.kind}: {error.reason}. {error.fix}" for error in check_words(row, **options)]  # type: ignore[arg-type]


FINE = (("user", "What is it?"), ("assistant", "A star."))
ORDER = "Reorder the turns: system first, then user and assistant in turn"


def test_a_sound_row_has_nothing_wrong() -> None:
    row = sample(("system", "Be brief."), *FINE, ("user", "Sure?"), ("assistant", "call"), ("tool", "7"), ("assistant", "7"))
    assert said(row) == []


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (sample(*FINE, ("system", "x"), *FINE), f"messages[2]: odd-order: is a system message after the first turn. {ORDER}"),
        (sample(("assistant", "A star.")), f"messages[0]: odd-order: is an answer before any question. {ORDER}"),
        (sample(("user", "a"), *FINE), f"messages[1]: odd-order: is a second user's turn in a row. {ORDER}"),
        (
            sample(("user", "a"), ("tool", "b"), ("assistant", "c")),
            f"messages[1]: odd-order: is a tool's result after user, not after a call. {ORDER}",
        ),
        (sample(*FINE, ("user", "a")), "messages[2]: odd-order: ends the row with a user's turn. End on an answer"),
        (
            sample(("user", "a"), ("assistant", " \n")),
            "messages[1]: empty-answer: is an answer without words. Write the answer, or remove the row",
        ),
        (
            sample(("user", ""), ("assistant", "a")),
            "messages[0]: empty-question: is a user's turn without words or media. Remove the turn",
        ),
        (
            sample(("user", "What is  it?"), ("assistant", "what is it")),
            "messages[1]: echo: answers with the question itself ('what is it'). Write the answer, or remove the row",
        ),
        (
            sample(("user", "a"), ("assistant", "grÃ¼n")),
            "messages[1]: mojibake: holds 'Ã¼' where 'ü' was meant: UTF-8 read as Windows-1252."
            " Decode the file as UTF-8, or take the repaired copy (--fix)",
        ),
        (
            sample(("user", "a"), ("assistant", "b\x07")),
            "messages[1]: control-character: holds the control character U+0007 at character 1."
            " Take it out, or take the repaired copy (--fix)",
        ),
        (
            sample(("user", "a"), ("assistant", "b\ud83d")),
            "messages[1]: lost-character: holds U+D83D at character 1, which stands for a lost one."
            " Read the original again in its own encoding",
        ),
        (
            sample(("user", "[INST] a"), ("assistant", "b")),
            "messages[0]: template-mark: holds '[INST]', a chat template's mark, which the model would learn as words."
            " Keep what was said only; the template is applied later",
        ),
        (
            sample(*FINE, rejected=[message_to_json(Message("assistant", (Text("a star"),)))]),
            "rejected: same-answers: is the chosen answer again. Give two different answers",
        ),
        (
            sample(*FINE, score=[1.0, float("inf")]),
            "score[1]: bad-number: is inf, not a finite number. Write a number, or leave the field out",
        ),
        (
            sample(*FINE, objects={"bbox": [[1, 2, "3", 4]]}),
            "objects.bbox[0]: bad-number: is \"[1, 2, '3', 4]\", not 2 or 4 numbers. Write [x0, y0, x1, y1] inside the picture",
        ),
        (
            sample(*FINE, objects={"bbox": [[0.1, 0.2, 0.5, 1.4]], "bbox_type": "norm1"}),
            "objects.bbox[0]: box-outside: is [0.1, 0.2, 0.5, 1.4], outside the picture of 1 x 1."
            " Write [x0, y0, x1, y1] inside the picture",
        ),
        (
            sample(*FINE, objects=[{"name": "star", "box": [0, 0, 0.5, 2]}]),
            "objects: wrong-type: of sample s, object 0 has the box [0, 0, 0.5, 2]."
            ' Write {"name": ..., "box": [y0, x0, y1, x1]} with 0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1',
        ),
        (
            sample(("user", "Where?"), ("assistant", '{"bbox_2d": [5, 5, 5, 9], "label": "star"}')),
            "messages[1]: box-empty: is [5, 5, 5, 9], which holds nothing. Write [x0, y0, x1, y1] inside the picture",
        ),
        (
            sample(("user", "Where?"), ("assistant", '{"bbox_2d": [5, ?], "label": "star"}')),
            "messages[1]: bad-number: writes a box that is no list of numbers ('\"bbox_2d\": [5, ?]'). Write four",
        ),
    ],
)
def test_each_message_about_words(row: Sample, expected: str) -> None:
    assert said(row) == [expected]


def test_boxes_are_held_against_the_picture_they_are_in() -> None:
    row = sample(*FINE, objects={"bbox": [[0, 0, 90, 40], [0, 0, 90, 40]], "image_id": [0, 1]})
    assert said(row, sizes=[(100, 50), (80, 50)]) == [
        "objects.bbox[1]: box-outside: is [0, 0, 90, 40], outside the picture of 80 x 50."
        " Write [x0, y0, x1, y1] inside the picture"
    ]


def test_a_row_over_the_limit_is_named() -> None:
    assert said(sample(*FINE), longest=10) == [
        "messages: too-long: have 18 characters, over the limit of 10. Split the row, or raise --longest"
    ]


@given(st.text(st.characters(min_codepoint=0x80, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc")), min_size=1))
def test_what_was_mangled_is_read_right_and_the_rest_is_left_alone(text: str) -> None:
    try:
        mangled = text.encode().decode("cp1252")
    except UnicodeDecodeError:
        return
    assert unmangled(mangled) == text


def test_words_of_many_languages_are_not_taken_for_mojibake() -> None:
    fine = "Größe café naïve Übergrößenträger Ελληνικά Привет 日本語 “quoted” — €5 £3 São Tomé ñandú Łódź"
    assert repaired(fine) == fine and said(sample(("user", "a"), ("assistant", fine))) == []


# Media


def looked(part: Media, limits: Limits | None = None) -> list[str]:
    return [f"{error.kind}: {error.reason}. {error.fix}" for error in MediaCheck(limits or Limits())(part).faults]


def test_each_message_about_media(tmp_path: Path) -> None:
    scene = World(0).scene(0)
    whole = png(scene.picture())

    def put(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    nowhere, folder = str(tmp_path / "nowhere.png"), str(tmp_path)
    wide = png(np.ascontiguousarray(np.tile(scene.picture(), (1, 20, 1))))
    flat = png(np.full((9, 9, 3), 7, np.uint8))
    named = put("a.jpg", whole)
    for part, expected in [
        (Image(nowhere), f"missing-media: {nowhere} does not exist. Correct the path, or give --media FOLDER"),
        (Image(folder), f"missing-media: {folder} is a folder. Correct the path, or give --media FOLDER"),
        (Image(put("0.png", b"")), f"empty-media: {tmp_path}/0.png has 0 bytes. Copy it again, or remove the row"),
        (Image(named), f"wrong-extension: {named} is named .jpg, but read as image/png, which it is. Rename it to what it is"),
        (Image(put("b.png", wide)), f"absurd-size: {tmp_path}/b.png is 1280 x 64 pixels: a side is under 8, or under 1/16"),
        (Image(put("c.png", flat)), f"blank-image: {tmp_path}/c.png is of one colour. Remove the row, or find the real"),
        (Image(put("d.png", whole[:300])), f"damaged-media: {tmp_path}/d.png cannot be read as a picture ("),
        (Image(put("e.png", b"<html>")), f"wrong-medium: {tmp_path}/e.png is text/plain, not of kind image. Put it into"),
        (Audio(put("f.wav", wav(np.zeros(4000, np.float32)))), f"silent-audio: {tmp_path}/f.wav is silent throughout. "),
        (Audio(put("g.wav", wav(scene.sound()[:100]))), f"absurd-size: {tmp_path}/g.wav lasts 0.006 s, under 0.05 s. "),
        (Audio(put("h.wav", whole)), f"wrong-medium: {tmp_path}/h.wav is image/png, not of kind audio. "),
        (Video(put("i.mkv", mkv(scene.clip())[:900])), f"damaged-media: {tmp_path}/i.mkv "),
        (Video(put("j.mkv", wav(scene.sound()))), f"wrong-medium: {tmp_path}/j.mkv is audio/wav, not of kind video. "),
        (Document(put("k.pdf", b"%PDF-1.4 nothing")), f"damaged-media: {tmp_path}/k.pdf "),
        (Image("javascript:alert(1)"), "missing-media: javascript:alert(1) does not exist. "),
    ]:
        assert [message[: len(expected)] for message in looked(part)] == [expected]
    assert looked(Image(put("l.png", whole)), Limits(pixels=100))[0].startswith("absurd-size: ")
    for part in (Image(whole), Audio(wav(scene.sound())), Video(put("m.mkv", mkv(scene.clip())))):
        assert looked(part) == []
    assert not MediaCheck()(Image("https://example.org/a.png")).fetched


# Licence, consent, language


def judged(policy: Policy, rows: list[dict[str, object]]) -> list[str]:
    found = []
    for number, meta in enumerate(rows, 1):
        parts: tuple[Part, ...] = (Text(str(meta.pop("said", "A red star."))),)
        row = Sample("s", (Message("assistant", parts, learn=True),), meta)
        found += [error.at("f", number) for error in policy(row, "f", number)]
    found += policy.end()
    return [f"{fault.row} {fault.field}: {fault.kind}: {fault.reason}. {fault.fix}" for fault in found]


def test_licences_and_consent() -> None:
    rows: list[dict[str, object]] = [{"licence": "MIT"}, {"licence": "proprietary, ask"}, {}, {"licence": "cc-by-4.0"}]
    assert judged(Policy(), [dict(row) for row in rows]) == [
        "2 licence: forbidden-licence: is 'proprietary, ask', which allows no use. Remove the row",
        "3 licence: missing-licence: is missing, while 3 of 4 rows have it. Fill it in",
    ]
    assert judged(Policy(("CC-BY*",)), [dict(row) for row in rows]) == [
        "1 licence: forbidden-licence: is 'MIT', none of CC-BY*. Remove the row, or allow it with --licence",
        "2 licence: forbidden-licence: is 'proprietary, ask', none of CC-BY*. Remove the row, or allow it with --licence",
        "3 licence: missing-licence: is missing. Say under which licence the row may be used",
    ]
    assert judged(Policy(), [{"consent": True}, {"consent": "Withdrawn"}, {"consent": "yes"}]) == [
        "2 consent: no-consent: is 'Withdrawn': whom the row shows did not agree. Remove the row"
    ]
    assert judged(Policy(), [{}, {}, {}]) == []


def test_languages_by_declaration_and_by_custom() -> None:
    def identify(text: str) -> tuple[str, float]:
        return ("de" if " und " in text else "en"), (0.5 if "?" in text else 0.99)

    english, german = "a star and a circle inside of it", "ein Stern und ein Kreis darin"
    rows: list[dict[str, object]] = [{"said": english} for _ in range(19)] + [{"said": german}, {"said": german + "?"}]
    assert judged(Policy(identify=identify), rows) == [
        "20 messages: odd-language: is in 'de', as are 1 of 20 rows, while 19 are in 'en'."
        " Remove the row, or declare its language"
    ]
    declared: list[dict[str, object]] = [{"said": german, "language": "de-AT"}, {"said": german, "language": "EN"}]
    assert judged(Policy(identify=identify), declared) == [
        "2 language: wrong-language: is declared 'EN', but the answer reads as 'de' (99% sure)."
        " Correct the field, or the answer"
    ]
    mixed: list[dict[str, object]] = [{"said": english}, {"said": german}] * 10
    assert judged(Policy(identify=identify), [dict(row) for row in mixed]) == []


# Alike


def test_scaled_and_pressed_pictures_look_alike_and_others_do_not() -> None:
    world = World(3)
    sketches = [sketch_picture(world.scene(index).picture()) for index in range(60)]
    assert not any(look_alike(sketches[one], sketches[two]) for one in range(60) for two in range(one))
    alike = 0
    for index in range(60):
        file = io.BytesIO()
        Pillow.fromarray(world.scene(index).picture()).resize((72, 72)).save(file, "JPEG", quality=85)
        alike += look_alike(sketches[index], sketch_picture(np.asarray(Pillow.open(file).convert("RGB"))))
    assert alike >= 55


@given(st.integers(0, 30))
def test_the_sketch_estimates_how_much_two_texts_share(changed: int) -> None:
    words = [f"word{number * number}" for number in range(200)]
    other = [f"other{number}" if number < changed else word for number, word in enumerate(words)]

    def shingles(text: str) -> set[str]:
        return {text[place : place + 8] for place in range(len(text) - 7)}

    one, two = " ".join(words), " ".join(other)
    true = len(shingles(one) & shingles(two)) / len(shingles(one) | shingles(two))
    first, second = sketch_text(one), sketch_text(two)
    assert first is not None and second is not None
    assert abs(overlap(first, second) - true) < 0.25
    assert sketch_text("too short to tell") is None


def test_memory_remembers_the_first_place_of_texts_and_pictures() -> None:
    memory = Memory()
    here, there = Place("f", 1), Place("f", 9)
    text = sketch_text("A large red circle and a small blue star on a dark ground.")
    near = sketch_text("A large red circle and a small blue star on a dark ground!")
    far = sketch_text("Nine ships went over the sea, and only one of them came home.")
    assert text is not None and near is not None and far is not None
    assert memory.same("row", b"a", here) is None and memory.same("row", b"a", there) == here
    assert memory.same("picture", b"a", there) is None
    assert memory.near_text(text, b"x", here) is None
    found = memory.near_text(near, b"x", there)
    assert found is not None and found[0] == here and found[1] >= 0.85
    assert memory.near_text(near, b"other media", there) is None and memory.near_text(far, b"x", there) is None
    sketch = sketch_picture(World(1).scene(1).picture())
    assert memory.near_picture(sketch, here) is None and memory.near_picture(sketch, there) == here
    memory.close()
