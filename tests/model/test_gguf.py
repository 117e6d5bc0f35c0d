from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers

from sensorium.errors import CheckpointError, SensoriumError
from sensorium.model.gguf import read_gguf

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
MERGES = ["Ġ t", "h e", "Ġt he", "1 2"]
TOKENS = [*SPECIALS, *ALPHABET, *(merge.replace(" ", "") for merge in MERGES)]
NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GEMMA_NAMES = NAMES | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
SIZES = {
    "vocab_size": len(TOKENS),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
}


def reference(kind: str) -> tuple[Any, Any]:
    """A tiny random model of `transformers`, biases and norms not at their starting values."""
    torch.manual_seed(0)
    config, model = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
        "gemma3": (transformers.Gemma3TextConfig, transformers.Gemma3ForCausalLM),
    }[kind]
    extra = {"sliding_window": 4, "query_pre_attn_scalar": 16, "num_hidden_layers": 6} if kind == "gemma3" else {}
    made = config(**SIZES | extra)
    net = model(made).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.2)
    return made, net


def permute(rows: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does to Llama's query and key rows: rotary halves become rotary pairs."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def write(
    path: Path, kind: str, net: Any, pre: str = "smollm", quantise: Mapping[str, gguf.GGMLQuantizationType] | None = None
) -> Path:
    """The reference as llama.cpp's converter would write it."""
    config = net.config
    writer = gguf.GGUFWriter(path, kind)
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_key_length(16)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    ropes = config.rope_parameters
    writer.add_rope_freq_base(ropes.get("full_attention", ropes)["rope_theta"])
    if kind == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIALS) + [1] * (len(TOKENS) - len(SPECIALS)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{{ messages }}")
    names = GEMMA_NAMES if kind == "gemma3" else NAMES
    for name, tensor in net.state_dict().items():
        array = tensor.numpy()
        if kind == "llama" and ("q_proj" in name or "k_proj" in name):
            array = permute(array, 4 if "q_proj" in name else 2)
        if kind == "gemma3" and "norm" in name:
            array = array + 1
        if name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            stem, _, leaf = rest.rpartition(".")
            theirs = f"blk.{layer}.{names[stem]}.{leaf}"
        else:
            theirs = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}[
                name[: -len(".weight")]
            ] + ".weight"
        form = (quantise or {}).get(theirs)
        if form is None:
            writer.add_tensor(theirs, np.ascontiguousarray(array))
        else:
            writer.add_tensor(theirs, gguf.quants.quantize(array, form), raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gemma3"])
def test_tensors_come_back_under_their_own_names(tmp_path: Path, kind: str) -> None:
    config, net = reference(kind)
    read = read_gguf(write(tmp_path / "m.gguf", kind, net))
    state = net.state_dict()
    assert read.tensors.keys() == state.keys()
    assert max((read.tensors[name] - state[name]).abs().max().item() for name in state) < 1e-6
    for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_key_value_heads", "head_dim"):
        assert read.config[key] == getattr(config, key)
    assert read.config["rms_norm_eps"] == config.rms_norm_eps
    assert read.config["tie_word_embeddings"] is False
    if kind == "gemma3":
        assert read.config["layer_types"] == config.layer_types


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gemma3"])
def test_transformers_reads_our_reading_as_the_same_model(tmp_path: Path, kind: str) -> None:
    config, net = reference(kind)
    read = read_gguf(write(tmp_path / "m.gguf", kind, net))
    settings_ = {key: value for key, value in read.config.items() if key not in ("model_type", "architectures")}
    again = type(net)(type(config)(**settings_)).eval()
    again.load_state_dict(read.tensors)
    ids = torch.arange(20).reshape(2, 10) + 3
    with torch.no_grad():
        assert (again(ids).logits - net(ids).logits).abs().max() < 1e-4


def test_quantised_tensors_stand_for_what_ggml_says(tmp_path: Path) -> None:
    _, net = reference("llama")
    forms = {"blk.0.ffn_up.weight": gguf.GGMLQuantizationType.Q4_1, "token_embd.weight": gguf.GGMLQuantizationType.Q8_0}
    read = read_gguf(write(tmp_path / "m.gguf", "llama", net, quantise=forms))
    for theirs, ours in (
        ("blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight"),
        ("token_embd.weight", "model.embed_tokens.weight"),
    ):
        plain = net.state_dict()[ours]
        stands_for = gguf.quants.dequantize(gguf.quants.quantize(plain.numpy(), forms[theirs]), forms[theirs])
        assert read.tensors[ours].dtype == torch.float32
        assert torch.equal(read.tensors[ours], torch.from_numpy(stands_for))
        assert not torch.equal(read.tensors[ours], plain)


def test_the_tokenizer_splits_as_the_file_says(tmp_path: Path) -> None:
    _, net = reference("llama")
    expected = {
        "smollm": ["<|im_start|>", "Ġthe", "Ġ", "1", "2", "3", "<|im_end|>"],
        "gpt-2": ["<|im_start|>", "Ġthe", "Ġ", "12", "3", "<|im_end|>"],
        "llama-bpe": ["<|im_start|>", "Ġthe", "Ġ", "12", "3", "<|im_end|>"],
        "qwen2": ["<|im_start|>", "Ġthe", "Ġ", "1", "2", "3", "<|im_end|>"],
    }
    for pre, tokens in expected.items():
        read = read_gguf(write(tmp_path / "m.gguf", "llama", net, pre))
        tokenizer = Tokenizer.from_str(read.tokenizer)
        text = "<|im_start|> the 123<|im_end|>"
        assert tokenizer.encode(text).tokens == tokens
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
        assert tokenizer.decode(tokenizer.encode(text).ids) == " the 123"
    assert read.chat_template == "{{ messages }}"
    assert read.tokenizer_config["eos_token"] == "<|im_end|>"


def test_what_is_not_read_is_refused_by_name(tmp_path: Path) -> None:
    _, net = reference("llama")
    with pytest.raises(CheckpointError, match=r"architecture 'mamba'.*llama, qwen2, qwen3, gemma3"):
        read_gguf(write(tmp_path / "m.gguf", "mamba", net))
    with pytest.raises(CheckpointError, match="splits its text by 'klingon'"):
        read_gguf(write(tmp_path / "m.gguf", "llama", net, "klingon"))
    with pytest.raises(CheckpointError, match="is not a file"):
        read_gguf(tmp_path / "none.gguf")
    (tmp_path / "zip.gguf").write_bytes(b"PK\x03\x04" * 40)
    with pytest.raises(CheckpointError, match="is not a whole GGUF file"):
        read_gguf(tmp_path / "zip.gguf")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("gguf") / "m.gguf", "llama", reference("llama")[1])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 100_000), place=st.integers(0, 12_000), mask=st.integers(0, 255))
def test_damaged_files_are_refused_or_read(tmp_path: Path, whole: Path, cut: int, place: int, mask: int) -> None:
    data = bytearray(whole.read_bytes())
    data[place] ^= mask
    (tmp_path / "m.gguf").write_bytes(bytes(data[: max(0, len(data) - cut)]))
    try:
        read = read_gguf(tmp_path / "m.gguf")
    except SensoriumError:
        return
    assert read.tensors
