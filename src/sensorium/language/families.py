"""What the `config.json` of each Hugging Face family of decoders means, and which of its wishes we do not fulfil."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sensorium.errors import CheckpointError
from sensorium.nn.rope import Rope

Family = Literal["llama", "qwen2", "qwen3", "mistral", "gemma3_text"]
Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `DecoderConfig` that a text model's `config.json` asks for.

    Raises:
        CheckpointError: an unknown `model_type`, or a field that asks for something the decoder does not do.
    """
    family = config.get("model_type")
    if family not in _DEFAULTS:
        raise wrong("model_type", f"is {family!r}; known are {', '.join(_DEFAULTS)}")
    field = _Reader(config, _DEFAULTS[family])
    shape: dict[str, Any] = {ours: field(theirs) for ours, theirs in _SHAPE.items()}
    shape["kv_heads"] = shape["kv_heads"] or shape["heads"]
    shape["head_dim"] = shape["head_dim"] or shape["dim"] // shape["heads"]
    activation = field(_activation_field(family))
    if activation not in _ACTIVATIONS:
        raise wrong(_activation_field(family), f"is {activation!r}; known are {', '.join(_ACTIVATIONS)}")
    special = _gemma(field, shape) if family == "gemma3_text" else _plain(field, shape, family)
    field.finish()
    return {"family": family, "activation": _ACTIVATIONS[activation], **shape, **special}


