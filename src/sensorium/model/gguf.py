"""A llama.cpp GGUF text model as a Hugging Face configuration, state dict, tokenizer and chat template.

Layout: the GGUF specification of ggml; tensor names and the row order of Llama's query and key projections as
`convert_hf_to_gguf.py` of llama.cpp writes them. Quantised tensors come out as float32, exactly what they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from sensorium.errors import CheckpointError, DependencyError

_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3_text"}
_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
}
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_GEMMA_BLOCK = _BLOCK | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_SPLIT = _LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
_PRE_TOKENIZERS = ("smollm", "gpt-2", "default", "llama-bpe", "qwen2")
_CONTROL, _USER_DEFINED = 3, 4
_BROKEN = (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError, MemoryError)


@dataclass(frozen=True, slots=True)
class GgufModel:
    """What one GGUF file says, in the names of `transformers`.

    Args:
        config: a `config.json` of a causal language model. tensors: float32, named as in `model.safetensors`.
        tokenizer: the text of a `tokenizer.json`. tokenizer_config: of a `tokenizer_config.json`.
        chat_template: Jinja, or None where the file holds none.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    tokenizer: str
    tokenizer_config: dict[str, Any]
    chat_template: str | None


def read_gguf(path: Path | str) -> GgufModel:
    """One GGUF text model of the Llama (SmolLM, Mistral), Qwen2, Qwen3 or Gemma 3 shape.

    Raises:
        CheckpointError: not a GGUF file, damaged, an architecture, scaling or vocabulary that is not read here.
        DependencyError: the `gguf` package is not installed.
    """
    path = Path(path)
    try:
        from gguf import GGUFReader
        from gguf.quants import dequantize
    except ImportError as error:
        raise DependencyError("gguf", "is not installed", "Run: pip install gguf") from error
    if not path.is_file():
        raise CheckpointError(str(path), "is not a file", "Give the path of a .gguf file")
    try:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        arrays = {item.name: dequantize(item.data, item.tensor_type).astype(np.float32, copy=False) for item in reader.tensors}
    except _BROKEN as error:
        raise CheckpointError(
            str(path), f"is not a whole GGUF file ({error})", "Fetch or export it again; its first four bytes are GGUF"
        ) from error
    facts = _Facts(str(path), fields)
    tensors = {_name(facts, name): torch.from_numpy(_rows(facts, name, array)) for name, array in arrays.items()}
    config = _config(facts, tensors)
    tokenizer = _tokenizer(facts)
    template = fields.get("tokenizer.chat_template")
    return GgufModel(config, tensors, tokenizer.to_str(), _tokenizer_config(facts), template)


@dataclass(frozen=True, slots=True)
class _Facts:
    """The file's key-value pairs; a key that is needed and absent is the file's fault, and named."""

    path: str
    fields: Mapping[str, Any]

    @property
    def kind(self) -> str:
        kind = self.get("general.architecture")
        if kind not in _TYPES:
            raise CheckpointError(self.path, f"has the architecture {kind!r}", f"Architectures read here: {', '.join(_TYPES)}")
        return str(kind)

    def get(self, key: str) -> Any:
        if key not in self.fields:
            raise CheckpointError(self.path, f"lacks the key {key!r}", "Export the GGUF file again with a current llama.cpp")
        return self.fields[key]

    def whole(self, key: str, fallback: int | None = None) -> int:
        """A positive whole number of this architecture."""
        full = f"{self.kind}.{key}"
        value = self.get(full) if fallback is None else self.fields.get(full, fallback)
        if not isinstance(value, int) or value <= 0:
            raise CheckpointError(self.path, f"says {value!r} for {full!r}", "It must be one positive number for all layers")
        return value

    def token(self, role: str) -> int | None:
        """The id of the `bos`, `eos`, `padding` or `unknown` token, where the file names one."""
        token = self.fields.get(f"tokenizer.ggml.{role}_token_id")
        if token is not None and not 0 <= token < len(self.get("tokenizer.ggml.tokens")):
            raise CheckpointError(self.path, f"names {token} as its {role} token, beyond its vocabulary", "Export it again")
        return token

    def real(self, key: str, fallback: float | None = None) -> float:
        full = f"{self.kind}.{key}"
        return float(self.get(full) if fallback is None else self.fields.get(full, fallback))


def _name(facts: _Facts, name: str) -> str:
    stem, _, leaf = name.rpartition(".")
    if stem in _TOP:
        return f"{_TOP[stem]}.{leaf}"
    block = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    table = _GEMMA_BLOCK if facts.kind == "gemma3" else _BLOCK
    if block is None or block[2] not in table:
        remedy = "Only plain dense text models are read here"
        if name.startswith("rope_freqs"):
            remedy = "Convert the model's safetensors folder instead: GGUF does not keep how its rope is scaled"
        raise CheckpointError(facts.path, f"holds the tensor {name!r}, which has no place in a {facts.kind} model", remedy)
    return f"model.layers.{block[1]}.{table[block[2]]}.{leaf}"


