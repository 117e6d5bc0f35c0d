"""Hearing carefully: which text stands, worked by hand; the times are those of the file; the judge is the plain decoder."""

from __future__ import annotations

import pytest
import torch

from sensorium.errors import RequestError
from sensorium.language.dictation import Dictation, Said
from sensorium.model import presets
from sensorium.model.hearings import Careful, Texts, judge_of, with_times
from sensorium.model.segments import covered
from sensorium.model.transcribe import Doubt, Hearing
from tests.model.test_transcribe import _model, _said, _script, _sound, _time

LIKELY = {"the cat sat": -3.0, "the cat's hat": -5.0, "a cat sat": -3.5}


def test_sound_and_language_weigh_against_each_other() -> None:
    """The hat: -(.3 + .6) / 2 - .1 * 5 = -.95. The cat: -(.5 + .35) / 2 - .1 * 3 = -.725; at weight 0 -.45 against -.425."""
    hearings: list[Texts] = [
        [("the cat's hat", -0.3), ("the cat sat", -0.5)],
        [("The cat sat.", -0.35), ("the cat's hat", -0.6)],
    ]
    assert Careful(LIKELY.__getitem__, weight=0.1).choose(hearings) == (0, 1)
    assert Careful({**LIKELY, "the cat sat": -5.5}.__getitem__, weight=0.0).choose(hearings) == (0, 1)
    assert Careful({**LIKELY, "the cat sat": -5.5}.__getitem__, weight=0.1).choose(hearings) == (0, 0)


def test_a_text_that_a_hearing_did_not_find_counts_there_as_its_worst() -> None:
    """A cat: (-.4 - .2) / 2 = -.3, the second text of the second hearing; the cat: (-.1 - .9) / 2 = -.5."""
    hearings: list[Texts] = [[("the cat sat", -0.1), ("the cat's hat", -0.4)], [("the cat's hat", -0.9), ("a cat sat", -0.2)]]
    assert Careful(lambda _: 0.0).choose(hearings) == (1, 1)


@pytest.mark.parametrize("other", ["The cat's hat.", "the  cat's, hat", ""])
def test_the_judge_is_not_asked_about_spelling_or_silence(other: str) -> None:
    def never(text: str) -> float:
        raise AssertionError(text)

    assert Careful(never).choose([[("the cat's hat", -0.9)], [(other, -0.1)]]) == (0, 0)
    assert Careful(never).choose([[("", -0.9)], [("", -0.1)]]) == (0, 0)


def _others(dictation: Dictation, *others: Said) -> Dictation:
    return Dictation(dictation.tokens, dictation.logprob, dictation.no_speech, dictation.ended, others)


