"""From a sound to the tokens said in it: greedy, sampled and beam search under Whisper's rules for what may follow what.

Radford et al. 2022, 4.5 (Strategies for Reliable Long-form Transcription); reference code: `decoding.py` of openai/whisper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.batch import Features
from sensorium.language.speech import SpeechCache, SpeechDecoder
from sensorium.language.speech_tokens import SpeechTokens

STEP = 0.02
"""Seconds from one timestamp token to the next."""
_LATEST_FIRST = 50
"""The first timestamp is at most one second into the sound."""
_LOOP, _DIFFERENT = 20, 5
"""A text whose last so many tokens are so few different ones goes round in a circle."""


@dataclass(frozen=True, slots=True)
class Search:
    """How words are searched for.

    Args:
        beams: kept at temperature 0; 1 is greedy. temperature: above 0 words are drawn, and the best of `draws` texts wins.
    """

    beams: int = 5
    temperature: float = 0.0
    draws: int = 5
    max_tokens: int = 224
    seed: int = 0


class Said(NamedTuple):
    """Words and timestamps, without prompt and end, and their mean log-probability in nats, the end's included."""

    tokens: tuple[int, ...]
    logprob: float


@dataclass(frozen=True, slots=True)
class Dictation:
    """What was heard in one piece of sound.

    Args:
        tokens, logprob: of the best text, as in `Said`. others: what else the search found, the likelier first.
        no_speech: the probability that nobody speaks. ended: False when the token limit cut it.
    """

    tokens: tuple[int, ...]
    logprob: float
    no_speech: float
    ended: bool
    others: tuple[Said, ...] = ()


