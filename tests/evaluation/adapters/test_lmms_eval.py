"""Our models as lmms-eval's, against a stand-in of its interface: what is asked, what comes back, what is refused."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pictures

from sensorium.errors import RequestError
from sensorium.evaluation.adapters.docs import from_blocks, from_visuals, sampling_of
from sensorium.evaluation.subject import wrap
from sensorium.media import audio, image
from sensorium.parts import Answer, Audio, Image, Message, Text, Usage, Video
from sensorium.protocols import Sampling
from tests.evaluation.adapters.lmms_stand_in import Instance, lmms, standing_in

RED = Pictures.new("RGB", (6, 4), (255, 0, 0))
DOCS = [{"question": "What colour?", "image": RED, "answer": "red"}, {"question": "Is it red?", "image": RED, "answer": "no"}]
WANTED = {"max_new_tokens": 7, "temperature": 0, "until": ["\n\n"], "top_p": None, "num_beams": 1, "do_sample": False}


class Parrot:
    """Says how many media it was shown and the last words; finds `red` likely."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[Message], Sampling]] = []

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        yield from self.answer([messages], sampling)

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:
        self.asked += [(list(messages), sampling) for messages in conversations]
        return [self._one(messages) for messages in conversations]

    def _one(self, messages: Sequence[Message]) -> Answer:
        parts = messages[-1].parts
        text = "".join(part.text for part in parts if isinstance(part, Text))
        shown = sum(isinstance(part, Image) for part in parts)
        return Answer(Message("assistant", (Text(f"{shown} {text}"),)), Usage(5, 2), "stop")


class Likely(Parrot):
    def score(self, _messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        return [-1.0 if answer == "red" else -9.0 for answer in answers]


@pytest.fixture
def adapter() -> Iterator[ModuleType]:
    with standing_in():
        yield importlib.import_module("sensorium.evaluation.adapters.lmms_eval")


def made(adapter: ModuleType, monkeypatch: pytest.MonkeyPatch, model: Parrot, simple: bool = False, **args: Any) -> Any:
    monkeypatch.setattr(adapter, "open_subject", lambda name, options: wrap(model, name, "foreign", "0", dict(options)))
    kind = adapter.SensoriumSimpleLmms if simple else adapter.SensoriumLmms
    found = kind(**args)
    found.task_dict = {"toy": {"test": DOCS}}
    return found


def to_messages(doc: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "image", "url": doc["image"]}, {"type": "text", "text": doc["question"]}]},
    ]


def test_the_manifest_names_classes_that_are_there(adapter: ModuleType) -> None:
    told = adapter.manifest()
    assert told.model_id == "sensorium"
    for path, simple in ((told.chat_class_path, False), (told.simple_class_path, True)):
        module, name = path.rsplit(".", 1)
        kind = getattr(importlib.import_module(module), name)
        assert issubclass(kind, lmms) and kind.is_simple is simple and not kind.__abstractmethods__


@pytest.mark.parametrize("documented", [True, False])
def test_chat(adapter: ModuleType, monkeypatch: pytest.MonkeyPatch, documented: bool) -> None:
    """The guide's five arguments, and the six that the code gives."""
    parrot = Parrot()
    model = made(adapter, monkeypatch, parrot, batch_size="2")
    front = () if documented else ("the context",)
    requests = [Instance("generate_until", (*front, to_messages, WANTED, number, "toy", "test")) for number in (1, 0)]
    said = model.generate_until(requests)
    assert [row.text for row in said] == ["1 Is it red?", "1 What colour?"]
    assert (said[0].token_counts.input_tokens, said[0].token_counts.output_tokens) == (5, 2)
    messages, sampling = parrot.asked[0]
    assert messages[0] == Message("system", (Text("Be brief."),)) and sampling == Sampling(max_tokens=7, stop=("\n\n",))


