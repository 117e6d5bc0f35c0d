"""Settings are typed and closed, and know what was read."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from sensorium.errors import RequestError
from sensorium.training.config import Settings, keys, parse
from sensorium.training.run import Recipe


class Slow(Settings):
    kind: Literal["slow"] = "slow"
    warmup: int = 1
    floor: float = 0.1


class Fast(Settings):
    kind: Literal["fast"] = "fast"
    warmup: int = 1
    every: int = 3


class Part(Settings):
    rate: float = Field(default=1e-4, gt=0)
    decay: float = 0.0


class Plan(Settings):
    steps: int = 10
    pace: Annotated[Slow | Fast, Field(discriminator="kind")] = Slow()
    names: tuple[str, ...] = ()
    limit: float | None = 2.0


class Config(Settings):
    model: str = "tiny"
    on: bool = False
    plan: Plan = Plan(steps=7)
    parts: dict[str, Part | None] = Field(default={"connectors": Part(rate=1e-3)})


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("model=123", ("model",), "123"),
        ("on=yes", ("on",), True),
        ("plan.steps=1e3", ("plan", "steps"), 1000),
        ("plan.limit=none", ("plan", "limit"), None),
        ("plan.names=a, b", ("plan", "names"), ("a", "b")),
        ('plan.names=["a,b"]', ("plan", "names"), ("a,b",)),
        ("plan.pace.floor=.5", ("plan", "pace", "floor"), 0.5),
    ],
)
def test_values_are_read_by_the_type_of_their_field(text: str, path: tuple[str, ...], value: object) -> None:
    at: object = parse(Config, [text])
    for name in path:
        at = getattr(at, name)
    assert at == value


def test_what_is_not_set_keeps_its_default() -> None:
    config = parse(Config, ["plan.names=x", "parts.connectors.decay=.1", "parts.encoders.image.rate=1e-2"])
    assert config.plan.steps == 7
    assert config.parts == {"connectors": Part(rate=1e-3, decay=0.1), "encoders.image": Part(rate=1e-2)}
    assert parse(Config, ["parts.connectors=none"]).parts == {"connectors": None}
    assert parse(Config, ["parts.encoders.image=none"]).parts["encoders.image"] is None


def test_another_kind_has_its_own_settings() -> None:
    config = parse(Config, ["plan.pace.kind=fast", "plan.pace.every=9"])
    assert config.plan.pace == Fast(every=9)
    with pytest.raises(RequestError, match=r"plan\.pace\.every: is of another kind.*Set plan\.pace\.kind"):
        parse(Config, ["plan.pace.every=9"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plan.stpes=3", r"plan\.stpes: is not known\. The nearest setting is plan\.steps"),
        ("modle=x", r"modle: is not known\. The nearest setting is model"),
        ("plan.steps=abc", r"plan\.steps: is 'abc': input should be a valid integer"),
        ("parts.connectors.rate=-1", r"parts\.connectors\.rate: is '?-1'?: .*greater than 0"),
        ("plan.steps", r"--set plan\.steps: is not of the form key=value"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_that_can(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse(Config, [text])


def test_a_key_that_was_set_and_never_read_is_known() -> None:
    config = parse(Config, ["model=x", "plan.steps=3", "parts.connectors.rate=1"])
    assert config.unread() == ["model", "plan.steps", "parts.connectors.rate"]
    assert config.model
    assert config.plan.limit
    assert config.unread() == ["plan.steps", "parts.connectors.rate"]
    part = config.parts["connectors"]
    assert part is not None
    assert part.rate
    assert config.plan.steps
    assert config.unread() == []
    assert config == parse(Config, ["model=x", "plan.steps=3", "parts.connectors.rate=1"])


def test_writing_to_json_is_not_reading() -> None:
    config = parse(Config, ["model=x"])
    assert config.to_json()["model"] == "x"
    assert config.unread() == ["model"]


def test_every_key_can_be_listed() -> None:
    assert "parts.<name>.rate" in keys(Config)
    assert "plan.pace.every" in keys(Config)
    assert {"seed", "training.steps", "training.truth.patience", "training.schedule.floor"} <= set(keys(Recipe))
