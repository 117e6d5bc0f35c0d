"""How items are put: the media, then the words; and the few sentences that several families ask with."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium.evaluation.task import Item
from sensorium.parts import Json, Message, Part, Sample, Text

CAPTION = "Describe the photo in one sentence."
SHORTLY = "Answer the question using a single word or phrase."
BY_LETTER = "Answer with the option's letter from the given choices directly."
"""`SHORTLY` and `BY_LETTER` are LLaVA-1.5's prompts (Liu et al. 2023, arXiv:2310.03744), which most models have learned."""
LETTERS = "ABCDEFGHIJ"


def ask(
    identity: str, media: Sequence[Part], question: str, gold: Json, cluster: str = "", choices: Sequence[str] = ()
) -> Item:
    """One question; without words where `question` is empty."""
    parts = (*media, Text(question)) if question else tuple(media)
    return Item(Sample(identity, (Message("user", parts),)), gold, cluster, tuple(choices))


def lettered(question: str, options: Sequence[str]) -> str:
    """The question, its options one a line as `A. cat`, and the demand for a letter."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question, *lines, BY_LETTER])
