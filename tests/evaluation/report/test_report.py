"""The report of a run: what stands in it, that it holds together by itself, and that no answer can break out of it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import DataError
from sensorium.estimate import Estimate
from sensorium.evaluation.kept import Kept, read_answers, read_results, write_results
from sensorium.evaluation.report.album import Album, keep
from sensorium.evaluation.report.markdown import escape, markdown
from sensorium.evaluation.report.page import page
from sensorium.evaluation.report.sample import choose, plain, status_of
from sensorium.evaluation.report.view import View, number, view
from sensorium.evaluation.report.write import write_report
from sensorium.evaluation.result import Finding
from sensorium.evaluation.task import Reply
from tests.evaluation.report.maker import HOSTILE, make_run, sounds


class Seen(HTMLParser):
    """The tags of a page with the names of their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "nano", count=24, hostile=True)


@pytest.fixture(scope="module")
def seen(run: Path) -> View:
    return view(run, [run.parent / "data"], samples=12)


@pytest.fixture(scope="module")
def html(seen: View) -> str:
    return page(seen)


def test_the_headline_stands_beside_its_floors_with_n_and_interval(seen: View, html: str) -> None:
    task = seen.tasks[0]
    assert [line.name for line in task.lines] == ["as it is", "majority", "blind", "shuffled"]
    assert [line.kind for line in task.lines] == ["score", "floor", "floor", "floor"]
    for line in task.lines:
        said = f"{line.estimate.value:.3f} [{line.estimate.low:.3f}, {line.estimate.high:.3f}]"
        assert said in html and said in markdown(seen)


def test_counts_say_what_was_unparsed_refused_and_unread(seen: View, html: str) -> None:
    outcome = seen.tasks[0].head.outcome
    assert f"(unparsed): {outcome.unparsed}; refused by the model: {outcome.refused}" in html


def test_curves_begin_unharmed_and_keep_the_order_of_levels(seen: View) -> None:
    stress, shots = seen.tasks[0].stress, seen.tasks[0].shots
    assert [curve.name for curve in stress] == ["blur", "noise"]
    assert [label for label, _, _ in stress[0].points] == ["none", "1", "2", "3", "4", "5"]
    assert [label for label, _, _ in shots[0].points] == ["0", "2", "4", "8"]


def test_calibration_counts_every_answer_that_was_given(seen: View) -> None:
    task = seen.tasks[0]
    assert task.calibration is not None
    assert sum(item.right.n for item in task.calibration.bins) == task.head.outcome.n - task.head.outcome.refused
    assert all(item.low <= item.sure <= item.high for item in task.calibration.bins)


def test_failed_checks_come_first(seen: View, html: str) -> None:
    assert [item.passed for item in seen.findings] == [False, True]
    assert "1 of 2 checks failed" in html


def test_what_pins_the_score_is_there(seen: View, html: str) -> None:
    for name in ("data_sha256", "prompts_sha256", "template_sha256", "preprocessing_sha256", "extractor"):
        value = str(seen.tasks[0].about[name])
        assert value in html and value in markdown(seen).replace("\\", "")
    assert str(seen.result.model["fingerprint"]) in html


def test_the_page_reaches_for_nothing_outside_itself(html: str) -> None:
    sources = [(name, value) for _, name, value in Seen(html).values if name in ("src", "href")]
    assert sources and all(value.startswith(("data:image/jpeg;", "data:audio/mpeg;", "#")) for _, value in sources)
    assert not re.search(r"@import|url\(", html)