def write(shape: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `read`, in the spelling that transformers 4 and 5 both know."""
    names = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}
    out = {
        "architectures": [_ARCHITECTURES[shape["family"]]],
        "model_type": shape["family"],
        **{theirs: shape[ours] for ours, theirs in _SHAPE.items()},
        _activation_field(shape["family"]): names[shape["activation"]],
        "rope_theta": shape["rope"].theta,
        "rope_scaling": _scaling(shape["rope"]),
    }
    if shape["family"] in ("llama", "qwen3", "gemma3_text"):
        out["attention_bias"] = shape["out_bias"]
    if shape["family"] != "llama":
        out["sliding_window"] = shape["sliding_window"]
    if shape["family"] not in ("llama", "mistral"):
        slides = shape["sliding"] or (False,) * shape["layers"]
        out["layer_types"] = ["sliding_attention" if slide else "full_attention" for slide in slides]
    if shape["family"] in ("qwen2", "qwen3"):
        out["use_sliding_window"] = any(shape["sliding"])
    if shape["family"] == "gemma3_text":
        assert shape["attention_scale"] is not None and shape["local_rope"] is not None
        out["query_pre_attn_scalar"] = round(shape["attention_scale"] ** -2)
        out["rope_local_base_freq"] = shape["local_rope"].theta
        out["attn_logit_softcapping"] = shape["attention_softcap"]
        out["final_logit_softcapping"] = shape["logit_softcap"]
    return out


_SHAPE = {
    "vocab_size": "vocab_size",
    "dim": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "inner_dim": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "tie_embeddings": "tie_word_embeddings",
}
"""Our fields and theirs, where only the name differs."""

_ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
}

_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "mistral": "MistralForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
}


def _defaults(vocab: int, dim: int, inner: int, layers: int, heads: int, positions: int, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": vocab,
        "hidden_size": dim,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": positions,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
        "attention_bias": False,
        "rope_theta": 10_000.0,
        **more,
    }


_QWEN = {"num_key_value_heads": 32, "use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": _defaults(32000, 4096, 11008, 32, 32, 2048),
    "qwen2": _defaults(151936, 4096, 22016, 32, 32, 32768, **_QWEN),
    "qwen3": _defaults(151936, 4096, 22016, 32, 32, 32768, head_dim=128, **_QWEN),
    "mistral": _defaults(32000, 4096, 14336, 32, 32, 131072, num_key_value_heads=8, sliding_window=4096),
    "gemma3_text": _defaults(
        262208,
        2304,
        9216,
        26,
        8,
        131072,
        num_key_value_heads=4,
        head_dim=256,
        tie_word_embeddings=True,
        hidden_activation="gelu_pytorch_tanh",
        query_pre_attn_scalar=256,
        sliding_window=4096,
        sliding_window_pattern=6,
        rope_theta=1_000_000.0,
        rope_local_base_freq=10_000.0,
    ),
}
"""What a family's configuration means where it is silent (the defaults of `transformers`)."""

_ONLY: dict[str, tuple[Any, ...]] = {
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "attention_dropout": (0,),
    "rope_interleaved": (False,),
    "use_bidirectional_attention": (False,),
    "partial_rotary_factor": (1,),
    "quantization_config": (),
    "rope_local_base_freq": (),
    "is_encoder_decoder": (False,),
    "is_decoder": (False, True),
    "add_cross_attention": (False,),
    "use_mrope": (False,),
}
"""Fields whose other values ask for what this decoder does not do."""

_HARMLESS = (
    "model_type architectures auto_map _name_or_path name_or_path transformers_version dtype torch_dtype use_cache "
    "initializer_range pad_token_id bos_token_id eos_token_id sep_token_id decoder_start_token_id id2label label2id "
    "problem_type return_dict output_hidden_states output_attentions chunk_size_feed_forward pretraining_tp is_llama_config "
    "transformers.js_config _attn_implementation _attn_implementation_autoset _sliding_window_pattern cache_implementation "
    "unsloth_fixed unsloth_version task_specific_params finetuning_task tokenizer_class prefix torchscript "
    "tf_legacy_loss use_bfloat16"
)
"""Fields that change nothing in what the decoder computes."""


class _Reader:
    """Reads a configuration and knows what nobody has read."""

    def __init__(self, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self.config, self.defaults, self.read = config, defaults, set(_HARMLESS.split())

    def __call__(self, name: str) -> Any:
        self.read.add(name)
        return self.config.get(name, self.defaults.get(name))

    def finish(self) -> None:
        for name in self.config.keys() - self.read:
            value = self.config[name]
            if value is None:
                continue
            if name not in _ONLY:
                raise wrong(name, f"is {value!r}, and this decoder does not know the field")
            if value not in _ONLY[name]:
                raise wrong(name, f"is {value!r}, which this decoder does not do")


def _plain(field: _Reader, shape: Mapping[str, Any], family: str) -> dict[str, Any]:
    """What Llama, Qwen and Mistral say in fields of their own."""
    bias = bool(field("attention_bias")) if family in ("llama", "qwen3") else False
    window: int | None = None
    sliding: tuple[bool, ...] = ()
    if family == "mistral":
        window = field("sliding_window")
        sliding = (True,) * shape["layers"] if window else ()
    elif family != "llama":
        window, first, types = field("sliding_window"), field("max_window_layers"), field("layer_types")
        window = window if field("use_sliding_window") else None
        sliding = _slides(types) if types else tuple(window is not None and i >= first for i in range(shape["layers"]))
    old, new = field("rope_scaling"), field("rope_parameters")
    return {
        "rope": _rope(old or new, field("rope_theta"), shape["max_positions"]),
        "qkv_bias": bias or family == "qwen2",
        "out_bias": bias,
        "qk_norm": family == "qwen3",
        "sliding_window": window if any(sliding) else None,
        "sliding": sliding if any(sliding) else (),
    }


def _gemma(field: _Reader, shape: Mapping[str, Any]) -> dict[str, Any]:
    """What Gemma 3 says in fields of its own."""
    types, pattern = field("layer_types"), field("sliding_window_pattern")
    old, new = field("rope_scaling"), field("rope_parameters") or {}
    sliding = _slides(types) if types else tuple((i + 1) % pattern > 0 for i in range(shape["layers"]))
    bias = bool(field("attention_bias"))
    return {
        "rope": _rope(old or new.get("full_attention"), field("rope_theta"), shape["max_positions"]),
        "local_rope": _rope(new.get("sliding_attention"), field("rope_local_base_freq"), shape["max_positions"]),
        "qkv_bias": bias,
        "out_bias": bias,
        "qk_norm": True,
        "sliding_window": field("sliding_window"),
        "sliding": sliding,
        "sandwich_norms": True,
        "norm_offset": 1.0,
        "embed_scale": shape["dim"] ** 0.5,
        "attention_scale": field("query_pre_attn_scalar") ** -0.5,
        "attention_softcap": field("attn_logit_softcapping"),
        "logit_softcap": field("final_logit_softcapping"),
    }


def _slides(types: list[str]) -> tuple[bool, ...]:
    if unknown := set(types) - {"sliding_attention", "full_attention"}:
        raise wrong("layer_types", f"names {', '.join(sorted(unknown))}; known are sliding_attention and full_attention")
    return tuple(name == "sliding_attention" for name in types)


_ROPE_FIELDS = {  # theirs to ours, for each kind those it may have
    "default": {},
    "linear": {"factor": "factor"},
    "llama3": {name: name for name in ("factor", "low_freq_factor", "high_freq_factor")}
    | {"original_max_position_embeddings": "original_positions"},
    "yarn": {name: name for name in ("factor", "beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim")}
    | {"original_max_position_embeddings": "original_positions", "truncate": "truncate"},
}


def _rope(scaling: Mapping[str, Any] | None, theta: float, positions: int) -> Rope:
    left = {name: value for name, value in (scaling or {}).items() if value is not None}
    kind = left.pop("rope_type", left.pop("type", "default"))
    left.pop("type", None)
    if kind not in _ROPE_FIELDS:
        raise wrong("rope_scaling", f"is of type {kind!r}; known are {', '.join(_ROPE_FIELDS)}")
    if left.pop("partial_rotary_factor", 1.0) != 1.0:
        raise wrong("partial_rotary_factor", "is below 1, and this decoder turns whole heads only")
    theta = left.pop("rope_theta", theta)
    known = _ROPE_FIELDS[kind]
    if kind in ("llama3", "yarn"):
        left.setdefault("original_max_position_embeddings", positions)
    if unknown := sorted(left.keys() - known.keys()):
        raise wrong("rope_scaling", f"of type {kind} has the unknown fields {', '.join(unknown)}")
    if "factor" in known and "factor" not in left:
        raise wrong("rope_scaling", f"of type {kind} has no factor")
    return Rope(theta=float(theta), kind=kind, **{known[name]: value for name, value in left.items()})


def _scaling(rope: Rope) -> dict[str, Any] | None:
    if rope.kind == "default":
        return None
    values = {theirs: getattr(rope, ours) for theirs, ours in _ROPE_FIELDS[rope.kind].items()}
    return {"rope_type": rope.kind, **{name: value for name, value in values.items() if value is not None}}


def _activation_field(family: str) -> str:
    return "hidden_activation" if family == "gemma3_text" else "hidden_act"


def wrong(name: str, problem: str) -> CheckpointError:
    """A field of `config.json` that cannot be followed."""
    remedy = "Use a checkpoint of a family and form that `sensorium models` lists"
    return CheckpointError(f"config.json, {name}", problem, remedy)
