"""Inside lm-eval our models get the results that lm-eval's own model of the same tiny checkpoint gets, on local tasks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

import datasets
import lm_eval
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

from sensorium.errors import RequestError
from sensorium.evaluation.adapters.continuation import go_on, likelihoods
from sensorium.evaluation.adapters.lm_eval import SensoriumLM
from sensorium.evaluation.adapters.text_model import open_text
from sensorium.model.convert import convert
from sensorium.protocols import Sampling
from tests.model.test_convert import text_folder

QUESTIONS = [
    ("What is red?", ["a rose", "the sky above us", "grass"], 0),
    ("Two and two are", ["five", "four"], 1),
    ("", ["nothing", "before it"], 0),
    ("A long story. " * 12, ["the end", "goes on and on"], 1),
]
TEXTS = [
    "The cat sat on the mat.",
    "It rained for days, and then it rained for weeks, until nobody spoke of it. " * 4,
    "Ja \u732b \U0001f642",
]
TASKS: dict[str, dict[str, Any]] = {
    "toy_choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "toy_cloze": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{question}} It is",
        "doc_to_target": " {{choices[0]}}",
        "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
    },
    "toy_text": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "byte_perplexity"}, {"metric": "bits_per_byte"}],
    },
    "toy_answer": {
        "output_type": "generate_until",
        "doc_to_text": "{{question}} Say:",
        "doc_to_target": "{{choices[0]}}",
        "generation_kwargs": {"until": ["e", "\n\n"], "max_gen_toks": 12, "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    },
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama as a public folder, the same as a checkpoint of ours, and four tasks with their rows."""
    root = tmp_path_factory.mktemp("lm_eval")
    (root / "public").mkdir()
    (root / "tasks").mkdir()
    text_folder(root / "public", "llama")
    convert(root / "public", root / "ours")
    rows = [{"question": question, "choices": choices, "answer": answer} for question, choices, answer in QUESTIONS]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    for name, task in TASKS.items():
        file = root / ("texts.jsonl" if name == "toy_text" else "rows.jsonl")
        read = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(file)}}, "test_split": "test"}
        (root / "tasks" / f"{name}.yaml").write_text(json.dumps({"task": name} | read | task))  # JSON is YAML
    return root


@pytest.fixture(scope="module")
def found(place: Path) -> Callable[[str, bool], dict[str, Any]]:
    """Results of lm-eval, kept, by the kind of model and whether its chat template is applied."""
    kept: dict[tuple[str, bool], dict[str, Any]] = {}
    made = {
        "hf": ("hf", {"pretrained": str(place / "public"), "dtype": "float32"}),
        "ours": ("sensorium", {"model": str(place / "ours")}),
        "foreign": ("sensorium", {"model": str(place / "public")}),
    }

    def evaluate(kind: str, chat: bool) -> dict[str, Any]:
        if (kind, chat) not in kept:
            name, args = made[kind]
            tasks = ["toy_choice", "toy_answer"] if chat else list(TASKS)
            manager = TaskManager(include_path=str(place / "tasks"), include_defaults=False)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(datasets.config, "HF_DATASETS_CACHE", place / "cache")
                kept[kind, chat] = lm_eval.simple_evaluate(
                    name, model_args=args, tasks=tasks, batch_size=3, device="cpu", task_manager=manager,
                    apply_chat_template=chat, log_samples=True, bootstrap_iters=0,
                )  # fmt: skip
        return kept[kind, chat]

    return evaluate


@pytest.mark.slow
@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("kind", ["ours", "foreign"])
def test_results_equal_those_of_its_own_model(found: Callable[[str, bool], dict[str, Any]], kind: str, chat: bool) -> None:
    theirs, ours = found("hf", chat), found(kind, chat)
    assert ours["results"].keys() == theirs["results"].keys() and len(theirs["results"]) == (2 if chat else 4)
    for task, scores in theirs["results"].items():
        for name, value in scores.items():
            if isinstance(value, float) and not math.isnan(value):
                assert ours["results"][task][name] == pytest.approx(value, rel=1e-4), (task, name)
        for one, other in zip(ours["samples"][task], theirs["samples"][task], strict=True):
            assert one["arguments"] == other["arguments"]
            for mine, reference in zip(one["resps"], other["resps"], strict=True):
                _same(mine[0], reference[0])


def _same(mine: Any, reference: Any) -> None:
    if isinstance(reference, str):
        assert mine == reference
    elif isinstance(reference, list | tuple):
        assert mine[0] == pytest.approx(float(reference[0]), abs=1e-4) and bool(mine[1]) == bool(reference[1])
    else:
        assert mine == pytest.approx(reference, abs=1e-4 * len(TEXTS[1]))


def test_it_is_registered_under_its_name() -> None:
    assert get_model("sensorium") is SensoriumLM
    assert get_model("hf").__name__ == "HFLM", "its own models are still there"


def test_batches_do_not_change_what_is_said(place: Path) -> None:
    model = open_text(str(place / "ours"))
    contexts = [model.encode(text, True) for text in ("The cat", "A much longer beginning than that", "x")]
    sampling = Sampling(max_tokens=9, stop=("e",))
    together, alone = (go_on(model, contexts, sampling, size, 128) for size in (3, 1))
    assert together == alone
    drawn = Sampling(max_tokens=9, temperature=1.0, seed=5)
    assert go_on(model, contexts, drawn, 3, 128) == go_on(model, contexts, drawn, 1, 128)
    pairs = [(context, model.encode(" goes on", False)) for context in contexts]
    for one, other in zip(likelihoods(model, pairs, 3, 128), likelihoods(model, pairs, 1, 128), strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4) and one.greedy == other.greedy


def test_a_cut_context_is_told(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = open_text(str(place / "ours"))
    context = model.encode("word " * 100, True)
    likelihoods(model, [(context, [5, 6])], 1, 64)
    assert f"1 of 1 contexts lost their beginning: the longest has {len(context) + 1} tokens, and 64 fit" in caplog.text


def test_another_device_is_told_and_not_used(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    SensoriumLM(str(place / "ours"), device="cuda:0")
    assert "models run on the CPU here; the device cuda:0 is not used" in caplog.text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"model": "openai:http://127.0.0.1:1/v1#m"}, "is a server, whose tokens are not to be had"),
        ({"batch_size": "auto"}, "batch_size: is 'auto'"),
        ({"max_batch_size": 64}, "max_batch_size: is 64"),
        ({"quantize": "int2"}, "quantize: is 'int2'"),
    ],
)
def test_what_cannot_be_is_refused(args: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError) as told:
        SensoriumLM(**args)
    assert words in str(told.value)


def test_a_setting_that_is_not_followed_is_refused(place: Path) -> None:
    from lm_eval.api.instance import Instance

    model = SensoriumLM(str(place / "ours"))
    for wanted, words in (
        ({"num_beams": 4}, "has num_beams"),
        ({"mirostat": 2}, "has mirostat"),
        ({"max_gen_toks": 128}, "is 128"),
    ):
        with pytest.raises(RequestError, match=words):
            model.generate_until([Instance("generate_until", {}, ("Hello", wanted), 0)])
