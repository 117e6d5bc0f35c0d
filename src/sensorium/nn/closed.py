"""A closed configuration: frozen, JSON both ways, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from sensorium.errors import CheckpointError


class ClosedConfig(BaseModel):
    """The shapes and choices of one module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, every field."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            CheckpointError: an unknown or missing field, or a value out of range.
        """
        try:
            return cls.model_validate(dict(row))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(item) for item in first["loc"]) or "as a whole"
            problem = f"field {name!r}: {first['msg']} ({error.error_count()} fields are wrong)"
            raise CheckpointError(cls.__name__, problem, f"Its fields are {', '.join(cls.model_fields)}") from error
