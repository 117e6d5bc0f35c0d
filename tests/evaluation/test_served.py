"""A served model judged as a local one: the same scores, no key on disk, and a run that survives its server."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sensorium.errors import ServerError
from sensorium.evaluation.kept import read_results
from sensorium.evaluation.report.write import write_report
from sensorium.evaluation.run import Options, evaluate
from sensorium.evaluation.subject import open_subject
from sensorium.evaluation.variant import BLIND, SHUFFLED
from sensorium.parts import Image, Message, Part, Text
from sensorium.protocols import Sampling
from tests.evaluation.exam import Looker, subject, task
from tests.model.chat_server import MODEL, Answered, Body, ChatServer, Play, completion, fault, models, plain, serving

KEY = "sk-very-secret-0123456789"


def parts_of(content: str | list[Body]) -> tuple[Part, ...]:
    """What came over the wire."""
    if isinstance(content, str):
        return (Text(content),)
    data = lambda block: base64.b64decode(block["image_url"]["url"].partition(",")[2])  # noqa: E731
    return tuple(Text(block["text"]) if block["type"] == "text" else Image(data(block)) for block in content)


def looking(limit: int = 1 << 30) -> tuple[Play, list[str]]:
    """A server of the model that sees colours; after `limit` answers it is broken. What it was asked is kept."""
    model, asked, lock = Looker(), list[str](), threading.Lock()

    def play(path: str, body: Body) -> Answered:
        if path == "/models":
            return models(MODEL)
        if path != "/chat/completions" or "logprobs" in body:
            return fault(400, "not here")
        if body["messages"][0]["content"] == "Say A.":
            return plain(completion("A"))
        with lock:
            if len(asked) >= limit:
                return fault(418, "the server is broken")
            asked.append(json.dumps(body, sort_keys=True))
        messages = [Message(turn["role"], parts_of(turn["content"])) for turn in body["messages"]]
        (answer,) = model.answer([messages], Sampling())
        return plain(completion(answer.text))

    return play, asked


def judge(server: ChatServer, folder: Path) -> None:
    judged = open_subject(f"openai:{server.url}#{MODEL}", {"concurrency": "3", "retries": "0"})
    evaluate(judged, [task()], OPTIONS, folder)


OPTIONS = Options(Path(), size=5, rounds=100, variants=lambda _: (BLIND, SHUFFLED))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_served_model_gets_the_scores_of_a_local_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_API_KEY", KEY)
    play, _ = looking()
    with serving(play) as server:
        judge(server, tmp_path / "served")
        assert all(headers["Authorization"] == f"Bearer {KEY}" for _, headers, _ in server.asked)
    evaluate(subject(Looker()), [task()], OPTIONS, tmp_path / "local")
    (served,), (local,) = (read_results(tmp_path / name).tasks for name in ("served", "local"))
    assert _main(served.outcomes) == _main(local.outcomes) and served.outcomes["as it is"].scores["exact"].value == 1.0
    result = read_results(tmp_path / "served")
    assert result.model["name"] == MODEL and result.model["kind"] == "server" and result.model["scoring"] == "none"
    assert not any(KEY.encode() in content for content in files(tmp_path).values())


def test_a_task_that_asks_for_beams_is_answered_greedily_and_says_so(tmp_path: Path) -> None:
    play, asked = looking()
    searching = replace(task(), sampling=Sampling(max_tokens=4, beams=3, length_penalty=0.7))
    with serving(play) as server:
        judged = open_subject(f"openai:{server.url}#{MODEL}", {"retries": "0"})
        evaluate(judged, [searching], OPTIONS, tmp_path / "served")
        evaluate(judged, [task()], OPTIONS, tmp_path / "served")
    assert len(asked) == len(set(asked)), "the second run asks nothing that the first has asked"
    (found,) = evaluate(judged, [searching], OPTIONS, tmp_path / "served").tasks
    assert found.outcomes["as it is"].refused == 0 and found.about["sampling"]["beams"] == 1
    assert found.about["not_followed"] == f"3 beams are asked for; {MODEL} searches none, and answered greedily"
    write_report(tmp_path / "served")
    for name in ("report.md", "report.html"):
        assert "3 beams are asked for" in (tmp_path / "served" / name).read_text("utf-8")
    (local,) = evaluate(subject(Looker()), [searching], OPTIONS, tmp_path / "local").tasks
    assert local.about["sampling"]["beams"] == 3 and "not_followed" not in local.about


def _main(outcomes: object) -> Sequence[object]:
    assert isinstance(outcomes, dict)
    return [(name, outcome.n, outcome.refused, outcome.scores["exact"]) for name, outcome in sorted(outcomes.items())]


def test_a_run_goes_on_where_the_server_broke(tmp_path: Path) -> None:
    whole, _ = looking()
    broken, before = looking(limit=11)
    with serving(whole) as server:
        judge(server, tmp_path / "whole")
        server.play = broken
        with pytest.raises(ServerError, match="answers with 418: the server is broken"):
            judge(server, tmp_path / "cut")
        assert len(before) == 11
        rest, after = looking()
        server.play = rest
        judge(server, tmp_path / "cut")
        (one,), (two,) = (read_results(tmp_path / name).tasks for name in ("whole", "cut"))
        assert one == two and len(after) < 3 * 24
        count = len(after)
        judge(server, tmp_path / "cut")
        assert len(after) == count, "a third run asks nothing"
    assert len(after) == len(set(after)) and len(set(before) & set(after)) < 5, "but for the batch that broke, nothing twice"
