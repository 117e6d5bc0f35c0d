"""How a model in a folder is opened to be judged: each argument does what it says, and others are refused."""

from __future__ import annotations

import pytest
import torch

from sensorium.errors import RequestError
from sensorium.evaluation import subject
from sensorium.evaluation.subject import open_subject
from sensorium.model import checkpoint
from sensorium.model.generate import Assistant
from sensorium.model.presets import tiny
from tests.evaluation.exam import Looker


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("toy") / "model"
    checkpoint.save(tiny(), folder)
    return str(folder)


def test_a_model_is_opened_as_its_arguments_say(toy: str) -> None:
    plain, changed = open_subject(toy, {}), open_subject(toy, {"dtype": "bf16", "heard": "no", "words": "no"})
    one, other = plain.generates, changed.generates
    assert isinstance(one, Assistant) and isinstance(other, Assistant)
    assert {value.dtype for value in one.model.decoder.parameters()} == {torch.float32}
    assert {value.dtype for value in other.model.decoder.parameters()} == {torch.bfloat16}
    assert other.model.reader.policy.words_in_sound is other.model.reader.policy.words_in_images is False
    assert one.model.reader.policy.words_in_sound is True
    assert plain.fingerprint != changed.fingerprint
    assert changed.settings["options"] == {"dtype": "bf16", "heard": "no", "words": "no"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"beams": "3"}, "model argument beams: is not known for {}. Known: quantize, dtype, words, heard."),
        ({"heard": "maybe"}, "model argument heard: is 'maybe'. Give yes or no."),
        ({"quantize": "int2"}, "model argument quantize: is 'int2'. Give int8 or int4."),
        (
            {"quantize": "int8", "dtype": "bf16"},
            "model argument dtype: is given beside quantize, which packs the weights. Leave one of them out.",
        ),
    ],
)
def test_an_argument_that_means_nothing_is_refused(args: dict[str, str], said: str, toy: str) -> None:
    with pytest.raises(RequestError) as caught:
        open_subject(toy, args)
    assert str(caught.value) == said.format(toy)


def test_some_arguments_are_for_models_of_ours(toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "load", lambda *_, **__: Looker())
    for key in ("heard", "words"):
        with pytest.raises(RequestError, match=rf"argument {key}: is for models of ours, and .* is none\. Leave it out\."):
            open_subject(toy, {key: "no"})
