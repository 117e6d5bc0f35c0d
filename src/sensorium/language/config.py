"""The shape of a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from sensorium.language import families
from sensorium.language.families import Activation, Family, wrong
from sensorium.nn.rope import DEFAULT, Rope


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """A causal transformer with rotary positions, RMS norms and gated MLPs.

    Args:
        family: whose `config.json` and weight names it has.
        inner_dim: width inside the MLP. max_positions: context length.
        rope: of all layers; `local_rope`: of the sliding layers, when they have their own.
        qkv_bias, out_bias: biases of the attention's projections. qk_norm: RMS norm on each head's queries and keys.
        sliding: for each layer whether it sees only the last `sliding_window` positions, itself included; empty is none.
        sandwich_norms: norms behind attention and MLP too (Gemma). norm_offset: see `RmsNorm`.
        embed_scale: factor on the token embeddings. attention_scale: factor on the scores, None is 1/sqrt(head_dim).
        attention_softcap, logit_softcap: bounds set by a tanh.

    Raises:
        CheckpointError: numbers that do not fit together.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where a checkpoint's config.json holds it

    family: Family
    vocab_size: int
    dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner_dim: int
    max_positions: int
    norm_eps: float = 1e-6
    rope: Rope = DEFAULT
    local_rope: Rope | None = None
    tie_embeddings: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False
    activation: Activation = "silu"
    sliding_window: int | None = None
    sliding: tuple[bool, ...] = ()
    sandwich_norms: bool = False
    norm_offset: float = 0.0
    embed_scale: float = 1.0
    attention_scale: float | None = None
    attention_softcap: float | None = None
    logit_softcap: float | None = None

    def __post_init__(self) -> None:
        for name in ("vocab_size", "dim", "layers", "heads", "kv_heads", "head_dim", "inner_dim", "max_positions"):
            if getattr(self, name) < 1:
                raise wrong(name, f"is {getattr(self, name)}, at least 1 is needed")
        if self.heads % self.kv_heads:
            raise wrong("num_key_value_heads", f"is {self.kv_heads}, which does not divide {self.heads} attention heads")
        if self.head_dim % 2:
            raise wrong("head_dim", f"is {self.head_dim}, rotary positions need an even number")
        if self.sliding and len(self.sliding) != self.layers:
            raise wrong("layer_types", f"names {len(self.sliding)} layers of {self.layers}")
        if any(self.sliding) and not self.sliding_window:
            raise wrong("sliding_window", "is missing, yet some layers slide")

    def window(self, layer: int) -> int | None:
        """How many positions the layer sees, None being all."""
        return self.sliding_window if self.sliding and self.sliding[layer] else None

    def rope_of(self, layer: int) -> Rope:
        """The rotary positions of a layer."""
        return self.local_rope if self.local_rope and self.window(layer) is not None else self.rope

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> DecoderConfig:
        """Read a text model's `config.json`, in the spelling of transformers 4 or 5.

        Raises:
            CheckpointError: an unknown `model_type`, or a field that asks for something this decoder does not do.
        """
        return cls(**families.read(config))

    def to_hf(self) -> dict[str, Any]:
        """The `config.json` fields that `from_hf` reads back as this very value; transformers 4 and 5 read them too."""
        return families.write({field.name: getattr(self, field.name) for field in fields(self)})
