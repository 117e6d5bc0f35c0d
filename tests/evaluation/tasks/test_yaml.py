"""Tasks in the form of lmms-eval's YAML."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pictures

from sensorium.errors import DependencyError, RequestError
from sensorium.estimate import estimate
from sensorium.evaluation.task import Item, Reply, Task
from sensorium.evaluation.tasks.registry import find_tasks
from sensorium.evaluation.tasks.yaml_task import read_yaml
from sensorium.evaluation.variant import media, words_of
from sensorium.media import audio, image
from sensorium.parts import Audio, Image, Text, Video
from tests.evaluation.tasks.published import lines, photo, png

ROWS = [
    {"question": "What colour?", "answer": "Red", "picture": "a.png", "options": ["red", "blue"], "right": 0},
    {"question": "Which day?", "answer": "Monday", "picture": "b.png", "options": ["Sunday", "Monday"], "right": 1},
]
PLAIN = """
task: colours
dataset_path: data
test_split: test
output_type: generate_until
doc_to_visual: picture
doc_to_text: "{{question}} Be brief."
doc_to_target: answer
"""


def folder(tmp_path: Path, text: str, code: str = "", rows: list[dict[str, Any]] | None = None) -> Path:
    lines(tmp_path / "data" / "test.jsonl", rows or ROWS)
    for name in "ab":
        photo(tmp_path / "data" / f"{name}.png")
    (tmp_path / "task.yaml").write_text(text, "utf-8")
    if code:
        (tmp_path / "utils.py").write_text(code, "utf-8")
    return tmp_path / "task.yaml"


def read(path: Path, trust: bool = False) -> tuple[Task, list[Item]]:
    task = read_yaml(path, trust=trust)
    return task, list(task.items(path.parent / "nowhere", task.splits[-1]))


def test_fields_and_templates_make_items(tmp_path: Path) -> None:
    task, (first, second) = read(folder(tmp_path, PLAIN))
    assert task.name == "colours"
    assert words_of(first) == "What colour? Be brief."
    assert media(second) == [Image(str(tmp_path / "data" / "b.png"))]
    assert first.gold["target"] == "Red"
    assert task.answer is not None
    assert task.answer(second) == "Monday"
    assert [item.sample.id for item in (first, second)] == ["test-0", "test-1"]


def test_a_file_is_found_by_name_in_the_registry(tmp_path: Path) -> None:
    (task,) = find_tasks([str(folder(tmp_path, PLAIN))])
    assert task.name == "colours"


def test_exact_match_is_exact_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    task, (item, _) = read(folder(tmp_path, PLAIN))
    assert task.score(item, Reply("Red")) == {"exact_match": 1.0}
    assert task.score(item, Reply("red.")) == {"exact_match": 0.0}
    assert task.score(item, Reply(" ")) is None
    lax = "metric_list:\n  - {metric: exact_match, aggregation: mean, ignore_case: true, ignore_punctuation: true}\n"
    task, (item, _) = read(folder(tmp_path, PLAIN + lax))
    assert task.score(item, Reply("red.")) == {"exact_match": 1.0}


def test_several_metrics_of_one_answer(tmp_path: Path) -> None:
    listed = "metric_list:\n  - metric: anls\n  - metric: exact_match\n  - metric: wer\n    higher_is_better: false\n"
    task, items = read(folder(tmp_path, PLAIN + listed))
    assert task.main == "anls"
    assert task.score(items[1], Reply("Mondya")) == {"anls": pytest.approx(1 - 2 / 6), "exact_match": 0.0}
    wer = task.corpus["wer"]
    assert wer.measure(wer.rows(items, [Reply("Red"), Reply("Sunday")])) == 0.5
    assert task.missed == {"wer": 1.0}


def test_generation_settings_are_taken_over(tmp_path: Path) -> None:
    more = 'generation_kwargs: {max_new_tokens: 7, until: ["\\n\\n"], do_sample: false, num_beams: 2, top_p: 0.9}\n'
    task, _ = read(folder(tmp_path, PLAIN + more))
    assert (task.sampling.max_tokens, task.sampling.stop, task.sampling.beams, task.sampling.top_p) == (7, ("\n\n",), 2, 0.9)
    assert task.sampling.temperature == 0
    with pytest.raises(RequestError, match=r"generation_kwargs\.best_of: is not known here\. Known: until, do_sample, max_new"):
        read(folder(tmp_path, PLAIN + "generation_kwargs: {best_of: 3}\n"))


CHOICE = """
task: days
dataset_path: data
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_choice: options
doc_to_target: right
metric_list: [{metric: acc}, {metric: acc_norm}]
"""


def test_choices_are_judged_by_likelihood_whole_or_by_byte(tmp_path: Path) -> None:
    task, (first, second) = read(folder(tmp_path, CHOICE))
    assert second.choices == ("Sunday", "Monday")
    assert second.gold["right"] == 1
    assert task.needs == ()
    assert task.score(first, Reply("blue", logprobs=(-3.0, -2.9))) == {"acc": 0.0, "acc_norm": 0.0}
    assert task.score(first, Reply("red", logprobs=(-2.5, -2.9))) == {"acc": 1.0, "acc_norm": 0.0}
    assert task.answer is not None
    assert task.answer(second) == "Monday"


def test_a_model_without_likelihoods_may_say_the_choice(tmp_path: Path) -> None:
    task, (_, second) = read(folder(tmp_path, CHOICE))
    assert task.score(second, Reply("Monday")) == {"acc": 1.0, "acc_norm": 1.0}
    assert task.score(second, Reply("Perhaps")) is None


def test_a_target_may_be_the_choices_own_words_and_choices_a_list_or_a_template(tmp_path: Path) -> None:
    text = CHOICE.replace("doc_to_choice: options", "doc_to_choice: ['Red', 'Monday']").replace(
        "target: right", "target: answer"
    )
    assert [item.gold["right"] for item in read(folder(tmp_path, text))[1]] == [0, 1]
    text = CHOICE.replace("doc_to_choice: options", 'doc_to_choice: "{{[options[1], options[0]]}}"')
    assert read(folder(tmp_path, text))[1][0].choices == ("blue", "red")
    text = CHOICE.replace("doc_to_choice: options", 'doc_to_choice: ["1", "0"]')
    assert [item.gold["right"] for item in read(folder(tmp_path, text))[1]] == [0, 1]
    text = CHOICE.replace("doc_to_target: right", "doc_to_target: answer")
    with pytest.raises(RequestError, match=r"doc_to_target: gives 'Red', none of \['red', 'blue'\]"):
        read(folder(tmp_path, text))


def test_the_likelihood_of_the_right_answer(tmp_path: Path) -> None:
    text = PLAIN.replace("generate_until", "loglikelihood")
    task, (item, _) = read(folder(tmp_path, text))
    assert item.choices == ("Red",)
    assert task.score(item, Reply("Red", logprobs=(-1.5,))) == {"loglikelihood": -1.5}
    assert task.score(item, Reply("Red")) is None
    assert task.answer is None


FUNCTIONS = """
def text(doc, lmms_eval_specific_kwargs=None):
    return lmms_eval_specific_kwargs["pre_prompt"] + doc["question"] + lmms_eval_specific_kwargs["post_prompt"]