def _rows(facts: _Facts, name: str, array: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Undo what llama.cpp's converter did: Llama's interleaved rotary rows, Gemma's norms kept as 1 + weight."""
    if facts.kind == "llama" and (part := re.search(r"\.attn_([qk])\.(weight|bias)$", name)):
        heads = facts.whole("attention.head_count")
        heads = heads if part[1] == "q" else facts.whole("attention.head_count_kv", heads)
        if array.shape[0] % (2 * heads):
            raise CheckpointError(facts.path, f"has {array.shape[0]} rows in {name!r}", f"They must divide into {heads} heads")
        pairs = array.reshape(heads, array.shape[0] // heads // 2, 2, *array.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(array.shape))
    if facts.kind == "gemma3" and name.endswith("norm.weight"):
        return array - np.float32(1)
    return np.array(array)


def _config(facts: _Facts, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    kind, width, heads = facts.kind, facts.whole("embedding_length"), facts.whole("attention.head_count")
    scaling = facts.fields.get(f"{kind}.rope.scaling.type", "none")
    if scaling != "none":
        raise CheckpointError(
            facts.path, f"scales its rope by {scaling!r}", "Convert the model's safetensors folder instead, which says how"
        )
    config: dict[str, Any] = {
        "model_type": _TYPES[kind],
        "architectures": [_ARCHITECTURES[kind]],
        "vocab_size": len(facts.get("tokenizer.ggml.tokens")),
        "hidden_size": width,
        "intermediate_size": facts.whole("feed_forward_length"),
        "num_hidden_layers": facts.whole("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": facts.whole("attention.head_count_kv", heads),
        "head_dim": facts.whole("attention.key_length", facts.whole("rope.dimension_count", width // heads)),
        "max_position_embeddings": facts.whole("context_length"),
        "rms_norm_eps": float(f"{facts.real('attention.layer_norm_rms_epsilon'):.6g}"),  # kept as float32: 9.99999974e-06
        "rope_theta": facts.real("rope.freq_base", 10000.0),
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "hidden_act": "silu",
    }
    if kind == "llama":
        config["attention_bias"] = "model.layers.0.self_attn.q_proj.bias" in tensors
        config["mlp_bias"] = "model.layers.0.mlp.up_proj.bias" in tensors
    if kind == "gemma3":
        del config["hidden_act"]
        config |= {
            "hidden_activation": "gelu_pytorch_tanh",
            "sliding_window": facts.whole("attention.sliding_window"),
            "layer_types": [
                "full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(config["num_hidden_layers"])
            ],
            "rope_theta": facts.real("rope.freq_base", 1e6),
            "rope_local_base_freq": facts.real("rope.freq_base_swa", 1e4),
            "query_pre_attn_scalar": config["head_dim"],
        }
    for role in ("bos", "eos", "padding"):
        if (token := facts.token(role)) is not None:
            config[f"{'pad' if role == 'padding' else role}_token_id"] = token
    return config


def _tokenizer(facts: _Facts) -> Tokenizer:
    """The file's own byte-level BPE vocabulary and merges, with the pre-tokenizer it names."""
    model, pre = facts.get("tokenizer.ggml.model"), facts.fields.get("tokenizer.ggml.pre", "default")
    if model != "gpt2":
        raise CheckpointError(
            facts.path,
            f"has a vocabulary of kind {model!r}",
            "Only byte-level BPE ('gpt2') is read; convert the safetensors folder",
        )
    if pre not in _PRE_TOKENIZERS:
        raise CheckpointError(
            facts.path, f"splits its text by {pre!r}", f"Pre-tokenizers known here: {', '.join(_PRE_TOKENIZERS)}"
        )
    tokens: Sequence[str] = facts.get("tokenizer.ggml.tokens")
    pairs = [tuple(merge.split(" ")) for merge in facts.get("tokenizer.ggml.merges")]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    for pair in pairs:
        if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys():
            raise CheckpointError(facts.path, f"merges {pair}, which is not in its vocabulary", "Export the GGUF file again")
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=pre == "llama-bpe"))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre in ("smollm", "gpt-2", "default"))
    first = {
        "smollm": pre_tokenizers.Digits(individual_digits=True),
        "llama-bpe": pre_tokenizers.Split(Regex(_LLAMA3_SPLIT), "isolated"),
        "qwen2": pre_tokenizers.Split(Regex(_QWEN2_SPLIT), "isolated"),
    }.get(pre)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first, byte_level]) if first else byte_level
    tokenizer.decoder = decoders.ByteLevel()
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    kinds: Sequence[int] = facts.fields.get("tokenizer.ggml.token_type", ())
    for token, kind in zip(tokens, kinds, strict=False):
        if kind in (_CONTROL, _USER_DEFINED):
            added = AddedToken(token, special=kind == _CONTROL, normalized=False)
            tokenizer.add_special_tokens([added]) if kind == _CONTROL else tokenizer.add_tokens([added])
    bos = facts.token("bos")
    if facts.fields.get("tokenizer.ggml.add_bos_token", False) and bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{tokens[bos]} $A", pair=f"{tokens[bos]} $A {tokens[bos]} $B", special_tokens=[(tokens[bos], bos)]
        )
    return tokenizer


def _tokenizer_config(facts: _Facts) -> dict[str, Any]:
    tokens: Sequence[str] = facts.get("tokenizer.ggml.tokens")
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": facts.whole("context_length"),
        "clean_up_tokenization_spaces": False,
        "add_bos_token": bool(facts.fields.get("tokenizer.ggml.add_bos_token", False)),
    }
    for role, name in (("bos", "bos"), ("eos", "eos"), ("padding", "pad"), ("unknown", "unk")):
        if (token := facts.token(role)) is not None:
            config[f"{name}_token"] = tokens[token]
    return config
