"""Every task that reads files: from a tiny folder in the published form to scores; and what is said of a missing folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sensorium.errors import DataError, DependencyError, RequestError
from sensorium.evaluation.task import Item, Reply, Task
from sensorium.evaluation.tasks.registry import find_tasks
from sensorium.evaluation.variant import media, words_of
from sensorium.parts import Audio, Image, Text, Video
from tests.evaluation.tasks import published

MADE = ("easy_vqa", "babyai")
"""Tasks that need no data folder."""


def found(name: str, data: Path) -> tuple[Task, list[Item]]:
    published.FOLDERS[name][0](data)
    (task,) = find_tasks([name])
    return task, list(task.items(data, task.splits[-1]))


@pytest.mark.parametrize("name", published.FOLDERS)
def test_a_tiny_folder_gives_items_with_media_that_are_there(name: str, tmp_path: Path) -> None:
    task, items = found(name, tmp_path)
    assert len(items) == published.FOLDERS[name][1]
    assert len({item.sample.id for item in items}) == len(items)
    for item in items:
        for medium in media(item):
            assert isinstance(medium.source, bytes) or Path(medium.source).is_file()
        kinds = {type(medium).__name__.lower() for medium in media(item)}
        assert kinds <= set(task.needs) or kinds == set()
    assert any(media(item) for item in [*items, *(task.gallery(tmp_path, task.splits[-1]) if task.gallery else [])])


@pytest.mark.parametrize("name", published.FOLDERS)
def test_the_right_answer_is_right_and_another_is_not(name: str, tmp_path: Path) -> None:
    task, items = found(name, tmp_path)
    if task.gallery is not None:
        gallery = [item.sample.id for item in task.gallery(tmp_path, task.splits[-1])]
        for item in items:
            right, wrong = item.gold["right"], [one for one in gallery if one not in item.gold["right"]]
            assert task.score(item, Reply("", ranking=(*right, *wrong)))[task.main] == 1  # type: ignore[index]
            assert task.score(item, Reply("", ranking=(*wrong, *right)))[task.main] == 0  # type: ignore[index]
            assert task.score(item, Reply("")) is None
        return
    assert task.answer is not None
    best = [Reply(task.answer(item)) for item in items]
    worst = [Reply("Zebra zebra.") for _ in items]
    assert main(task, items, best) >= (2 / 3 if name == "clotho_aqa_test" else 0.99 if task.main != "WER" else 0)
    assert main(task, items, best) > main(task, items, worst) or (task.main == "WER" and main(task, items, best) == 0)


def main(task: Task, items: list[Item], replies: list[Reply]) -> float:
    if task.main in task.corpus:
        corpus = task.corpus[task.main]
        return corpus.measure(corpus.rows(items, replies))
    scored = [task.score(item, reply) for item, reply in zip(items, replies, strict=True)]
    return sum((row or {}).get(task.main, 0.0) for row in scored) / len(scored)


@pytest.mark.parametrize("name", published.FOLDERS)
def test_an_empty_reply_is_no_answer(name: str, tmp_path: Path) -> None:
    task, items = found(name, tmp_path)
    assert [task.score(item, Reply(" \n")) for item in items] == [None] * len(items)
    for corpus in task.corpus.values():
        corpus.measure(corpus.rows(items, [Reply("")] * len(items)))


@pytest.mark.parametrize("name", published.FOLDERS)
def test_a_missing_folder_is_named_with_the_layout_wanted(name: str, tmp_path: Path) -> None:
    (task,) = find_tasks([name])
    with pytest.raises(RequestError) as caught:
        list(task.items(tmp_path, task.splits[-1]))
    folder = Path(caught.value.thing).relative_to(tmp_path).parts[0]
    assert caught.value.problem == "is not there"
    assert f"Put into the folder {folder}/ of the data folder: " in caught.value.remedy


def test_questions_of_public_exams_end_in_the_prompt_that_models_know(tmp_path: Path) -> None:
    _, (item, _) = found("vqav2_val", tmp_path)
    assert words_of(item) == "How many dogs?\nAnswer the question using a single word or phrase."
    assert item.cluster == "42"
    assert item.gold["answers"] == ["2"] * 9 + ["many"]


def test_the_share_of_people_who_agree_is_vqa_accuracy(tmp_path: Path) -> None:
    task, (item, _) = found("vqav2_val", tmp_path)
    assert task.score(item, Reply("Two.")) == {"vqa_accuracy": 1.0}
    assert task.score(item, Reply("many")) == {"vqa_accuracy": pytest.approx(0.3)}


def test_numbers_in_charts_may_be_off_by_five_per_cent_and_each_half_is_scored_alone(tmp_path: Path) -> None:
    task, items = found("chartqa", tmp_path)
    replies = [Reply("13.5"), Reply("2010.0")]
    assert [task.score(item, reply) for item, reply in zip(items, replies, strict=True)] == [{"relaxed_accuracy": 1.0}] * 2
    human = task.corpus["relaxed_accuracy, human"]
    assert human.measure(human.rows(items, [Reply("99"), Reply("2010")])) == 0


def test_documents_are_scored_by_likeness(tmp_path: Path) -> None:
    task, (item,) = found("docvqa_val", tmp_path)
    assert task.score(item, Reply("0.27")) == {"anls": 0.75}


def test_three_people_answer_a_question_about_sound(tmp_path: Path) -> None:
    task, (item,) = found("clotho_aqa_test", tmp_path)
    assert task.score(item, Reply("Yes.")) == {"exact_match": pytest.approx(2 / 3)}
    assert task.score(item, Reply("No.")) == {"exact_match": pytest.approx(1 / 3)}


def test_pictures_stand_where_the_question_names_them(tmp_path: Path) -> None:
    _, (item, opened) = found("mmmu_val", tmp_path)
    kinds = [part.text.partition("\n")[0] if isinstance(part, Text) else type(part) for part in item.sample.messages[0].parts]
    assert kinds == ["Compare ", Image, " with ", Image, ": which is older?"]
    assert "A. the first\nB. the second\nAnswer with the option's letter" in words_of(item)
    assert opened.gold["answers"] == ["7", "seven"]


@pytest.mark.parametrize(
    ("reply", "right"),
    [("B", True), ("(b)", True), ("The second.", True), ("A", False), ("I cannot tell", None), ("A or B", None)],
)
def test_a_letter_is_read_but_never_guessed(reply: str, right: bool | None, tmp_path: Path) -> None:
    task, (item, _) = found("mmmu_val", tmp_path)
    assert task.score(item, Reply(reply)) == (None if right is None else {"accuracy": float(right)})


def test_the_options_inside_a_question_are_found(tmp_path: Path) -> None:
    _, (item,) = found("mmstar", tmp_path)
    assert item.gold == {"options": ["a red, large car", "a tree", "snow", "the sea"], "right": 0}


def test_a_row_that_names_another_rows_picture_shows_it(tmp_path: Path) -> None:
    _, (first, again) = found("mmbench_en_dev", tmp_path)
    assert media(first) == media(again)
    assert first.cluster == again.cluster == "241"
    assert words_of(first).startswith("What is it?\nA. a cat\nB. a dog\nAnswer")


def test_an_answer_that_is_no_option_is_an_error_of_the_data(tmp_path: Path) -> None:
    published.mmmu(tmp_path)
    path = tmp_path / "mmmu" / "Art" / "validation.jsonl"
    path.write_text(path.read_text().replace('"answer": "B"', '"answer": "D"'))
    (task,) = find_tasks(["mmmu_val"])
    with pytest.raises(DataError, match=r"answer 'D'.*is none of the 2 options"):
        list(task.items(tmp_path, "test"))


def test_clips_are_found_by_their_number_and_kinds_scored_alone(tmp_path: Path) -> None:
    task, (item,) = found("nextqa_mc_test", tmp_path)
    assert media(item) == [Video(str(tmp_path / "nextqa" / "NExTVideo" / "1164" / "3238737531.mp4"))]
    assert words_of(item).startswith("Why did the boy smile?\nA. cry\nB. sit\nC. jump")
    assert item.gold["part"] == "causal"
    temporal = task.corpus["accuracy, temporal"]
    assert temporal.measure(temporal.rows([item], [Reply("C")])) != temporal.measure(temporal.rows([item], [Reply("C")]))


def test_hallucinated_objects_show_in_precision_and_in_the_share_of_yes(tmp_path: Path) -> None:
    task, items = found("pope", tmp_path)
    always = [Reply("Yes, there is.")] * len(items)
    values = {name: corpus.measure(corpus.rows(items, always)) for name, corpus in task.corpus.items()}
    assert values["share of yes"] == values["recall"] == 1
    assert values["precision"] == 0.5
    assert values["accuracy, popular"] == 0.5


def test_photo_questions_are_chosen_between_two_likelihoods_and_share_their_photo(tmp_path: Path) -> None:
    _, items = found("flickr8k_pope", tmp_path)
    assert {item.choices for item in items} == {("Yes.", "No.")}
    assert sorted(item.gold["answer"] for item in items) == [False] * 3 + [True] * 3
    assert words_of(items[0]).startswith("Is there a ")
    assert items[0].cluster.startswith("images/")


def test_two_photos_are_shown_for_one_sentence(tmp_path: Path) -> None:
    _, (true, false) = found("nlvr2", tmp_path)
    assert [Path(str(medium.source)).name for medium in media(true)] == ["test1-0-1-img0.png", "test1-0-1-img1.png"]
    assert (true.gold["answer"], false.gold["answer"]) == (True, False)
    assert true.cluster == false.cluster


def test_captions_are_scored_by_counts_over_the_corpus(tmp_path: Path) -> None:
    task, items = found("flickr8k_captions", tmp_path)
    replies = [Reply("A dog runs 0.")] + [Reply("A zebra and a dog sleep.")] * 3
    values = {name: corpus.measure(corpus.rows(items, replies)) for name, corpus in task.corpus.items()}
    assert 0 < values["CIDEr-D"] < 10
    assert values["BLEU-1"] > values["BLEU-4"]
    assert values["CHAIR, captions"] == 0.75
    assert task.score(items[0], replies[0])["ROUGE-L"] == 1  # type: ignore[index]
    assert (task.sampling.beams, task.sampling.max_tokens, task.sampling.length_penalty) == (3, 24, 0.7)


def test_kinds_of_photos_are_scored_alone(tmp_path: Path) -> None:
    task, items = found("nocaps_val", tmp_path)
    replies = [Reply("A dog runs 0."), Reply("A cat runs 5.")]
    near, far = (task.corpus[f"CIDEr-D, {part}-domain"] for part in ("near", "out"))
    assert near.measure(near.rows(items, replies)) == pytest.approx(main(task, items, replies))
    assert far.measure(far.rows(items, replies)) != far.measure(far.rows(items, replies))


def test_finding_is_scored_at_depths_and_by_rank(tmp_path: Path) -> None:
    task, items = found("flickr8k_text_to_image", tmp_path)
    photos = [item.sample.id for item in task.gallery(tmp_path, "test")]  # type: ignore[misc]
    scores = task.score(items[0], Reply("", ranking=(photos[1], photos[0], *photos[2:])))
    assert scores is not None
    assert (scores["R@1"], scores["R@5"], scores["MRR"], scores["mAP"]) == (0, 1, 0.5, 0.5)
    assert words_of(items[0]) == "A dog runs 0."
    assert items[0].cluster == photos[0]


def test_sounds_are_found_by_captions(tmp_path: Path) -> None:
    _, items = found("clotho_audio_to_text", tmp_path)
    assert [type(medium) for item in items for medium in media(item)] == [Audio, Audio]
    assert items[0].gold["right"] == [f"bell.wav#{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ("[1, 2, 5, 5]", {"accuracy": 1.0, "IoU": 1.0}),
        ('{"bbox_2d": [5, 5, 1, 2], "label": "dog"}', {"accuracy": 1.0, "IoU": 1.0}),
        ("(0.0833, 0.25, 0.4167, 0.625)", {"accuracy": 1.0, "IoU": pytest.approx(1, abs=0.01)}),
        ("[3, 2, 7, 5]", {"accuracy": 0.0, "IoU": pytest.approx(1 / 3)}),
        ("On the left.", None),
        ("[1, 2, 5, 5] or [0, 0, 1, 1]", None),
    ],
)
def test_boxes_are_read_in_pixels_or_shares(reply: str, scores: dict[str, float] | None, tmp_path: Path) -> None:
    task, items = found("refcoco_bbox_rec_val", tmp_path)
    assert task.score(items[0], Reply(reply)) == scores
    assert words_of(items[1]).startswith("Where is dog on the left? Answer with its box")


def test_speech_is_judged_in_its_normal_form_and_brackets_are_spoken(tmp_path: Path) -> None:
    task, items = found("ljspeech", tmp_path)
    assert main(task, items, [Reply("In being, comparatively, modern")]) == 0
    assert main(task, items, [Reply("in being modern")]) == 0.25
    assert main(task, items, [Reply("")]) == 1
    assert task.transcript


def test_chapters_of_a_read_book_are_drawn_together(tmp_path: Path) -> None:
    task, items = found("librispeech", tmp_path)
    assert {item.cluster for item in items} == {"1089-134686"}
    assert main(task, items, [Reply("He hoped there would be stew."), Reply("Stuff it into you!")]) == 0


def test_digits_are_read_from_a_short_sentence(tmp_path: Path) -> None:
    task, (item,) = found("fsdd", tmp_path)
    assert task.score(item, Reply("Three.")) == {"exact_match": 1.0}
    assert words_of(item) == "Which digit is spoken?"


def test_rooms_are_asked_in_plain_words(tmp_path: Path) -> None:
    task, (item,) = found("daquar", tmp_path)
    assert words_of(item) == "What is on the floor?"
    assert task.answer is not None
    assert task.answer(item) == "Garbage bin."
    assert task.score(item, Reply("garbage bin")) == {"exact_match": 1.0}


def test_parquet_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published.ai2d(tmp_path)
    (task,) = find_tasks(["ai2d"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DependencyError, match=r"test-00000-of-00001\.parquet: needs the package pyarrow\. Run: pip install 's"):
        list(task.items(tmp_path, "test"))


def test_broken_files_are_named_with_their_row(tmp_path: Path) -> None:
    published.nlvr2(tmp_path)
    path = tmp_path / "nlvr2" / "test1.json"
    path.write_text(path.read_text().replace('"False"', '"perhaps"'))
    (task,) = find_tasks(["nlvr2"])
    with pytest.raises(DataError, match=r"test1\.json, label 'perhaps': is neither yes nor no"):
        list(task.items(tmp_path, "test1"))
    path.write_text(path.read_text().replace("perhaps", "True") + "{half\n")
    with pytest.raises(DataError, match=r"test1\.json, row 3, row: is not JSON"):
        list(task.items(tmp_path, "test1"))
    published.gqa(tmp_path)
    (tmp_path / "gqa" / "testdev_balanced_questions.json").write_text("[1]")
    (task,) = find_tasks(["gqa"])
    with pytest.raises(DataError, match=r"holds a list, and an object was expected"):
        list(task.items(tmp_path, "testdev"))
    published.clotho_aqa(tmp_path)
    table = tmp_path / "clotho_aqa" / "clotho_aqa_test.csv"
    table.write_text(table.read_text() + "river.wav,What?\n")
    (task,) = find_tasks(["clotho_aqa_test"])
    with pytest.raises(DataError, match=r"clotho_aqa_test\.csv, row 4: has not as many cells as the head"):
        list(task.items(tmp_path, "test"))


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    published.lines(tmp_path / "daquar" / "questions.jsonl", [{"image": "a.jpg", "split": "test", "question": "What?"}])
    (task,) = find_tasks(["daquar"])
    with pytest.raises(DataError, match=r"field answer: is missing in a row with \['image', 'question', 'split'\]"):
        list(task.items(tmp_path, "test"))