def visual(doc):
    return [doc["shown"].convert("RGB")]

def process(doc, results):
    right = results[0].strip().lower() == doc["answer"].lower()
    return {"acc": right, "by_day": {"day": doc["question"].startswith("Which"), "right": right}}

def on_days(rows):
    chosen = [row["right"] for row in rows if row["day"]]
    return sum(chosen) / len(chosen) if chosen else float("nan")
"""
OWN = """
task: own
dataset_path: data
test_split: test
doc_to_visual: !function utils.visual
doc_to_text: !function utils.text
doc_to_target: answer
process_results: !function utils.process
lmms_eval_specific_kwargs:
  default: {pre_prompt: "Q: ", post_prompt: " A:"}
  qwen_vl: {pre_prompt: "", post_prompt: ""}
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: by_day, aggregation: !function utils.on_days, higher_is_better: true}
metadata: [{version: 2.0}]
"""


def parquet(path: Path) -> Path:
    from pyarrow import Table
    from pyarrow import parquet as files

    path.joinpath("data").mkdir()
    rows = [{"question": row["question"], "answer": row["answer"], "shown": {"bytes": png(), "path": None}} for row in ROWS]
    files.write_table(Table.from_pylist(rows), path / "data" / "test-00000-of-00001.parquet")
    (path / "task.yaml").write_text(OWN, "utf-8")
    (path / "utils.py").write_text(FUNCTIONS, "utf-8")
    return path / "task.yaml"


def test_python_beside_the_file_runs_only_where_it_is_allowed(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    with pytest.raises(RequestError) as caught:
        read_yaml(path)
    assert str(tmp_path / "utils.py") in caught.value.problem
    assert caught.value.remedy.endswith("--trust")
    assert read_yaml(path, trust=True).name == "own"


def test_functions_see_rows_as_lmms_eval_gives_them(tmp_path: Path) -> None:
    task, (first, _) = read(parquet(tmp_path), trust=True)
    assert words_of(first) == "Q: What colour? A:"
    (shown,) = media(first)
    assert isinstance(shown, Image)
    assert image.decode(shown.source).pixels_CHW.shape == (3, 8, 12)
    assert first.gold["doc"] == {"question": "What colour?", "answer": "Red"}
    assert task.version == "2.0"
    assert task.about.endswith("not used: lmms_eval_specific_kwargs.qwen_vl")


def test_results_of_functions_are_scored_and_aggregated_with_an_interval(tmp_path: Path) -> None:
    task, items = read(parquet(tmp_path), trust=True)
    replies = [Reply("blue"), Reply("monday")]
    assert [task.score(item, reply) for item, reply in zip(items, replies, strict=True)] == [{"acc": 0.0}, {"acc": 1.0}]
    by_day = task.corpus["by_day"]
    assert by_day.measure(by_day.rows(items, replies)) == 1.0
    again = by_day.rows(items, [Reply("red"), Reply("sunday")])
    assert by_day.measure(again) == 0.0
    found = estimate(again, by_day.measure, rounds=50)
    assert (found.value, found.n) == (0.0, 2)


def test_functions_may_give_messages_with_media_in_between(tmp_path: Path) -> None:
    code = """
