"""Each stage of `nano`'s training at toy size, on made-up features, with the tiny model."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from recipes import (
    nano_alike,
    nano_asked,
    nano_beside,
    nano_codes,
    nano_course,
    nano_data,
    nano_digits,
    nano_features,
    nano_fresh,
    nano_model,
    nano_naming,
    nano_photos,
    nano_retrieval,
    nano_reward,
    nano_rooms,
    nano_teacher,
    nano_things,
)
from sensorium.errors import RequestError
from sensorium.fusion.resampler import Resampler, ResamplerConfig
from sensorium.heads.embedding import EmbeddingConfig, EmbeddingHead, ResidualMap
from sensorium.media import audio
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.presets import Trained, tiny
from sensorium.training.features import FeatureStore
from sensorium.training.schedule import Plan

DOG = ("a dog runs on the grass .", "the dog", "Dog on grass", "a brown dog", "an animal")
MAN = ("a man on a bike", "man with a bike .", "he rides a bike", "a man", "a rider")


def store(folder: Path, names: list[str], steps: int, dim: int) -> FeatureStore:
    torch.manual_seed(0)
    made = FeatureStore(folder, dim, names)
    list(made.fill(lambda some: [torch.randn(steps, dim) for _ in some]))
    return made


def photos(count: int) -> list[nano_data.Photo]:
    return [nano_data.Photo(f"{number}.jpg", "train", DOG if number % 2 else MAN) for number in range(count)]


def course(folder: Path, count: int = 18) -> nano_course.Course:
    rows = [nano_data.PictureQuestion("room.jpg", "train", f"What is {word}?", "chair") for word in ("red", "big", "old")]
    names = [f"{number}.jpg{end}" for number in range(count) for end in ("", " mirrored")]
    rooms = nano_asked.Album(store(folder / "rooms", ["room.jpg"], 49, 24), rows, 2.0, 2)
    return nano_course.Course(photos(count), store(folder / "photos", names, 49, 24), [rooms], [rooms])


def test_rows_are_read_and_a_tenth_of_the_rooms_is_kept_aside(tmp_path: Path) -> None:
    rows = [{"image": f"{n}.jpg", "split": "train", "question": "what is_on it ?", "answer": "tea_kettle"} for n in range(20)]
    (tmp_path / "daquar").mkdir()
    (tmp_path / "daquar" / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    read = nano_data.rooms(tmp_path)
    assert [row.split for row in read].count("dev") == 2
    assert read[0].question == "What is on it?"
    assert read[0].answer == "tea kettle"
    with pytest.raises(RequestError, match=r"captions\.jsonl: is not there.*--data FOLDER"):
        nano_data.photos(tmp_path)


def test_photos_are_learned(tmp_path: Path) -> None:
    model, said = tiny(adapter=True), []
    tensors = nano_photos.run(model, course(tmp_path), Plan(steps=30, warmup=2), tmp_path / "state", said.append, workers=1)
    first, last = (float(text.split("loss ")[1].split()[0]) for text in (_told(tmp_path, 1), _told(tmp_path, 30)))
    assert last < first
    assert said
    assert {name.split(".")[0] for name in tensors} == {"connectors", "base_model"}


def _told(folder: Path, steps: int) -> str:
    """What a run of so many steps says at its end."""
    said: list[str] = []
    torch.manual_seed(0)
    run = course(folder)
    nano_photos.run(tiny(adapter=True), run, Plan(steps=steps, warmup=2), None, said.append, workers=1, every=steps)
    return said[-1]


def test_every_epoch_asks_other_questions_about_every_photo(tmp_path: Path) -> None:
    asked = [course(tmp_path).asked(epoch) for epoch in (0, 0, 1)]
    assert asked[0][0].turns == asked[1][0].turns
    assert [item.turns for item in asked[0]] != [item.turns for item in asked[2]]
    rooms = [item for item in asked[0] if item.store.names == ["room.jpg"]]
    assert [len(item.turns) for item in rooms] == [2, 2]
    assert all(len(item.turns) >= 5 for item in asked[0] if item not in rooms)
    batches = nano_asked.alike(asked[0], 4, 0)
    assert sorted(len(batch) for batch in batches) == [4, 4, 4, 4, 4]


def test_later_epochs_ask_the_later_albums_with_all_their_answers(tmp_path: Path) -> None:
    made = course(tmp_path)
    (rooms,) = made.later
    soft = {row: ((row.answer, 0.75), ("table", 0.25)) for row in rooms.rows}
    made = nano_course.Course(photos(18), made.views, made.albums, [rooms._replace(pictures=1.0, soft=soft)])
    first, later = ([item for item in made.asked(epoch) if item.store.names == ["room.jpg"]] for epoch in (0, 1))
    assert [len(item.turns) for item in first] == [2, 2]
    assert [[turn[1:] for turn in item.turns] for item in later] == [[("Chair.", 0.75), ("Table.", 0.25)] * 2]


def rooms_asked(names: list[str]) -> list[nano_data.PictureQuestion]:
    asked = [("What colour is the wall?", "white"), ("How many chairs?", "2")]
    return [nano_data.PictureQuestion(name, "train", *pair) for name in names for pair in asked]


KERNEL = nano_alike.Kernel(0.5, 0.5, 0.5, 0.5, 0.7)


def test_what_is_told_of_a_picture_rests_on_all_others() -> None:
    torch.manual_seed(0)
    model, rows = tiny(), rooms_asked([f"{number}.jpg" for number in range(6)])
    rows = [row._replace(answer=["white", "2", "red"][number % 3]) for number, row in enumerate(rows)]
    looks = {row.path: torch.randn(4, 8) for row in rows}
    teacher = nano_teacher.Teacher(rows, looks, model.dual, KERNEL)
    kernel_QQ = teacher.asked_NN[teacher.of_question][:, teacher.of_question]
    kernel_QQ = kernel_QQ * teacher.seen_PP[teacher.of_picture][:, teacher.of_picture]
    right_QA = torch.tensor([[float(row.answer == text) for text in teacher.answers] for row in rows])
    for path, own in teacher.owners.items():
        rest = [line for line in range(12) if line not in own]
        ridge = kernel_QQ[rest][:, rest] + KERNEL.ridge * torch.eye(len(rest))
        expected_OA = (kernel_QQ[own][:, rest] @ torch.linalg.solve(ridge, right_QA[rest])).clamp_min(0).square()
        told = teacher.told(path, own)
        for line, weights in enumerate(told):
            found_A = torch.tensor([weights[text] for text in teacher.answers])
            torch.testing.assert_close(found_A, expected_OA[line] / expected_OA[line].sum(), rtol=1e-4, atol=1e-5)


def test_a_teacher_adds_what_others_answer() -> None:
    names, model = [f"{number}.jpg" for number in range(12)], tiny()
    rows = rooms_asked(names)
    odd = rows[0]._replace(answer="odd")
    unseen = rows[3]._replace(split="dev")
    looks = {name: torch.randn(4, 8) for name in names}
    soft = nano_teacher.Teacher([*rows[1:], odd, unseen], looks, model.dual, KERNEL).soft(0.6)
    assert dict(soft[odd])["white"] > dict(soft[odd]).get("2", 0)
    assert dict(soft[odd])["odd"] == pytest.approx(0.4)
    assert all(sum(weight for _, weight in answers) == pytest.approx(1, abs=0.05) for answers in soft.values())
    assert unseen not in soft


def test_questions_are_crossed_with_other_pictures() -> None:
    names, model = [f"{number}.jpg" for number in range(12)], tiny()
    rows = [*rooms_asked(names), nano_data.PictureQuestion("0.jpg", "train", "What is on the bed?", "2")]
    teacher = nano_teacher.Teacher(rows, {name: torch.randn(4, 8) for name in names}, model.dual, KERNEL)
    turns = [turn for seed in range(20) for turn in teacher.turns("5.jpg", random.Random(seed))]
    assert {question for question, _, _ in turns} == {row.question for row in rows}
    one = list(teacher.turns("0.jpg", random.Random(0)))
    assert len({question for question, _, _ in one}) == 3
    for asked in {question for question, _, _ in one}:
        assert sum(weight for question, _, weight in one if question == asked) == pytest.approx(1, abs=0.07)


def test_things_are_told_by_the_captions_of_other_photos() -> None:
    torch.manual_seed(0)
    looks_NTD = torch.randn(40, 4, 6)
    looks_NTD[::2, :, 0] += 6
    captions = [("a dog runs", "the dog") if row % 2 == 0 else ("a man stands", "the man") for row in range(40)]
    captions[0] = ("a man stands", "the man")
    things = nano_things.Things(captions, looks_NTD)
    sure_ND = things.sure_NC[:, things.column["a dog"]]
    assert bool((sure_ND[::2] > 0.5).all())
    assert bool((sure_ND[1::2] < 0.5).all())
    named = (captions[0], ("a dog runs", "the dog"))
    for truth in named:
        other = nano_things.Things([truth, *captions[1:]], looks_NTD)
        assert float(other.sure_NC[0, things.column["a dog"]]) > 0.5, "its own captions speak against it, or for it"
    expected_NC = nano_things._left_out(said_NC := torch.rand(40, 3), looks_NTD)
    kernel_NN = torch.exp((nano_alike.of_pictures(looks_NTD) - 1) / nano_things.LOOKS)
    rest = torch.arange(1, 40)
    ridge_RR = kernel_NN[rest][:, rest] + nano_things.RIDGE * torch.eye(39)
    told_C = kernel_NN[0, rest] @ torch.linalg.solve(ridge_RR, said_NC[rest] - said_NC.mean(0)) + said_NC.mean(0)
    torch.testing.assert_close(expected_NC[0], told_C, rtol=1e-4, atol=1e-5)


def test_things_are_asked_with_both_answers_and_as_often_absent_as_present() -> None:
    captions = [("a dog runs", "the dog") if row % 2 == 0 else ("a man stands", "the man") for row in range(40)]
    turns = nano_things.Things(captions, torch.randn(40, 4, 6)).turns(3)
    dogs = [(row, reply, weight) for row, asked in turns.items() for question, reply, weight in asked if "a dog" in question]
    assert len({row for row, *_ in dogs if row % 2 == 0}) == len({row for row, *_ in dogs if row % 2}) == 20
    for row in turns:
        count = len({question for question, *_ in turns[row]})
        assert sum(weight for *_, weight in turns[row]) == pytest.approx(count, abs=nano_things.LEAST * count)


def beside(folder: Path, model: MultimodalLM) -> nano_beside.Beside:
    names = [f"{number}.jpg" for number in range(12)]
    rooms = nano_asked.Album(store(folder / "indoors", names, 49, 24), rooms_asked(names), 1.0, 2)
    drawings = course(folder)
    made = nano_course.Course(photos(18), drawings.views, [rooms, *drawings.albums], [rooms])
    teacher = nano_teacher.Teacher(rooms.rows, nano_alike.looks(rooms.store), model.dual, KERNEL)
    seen = torch.stack([made.views[2 * index].float() for index in made.photos])
    things = nano_things.Things([photo.captions for photo in made.photos.values()], seen)
    return nano_beside.Beside(made, things, rooms.store, teacher, drawings.albums[0])


def test_beside_captions_all_kinds_are_asked_in_every_step(tmp_path: Path) -> None:
    others = beside(tmp_path, tiny(adapter=True))
    steps, views = list(others(5)), others.course.views
    assert len(steps) > 1
    for step in steps[:-1]:
        assert [item.store is views for item in step] == [True] * nano_beside.PHOTOS + [False] * 9
    assert len(steps[-1]) <= nano_beside.SIZE
    assert all(item.turns for step in steps for item in step)
    asked = [item.view // 2 for step in steps for item in step if item.store is views]
    assert len(asked) == len(set(asked))


def test_rooms_are_told_while_captions_stay(tmp_path: Path) -> None:
    model, said = tiny(adapter=True), []
    names = [f"{number}.jpg" for number in range(12)]
    rooms = nano_asked.Album(store(tmp_path / "indoors", names, 49, 24), rooms_asked(names), 1.0, 2)
    made = nano_course.Course(photos(18), course(tmp_path).views, [rooms], [rooms])
    teacher = nano_teacher.Teacher(rooms.rows, nano_alike.looks(rooms.store), model.dual, KERNEL)
    before = model.connectors["image"].get_parameter("linear_1.weight").clone()
    plan = Plan(steps=12, warmup=1)
    tensors = nano_rooms.run(model, made, rooms.store, teacher, plan, None, said.append, workers=1, every=1)
    assert not torch.equal(tensors["connectors.image.linear_1.weight"], before)
    changed = [float(text.split("changed ")[1].split()[0]) for text in said]
    assert changed[0] == pytest.approx(0.0, abs=1e-5)
    assert all(value < 0.01 for value in changed), changed
    told = [float(text.split("loss ")[1].split()[0]) for text in said]
    assert told[-1] < told[0]
    assert {name.split(".")[0] for name in tensors} == {"connectors", "base_model"}


def test_what_captions_agree_on_is_asked(tmp_path: Path) -> None:
    pack = ("two dogs play", "Two dogs run", "two dogs", "a red ball", "the red ball")
    rows = [nano_data.Photo("pack.jpg", "train", pack)]
    made = nano_course.Course(rows, store(tmp_path, ["pack.jpg", "pack.jpg mirrored"], 4, 8), [], [])
    assert {reply for _, reply, _ in made.questions(0)[0]} == {"2.", "Red."}
    assert {"2.", "Red.", "Two dogs play."} <= set(made.texts())


def test_captions_are_practised_beside_questions(tmp_path: Path) -> None:
    model, said = tiny(adapter=True), []
    before = model.connectors["image"].get_parameter("linear_1.weight").clone()
    plan, others = Plan(steps=3, warmup=1), beside(tmp_path, model)
    tensors = nano_reward.run(
        model, others.course, others, nano_reward.Practice(12, 2e-4), plan, tmp_path / "state", said.append, workers=1, every=1
    )
    assert not torch.equal(tensors["connectors.image.linear_1.weight"], before)
    assert all("reward" in text and "loss" in text for text in said)
    assert {name.split(".")[0] for name in tensors} == {"connectors", "base_model"}


def test_drawings_have_questions_of_three_splits() -> None:
    pytest.importorskip("easy_vqa")
    rows = nano_data.drawings()
    assert {split: sum(row.split == split for row in rows) for split in ("train", "dev", "test")}["test"] == 9673
    assert not {row.path for row in rows if row.split == "dev"} & {row.path for row in rows if row.split == "train"}
    assert rows[0].question[0].isupper()


def test_codes_make_the_frozen_model_say_their_words(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = tiny(adapter=True)
    said: list[str] = []
    before = {name: tensor.clone() for name, tensor in model.decoder.state_dict().items()}
    usual = model.connectors["audio"]
    codes = nano_codes.learn(model, ("zip", "fun"), tmp_path / "codes", said.append, steps=120)
    losses = [float(text.split("loss ")[1].split()[0]) for text in said]
    assert losses[-1] < losses[0]
    assert codes.all().shape == (2, 4, 32)
    assert model.connectors["audio"] is usual
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.decoder.state_dict().items())


def test_digits_are_learned_from_recordings_as_they_are_and_perturbed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, chance = tiny(), random.Random(0)
    said: list[str] = []
    shapes = ResamplerConfig(dim_in=24, dim_out=32, dim=24, queries=4, layers=1, heads=2, head_dim=12, hidden=48, codes=10)
    model.connectors["audio"] = Resampler(shapes)
    digits = [nano_data.Digit(f"{n}.flac", "train", nano_digits.WORDS[n % 10], "ann") for n in range(40)]
    names = [digit.path + end for end in ("", " perturbed 0") for digit in digits]
    shapes_WD = 3 * torch.randn(10, 24)
    clips = FeatureStore(tmp_path / "digits", 24, names)
    made = iter([shapes_WD[number % 10] + torch.randn(chance.randint(3, 9), 24) for number in range(80)])
    list(clips.fill(lambda some: [next(made) for _ in some]))
    codes = nano_codes.Codes(torch.randn(10, 32), 4)
    tensors = nano_digits.run(model, codes, digits, clips, range(40), None, said.append, steps=150)
    right = [float(text.split("right ")[1].split()[0]) for text in said]
    assert right[0] < right[-1] > 0.8
    assert all(name.startswith("connectors.audio.") for name in tensors)
    assert torch.equal(tensors["connectors.audio.norm_out.weight"], codes.gain)


def test_perturbed_recordings_are_others_and_the_same_every_time(tmp_path: Path) -> None:
    model, path = tiny(), str(tmp_path / "tone.wav")
    wave_T = torch.sin(torch.arange(8000) * 0.2) * torch.linspace(0, 1, 8000)
    Path(path).write_bytes(audio.encode_wav(wave_T, 8000))
    one, two = (nano_features.recordings(model, [path], tmp_path / name, print, [path], times=2) for name in ("a", "b"))
    assert one.names == [path, f"{path} perturbed 0", f"{path} perturbed 1"]
    assert all(torch.equal(one[place], two[place]) for place in range(3))
    assert all(one[a].shape != one[b].shape or not torch.equal(one[a], one[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_retrieval_learns_pairs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    names = [f"{number}.jpg{end}" for number in range(12) for end in ("", " mirrored")]
    views = store(tmp_path / "photos", names, 4, 16)
    towers = nano_retrieval.Towers(EmbeddingHead(EmbeddingConfig(dim_in=16, dim_out=8, dim=8, hidden=16)), ResidualMap(8, 8))
    vectors_ICD = torch.nn.functional.normalize(torch.randn(12, 2, 8), dim=-1)
    said: list[str] = []
    tensors = nano_retrieval.run(towers, photos(12), views, vectors_ICD, None, said.append, epochs=220, batch=12)
    losses = [float(text.split("loss ")[1].split()[0]) for text in said]
    assert losses[-1] < 0.7 * losses[0]
    assert all(name.startswith(("dual.image_head.", "dual.text_head.")) for name in tensors)


def test_naming_leaves_rare_and_ubiquitous_words_out(tmp_path: Path) -> None:
    model = tiny()
    views = store(tmp_path / "views", [str(number) for number in range(64)], 49, 24)
    said: list[str] = []
    texts = ["ab" if number % 4 else "cd" for number in range(64)]
    arguments = (model.connectors["image"], model.decoder.embed_tokens.weight.detach(), model.layout.tokenizer, texts)
    nano_naming.run(*arguments, lambda row, _: views[row], 20, None, said.append)
    losses = [float(text.split("loss ")[1].split()[0]) for text in said]
    assert losses[-1] < losses[0]


def test_fresh_weights_are_those_that_the_shapes_ask_for(tmp_path: Path) -> None:
    shapes = nano_fresh.shapes()
    tensors = nano_fresh.fresh(shapes)
    nano_model.write(tmp_path, tensors, shapes)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "nano-adapter.safetensors",
        "nano-audio.safetensors",
        "nano-image.safetensors",
        "nano-retrieval.safetensors",
        "nano.json",
    ]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 40e6
    assert all(not tensor.any() for name, tensor in tensors.items() if name.endswith("lora_B.weight"))
    assert tensors["connectors.image.position"].shape == (25, 576)
    assert Trained.model_validate_json((tmp_path / "nano.json").read_bytes()).eyes.size == 320


def test_nothing_ships_before_every_stage_is_done(tmp_path: Path) -> None:
    shapes = nano_fresh.shapes()
    trained, out, tensors = tmp_path / "trained", tmp_path / "out", nano_fresh.fresh(shapes)
    nano_model.write(trained, {name: tensor for name, tensor in tensors.items() if not name.startswith("dual.")}, shapes)
    assert not nano_model.ship(trained, out)
    assert not out.exists()
    nano_model.write(trained, tensors)
    assert nano_model.ship(trained, out)
    assert len(list(out.iterdir())) == 5


def test_pooled_features_are_the_means_that_the_connector_makes(tmp_path: Path) -> None:
    views = store(tmp_path / "views", ["a", "b"], 16, 8)
    small = nano_features.pooled(views, tmp_path / "small", 2, print)
    assert len(small) == 2
    assert torch.allclose(small[1].float(), views[1].float().view(2, 2, 2, 2, 8).mean((1, 3)).flatten(0, 1), atol=1e-3)
