"""The nouns, signatures only: small, so that a model which is not ours can satisfy the part that it can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sensorium.parts import Answer, Message, Sample

if TYPE_CHECKING:
    from torch import Tensor

    from sensorium.batch import Batch, Features, Modality, Piece


Tracer = Callable[[str, "Tensor"], None]
"""Takes a named intermediate; `nn.trace.Trace` keeps those that were asked for."""


class Encoder(Protocol):
    """A medium's tensors to features. `prepare` (CPU, no gradient) is the one preprocessing, and part of the checkpoint."""

    modality: Modality
    dim: int

    def prepare(self, decoded: Any) -> list[Piece]:
        """A decoded medium (a `Picture`, `Sound` or `Clip` of `media`) as the pieces that this encoder reads."""
        ...

    def grid(self, tensor: Tensor) -> tuple[int, ...]:
        """How many features one prepared tensor gives, as a grid."""
        ...

    def __call__(self, media: Sequence[Tensor], trace: Tracer = ...) -> Features:
        """P prepared tensors to `Features(x_PTD, valid_PT)`, row for row; intermediates go to `trace(name, tensor)`."""
        ...


class Connector(Protocol):
    """Features of an encoder's width to features of the language model's width, perhaps fewer of them."""

    dim_in: int
    dim_out: int

    def grid(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        """The grid that comes out for a grid that goes in."""
        ...

    def __call__(self, features: Features) -> Features:
        """`(P, T, dim_in)` to `(P, T', dim_out)`."""
        ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn from the model.

    Args:
        max_tokens: tokens at most. temperature: 0 is greedy. top_k, top_p, min_p: filters of the distribution, off at 0, 1
            and 0. repetition_penalty: CTRL's (Keskar et al. 2019), off at 1. beams: beam search when above 1 (greedy scores);
            length_penalty: a beam's log-probability is divided by length ** length_penalty.
        stop: the answer ends before any of these strings. choices: the answer is exactly one of these strings.
        seed: of the draw. top_logprobs: runners-up kept for each token, at most 20.
    """

    max_tokens: int = 128
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    beams: int = 1
    length_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    seed: int | None = None
    top_logprobs: int = 0


@runtime_checkable
class Generates(Protocol):
    """Answers conversations."""

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        """One conversation: pieces of text as they come, then the whole Answer, last."""
        ...

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:
        """Many conversations as one batch, answers in order."""
        ...


@runtime_checkable
class Scores(Protocol):
    """Says how likely given answers are."""

    def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        """The log-probability (natural, summed over tokens) of each answer to the conversation."""
        ...


@runtime_checkable
class ScoresMany(Scores, Protocol):
    """Says it of many conversations at once, for which it is then asked in batches."""

    def score_many(self, conversations: Sequence[Sequence[Message]], answers: Sequence[Sequence[str]]) -> list[list[float]]:
        """`score` of each conversation with its answers, in order."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """Puts a message into a shared space."""

    def embed(self, messages: Sequence[Message]) -> Tensor:
        """One unit vector a message, float32 `(len(messages), dim)`."""
        ...


class Trains(Protocol):
    """What training and explanation need of a model of ours: samples to a batch, a batch to hidden states."""

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Decode, prepare and lay out."""
        ...