def test_the_better_text_stands_with_the_times_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by the second hearing, beside another text; half a second later, and one timestamp within the silence in front."""
    right = Said((_time(0.3), 2, _time(1.5), _time(1.5), 3, _time(3.5)), -0.25)
    script = _script(
        monkeypatch, _said(_time(0), 0, _time(3)), _others(_said(_time(0.5), 1, _time(3.5), logprob=-0.2), right), _said(1)
    )
    hearing = Hearing(careful=Careful({"red": -9.0, "blue": -9.0, "green. go": -2.0}.__getitem__))
    segments = list(_model().transcribe(_sound(3.0, start=10.0), hearing))
    assert [prompt[-1] == 9 for _, _, prompt in script.asked] == [False, False, True]
    assert [(one.start, one.stop, one.text) for one in segments] == [(10.0, 11.0, "green."), (11.0, 13.0, "go")]
    assert [one.logprob for one in segments] == [-0.25, -0.25]
    assert covered(segments) == 3.0


def test_words_found_without_timestamps_get_those_of_the_first_hearing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = _said(_time(0), 0, 1, _time(1), _time(1.5), 3, _time(3))
    _script(monkeypatch, first, first, _said(0, 2, 3, 4))
    hearing = Hearing(careful=Careful(lambda text: -1.0 if "stop" in text else -9.0))
    segments = list(_model().transcribe(_sound(3.0), hearing))
    assert [(one.start, one.stop, one.text) for one in segments] == [(0.0, 1.0, "red green."), (1.5, 3.0, "go stop!")]


@pytest.mark.parametrize(
    ("words", "timed", "expected"),
    [
        ([1, 2, 3], [90, 1, 2, 91, 92, 3, 93], (90, 1, 2, 91, 92, 3, 93)),
        ([1, 3], [90, 1, 2, 91, 92, 3, 93], (90, 1, 91, 92, 3, 93)),
        ([1, 2, 50, 3], [90, 1, 4, 91, 92, 3, 93], (90, 1, 2, 50, 91, 92, 3, 93)),
        ([1, 2], [90, 91], (90, 91, 1, 2)),
        ([1, 2], [], (1, 2)),
        ([], [90, 1, 91], (90, 91)),
        ([1, 2], [90, 1, 91, 92, 3, 4], (90, 1, 91, 92, 2)),
    ],
)
def test_timestamps_are_moved_to_other_words_and_part_none(
    words: list[int], timed: list[int], expected: tuple[int, ...]
) -> None:
    """Tokens from 90 on are timestamps; 50 to 89 go on with a word."""
    assert with_times(words, timed, 90, lambda token: token < 50) == expected


@pytest.mark.parametrize(("first", "later", "stands"), [(-3.0, -0.9, "green."), (-0.9, -3.0, "red"), (-0.2, -0.2, "green.")])
def test_a_text_without_doubt_stands_before_a_doubtful_one(
    monkeypatch: pytest.MonkeyPatch, first: float, later: float, stands: str
) -> None:
    _script(
        monkeypatch,
        _said(_time(0), 0, _time(3), logprob=first),
        _said(_time(0.5), 2, _time(3.5), logprob=later),
        _said(1, logprob=-3.0),
    )
    likely = {"red": -4.0, "green.": -3.0}
    hearing = Hearing(doubt=Doubt(temperatures=(0.0,)), careful=Careful(likely.__getitem__))
    (segment,) = _model().transcribe(_sound(3.0), hearing)
    assert segment.text == stands


def test_a_text_that_repeats_itself_is_not_chosen_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Said((_time(0), *[2] * 40, _time(3)), -0.1)
    _script(monkeypatch, _others(_said(_time(0), 0, _time(3)), loop), _said(_time(0.5), 0, _time(3.5)), _said(0))
    (segment,) = _model().transcribe(_sound(3.0), Hearing(careful=Careful(lambda text: -9.0 * (text == "red"))))
    assert segment.text == "red"


@pytest.mark.parametrize("first", [_said(_time(0), 1, _time(2), logprob=-1.5, no_speech=0.9), _said(_time(0), _time(2))])
def test_where_the_first_hearing_hears_nobody_nobody_speaks(monkeypatch: pytest.MonkeyPatch, first: Dictation) -> None:
    _script(monkeypatch, first, _said(_time(0.5), 2, _time(2.5)), _said(2))
    (segment,) = _model().transcribe(_sound(3.0), Hearing(careful=Careful(lambda _: 0.0)))
    assert segment.text == ""


def test_chunks_leave_room_for_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _said(_time(0), 1, _time(29))
    _script(monkeypatch, *[said] * 9)
    segments = list(_model().transcribe(_sound(60.0), Hearing(careful=Careful(lambda _: 0.0, lead=1.0))))
    assert covered(segments) == pytest.approx(60.0)
    assert max(stop - start for start, stop in {segment.chunk for segment in segments}) <= 29.0


def test_a_model_without_timestamps_hears_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    script = _script(monkeypatch, _said(0), _said(1))
    list(_model(timestamps=False).transcribe(_sound(3.0), Hearing(careful=Careful({"red": -1.0, "blue": -2.0}.__getitem__))))
    assert len(script.asked) == 2


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
        Careful(lambda _: 0.0, lead=lead)
