"""A sound heard twice: where the two texts differ, the speech model and a language model choose together.

The second hearing has silence in front of the sound, which moves it against the encoder's frames: what was a close call may
fall the other way. Neither hearing is better than the other; a language model can often tell which text is English.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sensorium.errors import RequestError

if TYPE_CHECKING:
    from sensorium.model.multimodal import MultimodalLM

Judge = Callable[[str], float]
"""How likely a text is: the mean log-probability of its tokens, in nats."""

_PARTS = "<|endoftext|>"
"""What stands between texts in the training of most language models."""


@dataclass(frozen=True, slots=True)
class Second:
    """The second hearing, and who chooses; `docs/speech.md` has the figures the defaults were chosen by.

    Args:
        judge: of texts, whatever was said. weight: of its log-probability beside that of the speech model.
        lead: seconds of silence before the sound when it is heard again.

    Raises:
        RequestError: a lead that is no silence, or so long that little of the sound would be left.
    """

    judge: Judge
    weight: float = 0.1
    lead: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.lead <= 5:
            raise RequestError(f"{self.lead:g} s of silence", "is not above 0 and at most 5 s", "Leave the default of 0.5 s")

    def prefers_later(self, first: tuple[str, float], later: tuple[str, float]) -> bool:
        """Whether the later (text, mean log-probability in the sound) stands. The judge is asked only if their words differ."""
        if _words(first[0]) == _words(later[0]) or not first[0] or not later[0]:
            return False
        before, after = (heard + self.weight * self.judge(text) for text, heard in (first, later))
        return after > before


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


def _words(text: str) -> list[str]:
    """Words without case and punctuation."""
    return re.findall(r"[\w']+", text.lower())
