"""A sound heard three times: of all the texts found, the speech model and a language model choose one together.

The second hearing has silence in front of the sound, which moves it against the encoder's frames; the third does without
timestamps. What was a close call may fall the other way each time. No hearing is better than the others, but together they find
better texts than one, and a language model can often tell which of them is English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import torch

from sensorium.errors import RequestError

if TYPE_CHECKING:
    from sensorium.model.multimodal import MultimodalLM

Judge = Callable[[str], float]
"""How likely a text is: the mean log-probability of its tokens, in nats."""
Texts = Sequence[tuple[str, float]]
"""What a hearing found: texts, and the mean log-probability of each in the sound, in nats."""

_PARTS = "<|endoftext|>"
"""What stands between texts in the training of most language models."""


@dataclass(frozen=True, slots=True)
class Careful:
    """The other hearings, and who chooses; `docs/speech.md` has the figures the defaults were chosen by.

    Args:
        judge: of texts, whatever was said. weight: of its log-probability beside that of the speech model.
        lead: seconds of silence before the sound when it is heard again.

    Raises:
        RequestError: a lead that is no silence, or so long that little of the sound would be left.
    """

    judge: Judge
    weight: float = 0.4
    lead: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.lead <= 5:
            raise RequestError(f"{self.lead:g} s of silence", "is not above 0 and at most 5 s", "Leave the default of 0.5 s")

    def choose(self, hearings: Sequence[Texts]) -> tuple[int, int]:
        """The hearing and the place in it of the text that stands; (0, 0) where nobody found words.

        Texts of the same words are one. In a hearing that did not find it a text counts as the worst that it found. The judge
        is asked only where there is a choice.
        """
        found: dict[tuple[str, ...], dict[int, tuple[float, int]]] = {}
        for number, texts in enumerate(hearings):
            for place, (text, logprob) in enumerate(texts):
                ways = found.setdefault(_words(text), {})
                if number not in ways or logprob > ways[number][0]:
                    ways[number] = (logprob, place)
        found.pop((), None)
        best, places = -float("inf"), (0, 0)
        for ways in found.values():
            number, (_, place) = next(iter(ways.items()))
            score = 0.0
            if len(found) > 1:
                worst = [min(logprob for _, logprob in texts) for texts in hearings]
                heard = [ways[other][0] if other in ways else least for other, least in enumerate(worst)]
                score = sum(heard) / len(heard) + self.weight * self.judge(hearings[number][place][0])
            if score > best:
                best, places = score, (number, place)
        return places


def judge_of(model: MultimodalLM) -> Judge:
    """The language model of a model of ours, without its adapter, as a judge of texts."""
    tokenizer = model.layout.tokenizer
    named = tokenizer.token_to_id(_PARTS)
    start = min(model.layout.ends) if named is None else named

    @torch.inference_mode()
    def judge(text: str) -> float:
        ids_1L = torch.tensor([[start, *tokenizer.encode(text, add_special_tokens=False).ids]])
        with model.adapted(torch.zeros(1, dtype=torch.bool)):
            hidden_1LD = model.decoder(model.decoder.embed(ids_1L[:, :-1]))
        logprob_LV = model.decoder.logits(hidden_1LD[0]).log_softmax(-1)
        return float(logprob_LV.gather(1, ids_1L[0, 1:, None]).mean())

    return judge


def with_times(words: Sequence[int], timed: Sequence[int], first_time: int, begins: Callable[[int], bool]) -> tuple[int, ...]:
    """Tokens of words with the timestamps of another text of the same sound, each at the place that answers to its own there.

    Args:
        timed: words and timestamps, which are `first_time` and above. begins: whether a token begins a word; none is parted.
    """
    others: list[int] = []
    times: list[tuple[int, int]] = []
    for token in timed:
        if token < first_time:
            others.append(token)
        else:
            times.append((len(others), token))
    steps = SequenceMatcher(None, others, list(words), autojunk=False).get_opcodes()
    out: list[int] = []
    done = 0
    for count, time in times:
        _, start, _, at, stop = next((step for step in steps if count <= step[2]), ("", 0, 0, len(words), len(words)))
        place = max(done, min(at + count - start, stop))
        if count == len(others) > 0:
            place = len(words)
        while place < len(words) and place > done and not begins(words[place]):
            place += 1
        out += [*words[done:place], time]
        done = place
    return (*out, *words[done:])


def _words(text: str) -> tuple[str, ...]:
    """Words without case and punctuation."""
    return tuple(re.findall(r"[\w']+", text.lower()))
