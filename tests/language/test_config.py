"""Configurations: what is read, what is refused and in which words."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from sensorium.errors import CheckpointError
from sensorium.language.config import DecoderConfig
from sensorium.nn.rope import Rope

SMOLLM2: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 576,
    "initializer_range": 0.041666666666666664,
    "intermediate_size": 1536,
    "is_llama_config": True,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pad_token_id": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_interleaved": False,
    "rope_scaling": None,
    "rope_theta": 100000,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}},
    "transformers_version": "4.42.3",
    "use_cache": True,
    "vocab_size": 49152,
}


def test_smollm2_as_published() -> None:
    config = DecoderConfig.from_hf(SMOLLM2)
    assert config == DecoderConfig(
        family="llama",
        vocab_size=49152,
        dim=576,
        layers=30,
        heads=9,
        kv_heads=3,
        head_dim=64,
        inner_dim=1536,
        max_positions=8192,
        norm_eps=1e-5,
        rope=Rope(100_000.0),
        tie_embeddings=True,
    )
    assert config.window(0) is None


def test_llama_3_rope_in_the_old_spelling() -> None:
    scaling = {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    config = DecoderConfig.from_hf({**SMOLLM2, "rope_scaling": {"rope_type": "llama3", **scaling}})
    assert config.rope == Rope(100_000.0, "llama3", factor=32.0, original_positions=8192)


def test_gemma_3_where_the_file_is_silent() -> None:
    config = DecoderConfig.from_hf({"model_type": "gemma3_text", "num_hidden_layers": 7, "sliding_window": 512})
    assert config.sliding == (True,) * 5 + (False, True)
    assert [config.window(i) for i in (4, 5)] == [512, None]
    assert [config.rope_of(i).theta for i in (4, 5)] == [10_000.0, 1_000_000.0]
    assert (config.head_dim, config.attention_scale, config.embed_scale) == (256, 256**-0.5, 2304**0.5)


def test_mistral_slides_by_default_and_not_when_told() -> None:
    assert DecoderConfig.from_hf({"model_type": "mistral"}).window(0) == 4096
    assert DecoderConfig.from_hf({"model_type": "mistral", "sliding_window": None}).sliding == ()


def test_qwen_ignores_the_window_unless_it_is_switched_on() -> None:
    still = {"model_type": "qwen2", "num_hidden_layers": 4, "sliding_window": 100, "max_window_layers": 2}
    assert DecoderConfig.from_hf(still).sliding == ()
    assert DecoderConfig.from_hf({**still, "use_sliding_window": True}).sliding == (False, False, True, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, r"model_type: is 'mamba'; known are llama, qwen2, qwen3, mistral, gemma3_text"),
        ({"hidden_act": "relu6"}, r"hidden_act: is 'relu6'; known are silu"),
        ({"mlp_bias": True}, r"mlp_bias: is True, which this decoder does not do"),
        ({"attention_dropout": 0.1}, r"attention_dropout: is 0.1, which this decoder does not do"),
        ({"quantization_config": {"bits": 4}}, r"quantization_config: is .*, which this decoder does not do"),
        ({"residual_multiplier": 0.2}, r"residual_multiplier: is 0.2, and this decoder does not know the field"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, r"rope_scaling: is of type 'dynamic'; known are default"),
        ({"rope_scaling": {"type": "linear"}}, r"rope_scaling: of type linear has no factor"),
        (
            {"rope_scaling": {"type": "linear", "factor": 2.0, "beta_slow": 1}},
            r"of type linear has the unknown fields beta_slow",
        ),
        ({"partial_rotary_factor": 0.5}, r"partial_rotary_factor: is 0.5, which this decoder does not do"),
        ({"rope_scaling": {"rope_type": "default", "partial_rotary_factor": 0.5}}, r"partial_rotary_factor: is below 1"),
        ({"num_key_value_heads": 2}, r"num_key_value_heads: is 2, which does not divide 9 attention heads"),
        ({"head_dim": 63}, r"head_dim: is 63, rotary positions need an even number"),
        ({"num_hidden_layers": 0}, r"layers: is 0, at least 1 is needed"),
    ],
)
def test_what_we_do_not_do_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        DecoderConfig.from_hf({**SMOLLM2, **change})
    assert "sensorium models" in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_types": ["full_attention", "chunked_attention"]}, "layer_types: names chunked_attention; known are"),
        ({"layer_types": ["full_attention"]}, "layer_types: names 1 layers of 2"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention: is True, which this decoder does not do"),
        ({"sliding_window": None}, "sliding_window: is missing, yet some layers slide"),
    ],
)
def test_layers_that_cannot_be(change: dict[str, Any], message: str) -> None:
    base = {"model_type": "gemma3_text", "num_hidden_layers": 2}
    sliding = {"layer_types": ["sliding_attention", "full_attention"]}
    with pytest.raises(CheckpointError, match=message):
        DecoderConfig.from_hf({**base, **(sliding if "layer_types" not in change else {"sliding_window": 8}), **change})


def test_unknown_fields_in_a_checkpoint_are_refused() -> None:
    config = DecoderConfig.from_hf({**SMOLLM2, "rope_scaling": {"type": "linear", "factor": 2.0}})
    adapter = TypeAdapter(DecoderConfig)
    assert adapter.validate_json(adapter.dump_json(config)) == config
    row = adapter.dump_python(config)
    with pytest.raises(ValidationError, match="Unexpected keyword argument"):
        adapter.validate_python({**row, "windows": 3})
    with pytest.raises(ValidationError, match="Unexpected keyword argument"):
        adapter.validate_python({**row, "rope": {"theta": 1e4, "faktor": 2.0}})


def test_every_field_that_changes_the_model_is_written() -> None:
    gemma = DecoderConfig.from_hf({"model_type": "gemma3_text", "num_hidden_layers": 3, "query_pre_attn_scalar": 168})
    for change in (
        {"logit_softcap": 30.0},
        {"attention_softcap": 50.0},
        {"qkv_bias": True, "out_bias": True},
        {"norm_eps": 1e-5},
    ):
        config = dataclasses.replace(gemma, **change)
        assert DecoderConfig.from_hf(config.to_hf()) == config != gemma
