"""Transcription: the whole sound is covered, times are those of the file, and doubtful texts are searched for again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel
from tokenizers.models import WordLevel

from sensorium.batch import Features
from sensorium.encoders.audio import AudioEncoder, WhisperConfig
from sensorium.errors import RequestError
from sensorium.language.dictation import STEP, Dictation, Search
from sensorium.language.speech import SpeechConfig, SpeechDecoder
from sensorium.language.speech_tokens import SpeechTokens
from sensorium.media.audio import Sound, encode_wav
from sensorium.model import transcribe as module
from sensorium.model.segments import covered, readings
from sensorium.model.transcribe import Doubt, Hearing, SpeechModel
from sensorium.parts import Reading

WORDS = ["Ġred", "Ġblue", "Ġgreen.", "Ġgo", "Ġstop!"]
END, START, FIRST_TIME, VOCAB = 5, 6, 10, 10 + 1501
TOKENS = SpeechTokens(start=START, end=END, no_timestamps=9)


def _model(timestamps: bool = True, languages: bool = False) -> SpeechModel:
    torch.manual_seed(0)
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="Ġred"))
    tokenizer.decoder = ByteLevel()
    vocab = VOCAB if timestamps else FIRST_TIME
    tokens = SpeechTokens(START, END, 9, languages={"en": 7, "de": 8}, transcribe=7, translate=7) if languages else TOKENS
    return SpeechModel(
        AudioEncoder(WhisperConfig(dim=16, layers=1, heads=2, inner=16)).eval(),
        SpeechDecoder(SpeechConfig(vocab=vocab, dim=16, layers=1, heads=2, inner=16, positions=64)).eval(),
        tokenizer,
        tokens,
    )


def _sound(seconds: float, start: float = 0.0, pauses: Sequence[float] = ()) -> Sound:
    wave = torch.randn(int(seconds * 16_000), generator=torch.Generator().manual_seed(0)) * 0.1
    for pause in pauses:
        wave[int(pause * 16_000) : int((pause + 0.5) * 16_000)] = 0.0
    return Sound(wave, 16_000, start, start + seconds, start + seconds, "noise.wav")


def _time(seconds: float) -> int:
    return FIRST_TIME + round(seconds / STEP)


class Script:
    """Stands in for the search: gives the next answers, and keeps what it was asked."""

    def __init__(self, *answers: Dictation) -> None:
        self.answers, self.asked = list(answers), list[tuple[int, float, tuple[int, ...]]]()

    def __call__(self, *given: object) -> list[Dictation]:
        prompts, search = given[3], given[4]
        assert isinstance(prompts, list)
        assert isinstance(search, Search)
        self.asked.append((len(prompts), search.temperature, prompts[0]))
        return [self.answers.pop(0) for _ in prompts]


def _said(*tokens: int, logprob: float = -0.2, no_speech: float = 0.0, ended: bool = True) -> Dictation:
    return Dictation(tokens, logprob, no_speech, ended)


def _script(monkeypatch: pytest.MonkeyPatch, *answers: Dictation) -> Script:
    script = Script(*answers)
    monkeypatch.setattr(module, "dictate", script)
    return script


def test_a_random_model_covers_every_second() -> None:
    sound, told = _sound(70.0, start=5.0, pauses=(27.0, 50.0)), list[tuple[float, float]]()
    hearing = Hearing(batch=2, search=Search(beams=2, max_tokens=6), doubt=Doubt(temperatures=(0.0,)))
    segments = list(_model().transcribe(sound, hearing, lambda done, total: told.append((done, total))))
    assert covered(segments) == pytest.approx(70.0, abs=1e-6)
    assert told[-1] == (70.0, 70.0)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    bounds = sorted({segment.chunk for segment in segments})
    assert bounds[0][0] == 5.0
    assert all(earlier[1] == pytest.approx(later[0]) for earlier, later in pairwise(bounds))
    assert bounds[0][1] == pytest.approx(5 + 27.25, abs=0.3)  # cut in the pause
    for segment in segments:
        assert segment.chunk[0] <= segment.start <= segment.stop <= segment.chunk[1]


def test_a_file_is_read_and_silence_is_covered_without_words() -> None:
    quiet = encode_wav(torch.zeros(16_000 * 40), 16_000)
    segments = list(_model().transcribe(quiet))
    assert [segment.text for segment in segments] == ["", ""]
    assert covered(segments) == pytest.approx(40.0)
    assert readings(segments) == []


def test_timestamps_give_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    script = _script(monkeypatch, _said(_time(0.5), 0, 1, _time(2.0), _time(2.4), 2, _time(99.0)))
    segments = list(_model().transcribe(_sound(3.0, start=10.0)))
    assert script.asked == [(1, 0.0, (START,))]
    assert [(one.start, one.stop, one.text) for one in segments] == [(10.5, 12.0, "red blue"), (12.4, 13.0, "green.")]
    assert {(one.times, one.chunk) for one in segments} == {("timestamps", (10.0, 13.0))}
    assert readings(segments)[0] == Reading("red blue", (10.5, 12.0), pytest.approx(0.8187, abs=1e-4))


def test_without_timestamps_sentences_share_the_chunk_by_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    script = _script(monkeypatch, _said(0, 2, 3), _said(0, 2, 3))
    for model in (_model(timestamps=False), _model()):
        first, second = model.transcribe(_sound(6.0), Hearing(timestamps=False))
        assert script.asked[-1][2] == (START, TOKENS.no_timestamps)
        assert (first.text, second.text, first.times) == ("red green.", "go", "proportional")
        assert (first.start, first.stop, second.stop) == (0.0, pytest.approx(5.0), 6.0)


def test_a_doubtful_text_is_searched_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two chunks only the doubtful one is tried again, hotter each time."""
    looped, guessed = _said(_time(0), *[0] * 60, _time(30)), _said(_time(0), 1, _time(30), logprob=-2.0)
    good = _said(_time(0), 2, _time(30))
    script = _script(monkeypatch, good, looped, guessed, good)
    segments = list(_model().transcribe(_sound(40.0, pauses=(24.0,)), Hearing(doubt=Doubt(temperatures=(0.0, 0.4, 0.8)))))
    assert [(count, heat) for count, heat, _ in script.asked] == [(2, 0.0), (1, 0.4), (1, 0.8)]
    assert [(segment.text, segment.temperature) for segment in segments] == [("green.", 0.0), ("green.", 0.8)]


