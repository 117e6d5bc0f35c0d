"""Speech of any length to text with times: Whisper's encoder and decoder put together.

The sound is cut at its quietest places into chunks of at most 30 s, which are heard several at a time. Every chunk gives at
least one segment, so that what was covered can be counted; one in which nobody speaks gives a segment without words.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from tokenizers import Tokenizer

from sensorium.batch import Features
from sensorium.encoders.audio import STEPS, AudioEncoder
from sensorium.encoders.spectrogram import log_mel
from sensorium.errors import RequestError
from sensorium.language.dictation import STEP, Dictation, Said, Search, dictate, spoken_language
from sensorium.language.speech import SpeechDecoder
from sensorium.language.speech_tokens import SpeechTask, SpeechTokens
from sensorium.media.audio import Sound, chunks, decode
from sensorium.model.hearings import Careful, with_times
from sensorium.model.segments import Segment, Times, heard_up_to, readings, shared, silent, timed
from sensorium.parts import Reading, Source

Progress = Callable[[float, float], None]
"""Told the seconds covered so far, and the seconds in all."""
_Heard = tuple[Dictation, float]
"""What a search found, and its temperature."""

_SILENCE = 1e-4
"""A chunk whose loudest sample is below this holds nothing to hear; the last bit of 16-bit sound is 3e-5."""
_LEFT = 1.5
"""A loud rest of a chunk longer than this, in seconds, is heard again if the text ended before it."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """When a text is not believed and searched for again (Radford et al. 2022, 4.5).

    Args:
        temperatures: of the tries, in order. ratio: a text that zlib shrinks more than this repeats itself.
        logprob: a mean log-probability below this is a guess. no_speech: with a guess, above this nobody speaks.
    """

    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    ratio: float = 2.4
    logprob: float = -1.0
    no_speech: float = 0.6


@dataclass(frozen=True, slots=True)
class Hearing:
    """How a recording is transcribed.

    Args:
        language: of a multilingual model; None: found in the first chunks.
        timestamps: let the model tell the times, if it can.
        padding: seconds of silence after each chunk, as far as 30 s allow. Whisper learnt on 30 s windows: with none it does
            not find the end of a text, with 8 s it errs more often; `docs/speech.md` has the figures.
        chunk: seconds heard in one go, at most 30. batch: chunks heard together.
        careful: hear everything three times and choose; chunks are then shorter by the silence it adds.
    """

    language: str | None = None
    task: SpeechTask = "transcribe"
    timestamps: bool = True
    padding: float = 30.0
    chunk: float = 30.0
    batch: int = 8
    search: Search = field(default_factory=Search)
    doubt: Doubt = field(default_factory=Doubt)
    careful: Careful | None = None


@dataclass(frozen=True, slots=True)
class SpeechModel:
    """Whisper: `encoder` (shared with the model that answers questions), `decoder`, and the tokenizer of its words."""

    encoder: AudioEncoder
    decoder: SpeechDecoder
    tokenizer: Tokenizer
    tokens: SpeechTokens

    def transcribe(
        self, heard: Sound | Source, hearing: Hearing | None = None, progress: Progress | None = None
    ) -> Iterator[Segment]:
        """The segments of a recording of any length, in order, as soon as their chunk is heard; see `transcribe`."""
        return transcribe(self, heard, hearing or Hearing(), progress)

    def read(self, sound: Sound) -> list[Reading]:
        """The words heard in a sound, a reading each segment, for the layout to write out with their times."""
        return readings(self.transcribe(sound))


def transcribe(
    model: SpeechModel, heard: Sound | Source, hearing: Hearing, progress: Progress | None = None
) -> Iterator[Segment]:
    """Transcribe a recording; the whole of it is covered.

    Args:
        heard: a decoded sound at 16 kHz, or a path, URL or bytes.

    Raises:
        MediaError: the source is no sound that can be read.
        RequestError: a language or task the model does not have, or chunks longer than it can hear.
    """
    longest = model.encoder.config.steps / STEPS
    if not 1 <= hearing.chunk <= longest or hearing.batch < 1:
        raise RequestError(
            f"{hearing.batch} chunks of {hearing.chunk:g} s",
            f"are not at least 1 of 1..{longest:g} s",
            "Choose others, or leave the defaults",
        )
    sound = heard if isinstance(heard, Sound) else decode(heard)
    lead = 0.0 if hearing.careful is None else hearing.careful.lead
    pieces = chunks(sound, min(hearing.chunk, longest - lead), least=0.25)
    listener = _Listener(model, hearing)
    for first in range(0, len(pieces), hearing.batch):
        batch = pieces[first : first + hearing.batch]
        for segments in listener.hear(batch):
            yield from segments
        if progress is not None:
            progress(batch[-1].stop - sound.start, sound.stop - sound.start)


class _Listener:
    """Hears batches of chunks of one recording; the language, once found, holds for all of it."""

    def __init__(self, model: SpeechModel, hearing: Hearing) -> None:
        self.model, self.hearing = model, hearing
        self.language = hearing.language
        self.timed = hearing.timestamps and model.decoder.config.vocab > model.tokens.first_time

    def hear(self, pieces: Sequence[Sound]) -> list[list[Segment]]:
        """The segments of each chunk."""
        loud = [place for place, piece in enumerate(pieces) if float(piece.wave_T.abs().max()) >= _SILENCE]
        results = [[silent(piece, 1.0)] for piece in pieces]
        rests: list[tuple[int, Sound]] = []
        for place, (dictation, temperature) in zip(loud, self._dictate([pieces[place] for place in loud]), strict=True):
            results[place] = self._segments(pieces[place], dictation, temperature)
            if (rest := self._rest(pieces[place], results[place])) is not None:
                rests.append((place, rest))
        for (place, rest), more in zip(rests, self.hear([rest for _, rest in rests]) if rests else [], strict=True):
            results[place] = [*heard_up_to(results[place], rest.start), *more]
        return results

    def _dictate(self, pieces: Sequence[Sound]) -> list[_Heard]:
        """What was said in each piece; heard carefully, what stands of all that was found."""
        if not pieces:
            return []
        features = self._features(pieces)
        found = self._search(features, self.timed)
        if (careful := self.hearing.careful) is None:
            return found
        shift = round(careful.lead / STEP) if self.timed else 0
        later = self._search(self._features([_after_silence(piece, careful.lead) for piece in pieces]), self.timed)
        hearings = [found, [(self._earlier(dictation, shift), temperature) for dictation, temperature in later]]
        if self.timed:
            hearings.append(self._search(features, timed=False))
        return [self._standing(careful, heard) for heard in zip(*hearings, strict=True)]

    def _standing(self, careful: Careful, heard: Sequence[_Heard]) -> _Heard:
        """Texts without doubt stand before doubtful ones; nobody is made to speak whom the first hearing did not hear."""
        first = heard[0]
        if not self._spell(first[0].tokens) or any(self._nobody(dictation) for dictation, _ in heard):
            return first
        sure = [one for one in heard if not self._doubtful(one[0])] or heard
        said = [self._believed(dictation) for dictation, _ in sure]
        number, place = careful.choose([[(self._spell(one.tokens), one.logprob) for one in texts] for texts in said])
        tokens, logprob = said[number][place]
        if self.timed and all(token < self.model.tokens.first_time for token in tokens):
            tokens = with_times(tokens, first[0].tokens, self.model.tokens.first_time, self._begins)
        dictation, temperature = sure[number]
        return replace(dictation, tokens=tokens, logprob=logprob), temperature

    def _believed(self, dictation: Dictation) -> list[Said]:
        """The best text and those of the others that do not repeat themselves, which a language model would like."""
        return [Said(dictation.tokens, dictation.logprob), *(one for one in dictation.others if not self._repeats(one.tokens))]

    def _begins(self, token: int) -> bool:
        spelled: str = self.model.tokenizer.decode([token])
        return spelled[:1].isspace()

    def _earlier(self, dictation: Dictation, steps: int) -> Dictation:
        """With its timestamps so many steps earlier, none before the start."""
        first = self.model.tokens.first_time

        def moved(tokens: Sequence[int]) -> tuple[int, ...]:
            return tuple(token if token < first else max(token - steps, first) for token in tokens)

        others = tuple(Said(moved(tokens), logprob) for tokens, logprob in dictation.others)
        return replace(dictation, tokens=moved(dictation.tokens), others=others)

    def _search(self, features: Features, timed: bool) -> list[_Heard]:
        """What one hearing finds: the first try without doubt, or else the likeliest that does not repeat itself."""
        prompt = self._prompt(features, timed)
        tries: list[list[_Heard]] = [[] for _ in features.x_BTD]
        open_ = list(range(len(tries)))
        for temperature in self.hearing.doubt.temperatures:
            rows = Features(features.x_BTD[open_], features.valid_BT[open_])
            search = replace(self.hearing.search, temperature=temperature)
            for place, dictation in zip(
                open_, dictate(self.model.decoder, self.model.tokens, rows, [prompt] * len(open_), search), strict=True
            ):
                tries[place].append((dictation, temperature))
            open_ = [place for place in open_ if self._doubtful(tries[place][-1][0])]
            if not open_:
                break
        return [
            one[-1]
            if not self._doubtful(one[-1][0])
            else max(one, key=lambda item: (not self._repeats(item[0].tokens), item[0].logprob))
            for one in tries
        ]

    @torch.inference_mode()
    def _features(self, pieces: Sequence[Sound]) -> Features:
        config = self.model.encoder.config
        mels = []
        for piece in pieces:
            frames = 2 * math.ceil((piece.seconds + self.hearing.padding) * STEPS)
            mels.append(log_mel(piece.wave_T, config.mels, min(frames, 2 * config.steps)))
        return self.model.encoder.encode(mels)

    def _prompt(self, features: Features, timed: bool) -> tuple[int, ...]:
        tokens = self.model.tokens
        if tokens.languages and self.language is None:
            self.language = max(spoken_language(self.model.decoder, tokens, features), key=lambda found: found[1])[0]
        return tokens.prompt(self.language, self.hearing.task, timed)

    def _doubtful(self, dictation: Dictation) -> bool:
        if self._nobody(dictation):
            return False
        return not dictation.ended or self._repeats(dictation.tokens) or dictation.logprob < self.hearing.doubt.logprob

    def _nobody(self, dictation: Dictation) -> bool:
        doubt = self.hearing.doubt
        return dictation.no_speech > doubt.no_speech and dictation.logprob < doubt.logprob

    def _repeats(self, tokens: Sequence[int]) -> bool:
        text = self._spell(tokens).encode()
        return len(text) / len(zlib.compress(text)) > self.hearing.doubt.ratio

    def _spell(self, tokens: Iterable[int]) -> str:
        spelled: str = self.model.tokenizer.decode([token for token in tokens if token < self.model.tokens.end])
        return spelled.strip()

    def _segments(self, piece: Sound, heard: Dictation, temperature: float) -> list[Segment]:
        first_time = self.model.tokens.first_time
        spans = timed(piece, heard.tokens, first_time, self._spell) if self.timed else shared(piece, heard.tokens, self._spell)
        if self._nobody(heard) or not spans:
            return [silent(piece, heard.no_speech)]
        times: Times = "timestamps" if self.timed else "proportional"
        return [
            Segment(start, stop, text, tokens, heard.logprob, heard.no_speech, (piece.start, piece.stop), times, temperature)
            for start, stop, text, tokens in spans
        ]

    def _rest(self, piece: Sound, segments: Sequence[Segment]) -> Sound | None:
        """What follows the last words, if it is long and as loud as speech: Whisper sometimes stops in the middle."""
        last = segments[-1]
        if not self.timed or not last.text or piece.stop - last.stop < _LEFT or last.stop - piece.start < 1.0:
            return None
        at = round((last.stop - piece.start) * piece.rate)
        before, after = piece.wave_T[:at].square().mean(), piece.wave_T[at:].square().mean()
        if after < 0.1 * before:
            return None
        return replace(piece, wave_T=piece.wave_T[at:], start=piece.start + at / piece.rate)


def _after_silence(piece: Sound, seconds: float) -> Sound:
    """The piece with so much silence in front; its times are still those of the file."""
    return replace(piece, wave_T=torch.cat([piece.wave_T.new_zeros(round(seconds * piece.rate)), piece.wave_T]))
