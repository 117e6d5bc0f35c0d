"""Whatever answers is opened by its name alone."""

from __future__ import annotations

import pytest

from sensorium.errors import RequestError
from sensorium.model.load import is_served, load
from sensorium.model.remote import RemoteModel
from sensorium.parts import Message, Text
from sensorium.protocols import Sampling
from tests.model.chat_server import MODEL, Answered, Body, completion, fault, models, plain, serving


def play(path: str, body: Body) -> Answered:
    if path == "/models":
        return models(MODEL)
    return fault(400, "not here") if path != "/chat/completions" or "logprobs" in body else plain(completion("A cat."))


def test_a_server_is_opened_by_name() -> None:
    with serving(play) as server:
        model = load(f"openai:{server.url}#{MODEL}")
        assert isinstance(model, RemoteModel)
        (answer,) = model.answer([[Message("user", (Text("What is it?"),))]], Sampling(max_tokens=8))
        assert answer.text == "A cat."
        with pytest.raises(RequestError, match="is a served model, whose weights are not packed here. Leave --quantize out"):
            load(f"openai:{server.url}#{MODEL}", quantize="int8")


def test_only_servers_are_taken_for_servers() -> None:
    assert is_served("openai") and is_served("openai:http://127.0.0.1:1/v1#any")
    assert not is_served("nano") and not is_served("openai-clip") and not is_served("models/openai:b")
    with pytest.raises(RequestError, match="Give nano, a folder with a config.json, or openai:URL#MODEL"):
        load("no-such-model")
