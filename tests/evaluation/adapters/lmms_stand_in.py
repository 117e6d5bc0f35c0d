"""The part of lmms-eval's interface that a model meets, in small: it cannot be installed beside a CPU build of torch.

Names, fields and abstract methods are those of its repository in 2026: `api.model.lmms`, `api.instance`, `models.registry_v2`.
"""

from __future__ import annotations

import abc
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class TokenCounts:
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass
class GenerationResult:
    text: str
    token_counts: TokenCounts | None = None


@dataclass
class Instance:
    request_type: str
    arguments: tuple[Any, ...]
    idx: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def args(self) -> tuple[Any, ...]:
        return self.arguments


class lmms(abc.ABC):
    is_simple: bool = True

    def __init__(self) -> None:
        self._rank, self._world_size = 0, 1
        self.task_dict: dict[str, Any] = {}
        assert isinstance(self.model_name, str), "its cache is named by the model"  # type: ignore[attr-defined]

    @abc.abstractmethod
    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]: ...

    @abc.abstractmethod
    def generate_until(self, requests: list[Instance]) -> list[Any]: ...

    @abc.abstractmethod
    def generate_until_multi_round(self, requests: list[Instance]) -> list[Any]: ...

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> Any:
        given = dict(pair.split("=", 1) for pair in arg_string.split(",") if pair)
        return cls(**given, **{name: value for name, value in (additional_config or {}).items() if value is not None})


@dataclass(frozen=True)
class ModelManifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None
    aliases: tuple[str, ...] = ()


@contextmanager
def standing_in() -> Iterator[None]:
    """`import lmms_eval` finds these."""
    names = {
        "lmms_eval": {},
        "lmms_eval.api": {},
        "lmms_eval.api.instance": {"Instance": Instance, "GenerationResult": GenerationResult, "TokenCounts": TokenCounts},
        "lmms_eval.api.model": {"lmms": lmms},
        "lmms_eval.models": {},
        "lmms_eval.models.registry_v2": {"ModelManifest": ModelManifest},
    }
    ours = "sensorium.evaluation.adapters.lmms_eval"
    before = {name: sys.modules.get(name) for name in (*names, ours)}
    for name, values in names.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(values)
    sys.modules.pop(ours, None)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
