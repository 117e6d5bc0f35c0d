"""Whether a model can take a row in, and whether anything of it is learned."""

from __future__ import annotations

from collections.abc import Iterator

from sensorium.data.checking.check import Extra
from sensorium.data.fault import RowError
from sensorium.errors import RequestError
from sensorium.parts import Sample
from sensorium.protocols import Trains


def fits(model: Trains) -> Extra:
    """A check that lays each row out as training would."""

    def check(sample: Sample) -> Iterator[RowError]:
        try:
            batch = model.batch([sample])
        except RequestError as error:
            yield RowError("messages", "refused-by-model", error.problem, error.remedy)
            return
        if not bool(batch.learn_BL.any()):
            reason = f"takes {batch.ids_BL.shape[1]} positions, of which none is learned"
            yield RowError("messages", "nothing-learned", reason, "Add an answer, or remove the row")

    return check
