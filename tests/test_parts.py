"""Values: equal by content, JSON both ways, and every refusal names the thing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import RequestError, SensoriumError
from sensorium.parts import (
    Answer,
    Audio,
    Document,
    Image,
    Message,
    Part,
    Sample,
    Text,
    Usage,
    Use,
    Video,
    message_from_json,
    message_to_json,
    part_from_json,
    part_to_json,
    sample_from_json,
    sample_to_json,
    usage_to_json,
)

paths = st.text(min_size=1, max_size=20).filter(lambda text: not text.startswith(("data:", "http://", "https://")))
sources = st.one_of(paths, st.binary(max_size=20), st.just("https://example.org/a.png"), st.just("data:image/png;base64,AA=="))
seconds = st.floats(0, 1e4)
parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, st.text()),
    st.builds(Image, sources),
    st.builds(Audio, sources, seconds, st.none() | seconds, st.booleans()),
    st.builds(Video, sources, seconds, st.none() | seconds),
    st.builds(Document, sources, st.integers(1, 99), st.none() | st.integers(1, 99)),
)
messages = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.lists(parts, max_size=4).map(tuple),
    st.booleans(),
)


@given(parts)
def test_a_part_survives_json(part: Part) -> None:
    assert part_from_json(json.loads(json.dumps(part_to_json(part)))) == part


@given(st.text(), st.lists(messages, max_size=3).map(tuple), st.dictionaries(st.text(), st.integers()))
def test_a_sample_survives_json(name: str, turns: tuple[Message, ...], meta: dict[str, int]) -> None:
    sample = Sample(name, turns, meta)
    again = sample_from_json(json.loads(json.dumps(sample_to_json(sample))))
    assert (again.id, again.messages, dict(again.meta)) == (name, turns, meta)


@given(messages)
def test_a_message_survives_json(message: Message) -> None:
    assert message_from_json(message_to_json(message)) == message


def test_plain_content_is_text() -> None:
    assert message_from_json({"role": "user", "content": "hello"}) == Message("user", (Text("hello"),))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"type": "smell", "path": "a"}, "'smell'.*is not known.*image"),
        ({"type": "image"}, "names 0 sources"),
        ({"type": "image", "path": "a", "url": "b"}, "names 2 sources"),
        ({"type": "image", "path": "a", "size": 3}, r"unknown fields \['size'\]"),
        ({"type": "image", "base64": "???"}, "not base64"),
        ({"type": "text"}, "text"),
    ],
)
def test_a_bad_part_is_refused_by_name(row: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        part_from_json(row)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"role": "king", "content": "a"}, "'king'.*unknown role.*user"),
        ({"role": "user", "content": 3}, "neither a string nor a list"),
        ({"role": "user", "content": "a", "name": "b"}, r"unknown fields \['name'\]"),
    ],
)
def test_a_bad_message_is_refused_by_name(row: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        message_from_json(row)


def test_a_bad_sample_is_refused() -> None:
    with pytest.raises(RequestError, match="lacks a string id"):
        sample_from_json({"id": 3, "messages": []})


def test_values_are_frozen_and_equal_by_content() -> None:
    assert Image(b"ab") == Image(b"ab") != Image(b"ac")
    with pytest.raises(AttributeError):
        Image("a").source = "b"  # type: ignore[misc]


def test_usage_names_only_what_says_something() -> None:
    usage = Usage(9, 2, (Use(0, 1, "audio", "a.wav", tokens=5, seconds=1.5, seconds_total=3.0),))
    (row,) = usage_to_json(usage)["media"]
    assert row == {"message": 0, "part": 1, "kind": "audio", "name": "a.wav", "tokens": 5, "seconds": 1.5, "seconds_total": 3.0}


def test_an_answer_is_its_words() -> None:
    answer = Answer(Message("assistant", (Text("a "), Image("b.png"), Text("dog"))), Usage(1, 1), "stop")
    assert answer.text == "a dog"


def test_an_error_is_thing_problem_remedy() -> None:
    error = SensoriumError("a.png", "has 9 pixels, the limit is 4", "Make it smaller")
    assert str(error) == "a.png: has 9 pixels, the limit is 4. Make it smaller."
    assert (error.thing, error.problem, error.remedy) == ("a.png", "has 9 pixels, the limit is 4", "Make it smaller")


def test_usage_notes_are_kept_only_where_there_are_any() -> None:
    assert usage_to_json(Usage(1, 2, (), ("the server counted no tokens",)))["notes"] == ["the server counted no tokens"]
    assert "notes" not in usage_to_json(Usage(1, 2))
