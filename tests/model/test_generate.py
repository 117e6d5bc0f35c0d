"""Answers: cache, batches, beams, choices and scores agree with the plain forward pass of the same model."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image as Pillow

from sensorium.batch import Modality
from sensorium.errors import RequestError
from sensorium.model.generate import Assistant
from sensorium.model.presets import tiny
from sensorium.parts import Answer, Image, Message, Sample, Text
from sensorium.protocols import Embeds, Generates, Sampling, Scores


def png(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (40, 30), colour).save(file, "PNG")
    return file.getvalue()


RED, BLUE = png((220, 10, 10)), png((10, 10, 220))


def ask(words: str, *pictures: bytes) -> list[Message]:
    return [Message("user", (*(Image(picture) for picture in pictures), Text(words)))]


@pytest.fixture(scope="module")
def assistant() -> Assistant:
    model = tiny(adapter=True)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        for name, weight in model.decoder.named_parameters():
            if "lora_" in name or weight.dim() > 1:
                weight.normal_(std=0.3)
    return Assistant(model, "tiny")


def plain_greedy(assistant: Assistant, messages: list[Message], count: int) -> list[int]:
    """Token by token through the whole forward pass, without cache or session."""
    model = assistant.model
    batch = model.batch([Sample("0", tuple(messages))], reply=True)
    ids: list[int] = []
    for _ in range(count):
        extra = torch.tensor([ids], dtype=torch.int64).reshape(1, -1)
        ones = torch.ones_like(extra, dtype=torch.bool)
        grown = type(batch)(
            batch.samples,
            torch.cat([batch.ids_BL, extra], 1),
            torch.cat([batch.valid_BL, ones], 1),
            torch.cat([batch.learn_BL, ~ones], 1),
            batch.media,
            batch.placements,
            batch.uses,
        )
        with torch.no_grad():
            logits_V = model.decoder.logits(model(grown).hidden_BLD[0, -1])
        ids.append(int(logits_V.argmax()))
        if ids[-1] in model.layout.ends:
            break
    return ids


def said(answer: Answer) -> list[str]:
    return [token.text for token in answer.tokens]


def test_it_is_what_the_protocols_ask_for(assistant: Assistant) -> None:
    assert isinstance(assistant, Generates)
    assert isinstance(assistant, Scores)
    assert isinstance(assistant, Embeds)


@pytest.mark.parametrize("pictures", [(), (RED,), (RED, BLUE)])
def test_greedy_with_cache_equals_the_forward_pass(assistant: Assistant, pictures: tuple[bytes, ...]) -> None:
    messages = ask("what is it", *pictures)
    (answer,) = assistant.answer([messages], Sampling(max_tokens=6))
    ids = plain_greedy(assistant, messages, 6)
    words = [
        "" if i in assistant.model.layout.ends else assistant.tokenizer.decode([i], skip_special_tokens=False) for i in ids
    ]
    assert said(answer) == words


def test_a_batch_answers_as_each_row_alone(assistant: Assistant) -> None:
    rows = [ask("a"), ask("what is on the picture", RED), ask("how many things are there", BLUE, RED)]
    for sampling in (Sampling(max_tokens=8), Sampling(max_tokens=8, temperature=0.9, seed=3), Sampling(max_tokens=5, beams=3)):
        together = assistant.answer(rows, sampling)
        alone = [assistant.answer([row], sampling)[0] for row in rows]
        assert [answer.text for answer in together] == [answer.text for answer in alone]
        for one, other in zip(together, alone, strict=True):
            assert [token.logprob for token in one.tokens] == pytest.approx([token.logprob for token in other.tokens], abs=1e-4)


def test_the_stream_is_the_answer(assistant: Assistant) -> None:
    *pieces, answer = assistant.stream(ask("go on", RED), Sampling(max_tokens=12))
    assert isinstance(answer, Answer)
    assert "".join(str(piece) for piece in pieces) == answer.text
    assert answer.usage.output_tokens == len(answer.tokens) <= 12


def test_a_stop_string_ends_the_answer_and_is_never_streamed(assistant: Assistant) -> None:
    whole = assistant.answer([ask("go on", RED)], Sampling(max_tokens=40))[0].text
    assert len(whole) > 4
    stop = whole[2:4]
    *pieces, answer = assistant.stream(ask("go on", RED), Sampling(max_tokens=40, stop=(stop,)))
    assert isinstance(answer, Answer)
    assert answer.finish == "stop"
    assert answer.text == whole[: whole.index(stop)] == "".join(str(piece) for piece in pieces)


def test_the_seed_repeats_a_draw(assistant: Assistant) -> None:
    draws = [
        assistant.answer([ask("go on")], Sampling(max_tokens=8, temperature=1.0, seed=seed))[0].text for seed in (1, 1, 2, 3)
    ]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 1


def test_scores_are_the_summed_log_probabilities_of_the_forward_pass(assistant: Assistant) -> None:
    answers = ["yes", "no, not at all", ""]
    messages = ask("is it red", RED)
    model = assistant.model
    expected = []
    for text in answers:
        sample = Sample("0", (*messages, Message("assistant", (Text(text),), learn=True)))
        batch = model.batch([sample])
        with torch.no_grad():
            logprobs_LV = model.decoder.logits(model(batch).hidden_BLD[0]).log_softmax(-1)
        targets = batch.learn_BL[0].nonzero()[:, 0]
        expected.append(sum(float(logprobs_LV[place - 1, batch.ids_BL[0, place]]) for place in targets))
    assert assistant.score(messages, answers) == pytest.approx(expected, abs=1e-3)


def test_many_conversations_are_scored_as_each_alone(assistant: Assistant) -> None:
    asked = [ask("is it red", RED), ask("and what is this one here", RED, BLUE), ask("no picture")]
    answers = [["yes", "no, not at all"], [f"number {count}" for count in range(40)], []]
    found = assistant.score_many(asked, answers)
    for messages, texts, totals in zip(asked, answers, found, strict=True):
        assert totals == pytest.approx(assistant.score(messages, texts), rel=1e-5)
    choices = Sampling(choices=("yes", "no", "it may be"))
    together, apart = assistant.answer(asked, choices), [assistant.answer([messages], choices)[0] for messages in asked]
    assert [(answer.text, answer.usage) for answer in together] == [(answer.text, answer.usage) for answer in apart]


def test_a_choice_is_the_likeliest_and_its_confidence_its_share(assistant: Assistant) -> None:
    choices = ("yes", "no", "it may be")
    messages = ask("is it red", RED)
    (answer,) = assistant.answer([messages], Sampling(choices=choices))
    scores = torch.tensor(assistant.score(messages, choices), dtype=torch.float64)
    assert answer.text == choices[int(scores.argmax())]
    assert answer.finish == "choice"
    assert answer.confidence == pytest.approx(float(scores.softmax(0).max()))


def test_beams_report_the_log_probabilities_of_their_tokens(assistant: Assistant) -> None:
    messages = ask("go on", BLUE)
    (answer,) = assistant.answer([messages], Sampling(max_tokens=40, beams=4))
    if answer.finish == "stop":
        assert sum(token.logprob for token in answer.tokens) == pytest.approx(
            assistant.score(messages, [answer.text])[0], abs=1e-3
        )
    assert answer.confidence is not None
    assert 0 < answer.confidence <= 1


def test_another_picture_is_another_answer_distribution(assistant: Assistant) -> None:
    assert assistant.score(ask("is it", RED), ["yes"]) != pytest.approx(assistant.score(ask("is it", BLUE), ["yes"]), abs=1e-4)


def test_usage_says_what_was_read(assistant: Assistant) -> None:
    (answer,) = assistant.answer([ask("what", RED)], Sampling(max_tokens=2))
    (use,) = answer.usage.media
    assert (use.kind, use.tiles, use.message, use.part) == ("image", 1, 0, 0)
    batch = assistant.model.batch([Sample("0", tuple(ask("what", RED)))], reply=True)
    assert use.tokens == sum(place.length for place in batch.placements if place.part == use.part) > 0
    assert any(place.modality is Modality.IMAGE for place in batch.placements)
    assert answer.usage.input_tokens == batch.ids_BL.shape[1]


@pytest.mark.parametrize(
    ("sampling", "name"),
    [
        (Sampling(beams=2, stop=("x",)), "stop"),
        (Sampling(beams=2, top_logprobs=2), "top_logprobs"),
        (Sampling(max_tokens=0), "max_tokens"),
        (Sampling(max_tokens=100_000), "positions"),
    ],
)
def test_options_that_cannot_be_met_are_refused_by_name(assistant: Assistant, sampling: Sampling, name: str) -> None:
    with pytest.raises(RequestError, match=name):
        assistant.answer([ask("what")], sampling)


def test_runners_up_are_the_likeliest_tokens(assistant: Assistant) -> None:
    (answer,) = assistant.answer([ask("what")], Sampling(max_tokens=3, top_logprobs=4))
    for token in answer.tokens:
        logprobs = [logprob for _, logprob in token.top]
        assert len(logprobs) == 4
        assert logprobs == sorted(logprobs, reverse=True)
        assert token.logprob == pytest.approx(logprobs[0])
