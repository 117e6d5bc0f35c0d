"""Captions, short answers and questions as one writes them, whatever corpus they come from."""

from __future__ import annotations

import re


def as_sentence(text: str) -> str:
    """A caption or short answer with a capital, a full stop and no space before punctuation."""
    text = re.sub(r"\s+([.,!?;:'])", r"\1", re.sub(r"\s+", " ", text.strip())).rstrip(" .,;")
    return f"{text[:1].upper()}{text[1:]}."


def as_question(text: str) -> str:
    """A question with a capital and no space before its mark."""
    text = re.sub(r"\s+\?", "?", re.sub(r"\s+", " ", text.replace("_", " ").strip()))
    return f"{text[:1].upper()}{text[1:]}"
