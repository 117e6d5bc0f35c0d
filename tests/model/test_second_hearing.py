"""The second hearing: worked by hand, who stands; the times are still those of the file; the judge is the plain decoder."""

from __future__ import annotations

import pytest
import torch

from sensorium.errors import RequestError
from sensorium.model import presets
from sensorium.model.second_hearing import Second, judge_of
from sensorium.model.transcribe import Doubt, Hearing, covered
from tests.model.test_transcribe import _model, _said, _script, _sound, _time

LIKELY = {"the cat sat": -3.0, "the cat's hat": -5.0, "": 0.0}


def test_sound_and_language_weigh_against_each_other() -> None:
    """-0.30 + 0.1 * -5 = -0.80 against -0.45 + 0.1 * -3 = -0.75; at weight 0.05 -0.55 against -0.60."""
    first, later = ("the cat's hat", -0.30), ("the cat sat", -0.45)
    assert Second(LIKELY.__getitem__).prefers_later(first, later)
    assert not Second(LIKELY.__getitem__, weight=0.05).prefers_later(first, later)
    assert not Second(LIKELY.__getitem__).prefers_later(later, first)


@pytest.mark.parametrize("other", ["The cat's hat.", "the  cat's, hat", ""])
def test_the_judge_is_not_asked_about_spelling_or_silence(other: str) -> None:
    def never(text: str) -> float:
        raise AssertionError(text)

    assert not Second(never).prefers_later(("the cat's hat", -0.9), (other, -0.1))
    assert not Second(never).prefers_later((other, -0.9), ("the cat's hat", -0.1))


def test_the_better_text_stands_with_the_times_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heard half a second later, and one timestamp within the silence in front."""
    again = _said(_time(0.3), 2, _time(1.5), _time(1.5), 3, _time(3.5), logprob=-0.25)
    script = _script(monkeypatch, _said(_time(0), 0, _time(3)), again)
    hearing = Hearing(second=Second({"red": -9.0, "green. go": -2.0}.__getitem__))
    segments = list(_model().transcribe(_sound(3.0, start=10.0), hearing))
    assert len(script.asked) == 2
    assert [(one.start, one.stop, one.text) for one in segments] == [(10.0, 11.0, "green."), (11.0, 13.0, "go")]
    assert covered(segments) == 3.0


@pytest.mark.parametrize(("first", "later", "stands"), [(-3.0, -0.9, "green."), (-0.9, -3.0, "red"), (-0.2, -0.2, "green.")])
def test_a_text_without_doubt_stands_before_a_doubtful_one(
    monkeypatch: pytest.MonkeyPatch, first: float, later: float, stands: str
) -> None:
    _script(monkeypatch, _said(_time(0), 0, _time(3), logprob=first), _said(_time(0.5), 2, _time(3.5), logprob=later))
    hearing = Hearing(doubt=Doubt(temperatures=(0.0,)), second=Second({"red": -4.0, "green.": -3.0}.__getitem__))
    (segment,) = _model().transcribe(_sound(3.0), hearing)
    assert segment.text == stands


def test_where_the_first_hearing_hears_nobody_nobody_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    guess = _said(_time(0), 1, _time(2), logprob=-1.5, no_speech=0.9)
    _script(monkeypatch, guess, _said(_time(0.5), 2, _time(2.5)))
    (segment,) = _model().transcribe(_sound(3.0), Hearing(second=Second(lambda _: 0.0)))
    assert segment.text == ""


def test_chunks_leave_room_for_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _said(_time(0), 1, _time(29))
    _script(monkeypatch, *[said] * 6)
    segments = list(_model().transcribe(_sound(60.0), Hearing(second=Second(lambda _: 0.0, lead=1.0))))
    assert covered(segments) == pytest.approx(60.0)
    assert max(stop - start for start, stop in {segment.chunk for segment in segments}) <= 29.0


def test_the_judge_is_the_mean_of_the_decoder_alone() -> None:
    model = presets.tiny().eval()
    tokenizer, text = model.layout.tokenizer, "a red dog"
    start = tokenizer.token_to_id("<|endoftext|>")
    ids = [min(model.layout.ends) if start is None else start, *tokenizer.encode(text, add_special_tokens=False).ids]
    each = []
    with torch.inference_mode():
        for place, token in enumerate(ids[1:], 1):
            hidden_1LD = model.decoder(model.decoder.embed(torch.tensor([ids[:place]])))
            each.append(float(model.decoder.logits(hidden_1LD[0, -1]).log_softmax(-1)[token]))
    assert judge_of(model)(text) == pytest.approx(sum(each) / len(each), abs=1e-5)


@pytest.mark.parametrize("lead", [0.0, -1.0, 6.0])
def test_a_lead_that_is_no_short_silence_is_refused(lead: float) -> None:
    with pytest.raises(RequestError, match=r"s of silence: is not above 0 and at most 5 s\. Leave the default of 0\.5 s"):
        Second(lambda _: 0.0, lead=lead)
