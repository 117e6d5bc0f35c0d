"""The shape of a decoder, and its translation from and to the `config.json` of five Hugging Face families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sensorium.errors import CheckpointError
from sensorium.nn.rope import Rope

Family = Literal["llama", "qwen2", "qwen3", "mistral", "gemma3_text"]


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
    rope: Rope = Rope()
    local_rope: Rope | None = None
    tie_embeddings: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False
    activation: Literal["silu", "gelu", "gelu_tanh", "relu"] = "silu"
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
                raise _wrong(name, f"is {getattr(self, name)}, at least 1 is needed")
        if self.heads % self.kv_heads:
            raise _wrong("num_key_value_heads", f"is {self.kv_heads}, which does not divide {self.heads} attention heads")
        if self.head_dim % 2:
            raise _wrong("head_dim", f"is {self.head_dim}, rotary positions need an even number")
        if self.sliding and len(self.sliding) != self.layers:
            raise _wrong("layer_types", f"names {len(self.sliding)} layers of {self.layers}")
        if any(self.sliding) and not self.sliding_window:
            raise _wrong("sliding_window", "is missing, yet some layers slide")

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
        family = config.get("model_type")
        if family not in _DEFAULTS:
            raise _wrong("model_type", f"is {family!r}; known are {', '.join(_DEFAULTS)}")
        read = _Reader(config, _DEFAULTS[family])
        shape: dict[str, Any] = {ours: read(theirs) for ours, theirs in _SHAPE.items()}
        shape["kv_heads"] = shape["kv_heads"] or shape["heads"]
        shape["head_dim"] = shape["head_dim"] or shape["dim"] // shape["heads"]
        activation = read(_activation_field(family))
        if activation not in _ACTIVATIONS:
            raise _wrong(_activation_field(family), f"is {activation!r}; known are {', '.join(_ACTIVATIONS)}")
        special = _gemma(read, shape) if family == "gemma3_text" else _plain(read, shape, family)
        read.finish()
        return cls(family=family, activation=_ACTIVATIONS[activation], **shape, **special)

    def to_hf(self) -> dict[str, Any]:
        """The `config.json` fields that `from_hf` reads back as this very value; transformers 4 and 5 read them too."""
        names = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}
        out = {
            "architectures": [_ARCHITECTURES[self.family]],
            "model_type": self.family,
            **{theirs: getattr(self, ours) for ours, theirs in _SHAPE.items()},
            _activation_field(self.family): names[self.activation],
            "rope_theta": self.rope.theta,
            "rope_scaling": _scaling(self.rope),
        }
        if self.family in ("llama", "qwen3", "gemma3_text"):
            out["attention_bias"] = self.out_bias
        if self.family != "llama":
            out["sliding_window"] = self.sliding_window
        if self.family not in ("llama", "mistral"):
            slides = self.sliding or (False,) * self.layers
            out["layer_types"] = ["sliding_attention" if slide else "full_attention" for slide in slides]
        if self.family in ("qwen2", "qwen3"):
            out["use_sliding_window"] = any(self.sliding)
        if self.family == "gemma3_text":
            assert self.attention_scale is not None and self.local_rope is not None
            out["query_pre_attn_scalar"] = round(self.attention_scale**-2)
            out["rope_local_base_freq"] = self.local_rope.theta
            out["attn_logit_softcapping"] = self.attention_softcap
            out["final_logit_softcapping"] = self.logit_softcap
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

_ACTIVATIONS: dict[str, Literal["silu", "gelu", "gelu_tanh", "relu"]] = {
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
    "attention_dropout": (0, 0.0, None),
    "rope_interleaved": (False,),
    "use_bidirectional_attention": (False, None),
    "partial_rotary_factor": (1, 1.0, None),
    "quantization_config": (None,),
    "is_encoder_decoder": (False,),
    "is_decoder": (False, True),
    "add_cross_attention": (False,),
    "use_mrope": (False,),
    "embedding_multiplier": (1, 1.0),
    "attention_multiplier": (None,),
}
"""Fields whose other values ask for what this decoder does not do."""

_HARMLESS = frozenset(
    "model_type architectures auto_map _name_or_path name_or_path transformers_version dtype torch_dtype use_cache "
    "initializer_range pad_token_id bos_token_id eos_token_id sep_token_id decoder_start_token_id id2label label2id "
    "problem_type return_dict output_hidden_states output_attentions chunk_size_feed_forward pretraining_tp is_llama_config "
    "transformers.js_config _attn_implementation _attn_implementation_autoset _sliding_window_pattern cache_implementation "
    "unsloth_fixed unsloth_version task_specific_params finetuning_task tokenizer_class prefix torchscript "
    "tf_legacy_loss use_bfloat16".split()
)
"""Fields that change nothing in what the decoder computes."""


class _Reader:
    """Reads a configuration and knows what nobody has read."""

    def __init__(self, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self.config, self.defaults, self.read = config, defaults, set(_HARMLESS)

    def __call__(self, name: str) -> Any:
        self.read.add(name)
        return self.config.get(name, self.defaults.get(name))

    def finish(self) -> None:
        for name in self.config.keys() - self.read:
            value = self.config[name]
            if name not in _ONLY:
                raise _wrong(name, f"is {value!r}, and this decoder does not know the field")
            if value not in _ONLY[name]:
                raise _wrong(name, f"is {value!r}, and this decoder only does {_ONLY[name][0]!r}")


def _plain(read: _Reader, shape: Mapping[str, Any], family: str) -> dict[str, Any]:
    """What Llama, Qwen and Mistral say in fields of their own."""
    bias = bool(read("attention_bias")) if family in ("llama", "qwen3") else False
    window, sliding = None, ()
    if family == "mistral":
        window = read("sliding_window")
        sliding = (True,) * shape["layers"] if window else ()
    elif family != "llama":
        window, first, types = read("sliding_window"), read("max_window_layers"), read("layer_types")
        window = window if read("use_sliding_window") else None
        sliding = _slides(types) if types else tuple(window is not None and i >= first for i in range(shape["layers"]))
    return {
        "rope": _rope(read("rope_parameters") or read("rope_scaling"), read("rope_theta"), shape["max_positions"]),
        "qkv_bias": bias or family == "qwen2",
        "out_bias": bias,
        "qk_norm": family == "qwen3",
        "sliding_window": window if any(sliding) else None,
        "sliding": sliding if any(sliding) else (),
    }


def _gemma(read: _Reader, shape: Mapping[str, Any]) -> dict[str, Any]:
    """What Gemma 3 says in fields of its own."""
    types, pattern, both = read("layer_types"), read("sliding_window_pattern"), read("rope_parameters") or {}
    sliding = _slides(types) if types else tuple((i + 1) % pattern > 0 for i in range(shape["layers"]))
    whole = both.get("full_attention") or read("rope_scaling")
    bias = bool(read("attention_bias"))
    return {
        "rope": _rope(whole, read("rope_theta"), shape["max_positions"]),
        "local_rope": _rope(both.get("sliding_attention"), read("rope_local_base_freq"), shape["max_positions"]),
        "qkv_bias": bias,
        "out_bias": bias,
        "qk_norm": True,
        "sliding_window": read("sliding_window"),
        "sliding": sliding,
        "sandwich_norms": True,
        "norm_offset": 1.0,
        "embed_scale": shape["dim"] ** 0.5,
        "attention_scale": read("query_pre_attn_scalar") ** -0.5,
        "attention_softcap": read("attn_logit_softcapping"),
        "logit_softcap": read("final_logit_softcapping"),
    }


def _slides(types: list[str]) -> tuple[bool, ...]:
    if unknown := set(types) - {"sliding_attention", "full_attention"}:
        raise _wrong("layer_types", f"names {', '.join(sorted(unknown))}; known are sliding_attention and full_attention")
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
        raise _wrong("rope_scaling", f"is of type {kind!r}; known are {', '.join(_ROPE_FIELDS)}")
    if left.pop("partial_rotary_factor", 1.0) != 1.0:
        raise _wrong("partial_rotary_factor", "is below 1, and this decoder turns whole heads only")
    theta = left.pop("rope_theta", theta)
    known = _ROPE_FIELDS[kind]
    if kind in ("llama3", "yarn"):
        left.setdefault("original_max_position_embeddings", positions)
    if unknown := sorted(left.keys() - known.keys()):
        raise _wrong("rope_scaling", f"of type {kind} has the unknown fields {', '.join(unknown)}")
    if "factor" in known and "factor" not in left:
        raise _wrong("rope_scaling", f"of type {kind} has no factor")
    return Rope(theta=float(theta), kind=kind, **{known[name]: value for name, value in left.items()})


def _scaling(rope: Rope) -> dict[str, Any] | None:
    if rope.kind == "default":
        return None
    values = {theirs: getattr(rope, ours) for theirs, ours in _ROPE_FIELDS[rope.kind].items()}
    return {"rope_type": rope.kind, **{name: value for name, value in values.items() if value is not None}}


def _activation_field(family: str) -> str:
    return "hidden_activation" if family == "gemma3_text" else "hidden_act"


def _wrong(name: str, problem: str) -> CheckpointError:
    return CheckpointError(
        f"config.json, {name}", problem, "Use a checkpoint of a family and form that `sensorium models` lists"
    )
