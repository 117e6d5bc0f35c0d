"""Whether something of an item's media was not read or not sent, by the notes on what was done to them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LOST = re.compile(
    r"\bnot (?:read|sent)\b|\bleft out\b|\bpassed over\b|\bbreaks off\b|\bdamaged\b|\bmissing\b|\bnot numbers\b"
    r"|\bthe first of\b|\bsounds? ends at\b|\bpictures end at\b|\bby its words alone\b|\bread as silence\b"
)


def unread(notes: Iterable[str]) -> bool:
    """True where a note tells of a loss; not where it only tells how a medium was converted, sent or counted."""
    return any(_LOST.search(note) for note in notes)