def messages(doc):
    shown = {"type": "image", "url": doc["picture"]}
    return [{"role": "user", "content": [{"type": "text", "text": "Look: "}, shown, {"type": "text", "text": doc["question"]}]}]
"""
    text = PLAIN.replace('doc_to_text: "{{question}} Be brief."', "doc_to_messages: !function utils.messages")
    _, (item, _) = read(folder(tmp_path, text, code), trust=True)
    assert [type(part) for part in item.sample.messages[0].parts] == [Text, Image, Text]


def test_sounds_and_clips_are_media_too(tmp_path: Path) -> None:
    code = """
def media(doc):
    return [{"array": [0.0, 0.5] * 800, "sampling_rate": 16000}, "clip.mp4", None]
"""
    _, (item, _) = read(folder(tmp_path, PLAIN.replace("picture", "!function utils.media"), code), trust=True)
    heard, film = media(item)
    assert isinstance(heard, Audio)
    assert audio.decode(heard.source).seconds == pytest.approx(0.1)
    assert film == Video(str(tmp_path / "data" / "clip.mp4"))


def test_a_picture_may_stand_in_the_row_as_base64(tmp_path: Path) -> None:
    noise = Pictures.effect_noise((40, 40), 80)
    file = io.BytesIO()
    noise.convert("RGB").save(file, "PNG")
    rows = [row | {"picture": base64.b64encode(file.getvalue()).decode()} for row in ROWS]
    _, (item, _) = read(folder(tmp_path, PLAIN, rows=rows))
    assert media(item) == [Image(file.getvalue())]
    assert "picture" not in item.gold["doc"]


def test_a_base_file_is_included_and_the_older_name_of_a_key_is_known(tmp_path: Path) -> None:
    folder(tmp_path, "include: base_yaml\ntask: colours_short\nmodel_specific_prompt_kwargs: {default: {pre_prompt: 'So: '}}\n")
    base = PLAIN.replace("{{question}} Be brief.", "{{pre_prompt}}{{question}}")
    (tmp_path / "base_yaml").write_text(base, "utf-8")
    task, (item, _) = read(tmp_path / "task.yaml")
    assert task.name == "colours_short"
    assert words_of(item) == "So: What colour?"


def test_the_splits_of_a_file_and_where_its_data_may_be(tmp_path: Path) -> None:
    text = PLAIN.replace("test_split: test", "training_split: train\nvalidation_split: val\ntest_split: test")
    task = read_yaml(folder(tmp_path, text.replace("dataset_path: data", "dataset_path: lmms-lab/colours")))
    assert task.splits == ("train", "val", "test")
    (tmp_path / "data").rename(tmp_path / "colours")
    assert len(list(task.items(tmp_path, "test"))) == 2
    with pytest.raises(RequestError, match=r"colours: has no table of the split val\. Put val\.jsonl"):
        list(task.items(tmp_path, "val"))
    with pytest.raises(RequestError, match=r"dataset_path: is 'lmms-lab/colours', and there is none of"):
        list(task.items(tmp_path / "elsewhere", "test"))


def test_a_subset_and_named_files(tmp_path: Path) -> None:
    path = folder(tmp_path, PLAIN + "dataset_name: easy\n")
    (tmp_path / "data" / "easy").mkdir()
    (tmp_path / "data" / "test.jsonl").rename(tmp_path / "data" / "easy" / "test.jsonl")
    assert media(read(path)[1][0]) == [Image(str(tmp_path / "data" / "easy" / "a.png"))]
    path = folder(tmp_path, PLAIN + "dataset_kwargs: {token: true, data_files: {test: easy/test.jsonl}}\n")
    task, items = read(path)
    assert len(items) == 2
    assert task.about.endswith("not used: dataset_kwargs.token")
    alone = folder(tmp_path, PLAIN.replace("dataset_path: data", "dataset_path: data/test.jsonl"))
    assert len(read(alone)[1]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN + "filter_list: []\n", r"filter_list: is a key that is not known here\. Known keys: .*dataset_path"),
        (PLAIN.replace("doc_to_target: answer", ""), r"doc_to_target: is missing"),
        (PLAIN.replace("test_split: test", ""), r"test_split: is missing"),
        (PLAIN.replace("generate_until", "guess"), r"output_type: is 'guess'\. Use one of generate_until"),
        (PLAIN.replace("{{question}}", "{{quest}}"), r"doc_to_text .*cannot be filled in \('quest' is undefined\)\. A row has"),
        (PLAIN.replace('"{{question}} Be brief."', "quest"), r"doc_to_text 'quest': is no field; a row has \['answer'"),
        (PLAIN.replace("{{question}}", "{{question"), r"doc_to_text .*cannot be filled in"),
        (PLAIN + "metric_list: [{metric: rouge}]\n", r"rouge: is not known without process_results\. Known for generate_until"),
        (PLAIN + "metric_list: [{metric: anls, aggregation: mode}]\n", r"aggregation: is 'mode'\. Use mean, median, or a func"),
        (PLAIN + "lmms_eval_specific_kwargs: {default: {post_prompt: now}}\n", r"post_prompt: is not part of doc_to_text"),
        (PLAIN + "process_results: answer\n", r"process_results: is no function"),
        (PLAIN + "doc_to_choice: !function other.f\n", r"!function other\.f: names other\.py, which is not there"),
        ("task: [\n", r"is not YAML"),
        ("- 1\n", r"holds no keys"),
        ("include: task.yaml\n", r"includes itself"),
        (PLAIN.replace("visual: picture", "visual: answer"), r"doc_to_visual: gave str 'Red', which is no medium"),
        (CHOICE.replace("options", "answer"), r"doc_to_choice: gives no list of at least 2 choices"),
    ],
)
def test_what_a_person_can_put_right_is_said(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        read(folder(tmp_path, text))


def test_a_template_cannot_reach_the_machine(tmp_path: Path) -> None:
    reach = PLAIN.replace("{{question}}", "{{question.__class__.__mro__}}")
    with pytest.raises(RequestError, match=r"cannot be filled in"):
        read(folder(tmp_path, reach))


def test_a_function_that_needs_an_absent_package_or_is_not_there(tmp_path: Path) -> None:
    path = folder(tmp_path, PLAIN + "process_results: !function utils.process\n", "import lmms_eval_of_another_day\n")
    with pytest.raises(DependencyError, match=r"utils\.py: needs lmms_eval_of_another_day"):
        read_yaml(path, trust=True)
    (tmp_path / "utils.py").write_text("other = 1\n")
    with pytest.raises(RequestError, match=r"!function utils\.process: is no function of"):
        read_yaml(path, trust=True)


def test_what_functions_give_is_checked(tmp_path: Path) -> None:
    for code, message in (
        ("def process(doc, results):\n    return 1\n", r"process_results: gives int"),
        ("def process(doc, results):\n    return {'acc': 'yes'}\n", r"process_results: gives 'yes' for acc, not a number"),
    ):
        text = PLAIN + "process_results: !function utils.process\nmetric_list: [{metric: acc}]\n"
        place = tmp_path / str(len(code))
        task, (item, _) = read(folder(place, text, code), trust=True)
        with pytest.raises(RequestError, match=message):
            task.score(item, Reply("Red"))


def test_keys_that_change_nothing_are_named_in_the_result(tmp_path: Path) -> None:
    task, _ = read(folder(tmp_path, PLAIN + "tag: [vision]\nnum_fewshot: 2\nbatch_size: 1\n"))
    assert task.about == "colours: task.yaml in the form of lmms-eval; not used: num_fewshot, tag"


def test_gold_is_plain_json(tmp_path: Path) -> None:
    for path, trust in ((folder(tmp_path / "a", PLAIN), False), (parquet(_made(tmp_path / "b")), True)):
        _, items = read(path, trust)
        assert json.loads(json.dumps([item.gold for item in items])) == [item.gold for item in items]


def _made(path: Path) -> Path:
    path.mkdir()
    return path