def test_simple(adapter: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(adapter, monkeypatch, Parrot(), simple=True)
    request = Instance("generate_until", ("<image>Is it?", WANTED, lambda doc: [doc["image"]], 0, "toy", "test"))
    assert [row.text for row in model.generate_until([request])] == ["1 Is it?"]


def test_different_settings_are_not_mixed(adapter: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    parrot = Parrot()
    model = made(adapter, monkeypatch, parrot, batch_size=8)
    kinds = [WANTED, {**WANTED, "max_new_tokens": 9}, WANTED]
    said = model.generate_until([Instance("", ("", to_messages, kind, n % 2, "toy", "test")) for n, kind in enumerate(kinds)])
    assert [row.text for row in said] == ["1 What colour?", "1 Is it red?", "1 What colour?"]
    assert [sampling.max_tokens for _, sampling in parrot.asked] == [7, 7, 9]


@pytest.mark.parametrize(("how", "sign"), [("loss", -1), ("logprob", 1)])
def test_likelihood(adapter: ModuleType, monkeypatch: pytest.MonkeyPatch, how: str, sign: int) -> None:
    model = made(adapter, monkeypatch, Likely(), simple=True, likelihood=how)
    visual = lambda doc: [doc["image"]]  # noqa: E731
    given = [" red", " blue", " 1 What colour?"]
    rows = model.loglikelihood([Instance("loglikelihood", ("What colour?", text, visual, 0, "toy", "test")) for text in given])
    assert rows == [(sign * -1.0, False), (sign * -9.0, False), (sign * -9.0, True)]
    best = np.argmin([row[0] for row in rows]) if how == "loss" else np.argmax([row[0] for row in rows])
    assert best == 0
    assert len(model.subject.generates.asked) == 1, "the model's own answer is asked once for all choices"
    (row,) = model.loglikelihood([Instance("", ("What?", lambda doc: doc["answer"], visual, 0, "toy", "test"))])
    assert row[0] == sign * -1.0


def test_no_likelihood_from_a_model_that_tells_none(adapter: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(adapter, monkeypatch, Parrot(), simple=True)
    with pytest.raises(RequestError, match="tells no likelihood"):
        model.loglikelihood([Instance("", ("", " red", None, 0, "toy", "test"))])


def test_rounds_of_the_chat_form(adapter: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def to_rounds(doc: dict[str, Any], **told: Any) -> Any:
        if not told:
            return to_messages(doc)
        number, before, info = told["round_idx"], told["previous_output"], told["previous_round_info"]
        assert len(before) == number and info == (None if number == 1 else f"after {number - 1}")
        turn = {"role": "user", "content": f"You said {before[-1]!r}."}
        return [turn], number == 3, before, f"after {number}"

    model = made(adapter, monkeypatch, Parrot())
    (said,) = model.generate_until_multi_round([Instance("", ("", to_rounds, WANTED, 0, "toy", "test"))])
    assert said == ["1 What colour?", "0 You said '1 What colour?'.", "0 You said \"0 You said '1 What colour?'.\"."]


def test_rounds_of_the_simple_form(adapter: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def to_text(doc: dict[str, Any], previous_output: list[str], round_idx: int, previous_round_info: Any) -> Any:
        return [doc["image"]] * round_idx, f"round {round_idx}", round_idx == 3, previous_output, None

    model = made(adapter, monkeypatch, Parrot(), simple=True)
    args = ("round 0", WANTED, lambda doc: [], to_text, 0, "toy", "test")
    assert model.generate_until_multi_round([Instance("", args)]) == [["0 round 0", "1 round 1", "2 round 2"]]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"device": "cuda"}, "device: is 'cuda'"),
        ({"batch_size": "auto"}, "batch_size: is 'auto'"),
        ({"max_batch_size": 3}, "at most 3"),
        ({"likelihood": "best"}, "likelihood: is 'best'"),
    ],
)
def test_what_cannot_be_is_refused(
    adapter: ModuleType, monkeypatch: pytest.MonkeyPatch, args: dict[str, Any], words: str
) -> None:
    with pytest.raises(RequestError) as told:
        made(adapter, monkeypatch, Parrot(), **args)
    assert words in str(told.value)


def test_media_in_the_forms_of_data_sets(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    path.write_bytes(audio.encode_wav(torch.zeros(800), 16_000))
    frame = np.zeros((4, 6, 3), dtype=np.uint8)
    sound = {"array": np.zeros(160), "sampling_rate": 16_000}
    packed = {"bytes": image.encode_png(torch.zeros(3, 4, 6, dtype=torch.uint8)), "path": None}
    (message,) = from_visuals("What?", [RED, [RED, RED], frame, sound, packed, str(path), None])
    *media, text = message.parts
    assert [type(part) for part in media] == [Image, Image, Image, Image, Audio, Image, Audio] and text == Text("What?")
    assert isinstance(media[0], Image) and image.decode(media[0].source).pixels_CHW[:, 0, 0].tolist() == [255, 0, 0]
    assert from_visuals("What?", None) == [Message("user", (Text("What?"),))]
    (clip,) = from_blocks([{"role": "user", "content": [{"type": "video", "url": "clip.mp4"}]}])
    assert clip.parts == (Video("clip.mp4"),)


def test_media_stand_where_the_text_says() -> None:
    (message,) = from_visuals("A<image>B<image>", [RED, RED])
    assert [type(part).__name__ for part in message.parts] == ["Text", "Image", "Text", "Image"]
    with pytest.raises(RequestError, match="has 2 places <image> for 1 media"):
        from_visuals("A<image>B<image>", [RED])


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ([{"role": "robot", "content": "x"}], "is of the role 'robot'"),
        ([{"role": "user", "content": [{"type": "smell", "url": "x"}]}], "has a block of the type 'smell'"),
        ([{"role": "user", "content": [{"type": "video", "url": object()}]}], "is a builtins.object, which is not read here"),
    ],
)
def test_what_is_no_message_is_refused(turns: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(RequestError) as told:
        from_blocks(turns)
    assert words in str(told.value)


def test_settings(caplog: pytest.LogCaptureFixture) -> None:
    drawn = {"do_sample": True, "temperature": 0.5, "top_p": 0.9, "top_k": 20, "until": "."}
    assert sampling_of(drawn) == Sampling(max_tokens=128, temperature=0.5, top_p=0.9, top_k=20, stop=(".",))
    assert sampling_of({"num_beams": 3, "temperature": 0, "top_p": 0.9}) == Sampling(max_tokens=128, beams=3)
    assert not caplog.records
    assert sampling_of({"image_aspect_ratio": "original"}) == Sampling(max_tokens=128)
    assert "not followed here: image_aspect_ratio" in caplog.text
