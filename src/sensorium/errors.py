"""What a person can put right: every message names the thing, what is wrong with it and the remedy."""

from __future__ import annotations


class SensoriumError(Exception):
    """The one error a caller needs to catch.

    Args:
        thing: the file, option, field or model the error is about.
        problem: what is wrong with it, with the number and the limit where there is one.
        remedy: what the person can do about it.
    """

    exit_code = 1

    def __init__(self, thing: str, problem: str, remedy: str) -> None:
        super().__init__(thing, problem, remedy)
        self.thing, self.problem, self.remedy = thing, problem, remedy

    def __str__(self) -> str:
        return f"{self.thing}: {self.problem}. {self.remedy}."


class RequestError(SensoriumError):
    """A request that cannot be met as it stands: a missing tower, a full context, an option out of range."""

    exit_code = 2


class MediaError(SensoriumError):
    """A medium that cannot be read: missing, damaged, of an unknown type."""

    exit_code = 3


class LimitError(MediaError):
    """A medium over a limit, refused before it costs memory or time."""


class AccessError(MediaError):
    """A source that the caller did not allow: a URL, a private address, a redirect."""


class CheckpointError(SensoriumError):
    """A checkpoint folder that does not hold exactly what its configuration says."""

    exit_code = 4


class DependencyError(SensoriumError):
    """An optional library or weight package that is not installed."""

    exit_code = 5


class DataError(SensoriumError):
    """Training data that cannot be read: a file of no known dialect, or a broken row where none may be."""

    exit_code = 6


class ServerError(SensoriumError):
    """A model server that cannot be reached, refuses the caller, or answers with something else than the wire it speaks."""

    exit_code = 7
