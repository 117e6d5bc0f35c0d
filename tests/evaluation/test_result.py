"""Results go to JSON and back, bounds that are nowhere among them."""

from __future__ import annotations

import json
import math

from sensorium.estimate import Estimate
from sensorium.evaluation.result import Finding, Outcome, Result, TaskResult, from_json, to_json


def test_results_go_to_strict_json_and_back() -> None:
    scores = {
        "hit": Estimate(0.1, 0.0, 0.2, 4),
        "one cluster": Estimate(0.5, -math.inf, math.inf, 1),
        "none": Estimate(math.nan, -math.inf, math.inf, 3),
    }
    outcome = Outcome(scores, 4, unparsed=1, refused=1, unread=1)
    task = TaskResult("task", "hit", {"split": "test"}, {"as it is": outcome}, {"majority": outcome}, {"blur": ("blur-1",)})
    finding = Finding("grounding", "task", "It looks.", True, Estimate(0.5, -math.inf, 0.9, 1), ("answers",))
    result = Result({"name": "nano"}, {"version": "1"}, 3, (task,), (finding,))
    text = json.dumps(to_json(result), allow_nan=False)
    back = from_json(json.loads(text))
    assert json.dumps(to_json(back), allow_nan=False) == text
    assert back.findings == result.findings and back.tasks[0].curves == task.curves
    assert back.tasks[0].outcomes["as it is"].scores["one cluster"] == scores["one cluster"]
    assert math.isnan(back.tasks[0].floors["majority"].scores["none"].value)
