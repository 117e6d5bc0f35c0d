"""Results leave as a `model-index` block and come back the same through the Hub's own library."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from sensorium.errors import RequestError
from sensorium.estimate import Estimate
from sensorium.evaluation.adapters.model_index import hub_kinds, to_results, to_yaml
from sensorium.evaluation.result import Outcome, Result, TaskResult
from sensorium.evaluation.tasks.registry import find_tasks

ABOUT: dict[str, Any] = {
    "version": "1",
    "split": "test",
    "limit": None,
    "shots": 0,
    "sampling": {"max_tokens": 32, "seed": None, "stop": ("\n",)},
    "data_sha256": "a" * 64,
}
VQA = TaskResult(
    "vqa",
    "vqa_accuracy",
    ABOUT,
    {
        "as it is": Outcome(
            {"exact": Estimate(0.5, 0.4, 0.6, 90), "vqa_accuracy": Estimate(0.61, 0.52, 0.69, 90)}, 90, unparsed=2, refused=1
        ),
        "blind": Outcome({"vqa_accuracy": Estimate(0.31, 0.22, 0.4, 90)}, 90),
        "blur-3": Outcome({"vqa_accuracy": Estimate(0.5, 0.4, 0.6, 90)}, 90),
    },
    {"majority": Outcome({"vqa_accuracy": Estimate(0.2, 0.13, 0.3, 90)}, 90)},
)
ODD = TaskResult("odd", "score", {}, {"as it is": Outcome({"score": Estimate(0.1, -math.inf, math.inf, 1)}, 1)})
RESULT = Result({"name": "Grüße: [nano]", "kind": "sensorium"}, {"version": "0.1.0"}, 7, (VQA, ODD))


def test_what_is_written_is_read_back() -> None:
    text = to_yaml(RESULT, tasks={"vqa": "visual-question-answering"})
    read = ModelCardData(**yaml.safe_load(text))
    assert read.model_name == "Grüße: [nano]"
    assert read.eval_results == to_results(RESULT, {"vqa": "visual-question-answering"})
    card = ModelCard(f"---\n{text}\n---\n# nano\n")
    assert card.data.eval_results == read.eval_results


def test_each_figure_has_its_number_and_interval() -> None:
    main, other, odd = to_results(RESULT)
    assert (main.metric_type, main.metric_value, other.metric_type) == ("vqa_accuracy", 0.61, "exact")
    assert main.metric_args is not None and odd.metric_args is not None
    assert {name: main.metric_args[name] for name in ("main", "n", "low", "high", "level", "unparsed", "refused")} == {
        "main": True, "n": 90, "low": 0.52, "high": 0.69, "level": 0.95, "unparsed": 2, "refused": 1,
    }  # fmt: skip
    assert sorted(main.metric_args["floors"]) == ["blind", "majority"] and main.metric_args["floors"]["majority"]["n"] == 90
    assert (odd.metric_args["low"], odd.metric_args["high"]) == ("no bound", "no bound")
    assert (main.dataset_split, main.dataset_revision, main.verified) == ("test", "a" * 64, None)


def test_the_block_is_plain_json_too() -> None:
    """The Hub turns it into JSON, which knows no infinity and no null here."""
    block = yaml.safe_load(to_yaml(RESULT, "mine"))
    text = json.dumps(block, allow_nan=False)
    assert block["model-index"][0]["name"] == "mine" and "null" not in text and '"verified"' not in text
    (vqa, odd) = block["model-index"][0]["results"]
    assert vqa["task"] == {"type": "other", "name": "vqa"} and len(vqa["metrics"]) == 2 and len(odd["metrics"]) == 1
    assert vqa["dataset"]["args"]["sampling"] == {"max_tokens": 32, "stop": ["\n"]}


def test_nothing_measured_is_no_block() -> None:
    with pytest.raises(RequestError, match="hold no score"):
        to_yaml(Result({"name": "x"}, {}, 0, ()))


def test_the_hub_has_words_for_most_kinds_of_task() -> None:
    tasks = find_tasks(["daquar", "ljspeech", "clotho_aqa_test", "nextqa_mc_test", "flickr8k_text_to_image"])
    assert hub_kinds([*tasks, replace(tasks[0], name="words", needs=())]) == {
        "daquar": "image-text-to-text",
        "ljspeech": "automatic-speech-recognition",
        "clotho_aqa_test": "audio-text-to-text",
        "nextqa_mc_test": "video-text-to-text",
        "words": "text-generation",
    }
