"""Tiny random models of `transformers`, one of each family and rotary variant, and our decoder with their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sensorium.language.config import DecoderConfig
from sensorium.language.decoder import Decoder

VOCAB, LENGTH = 97, 40


@dataclass(frozen=True)
class Family:
    """A reference model by class name and the fields that make it interesting."""

    name: str
    model: str
    config: str
    fields: dict[str, Any]


_TINY = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "attn_implementation": "eager",
}
_LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}

FAMILIES = (
    Family("llama", "LlamaForCausalLM", "LlamaConfig", {}),
    Family(
        "llama, biases, one key head", "LlamaForCausalLM", "LlamaConfig", {"attention_bias": True, "num_key_value_heads": 1}
    ),
    Family(
        "smollm2",
        "LlamaForCausalLM",
        "LlamaConfig",
        {
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
            "rms_norm_eps": 1e-5,
        },
    ),
    Family(
        "llama, llama3 rope",
        "LlamaForCausalLM",
        "LlamaConfig",
        {"rope_parameters": {"rope_theta": 500.0, "original_max_position_embeddings": 32, **_LLAMA3}},
    ),
    Family(
        "llama, linear rope",
        "LlamaForCausalLM",
        "LlamaConfig",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
    ),
    Family("qwen2", "Qwen2ForCausalLM", "Qwen2Config", {}),
    Family("qwen2, yarn rope", "Qwen2ForCausalLM", "Qwen2Config", {"rope_parameters": {"rope_theta": 1e4, **_YARN}}),
    Family(
        "qwen2, last layer slides",
        "Qwen2ForCausalLM",
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 2},
    ),
    Family("qwen3", "Qwen3ForCausalLM", "Qwen3Config", {"head_dim": 16, "tie_word_embeddings": True}),
    Family("mistral, window 9", "MistralForCausalLM", "MistralConfig", {"sliding_window": 9}),
    Family("mistral, no window", "MistralForCausalLM", "MistralConfig", {"sliding_window": None, "head_dim": 16}),
    Family(
        "gemma3, window 8",
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {
            "head_dim": 16,
            "num_hidden_layers": 4,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
            "query_pre_attn_scalar": 24,
            "final_logit_softcapping": 3.0,
        },
    ),
    Family(
        "gemma3, linear rope",
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {
            "head_dim": 16,
            "sliding_window": 16,
            "sliding_window_pattern": 2,
            "rope_theta": 1e5,
            "rope_local_base_freq": 1e3,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
    ),
)


def reference(family: Family) -> Any:
    """The family's tiny random model, seeded, fp32, with norms and biases away from 1 and 0."""
    import transformers

    torch.manual_seed(len(family.name))
    config = getattr(transformers, family.config)(**{**_TINY, **family.fields})
    model = getattr(transformers, family.model)(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn_like(weight) * 0.3)
            elif "embed" not in name:
                weight.mul_(4)
    return model


def ours(model: Any) -> Decoder:
    """Our decoder with exactly the reference's weights; leftovers either way are an error."""
    config = DecoderConfig.from_hf(model.config.to_dict())
    decoder = Decoder(config).eval()
    state = {name.removeprefix("model."): tensor.clone() for name, tensor in model.state_dict().items()}
    if config.tie_embeddings:
        assert state.pop("lm_head.weight").equal(state["embed_tokens.weight"])
    decoder.load_state_dict(state, strict=True)
    return decoder


def ids(rows: int = 2, length: int = LENGTH) -> Tensor:
    """Seeded token ids `(B, L)`."""
    return torch.randint(0, VOCAB, (rows, length), generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def parity_rows(check: Callable[[Any, Decoder], float] | None = None) -> list[tuple[str, float]]:
    """For each family its name and the largest difference between our logits and the reference's."""
    rows = []
    for family in FAMILIES:
        model = reference(family)
        rows.append((family.name, (check or _difference)(model, ours(model))))
    return rows


def _difference(model: Any, decoder: Decoder) -> float:
    logits_BLV = decoder.logits(decoder(decoder.embed(ids())))
    return float((logits_BLV - model(ids()).logits).abs().max())


if __name__ == "__main__":
    for name, difference in parity_rows():
        print(f"{name:30} {difference:.1e}")
