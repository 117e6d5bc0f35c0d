"""The CTranslate2 reader on files written here, whole and damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import WhisperConfig, WhisperForConditionalGeneration

from sensorium.errors import CheckpointError
from sensorium.model.ctranslate2 import read_ctranslate2

CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def _string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def _file(
    tensors: dict[str, np.ndarray], aliases: dict[str, str] | None = None, version: int = 6, spec: str = "WhisperSpec"
) -> bytes:
    out = struct.pack("<I", version) + _string(spec) + struct.pack("<II", 3, len(tensors))
    for name, array in tensors.items():
        out += _string(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        out += struct.pack("<BI", CODES[str(array.dtype)], array.nbytes) + array.tobytes()
    pairs = {"decoder/projection/weight": "decoder/embeddings/weight"} if aliases is None else aliases
    return out + struct.pack("<I", len(pairs)) + b"".join(_string(alias) + _string(target) for alias, target in pairs.items())


def _model() -> WhisperForConditionalGeneration:
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=20, d_model=8, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=12, decoder_ffn_dim=12, max_source_positions=6, max_target_positions=5, pad_token_id=0, bos_token_id=0,
        eos_token_id=0, decoder_start_token_id=1,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter).half().float())
    return model


def _tensors(model: WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    """The model in CTranslate2's names and float16, with the scalars it keeps beside."""
    state = {name: tensor.detach().half().numpy() for name, tensor in model.state_dict().items()}
    found: dict[str, np.ndarray] = {"decoder/activation": np.int8(3).reshape(()), "encoder/num_heads": np.int16(2).reshape(())}
    modules = {
        "self_attention/layer_norm": ["self_attn_layer_norm"],
        "self_attention/linear_0": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "self_attention/linear_1": ["self_attn.out_proj"],
        "ffn/layer_norm": ["final_layer_norm"],
        "ffn/linear_0": ["fc1"],
        "ffn/linear_1": ["fc2"],
    }
    cross = {
        "attention/layer_norm": ["encoder_attn_layer_norm"],
        "attention/linear_0": ["encoder_attn.q_proj"],
        "attention/linear_1": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
        "attention/linear_2": ["encoder_attn.out_proj"],
    }
    for side, layers in (("encoder", 1), ("decoder", 2)):
        found[f"{side}/position_encodings/encodings"] = state[f"model.{side}.embed_positions.weight"]
        norms = {f"{side}/layer_norm": [f"model.{side}.layer_norm"]}
        for layer in range(layers):
            for module, parts in (modules | (cross if side == "decoder" else {})).items():
                norms[f"{side}/layer_{layer}/{module}"] = [f"model.{side}.layers.{layer}.{part}" for part in parts]
        for module, parts in norms.items():
            for kind in ("weight", "bias"):
                width = len(state[f"{parts[-1]}.weight"])
                rows = [state.get(f"{part}.{kind}", np.zeros(width, np.float16)) for part in parts]
                theirs = {"weight": "gamma", "bias": "beta"}[kind] if module.endswith("norm") else kind
                found[f"{module}/{theirs}"] = np.concatenate(rows)
    for conv in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            found[f"encoder/{conv}/{kind}"] = state[f"model.encoder.{conv}.{kind}"]
    found["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    return found


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return _tensors(_model())


def _read(tmp_path: Path, content: bytes) -> dict[str, torch.Tensor]:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    return read_ctranslate2(path)


def test_a_file_gives_the_model_it_was_made_of(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    want = _model().state_dict()
    found = _read(tmp_path, _file(tensors))
    assert found.keys() == want.keys()
    assert all(torch.equal(found[name], want[name]) for name in want)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder/layer_0/ffn/linear_0/weight": np.zeros((12, 8), np.int8)}, "is quantised to int8. Use a float16"),
        ({"decoder/layer_0/ffn/linear_9/weight": np.zeros((2, 2), np.float32)}, "has no place in a Whisper model"),
        ({"decoder/activation": np.int8(0).reshape(())}, "is 0, in Whisper it is 3"),
        ({"encoder/layer_0/self_attention/linear_0/bias": np.ones(24, np.float16)}, "gives the keys a bias"),
    ],
)
def test_another_architecture_is_refused(
    tmp_path: Path, tensors: dict[str, np.ndarray], change: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        _read(tmp_path, _file(tensors | change))


def test_headers_are_checked(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    whole = _file(tensors)
    for content, message in [
        (b"", "is empty"),
        (whole[:-1], "ends early"),
        (whole + b"x", "1 bytes after its end"),
        (_file(tensors, version=9), "has format version 9"),
        (_file(tensors, spec="TransformerSpec"), "holds a 'TransformerSpec', not a WhisperSpec"),
        (_file(tensors, aliases={"a": "b"}), "alias a of b that cannot be"),
        (struct.pack("<I", 6) + _string("WhisperSpec") + struct.pack("<II", 3, 2**32 - 1), "announces 4,294,967,295 tensors"),
        (_file({}, aliases={}), "holds no decoder/embeddings/weight"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            _read(tmp_path, content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_ctranslate2(tmp_path / "absent.bin")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_refused_or_harmless(tmp_path: Path, tensors: dict[str, np.ndarray], data: st.DataObject) -> None:
    content = bytearray(_file(tensors))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    try:
        found = _read(tmp_path, bytes(content[: cut if data.draw(st.booleans()) else None]))
    except CheckpointError:
        return
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
