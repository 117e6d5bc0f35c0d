"""Spoken digits: what the model says it heard, from the sound's features alone and with the words recognised beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recipes.nano_codes import QUESTION
from recipes.nano_data import Digit
from sensorium.estimate import Estimate, estimate
from sensorium.model.generate import Assistant
from sensorium.parts import Audio, Message, Text
from sensorium.protocols import Sampling

GREEDY = Sampling(max_tokens=6)


def measure(model: Assistant, digits: Sequence[Digit]) -> dict[str, Estimate]:
    """Accuracy; swapped is the recording of the next row but 37."""
    other = [digits[(index + 37) % len(digits)] for index in range(len(digits))]
    found = {"accuracy": estimate(right(model, digits, digits))}
    reader = model.model.reader
    model.model.reader = replace(reader, policy=replace(reader.policy, words_in_sound=False))
    found["accuracy, features alone"] = estimate(right(model, digits, digits))
    found["accuracy, features alone, recordings swapped"] = estimate(right(model, other, digits))
    model.model.reader = reader
    return found


def right(model: Assistant, heard: Sequence[Digit], truth: Sequence[Digit]) -> list[bool]:
    """Of each recording, whether the answer is the digit of the row it is held against."""
    said: list[str] = []
    for start in range(0, len(heard), 25):
        asked = [[Message("user", (Audio(row.path), Text(QUESTION)))] for row in heard[start : start + 25]]
        said += [answer.text.strip().rstrip(".").lower() for answer in model.answer(asked, GREEDY)]
    return [text == row.word for text, row in zip(said, truth, strict=True)]
