"""Each recipe learns at toy size on the synthetic world: its loss falls, and its media matter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sensorium.data.synthetic import World
from sensorium.model import checkpoint
from sensorium.nn.peft import adapter_state, load_adapter
from sensorium.parts import Image, Message, message_to_json
from sensorium.training.recipe import execute
from sensorium.training.run import Outcome

QUICK = (
    "words=false", "data.rows=16", "data.judge=16", "training.precision=fp32", "training.evaluate_every=0",
    "training.save_minutes=30", "training.schedule.warmup=10", "training.truth.patience=0",
)  # fmt: skip
ALL = ("parts.connectors.image.rate=3e-3", "parts.decoder.rate=3e-3", "parts.encoders.image.rate=3e-3")
STEPS = 450


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The tiny preset, taught to name things: what the other recipes begin from."""
    folder = tmp_path_factory.mktemp("taught")
    sets = (*QUICK, *ALL, "model=tiny", "data.train=synthetic:classes", f"training.steps={STEPS}", "data.judge=32")
    sets = (*sets, "training.schedule.kind=constant")
    outcome = execute("finetune", sets, folder / "run")["main"]
    return folder / "run" / "model", outcome


def falls(outcome: Outcome, share: float = 0.9) -> bool:
    return outcome.last["loss"] < share * outcome.first["loss"]


def test_finetune_learns_to_name_what_it_sees(taught: tuple[Path, Outcome]) -> None:
    _, outcome = taught
    assert falls(outcome, 0.1)
    assert outcome.last["right"] > 0.88
    assert outcome.last["gap_swapped"] > 0.05
    assert outcome.last["gap_zeroed"] > 0.05


def test_connect_teaches_a_fresh_projector_of_a_frozen_model(
    taught: tuple[Path, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = taught
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    sets = (*QUICK, f"model={folder}", "data.train=synthetic:classes", "training.steps=80", "connector.rate=5e-3")
    outcome = execute("connect", (*sets, "training.features=0.1"), tmp_path / "run")["main"]
    assert list((tmp_path / "cache" / "features").glob("??/*.npy")), "the frozen encoder's features are kept"
    assert falls(outcome)
    assert outcome.last["gap_swapped"] > 0
    before, after = checkpoint.load(folder), checkpoint.load(tmp_path / "run" / "model")
    assert before.decoder.embed_tokens.weight.equal(after.decoder.embed_tokens.weight)
    assert not before.connectors["image"].linear_1.weight.equal(after.connectors["image"].linear_1.weight)


def test_finetune_teaches_an_adapter(taught: tuple[Path, Outcome], tmp_path: Path) -> None:
    folder, _ = taught
    sets = (
        *QUICK,
        f"model={folder}",
        "data.train=synthetic:questions",
        "training.steps=60",
        "adapter.r=8",
        "adapter.rate=1e-2",
    )
    outcome = execute("finetune", (*sets, "adapter.rate=1e-2"), tmp_path / "run")["main"]
    assert falls(outcome)
    trained, base = checkpoint.load(tmp_path / "run" / "model"), checkpoint.load(folder)
    assert trained.switch is not None
    load_adapter(base.decoder, tmp_path / "run" / "adapter")
    written, kept = adapter_state(base.decoder), adapter_state(trained.decoder)
    assert written.keys() == kept.keys()
    assert all(written[name].equal(kept[name]) for name in kept)


def test_instruct_learns_messages_and_then_preferences(taught: tuple[Path, Outcome], tmp_path: Path) -> None:
    folder, _ = taught
    messages, pairs = _files(tmp_path)
    sets = (
        *QUICK, *ALL[:2], f"model={folder}", f"data.train={messages}", "training.steps=40", f"pairs.train={pairs}",
        "pairs.judge=8", "preferring.steps=40", "preferring.precision=fp32", "preferring.schedule.warmup=2",
        "preferring.truth.patience=0",
    )  # fmt: skip
    outcomes = execute("instruct", sets, tmp_path / "run")
    assert falls(outcomes["answers"])
    assert outcomes["pairs"].last["preferred"] > 0.9
    assert falls(outcomes["pairs"])
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


def test_speak_learns_to_answer_about_sounds(tmp_path: Path) -> None:
    sets = (*QUICK, "model=tiny", "data.train=synthetic:sounds", "data.scenes=512", "training.steps=120")
    rates = ("parts.connectors.audio.rate=3e-3", "parts.encoders.audio.rate=3e-3", "parts.decoder.rate=3e-3")
    outcome = execute("speak", (*sets, *rates), tmp_path / "run")["main"]
    assert falls(outcome, 0.5)
    assert outcome.last["gap_zeroed"] > 0


def _files(folder: Path) -> tuple[Path, Path]:
    """Conversations in German, and pairs whose English answer is preferred to the German one."""
    german, english = (World(0, 32).samples(48, what="classes", language=language) for language in ("de", "en"))
    (folder / "media").mkdir()
    rows, pairs = [], []
    for number, (sample, other) in enumerate(zip(german, english, strict=True)):
        (image, ask), reply = sample.messages[0].parts, sample.messages[1]
        assert isinstance(image, Image)
        assert isinstance(image.source, bytes)
        (folder / "media" / f"{number}.png").write_bytes(image.source)
        asked = message_to_json(Message("user", (Image(f"media/{number}.png"), ask)))
        told, preferred = (message_to_json(Message("assistant", one.parts, learn=True)) for one in (reply, other.messages[1]))
        rows.append({"id": sample.id, "messages": [asked, told]})
        rejected = json.dumps([message_to_json(Message("assistant", reply.parts))])
        pairs.append({"id": sample.id, "messages": [asked, preferred], "meta": {"rejected": rejected}})
    for name, some in (("rows.jsonl", rows), ("pairs.jsonl", pairs)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in some), "utf-8")
    return folder / "rows.jsonl", folder / "pairs.jsonl"
