"""Samples as `parts.sample_to_json` writes them, one a row."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sensorium.data.attached import resolved
from sensorium.data.fault import RowError
from sensorium.data.record import Record
from sensorium.data.row import Remarks
from sensorium.errors import RequestError
from sensorium.parts import Message, Part, Sample, Text, sample_from_json


@dataclass(frozen=True, slots=True)
class Own:
    """Tells rows that are samples already; relative media paths start from `root`."""

    root: str
    remarks: Remarks

    def __call__(self, record: Record, default: str) -> Sample:
        """One row.

        Raises:
            RowError: what is wrong with it.
        """
        values = {"id": default, **record.values}
        self.remarks.ignored |= set(values) - {"id", "messages", "meta"}
        try:
            sample = sample_from_json(values)
        except RequestError as error:
            raise RowError("messages", "wrong-type", f"{error.thing} {error.problem}", error.remedy) from error
        messages = tuple(Message(said.role, tuple(map(self._part, said.parts)), said.learn) for said in sample.messages)
        return replace(sample, messages=messages)

    def _part(self, part: Part) -> Part:
        if isinstance(part, Text) or not isinstance(part.source, str):
            return part
        return replace(part, source=resolved(part.source, self.root))
