"""Media with words about them as a sample: the media are shown, the words are learned."""

from __future__ import annotations

from sensorium.data.attached import KINDS, Attached
from sensorium.data.fault import RowError
from sensorium.data.record import Record
from sensorium.data.row import Remarks
from sensorium.parts import Message, Sample, Text

CAPTION = ("caption", "text", "transcription", "transcript")


def captioned(record: Record, default: str, media: Attached, remarks: Remarks) -> Sample:
    """Caption, transcript or, failing these, the name of a class.

    Raises:
        RowError: no media, or no words.
    """
    shown = tuple(item for kind in KINDS for item in media.given[kind])
    if not shown:
        raise RowError("media", "missing-field", "has no picture, recording or clip", "Add one, or remove the row")
    label = record.take("label")
    words = record.text(*CAPTION)
    words = label if words is None and isinstance(label, str) and not label.isdigit() else words
    if words is None:
        reason = f"has no words to learn from; beside its media it has {sorted(set(record.values) - {'id'})}"
        raise RowError("caption", "missing-answer", reason, "Add a caption")
    messages = (Message("user", shown), Message("assistant", (Text(words),) if words else (), learn=True))
    return Sample(record.identity(default), messages, record.meta(remarks, label=label))