def test_only_the_pages_own_script_may_run(html: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html


def test_pictures_and_sounds_are_in_it(html: str) -> None:
    tags = [tag for tag, _ in Seen(html).tags]
    assert tags.count("img") == 12 and tags.count("audio") >= 4


def test_a_hostile_answer_is_words(seen: View, html: str) -> None:
    assert any(HOSTILE in sample.answer for task in seen.tasks for sample in task.samples)
    assert HOSTILE in "".join(Seen(html).text)
    assert "onerror" not in {name for _, names in Seen(html).tags for name in names}


@given(st.text(max_size=80) | st.sampled_from(["<!--", "]]>", "</script>", "'\"><svg onload=x>", "&lt;", "{% raw %}"]))
@settings(max_examples=25)
def test_any_words_stay_words(seen: View, words: str) -> None:
    def with_words(text: str) -> str:
        task = seen.tasks[0]
        one = task.samples[0]._replace(
            id=text, answer=text or "-", gold=text, notes=(text,), others={text: text}, turns=(), status="wrong"
        )
        about = {**task.about, "about": text, "extractor": text}
        finding = Finding(text, f"a{text}", text, False, None, (text,))
        small = replace(task, task=f"a{text}", about=about, samples=(one,), more={text: Estimate(0.5, 0.4, 0.6, 3)})
        return page(replace(seen, tasks=(small,), findings=(finding,)))

    plain_one, other = Seen(with_words("words")), Seen(with_words(words))
    assert other.tags == plain_one.tags
    assert not words.strip() or words.replace("\r\n", "\n").replace("\r", "\n") in "".join(other.text).replace("\r", "\n")


@given(st.text(max_size=60))
def test_any_words_stay_in_their_cell_of_markdown(words: str) -> None:
    safe = escape(words)
    assert not re.search(r"(?<!\\)(?:\\\\)*[|<>*`]", safe)
    assert escape("world_picture _so_ __x") == "world_picture \\_so\\_ \\_\\_x"
    assert "\n" not in safe and not re.search(r"(?<!\\)(?:\\\\)*\]\(", safe)


def test_the_bytes_of_media_are_bounded_and_the_page_says_what_is_missing(run: Path) -> None:
    few = view(run, [run.parent / "data"], budget=40_000, samples=12)
    text = page(few)
    urls = [value for _, _, value in Seen(text).values if value.startswith("data:")]
    assert sum(map(len, urls)) <= 40_000
    assert few.left_out > 0 and f"{few.left_out} more were left out" in text


def test_media_that_are_not_there_are_named(run: Path) -> None:
    text = page(view(run, samples=3))
    assert "is not kept with the run" in text


def test_the_same_run_gives_the_same_report(run: Path) -> None:
    first = [path.read_bytes() for path in write_report(run, [run.parent / "data"], samples=4)]
    assert first == [path.read_bytes() for path in write_report(run, [run.parent / "data"], samples=4)]


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"results\.json: is not there"):
        view(tmp_path)


def test_without_kept_answers_the_scores_still_stand(run: Path, tmp_path: Path) -> None:
    write_results(tmp_path / "bare", read_results(run))
    bare = view(tmp_path / "bare")
    assert bare.tasks[0].samples == () and "0.75" in page(bare)


def kept(name: str, score: float | None, confidence: float | None = None, finish: str = "stop") -> Kept:
    scores = None if score is None else {"main": score}
    return Kept(name, "", name, (), {"answer": "x"}, Reply("x", finish, confidence), scores)


def test_failures_come_first_and_the_surest_of_them_before_the_others() -> None:
    rows = [kept("right", 1.0, 0.9), kept("unsure", 0.0, 0.2), kept("sure", 0.0, 0.9), kept("half", 0.5), kept("mute", None)]
    assert [row.id for row in choose(rows, "main", 10)] == ["mute", "sure", "unsure", "half", "right"]
    assert [row.id for row in choose(rows, "main", 3)] == ["mute", "sure", "half"]


def test_what_became_of_an_answer() -> None:
    assert status_of(kept("a", None, finish="refused"), "main") == "refused"
    assert status_of(kept("a", 1.0), "main") == "right" and status_of(kept("a", 1.0), "main", lower=True) == "wrong"
    assert status_of(kept("a", 0.0), "main", lower=True) == "right"
    assert status_of(kept("a", 3.2), "main", unit=False) == "scored"


def test_right_answers_in_words() -> None:
    assert plain({"answer": "red", "kind": "colour"}) == "red"
    assert plain({"captions": ["a dog", "a dog", "a cat"]}) == "a dog (2 x) | a cat"
    assert plain({"box": [1, 2], "label": "dog"}) == "box: [1, 2]\nlabel: dog"


def test_numbers() -> None:
    assert (number(0.5), number(float("nan")), number(float("inf")), number(1234.5)) == (
        "0.500",
        "not measured",
        "no bound",
        "1,234.5",
    )


def test_bytes_of_items_are_kept_up_to_a_limit(tmp_path: Path) -> None:
    items = sounds(4)
    assert keep(tmp_path, items, most=1) == 4
    assert keep(tmp_path, items) == 0 and len(list((tmp_path / "media").iterdir())) == 4
    row = read_answers(make_run(tmp_path / "run", count=6), "world_sound", "as it is")[0]
    (shown,) = Album((tmp_path / "run",), 1_000_000).show(row.messages[0]["content"][0])
    assert shown.kind == "sound" and shown.url.startswith("data:audio/mpeg;base64,")