def test_if_every_try_is_doubtful_the_likeliest_without_repetition_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    looped, worse, bad = _said(_time(0), *[0] * 60, _time(3)), _said(1, logprob=-3.0), _said(2, logprob=-2.0)
    _script(monkeypatch, looped, bad, worse)
    (segment,) = _model().transcribe(_sound(3.0), Hearing(doubt=Doubt(temperatures=(0.0, 0.5, 1.0))))
    assert (segment.text, segment.temperature) == ("green.", 0.5)


def test_words_guessed_where_nobody_speaks_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    script = _script(monkeypatch, _said(_time(0), 1, _time(2), logprob=-1.5, no_speech=0.9))
    (segment,) = _model().transcribe(_sound(3.0))
    assert (segment.text, segment.no_speech, segment.start, segment.stop) == ("", 0.9, 0.0, 3.0)
    assert len(script.asked) == 1


def test_a_loud_rest_is_heard_again(monkeypatch: pytest.MonkeyPatch) -> None:
    script = _script(monkeypatch, _said(_time(0), 1, _time(8)), _said(_time(0.5), 2, _time(3)))
    segments = list(_model().transcribe(_sound(12.0, start=100.0)))
    assert len(script.asked) == 2
    assert [(one.start, one.stop, one.text, one.chunk) for one in segments] == [
        (100.0, 108.0, "blue", (100.0, 108.0)),
        (108.5, 111.0, "green.", (108.0, 112.0)),
    ]
    assert covered(segments) == 12.0


def test_the_language_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    script = _script(monkeypatch, *[_said(_time(0), 1, _time(25))] * 3)
    calls: list[int] = []

    def language(decoder: SpeechDecoder, tokens: SpeechTokens, features: Features) -> list[tuple[str, float]]:
        calls.append(len(features.x_BTD))
        return [("de", 0.9)] * len(features.x_BTD)

    monkeypatch.setattr(module, "spoken_language", language)
    model = _model(languages=True)
    list(model.transcribe(_sound(70.0, pauses=(24.0, 48.0)), Hearing(batch=1)))
    assert calls == [1]
    assert [prompt for _, _, prompt in script.asked] == [(START, 8, 7)] * 3
    with pytest.raises(RequestError, match="language 'fr': is not known"):
        list(model.transcribe(_sound(1.0), Hearing(language="fr")))


def test_read_gives_what_the_layout_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    _script(monkeypatch, _said(_time(0), 3, _time(1)))
    assert _model().read(_sound(1.0)) == [Reading("go", (0.0, 1.0), pytest.approx(0.8187, abs=1e-4))]


@pytest.mark.parametrize("hearing", [Hearing(chunk=31.0), Hearing(chunk=0.5), Hearing(batch=0)])
def test_chunks_that_cannot_be_heard_are_refused(hearing: Hearing) -> None:
    with pytest.raises(RequestError, match=r"are not at least 1 of 1\.\.30 s\. Choose others"):
        list(_model().transcribe(_sound(1.0), hearing))
