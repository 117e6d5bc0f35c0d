"""The rating page's server: blind, resumable, several people, undo; and closed to other pages."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sensorium.apps.rating.ballot import Ballot
from sensorium.apps.rating.server import open_server, rating_page
from sensorium.errors import RequestError
from sensorium.evaluation.preference import prefer
from sensorium.evaluation.votes import read_votes
from tests.evaluation.report.maker import make_run
from tests.evaluation.report.test_report import Seen


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return make_run(folder / "one", 0.9, "olive", 16, hostile=True), make_run(folder / "two", 0.3, "tulip", 16, seed=7)


@pytest.fixture
def ballot(runs: tuple[Path, Path], tmp_path: Path) -> Ballot:
    return Ballot(*runs, tmp_path / "votes.jsonl", ["world_picture"], limit=8, data=[runs[0].parent / "data"])


@pytest.fixture
def address(ballot: Ballot) -> Iterator[str]:
    with open_server(ballot, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def call(url: str, body: object = None, **headers: str) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"} | headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_person_judges_all_pairs_and_takes_one_back(address: str, ballot: Ballot, tmp_path: Path) -> None:
    status, row = call(f"{address}/next?rater=anna")
    assert status == 200 and (row["done"], row["total"]) == (0, 8)
    for number in range(8):
        assert len(row["answers"]) == 2 and any(part["kind"] == "picture" for turn in row["turns"] for part in turn["parts"])
        status, row = call(f"{address}/vote", {"rater": "anna", "pair": row["pair"], "choice": ("left", "tie")[number % 2]})
        assert status == 200 and row["done"] == number + 1
    assert "pair" not in row
    status, row = call(f"{address}/undo", {"rater": "anna"})
    assert row["done"] == 7 and row["pair"]
    votes = read_votes(tmp_path / "votes.jsonl")
    assert len(votes) == 7 and {vote.left for vote in votes} | {vote.right for vote in votes} == {"olive", "tulip"}
    assert prefer(votes, rounds=20).votes == 7


def test_nobody_can_see_whose_answers_they_are(address: str, ballot: Ballot) -> None:
    _, row = call(f"{address}/next?rater=anna")
    assert not {"olive", "tulip"} & set(json.dumps(row).split('"'))
    assert "olive" not in rating_page() and "tulip" not in rating_page()


def test_sides_are_drawn_and_the_vote_remembers_them(ballot: Ballot, tmp_path: Path) -> None:
    sides = [ballot.swapped(rater, duel) for duel in ballot.duels for rater in ("anna", "ben", "carl")]
    assert 4 < sum(sides) < 20
    for duel in ballot.duels:
        ballot.vote("anna", duel.pair, "left")
    kept = {vote.pair: vote for vote in read_votes(tmp_path / "votes.jsonl")}
    for duel in ballot.duels:
        assert kept[duel.pair].left == ("tulip" if ballot.swapped("anna", duel) else "olive")


def test_the_order_is_each_persons_own_and_work_is_taken_up_again(
    runs: tuple[Path, Path], ballot: Ballot, tmp_path: Path
) -> None:
    first = {rater: ballot.next(rater) for rater in ("anna", "ben", "carl", "dora", "emil")}
    assert len({duel.pair for duel in first.values() if duel is not None}) > 1
    assert first["anna"] is not None
    ballot.vote("anna", first["anna"].pair, "skip")
    again = Ballot(*runs, tmp_path / "votes.jsonl", ["world_picture"], limit=8)
    assert again.done("anna") == 1 and again.done("ben") == 0
    assert again.next("anna") == ballot.next("anna") != first["anna"]
    assert again.undo("anna") and not again.undo("anna") and not again.undo("ben")


def test_a_and_b_may_change_places_between_sessions(runs: tuple[Path, Path], ballot: Ballot, tmp_path: Path) -> None:
    other = Ballot(runs[1], runs[0], tmp_path / "votes.jsonl", ["world_picture"], limit=0)
    assert {duel.pair for duel in ballot.duels} <= {duel.pair for duel in other.duels}


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_another_page_is_refused(address: str, headers: dict[str, str]) -> None:
    assert call(f"{address}/next?rater=anna", None, **headers)[0] == 403
    assert call(f"{address}/vote", {"rater": "anna", "pair": "x", "choice": "left"}, **headers)[0] == 403


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/vote", {"rater": "anna", "pair": "x", "choice": "left"}, 400, "pair x: is not on this ballot"),
        ("/vote", {"rater": "anna", "pair": "x", "choice": "both"}, 400, "choice 'both': is none"),
        ("/vote", {"rater": " ", "pair": "x", "choice": "left"}, 400, "rater: needs a name"),
        ("/undo", ["anna"], 400, "request: is not a JSON object"),
        ("/else", {}, 404, "nothing is here"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(address: str, path: str, body: object, status: int, message: str) -> None:
    code, row = call(f"{address}{path}", body)
    assert code == status and message in row["error"]


def test_a_form_of_another_page_cannot_vote(address: str) -> None:
    body = {"rater": "anna", "pair": "x", "choice": "left"}
    assert call(f"{address}/vote", body, **{"Content-Type": "text/plain"})[0] == 400


def test_the_page_has_only_its_own_script() -> None:
    seen = Seen(rating_page())
    assert [tag for tag, _ in seen.tags].count("script") == 1
    (policy,) = [value for _, name, value in seen.values if name == "content" and "default-src 'none'" in value]
    assert "connect-src 'self'; " in policy and "script-src 'sha256-" in policy


def test_a_taken_port_is_said(address: str, ballot: Ballot) -> None:
    port = int(address.rpartition(":")[2])
    with pytest.raises(RequestError, match=rf"port {port}: cannot be opened"):
        open_server(ballot, port)


def test_runs_without_anything_to_judge_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="give no differing answers to 16 items"):
        Ballot(runs[0], runs[0], tmp_path / "v.jsonl", ["world_picture"])
    with pytest.raises(RequestError, match="task else: is not in both runs"):
        Ballot(*runs, tmp_path / "v.jsonl", ["else"])
