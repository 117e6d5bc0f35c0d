"""A served model as one of ours: opening, answering, streaming, scoring; and what happens when the server does not behave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import AccessError, RequestError, SensoriumError, ServerError
from sensorium.model import remote
from sensorium.model.remote_http import Wire
from sensorium.model.remote_reply import NO_PROBABILITIES
from sensorium.model.remote_settings import is_remote, read_settings
from sensorium.parts import Answer, Image, Message, Text
from sensorium.protocols import Generates, Sampling, Scores
from tests.model.chat_server import (
    MODEL,
    Answered,
    Body,
    ChatServer,
    Play,
    Toy,
    chunk,
    completion,
    events,
    fault,
    models,
    plain,
    serving,
    streamed,
)

KEY = "sk-very-secret-0123456789"
ASK = [Message("user", (Text("Say it."),))]


def scripted(*answers: Answered, then: Answered | None = None) -> Play:
    """The models, the probe, then these answers one after the other."""
    left, lock = list(answers), threading.Lock()
    probed: list[Body] = []

    def play(path: str, body: Body) -> Answered:
        if path == "/models":
            return models(MODEL)
        if path == "/completions":
            return fault(404, "no such path")
        with lock:
            if not probed:
                probed.append(body)
                return plain(completion("A"))
            return left.pop(0) if left else then or fault(500, "the script is over")

    return play


@contextmanager
def opened(play: Play, **args: Any) -> Iterator[tuple[remote.RemoteModel, ChatServer]]:
    with serving(play) as server:
        model = remote.open(f"openai:{server.url}#{MODEL}", {"retries": 3, **args})
        waits: list[float] = []
        model.wire._sleep = waits.append  # type: ignore[method-assign, assignment]
        server.waits = waits  # type: ignore[attr-defined]
        server.asked.clear()
        try:
            yield model, server
        finally:
            model.close()


def said(items: Sequence[str | Answer]) -> tuple[list[str], Answer]:
    *pieces, answer = items
    assert isinstance(answer, Answer)
    return [piece for piece in pieces if isinstance(piece, str)], answer


# Names and arguments


def test_a_name_or_arguments_open_a_server() -> None:
    first = read_settings("openai:http://127.0.0.1:8000/v1/#a/b", {"concurrency": "9"})
    assert (first.base_url, first.model, first.concurrency) == ("http://127.0.0.1:8000/v1", "a/b", 9)
    assert read_settings("openai", {"base_url": "http://127.0.0.1:8000/v1", "model": "a/b", "concurrency": 9}) == first
    assert is_remote("openai") and is_remote("openai:http://x/v1") and not is_remote("openai-folder") and not is_remote("nano")


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("openai", {}, "base_url: is wrong: Field required"),
        ("openai:http://h/v1#m", {"model": "n"}, "model argument model: is given twice"),
        ("openai:http://h/v1#m", {"temprature": "1"}, "temprature: is wrong: Extra inputs are not permitted"),
        ("openai:http://h/v1#m", {"concurrency": "0"}, "concurrency: is wrong"),
        ("openai:http://u:p@h/v1#m", {}, "base_url: holds a user name or password"),
        ("openai:http://h/v1?key=1#m", {}, "http://h/v1: has something behind its path"),
        ("openai:ftp://h/v1#m", {}, "is no http address"),
        ("openai:http://h:99999/v1#m", {}, "base_url: is no address"),
        ("openai:http://h/v1/chat/completions#m", {}, "Leave /chat/completions out"),
    ],
)
def test_a_wrong_name_is_told(name: str, args: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError) as told:
        read_settings(name, args)
    assert words in str(told.value) and "p@h" not in str(told.value) and "key=1" not in str(told.value)


def test_a_key_made_for_openai_is_not_sent_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with opened(scripted(plain(completion("it")))) as (model, server):
        model.answer([ASK], Sampling())
        assert "Authorization" not in server.asked[0][1]
    with opened(scripted(plain(completion("it"))), key_env="OPENAI_API_KEY") as (model, server):
        model.answer([ASK], Sampling())
        assert server.asked[0][1]["Authorization"] == f"Bearer {KEY}"
        assert KEY not in json.dumps(model.about) + repr(model.settings)
    assert read_settings("openai:https://api.openai.com/v1#m", {}).key_variable == "OPENAI_API_KEY"


@pytest.mark.parametrize("key", [f"{KEY}\nX: y", "two words", "clé"])
def test_a_broken_key_is_not_told(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("MINE", key)
    with pytest.raises(RequestError) as told:
        remote.open("openai:http://127.0.0.1:1/v1#m", {"key_env": "MINE"})
    assert str(told.value).startswith("environment variable MINE: holds characters that no key has")
    assert key not in str(told.value) and KEY not in str(told.value)


def test_a_line_end_behind_a_key_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_API_KEY", f"{KEY}\n")
    with opened(scripted(plain(completion("it")))) as (model, server):
        model.answer([ASK], Sampling())
        assert server.asked[0][1]["Authorization"] == f"Bearer {KEY}"


# Opening


def test_the_only_model_needs_no_name() -> None:
    with serving(Toy().play()) as server:
        model = remote.open("openai", {"base_url": server.url})
        assert model.name == MODEL and model.about["model"] == MODEL


def test_a_model_that_is_not_there() -> None:
    with serving(Toy().play()) as server, pytest.raises(ServerError) as told:
        remote.open(f"openai:{server.url}#two")
    assert "has no model 'two'; it has toy/one" in str(told.value) and server.url in str(told.value)


def test_several_models_want_a_name() -> None:
    with serving(lambda path, body: models("a", "b")) as server, pytest.raises(ServerError, match=r"has 2 models \(a, b\)"):
        remote.open(f"openai:{server.url}")


def test_a_server_without_a_list_of_models() -> None:
    def play(path: str, body: Body) -> Answered:
        return fault(404, "nothing here") if path != "/chat/completions" else plain(completion("A"))

    with serving(play) as server:
        assert remote.open(f"openai:{server.url}#any").name == "any"
        with pytest.raises(ServerError, match="lists no models"):
            remote.open(f"openai:{server.url}")


def test_nobody_there() -> None:
    with serving(Toy().play()) as server:
        url = server.url
    with pytest.raises(ServerError) as told:
        remote.open(f"openai:{url}#m", {"retries": 0})
    assert f"{url}/models: cannot be reached" in str(told.value) and "Start the server" in str(told.value)
    assert told.value.exit_code == 7


def test_the_key_is_refused_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_API_KEY", KEY)
    with serving(lambda path, body: fault(401, f"Incorrect API key provided: {KEY}.")) as server:
        with pytest.raises(ServerError) as told:
            remote.open(f"openai:{server.url}#m")
        assert len(server.asked) == 1, "a refused key is not tried again"
    words = str(told.value)
    assert (
        "refuses the key (401: Incorrect API key provided: ***.)" in words and "SENSORIUM_API_KEY" in words and KEY not in words
    )


def test_a_server_that_asks_for_a_key() -> None:
    with serving(lambda path, body: plain({"error": "no key"}, 403)) as server, pytest.raises(ServerError) as told:
        remote.open(f"openai:{server.url}#m")
    assert "asks for a key (403: no key)" in str(told.value)


# Answering


def test_an_answer_with_everything_in_it() -> None:
    told = {"content": [{"token": "Yes", "logprob": -0.25, "top_logprobs": [{"token": "Yes", "logprob": -0.25}]}]}
    with opened(scripted(plain(completion("Yes", "length", logprobs=told)))) as (model, server):
        assert isinstance(model, Generates) and not isinstance(model, Scores)
        (answer,) = model.answer([ASK], Sampling(max_tokens=5, stop=("\n",), seed=3))
    assert (answer.text, answer.finish) == ("Yes", "length")
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.notes) == (7, 3, ())
    assert answer.tokens[0].logprob == -0.25 and answer.tokens[0].top == (("Yes", -0.25),)
    assert answer.confidence == pytest.approx(0.7788, abs=1e-4) and "not calibrated" in answer.confidence_source
    path, _, body = server.asked[0]
    assert path == "/chat/completions" and body == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Say it."}],
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 1.0,
        "stop": ["\n"],
        "seed": 3,
    }


def test_what_a_server_does_not_tell_is_said() -> None:
    row = completion("Yes")
    del row["usage"]
    with opened(scripted(plain(row))) as (model, _):
        (answer,) = model.answer([ASK], Sampling())
    assert answer.usage.notes == ("the server does not count its tokens; 0 stands for that",)
    assert answer.confidence is None and answer.confidence_source == NO_PROBABILITIES


def test_reasoning_and_refusals_and_lists() -> None:
    reasoned = completion("42")
    reasoned["usage"]["completion_tokens_details"] = {"reasoning_tokens": 30}
    refused = completion(None, message={"content": None, "refusal": "I will not."})
    listed = completion(None, message={"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})
    with opened(scripted(plain(reasoned), plain(refused), plain(listed)), concurrency=1) as (model, _):
        first, second, third = model.answer([ASK] * 3, Sampling())
    assert first.usage.notes == ("30 tokens of reasoning are not shown",)
    assert (second.text, third.text) == ("I will not.", "ab")


@pytest.mark.parametrize("reason", ["content_filter", "tool_calls", "abort"])
def test_an_answer_that_is_none(reason: str) -> None:
    with opened(scripted(plain(completion("So", reason)))) as (model, _), pytest.raises(RequestError, match=reason):
        model.answer([ASK], Sampling())


def test_an_answer_without_a_reason_to_end() -> None:
    with opened(scripted(plain(completion("So", None)))) as (model, _), pytest.raises(ServerError, match="without saying why"):
        model.answer([ASK], Sampling())


def test_many_are_asked_together_and_answered_in_order() -> None:
    def play(path: str, body: Body) -> Answered:
        if path != "/chat/completions":
            return models(MODEL) if path == "/models" else fault(404, "no")
        text = body["messages"][-1]["content"]
        number = int(text) if text.isdigit() else 0
        time.sleep(0.02 * (number % 3))
        return plain(completion(f"answer {text}"))

    with opened(play, concurrency=3) as (model, server):
        server.most_active = 0
        asked = [[Message("user", (Text(str(number)),))] for number in range(12)]
        assert [answer.text for answer in model.answer(asked, Sampling())] == [f"answer {number}" for number in range(12)]
        assert 2 <= server.most_active <= 3
        assert model.answer([], Sampling()) == []


def test_after_a_failure_the_rest_is_not_asked() -> None:
    with opened(scripted(then=fault(400, "no")), concurrency=1) as (model, server):
        with pytest.raises(RequestError, match="is refused by"):
            model.answer([ASK] * 50, Sampling())
        assert len(server.asked) < 5


# Options


def test_beams_are_refused() -> None:
    with opened(scripted()) as (model, server):
        with pytest.raises(RequestError, match="beams: is 4, and a server searches no beams"):
            model.answer([ASK], Sampling(beams=4))
        assert not server.asked


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        (Sampling(top_k=5), "top_k: is 5, and a server that speaks the dialect 'openai' has no field"),
        (Sampling(min_p=0.1), "min_p: is 0.1"),
        (Sampling(repetition_penalty=1.5), "repetition_penalty: is 1.5"),
        (Sampling(top_logprobs=5), "top_logprobs: is 5, and the server at"),
        (Sampling(choices=("a", "b")), "choices: cannot be weighed"),
        (Sampling(max_tokens=0), "max_tokens: is 0"),
    ],
)
def test_what_a_server_cannot_take_is_refused(sampling: Sampling, words: str) -> None:
    with opened(scripted()) as (model, server):
        with pytest.raises(RequestError) as told:
            model.answer([ASK], sampling)
        assert words in str(told.value) and not server.asked


@pytest.mark.parametrize(
    ("owner", "off", "on"),
    [
        (
            "vllm",
            {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
            {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.5},
        ),
        (
            "llamacpp",
            {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
            {"top_k": 5, "min_p": 0.1, "repeat_penalty": 1.5},
        ),
    ],
)
def test_a_dialect_sends_filters_that_are_off_too(owner: str, off: Body, on: Body) -> None:
    with opened(Toy().play(owner=owner)) as (model, server):
        model.answer([ASK], Sampling(max_tokens=1))
        assert off.items() <= server.asked[-1][2].items()
        model.answer([ASK], Sampling(max_tokens=1, temperature=1.0, top_k=5, min_p=0.1, repetition_penalty=1.5))
        assert on.items() <= server.asked[-1][2].items()


# Servers that do not behave


def test_busy_then_well_again_honours_retry_after() -> None:
    script = scripted(fault(429, "slow down", Retry_After="7"), fault(503, "loading"), plain(completion("it")))
    with opened(script) as (model, server):
        (answer,) = model.answer([ASK], Sampling())
        first, second = server.waits  # type: ignore[attr-defined]
    assert answer.text == "it" and first == 7 and 1.0 <= second <= 1.5


def test_retry_after_may_be_a_date() -> None:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 20))
    with opened(scripted(fault(429, "slow down", Retry_After=date), plain(completion("it")))) as (model, server):
        model.answer([ASK], Sampling())
        assert 10 < server.waits[0] <= 20  # type: ignore[attr-defined]


def test_patience_ends() -> None:
    with opened(scripted(then=fault(429, "slow down", Retry_After="3600")), patience=30) as (model, server):
        with pytest.raises(ServerError) as told:
            model.answer([ASK], Sampling())
        assert "it asks for 3600 s of rest, over the patience of 30 s" in str(told.value) and not server.waits  # type: ignore[attr-defined]


def test_a_server_that_stays_broken_is_left() -> None:
    with opened(scripted(then=fault(500, "CUDA out of memory"))) as (model, server):
        with pytest.raises(ServerError) as told:
            model.answer([ASK], Sampling())
        assert "cannot answer now (500: CUDA out of memory) after 4 attempts" in str(told.value)
        assert len(server.asked) == 4 and len(server.waits) == 3  # type: ignore[attr-defined]
        assert server.waits[0] < server.waits[1] < server.waits[2]  # type: ignore[attr-defined]


def test_no_money_left_is_not_tried_again() -> None:
    with opened(scripted(fault(429, "You exceeded your current quota", "insufficient_quota"))) as (model, server):
        with pytest.raises(ServerError, match="nothing is left to spend"):
            model.answer([ASK], Sampling())
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answered", "kind", "words"),
    [
        (fault(400, "This model's maximum context length is 512 tokens."), RequestError, "is too long for the model at"),
        (
            plain({"error": {"code": 400, "message": "the request exceeds the available context size"}}, 400),
            RequestError,
            "too long",
        ),
        (fault(400, "Use 'max_completion_tokens' instead."), RequestError, "Give limit_field=max_completion_tokens"),
        (plain({"detail": [{"msg": "extra"}]}, 422), RequestError, "is refused by http://127.0.0.1"),
        (fault(404, "The model `x` does not exist"), ServerError, "knows no such thing (404: The model `x` does not exist)"),
        (Answered(307, [], {"Location": "https://elsewhere/?token=1"}), ServerError, "which leads to https://elsewhere/. "),
        (Answered(418, [b"<html>teapot</html>"]), ServerError, "answers with 418: <html>teapot</html>"),
        (Answered(200, [b"<html>hello</html>"]), ServerError, "something that is no JSON: '<html>hello</html>'"),
        (plain([1, 2]), ServerError, "another form than the chat wire's"),
        (plain({"choices": [{"message": {"content": 5}}]}), ServerError, "choices.0.message.content"),
        (plain({"choices": []}), ServerError, "without saying why"),
        (plain({"error": {"message": "context window is full", "code": 400}}), RequestError, "too long"),
    ],
)
def test_each_failure_has_its_words(answered: Answered, kind: type[SensoriumError], words: str) -> None:
    with opened(scripted(answered)) as (model, server):
        with pytest.raises(kind) as told:
            model.answer([ASK], Sampling())
        assert words in str(told.value) and "token=1" not in str(told.value)
        assert len(server.asked) == 1


def test_a_broken_connection_is_tried_again() -> None:
    half = Answered(200, [b'{"choices": [{"mess'], cut=True)
    with opened(scripted(half, plain(completion("it")))) as (model, server):
        assert model.answer([ASK], Sampling())[0].text == "it" and len(server.asked) == 2
    with opened(scripted(half, half), retries=1) as (model, _), pytest.raises(ServerError, match="broke off"):
        model.answer([ASK], Sampling())


def test_an_answer_without_end_is_bounded() -> None:
    endless = Answered(200, [b'{"choices": "' + b"x" * 65536] * 40)
    with opened(scripted(endless), max_bytes=1 << 20) as (model, _), pytest.raises(ServerError) as told:
        model.answer([ASK], Sampling())
    assert "answers with over 1,048,576 bytes, the limit" in str(told.value)


@pytest.mark.parametrize("pieces", [[], [b" "] * 50])
def test_a_slow_server_is_left(pieces: list[bytes]) -> None:
    """One that says nothing, and one that drips."""
    slow = Answered(200, pieces or [b" ", b" "], pause=0.05 if pieces else 1.5)
    with opened(scripted(slow)) as (model, server):
        model.wire.settings = model.wire.settings.model_copy(update={"timeout": 0.3})
        model.wire._client.timeout = 0.3
        with pytest.raises(ServerError, match=r"took over 0\.3 s, the limit"):
            model.answer([ASK], Sampling())
        assert len(server.asked) == 1


def test_a_medium_from_a_private_address_is_still_refused() -> None:
    with opened(scripted()) as (model, server):
        with pytest.raises(AccessError):
            model.answer([[Message("user", (Image(f"{server.url}/secret.png"),))]], Sampling())
        assert not server.asked


# Streams


def test_a_stream_in_pieces_then_whole() -> None:
    told = {"content": [{"token": "Ye", "logprob": -0.5}]}
    rows = [chunk("Ye", logprobs=told), chunk("s"), chunk(None, "stop")]
    usage = {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}
    with opened(scripted(streamed([events(*rows, usage)]))) as (model, server):
        pieces, answer = said(list(model.stream(ASK, Sampling())))
        assert server.asked[0][2]["stream"] is True and server.asked[0][2]["stream_options"] == {"include_usage": True}
    assert pieces == ["Ye", "s"] and answer.text == "Yes" and answer.finish == "stop"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 2) and answer.tokens[0].logprob == -0.5


WORDS = "Grüße — 猫が\u2028座る 🙂 \x85 end"


@given(st.lists(st.integers(1, 40), max_size=60), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.booleans())
@settings(max_examples=60)
def test_a_stream_may_be_split_anywhere(sizes: list[int], line: str, comments: bool, done: bool) -> None:
    """In the middle of a character, of a line end, of a field: the same events come out."""
    rows = [chunk(word + " ") for word in WORDS.split(" ")] + [chunk(None, "stop")]
    data = events(*rows, done=done, line=line)
    if comments:
        data = f": keep-alive{line}{line}event: message{line}id: 1{line}".encode() + data
    pieces, at = [], 0
    for size in [*sizes, len(data)]:
        pieces.append(data[at : at + size])
        at += size
    assert _events_of([piece for piece in pieces if piece]) == rows


def _events_of(pieces: list[bytes]) -> list[Any]:
    """What the client makes of a body in such pieces, without a socket between."""
    BODY[:] = pieces
    return list(UNPLUGGED.events("/chat/completions", {}))


def _unplugged() -> Wire:
    def handle(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream; charset=latin-1"}, content=iter(BODY))

    wire = Wire(read_settings("openai:http://127.0.0.1:1/v1#m", {}))
    wire._client = httpx2.Client(transport=httpx2.MockTransport(handle), verify=False)
    return wire


BODY: list[bytes] = []
UNPLUGGED = _unplugged()


def test_a_character_split_between_packets() -> None:
    data = events(chunk("猫🙂"), chunk(None, "stop"))
    with opened(scripted(streamed([data[place : place + 1] for place in range(len(data))]))) as (model, _):
        pieces, answer = said(list(model.stream(ASK, Sampling())))
    assert pieces == ["猫🙂"] and answer.text == "猫🙂"


@pytest.mark.parametrize("done", [True, False])
def test_a_stream_that_ends_early_is_no_answer(done: bool) -> None:
    with opened(scripted(streamed([events(chunk("So far"), done=done)]))) as (model, server):
        stream = model.stream(ASK, Sampling())
        assert next(stream) == "So far"
        with pytest.raises(ServerError, match="ends its answer after 6 characters without saying why"):
            next(stream)
        assert len(server.asked) == 1


def test_a_stream_that_is_cut_is_not_begun_anew() -> None:
    with opened(scripted(streamed([events(chunk("So far"), done=False)], cut=True))) as (model, server):
        stream = model.stream(ASK, Sampling())
        assert next(stream) == "So far"
        with pytest.raises(ServerError, match="broke off"):
            next(stream)
        assert len(server.asked) == 1 and not server.waits  # type: ignore[attr-defined]


def test_a_stream_that_does_not_begin_is_tried_again() -> None:
    good = streamed([events(chunk("it"), chunk(None, "stop"))])
    with opened(scripted(fault(503, "loading"), streamed([], cut=True), good)) as (model, server):
        assert said(list(model.stream(ASK, Sampling())))[1].text == "it" and len(server.waits) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answered", "kind", "words"),
    [
        (streamed([b"data: {not json}\n\n"]), ServerError, "no JSON: '{not json}'"),
        (streamed([events({"error": {"message": "it is too long: maximum context", "code": 400}})]), RequestError, "too long"),
        (plain(completion("whole")), ServerError, "was answered whole, not as a stream"),
        (Answered(200, [b"<html>"], {"Content-Type": "text/html"}), ServerError, "without saying why"),
        (fault(400, "stream_options unknown"), RequestError, "stream_options unknown"),
    ],
)
def test_each_failure_of_a_stream_has_its_words(answered: Answered, kind: type[SensoriumError], words: str) -> None:
    with opened(scripted(answered)) as (model, _), pytest.raises(kind) as told:
        list(model.stream(ASK, Sampling()))
    assert words in str(told.value)


def test_a_stream_without_end_is_bounded() -> None:
    one_event = streamed([b"data: " + b"x" * 4096] * 40)
    many = streamed([events(chunk("x" * 1000), done=False)] * 40)
    for play, words in ((one_event, "cannot be used|answers with over"), (many, "answers with over 16,384 bytes")):
        with opened(scripted(play), max_bytes=1 << 14) as (model, _), pytest.raises(ServerError, match=words):
            list(model.stream(ASK, Sampling()))


def test_a_stream_that_nobody_reads_on_is_closed() -> None:
    with opened(scripted(streamed([events(chunk("x"), done=False)] * 200, pause=0.02))) as (model, server):
        stream = model.stream(ASK, Sampling())
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        time.sleep(0.2)
        with server.lock:
            assert server.active == 0


# Scores

YES_NO = ("Yes", "No", "ab c")
QUESTION = [Message("system", (Text("be brief"),)), Message("user", (Text("Is it so?"),))]


def test_scores_from_prompt_logprobs() -> None:
    toy = Toy()
    with opened(toy.play(prompt=True, owner="vllm")) as (model, _):
        assert isinstance(model, Scores) and model.about["scoring"] == "prompt"
        prompt = "<s>be brief</s><u>Is it so?</u><a>"
        assert model.score(QUESTION, YES_NO) == pytest.approx([toy.sum(prompt, answer) for answer in YES_NO], abs=1e-6)
        (answer,) = model.answer([QUESTION], Sampling(choices=YES_NO))
        best = max(YES_NO, key=lambda choice: toy.sum(prompt, choice))
        assert (answer.text, answer.finish) == (best, "choice") and 1 / 3 <= (answer.confidence or 0) <= 1


def test_scores_from_echo() -> None:
    toy = Toy()
    with opened(toy.play(echo=True)) as (model, _):
        assert isinstance(model, Scores) and model.about["scoring"] == "echo"
        prompt = "be briefIs it so?"
        assert model.score(QUESTION, YES_NO) == pytest.approx([toy.sum(prompt, answer) for answer in YES_NO], abs=1e-6)
        with pytest.raises(RequestError, match="holds media, and scoring=echo reads text alone"):
            model.score([Message("user", (Image(PNG), Text("?")))], YES_NO)


def test_scores_from_the_likeliest_tokens() -> None:
    toy = Toy()
    with opened(toy.play()) as (model, _):
        assert isinstance(model, Scores) and model.about["scoring"] == "top"
        likely = toy.likely(">", 20)
        first, last = likely[0], likely[-1]
        assert model.score(QUESTION, [last[0], first[0]]) == pytest.approx([last[1], first[1]], abs=1e-6)
        with pytest.raises(RequestError, match="answer 'Yes': is not among the 20 likeliest first tokens"):
            model.score(QUESTION, YES_NO)


def test_no_scores_where_none_are_told() -> None:
    with opened(Toy().play(logprobs=False)) as (model, _):
        assert not isinstance(model, Scores) and model.about["scoring"] == "none" and model.about["logprobs"] is False
        assert model.answer([ASK], Sampling(max_tokens=2))[0].tokens == ()


def test_a_way_of_scoring_may_be_named() -> None:
    toy = Toy()
    with opened(toy.play(prompt=True, echo=True), scoring="top") as (model, _):
        assert model.about["scoring"] == "top"
    with opened(toy.play(prompt=True), scoring="prompt") as (model, _):
        assert model.about["scoring"] == "prompt"
    with opened(toy.play(prompt=True), scoring="none") as (model, _):
        assert not isinstance(model, Scores)
    with serving(toy.play()) as server, pytest.raises(RequestError, match="scoring=echo: is not offered by the server at"):
        remote.open(f"openai:{server.url}#{MODEL}", {"scoring": "echo"})


def test_a_prompt_told_in_another_form_is_no_score() -> None:
    toy = Toy()

    def play(path: str, body: Body) -> Answered:
        answered = toy.play(prompt=True)(path, body)
        if "continue_final_message" not in body:
            return answered
        row = json.loads(b"".join(answered.pieces))
        row["prompt_logprobs"] = [{"1": {"logprob": 0}, "2": {"logprob": 0}}]
        return plain(row)

    with opened(play, scoring="prompt") as (model, _):
        assert isinstance(model, Scores)
        with pytest.raises(ServerError, match="one log-probability a token"):
            model.score(QUESTION, YES_NO)


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