@torch.inference_mode()
def spoken_language(decoder: SpeechDecoder, tokens: SpeechTokens, features: Features) -> list[tuple[str, float]]:
    """For each piece of sound the likeliest language and its probability among all that the model knows."""
    ids = torch.full((len(features.x_BTD), 1), tokens.start)
    logits = decoder.logits(decoder(ids, decoder.memory(features))[:, -1])
    codes = list(tokens.languages)
    best = logits[:, [tokens.languages[code] for code in codes]].softmax(-1).max(-1)
    return [(codes[index], share) for index, share in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


@torch.inference_mode()
def dictate(
    decoder: SpeechDecoder, tokens: SpeechTokens, features: Features, prompts: Sequence[tuple[int, ...]], search: Search
) -> list[Dictation]:
    """The words in each of P pieces of sound; a piece's result does not depend on its neighbours.

    Args:
        prompts: one a piece, all of one length (`SpeechTokens.prompt`).
    """
    beams = search.beams if search.temperature == 0 else search.draws
    memory, cache = decoder.memory(features), SpeechCache()
    prompt_PL = torch.tensor(prompts)
    hidden_PLD = decoder(prompt_PL, memory, cache)
    silence_P = decoder.logits(hidden_PLD[:, 0]).softmax(-1)[:, tokens.no_speech].tolist()
    cache.select(torch.arange(len(prompts)).repeat_interleave(beams))
    logits_BV = decoder.logits(hidden_PLD[:, -1]).repeat_interleave(beams, 0)

    rules = Rules(tokens, decoder.config.vocab, timestamps=prompts[0][-1] != tokens.no_timestamps)
    hunts = [_Hunt(beams, search, tokens.end, number) for number in range(len(prompts))]
    live = list(hunts)
    limit = min(search.max_tokens, decoder.config.positions - prompt_PL.shape[1])
    for step in range(limit):
        logits_BV = rules(logits_BV, [said for hunt in live for said in hunt.said])
        rows = _draw(live, logits_BV) if search.temperature > 0 else _extend(live, logits_BV)
        keep = [part for part, hunt in enumerate(live) if not hunt.done]
        if not keep or step + 1 == limit:
            break
        if len(keep) < len(live):
            rows = [row for part in keep for row in rows[part * beams : (part + 1) * beams]]
            memory, live = memory.select(torch.tensor(keep)), [live[part] for part in keep]
        cache.select(torch.tensor(rows))
        ids_B1 = torch.tensor([[said[-1]] for hunt in live for said in hunt.said])
        logits_BV = decoder.logits(decoder(ids_B1, memory, cache)[:, -1])
    return [hunt.result(silence) for hunt, silence in zip(hunts, silence_P, strict=True)]


class Rules:
    """Which tokens may come next; the others' logits become minus infinity.

    Timestamps come in pairs around each segment's words and never go back; one is forced when all of them together are
    likelier than every single word.
    """

    def __init__(self, tokens: SpeechTokens, vocab: int, timestamps: bool) -> None:
        self.tokens, self.timestamps = tokens, timestamps
        never = torch.zeros(vocab, dtype=torch.bool)
        never[[*tokens.suppress, tokens.start, *range(tokens.end + 1, tokens.first_time)]] = True
        if not timestamps:
            never[tokens.first_time :] = True
        self.never_V = never

    def __call__(self, logits_BV: Tensor, said: Sequence[Sequence[int]]) -> Tensor:
        """`logits_BV`, which it changes, with what must not follow the tokens of each row taken out."""
        logits_BV.masked_fill_(self.never_V, -torch.inf)
        if not said[0]:
            logits_BV[:, list(self.tokens.suppress_first)] = -torch.inf
        if self.timestamps:
            for logits_V, row in zip(logits_BV, said, strict=True):
                self._times(logits_V, row)
        return logits_BV

    def _times(self, logits_V: Tensor, said: Sequence[int]) -> None:
        first = self.tokens.first_time
        if not said:
            logits_V[:first] = -torch.inf
            logits_V[first + _LATEST_FIRST + 1 :] = -torch.inf
            return
        times = [token for token in said if token >= first]
        closing = said[-1] >= first and (len(said) < 2 or said[-2] >= first)
        opening = said[-1] >= first and not closing
        if closing:
            logits_V[first:] = -torch.inf
        elif opening:
            logits_V[: self.tokens.end] = -torch.inf
        if times:
            logits_V[first : times[-1] + (0 if opening else 1)] = -torch.inf
        if logits_V[first:].logsumexp(0) > logits_V[:first].max():
            logits_V[:first] = -torch.inf


class _Hunt:
    """The beams, or the draws, of one piece of sound."""

    def __init__(self, beams: int, search: Search, end: int, number: int) -> None:
        self.beams, self.search, self.end = beams, search, end
        self.said: list[list[int]] = [[] for _ in range(beams)]
        self.totals = [0.0] * beams
        self.found: list[tuple[list[int], float]] = []
        self.random = torch.Generator().manual_seed(search.seed + number)

    @property
    def done(self) -> bool:
        """Enough texts have ended; or one has, and the others go round in circles, as over tones they would up to the limit."""
        return len(self.found) >= self.beams or (bool(self.found) and all(map(_circles, self.said)))

    def extend(self, best: Sequence[tuple[float, int, int]]) -> list[int]:
        """Go on with the best (total, row, token), those that end set aside; says which beam each one now continues."""
        said: list[list[int]] = []
        totals: list[float] = []
        parents: list[int] = []
        for total, row, token in best:
            if token == self.end:
                self.found.append((self.said[row], total))
            else:
                said.append([*self.said[row], token])
                totals.append(total)
                parents.append(row)
            if len(said) == self.beams:
                break
        self.said, self.totals = said, totals
        return parents

    def draw(self, logprob_KV: Tensor) -> None:
        """Draw the next token of every text that has not ended."""
        weights_KV = (logprob_KV / self.search.temperature).softmax(-1)
        for row, token in enumerate(torch.multinomial(weights_KV, 1, generator=self.random)[:, 0].tolist()):
            ended = self.said[row][-1:] == [self.end]
            self.totals[row] += 0.0 if ended else float(logprob_KV[row, token])
            self.said[row] = [*self.said[row], self.end if ended else token]
        if all(said[-1] == self.end for said in self.said):
            self.found = [(said[: said.index(self.end)], total) for said, total in zip(self.said, self.totals, strict=True)]

    def result(self, no_speech: float) -> Dictation:
        """The best text by mean log-probability; of those that ended, if any did."""
        texts = self.found or [
            (said[: said.index(self.end)] if self.end in said else said, total)
            for said, total in zip(self.said, self.totals, strict=True)
        ]
        said = [Said(tuple(words), total / (len(words) + 1)) for words, total in texts]
        best, *others = sorted(said, key=lambda text: -text.logprob)
        return Dictation(best.tokens, best.logprob, no_speech, bool(self.found), tuple(others))


def _circles(said: Sequence[int]) -> bool:
    return len(said) >= _LOOP and len(set(said[-_LOOP:])) <= _DIFFERENT


def _extend(live: Sequence[_Hunt], logits_BV: Tensor) -> list[int]:
    """One step of beam search; gives the row that each row now continues. Only the best of each row are normalised."""
    beams = live[0].beams
    top = logits_BV.topk(min(2 * beams, logits_BV.shape[1]))
    logprob = (top.values - logits_BV.logsumexp(-1, keepdim=True)).tolist()
    tokens = top.indices.tolist()
    rows: list[int] = []
    for part, hunt in enumerate(live):
        same = not hunt.said[0]  # at first all beams are the same
        ways = [
            (hunt.totals[row] + score, row, token)
            for row in range(1 if same else beams)
            for score, token in zip(logprob[part * beams + row], tokens[part * beams + row], strict=True)
        ]
        rows += [part * beams + row for row in hunt.extend(sorted(ways, key=lambda way: -way[0])[: 2 * beams])]
    return rows


def _draw(live: Sequence[_Hunt], logits_BV: Tensor) -> list[int]:
    """One step of sampling; every row goes on with itself."""
    for hunt, logprob_KV in zip(live, logits_BV.log_softmax(-1).view(len(live), live[0].beams, -1), strict=True):
        hunt.draw(logprob_KV)
    return list(range(len(logits_BV)))
