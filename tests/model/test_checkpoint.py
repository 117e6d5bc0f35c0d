from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sensorium.errors import CheckpointError
from sensorium.language.quantized import QuantizedLinear
from sensorium.model import checkpoint
from sensorium.model.checkpoint import load, sampling_from_hf, sampling_to_hf, save, special_tokens
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.presets import tiny
from sensorium.model.tensors import own_tensors
from sensorium.parts import Message, Sample, Text
from sensorium.protocols import Sampling

TALK = Sample("s", (Message("user", (Text("what is it"),)), Message("assistant", (Text("this"),), learn=True)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tiny(), tmp_path / "model")
    return tmp_path / "model"


def hidden(model: MultimodalLM) -> torch.Tensor:
    with torch.no_grad():
        return model(model.batch([TALK])).hidden_BLD


@pytest.mark.parametrize("kind", [{}, {"cross_attention": True}, {"adapter": True}])
def test_a_model_comes_back_whole(tmp_path: Path, kind: dict[str, bool]) -> None:
    model = tiny(**kind)  # type: ignore[arg-type]
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    one, other = model.state_dict(), again.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(hidden(model), hidden(again))
    assert not again.training
    assert again.connectors["video"] is again.connectors["image"]
    assert model.blueprint is not None
    assert again.blueprint is not None
    assert again.blueprint.config == model.blueprint.config
    assert again.blueprint.sampling == model.blueprint.sampling
    assert again.blueprint.processing == model.blueprint.processing
    assert again.blueprint.card == model.blueprint.card
    assert again.layout.ends == model.layout.ends == {2}


def test_the_folder_is_in_the_layout_of_hugging_face(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "preprocessor_config.json",
        "generation_config.json",
        "text_tokenizer.json",
        "speech_tokenizer.json",
        "README.md",
    }
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["architectures"], config["format"]) == ("sensorium", ["MultimodalLM"], 1)
    assert json.loads((folder / "preprocessor_config.json").read_text())["size"] == {"height": 32, "width": 32}
    assert all(path.stat().st_mode & stat.S_IROTH for path in folder.iterdir())


def test_shared_weights_are_stored_once(folder: Path) -> None:
    names = load_file(folder / "model.safetensors").keys()
    assert any(name.startswith("connectors.image.") for name in names)
    assert not any(name.startswith("connectors.video.") for name in names)
    assert "decoder.lm_head.weight" not in names
    whisper = [name for name in names if name.endswith("conv1.weight")]
    assert len(whisper) == 1


def test_the_tokenizer_is_one_that_transformers_reads(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == "<|im_end|>"
    assert (
        tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "<|im_start|>user\nhi<|im_end|>\n"
    )


def test_shards_load_as_one_file(tmp_path: Path) -> None:
    model = tiny()
    save(model, tmp_path / "model", shard_bytes=100_000)
    assert len(list((tmp_path / "model").glob("model-*-of-*.safetensors"))) > 3
    assert torch.equal(hidden(load(tmp_path / "model")), hidden(model))


def test_tensors_too_many_and_too_few_are_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["connectors.image.linear_one.weight"] = tensors.pop("connectors.image.linear_1.weight")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert "lacks 1 tensors ('connectors.image.linear_1.weight', did you mean 'connectors.image.linear_one.weight'?)" in str(
        error.value
    )


def test_a_configuration_of_other_shapes_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["language"]["inner_dim"] = 60
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"wrong shape: 'decoder.layers.0.mlp.\w+.weight' is \(.*\) and must be"):
        load(folder)


@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "generation_config.json",
        "text_tokenizer.json",
    ],
)
def test_each_file_is_needed_and_checked(folder: Path, file: str) -> None:
    (folder / file).write_bytes(b"\xff not text")
    with pytest.raises(CheckpointError, match=file):
        load(folder)
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match=f"{file}: is missing"):
        load(folder)


def test_a_folder_of_pickles_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="only pickled weights"):
        load(folder)


def test_a_folder_that_is_no_checkpoint_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(CheckpointError, match=r"not a checkpoint\. Name a new folder"):
        save(tiny(), tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_a_failed_save_leaves_the_old_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = hidden(load(folder))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    with pytest.raises(OSError, match="No space left"):
        save(tiny(seed=1), folder)
    monkeypatch.undo()
    assert torch.equal(hidden(load(folder)), before)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_saving_over_the_folder_it_was_loaded_from_is_safe(folder: Path) -> None:
    model = load(folder)
    before = hidden(model).clone()
    save(model, folder)
    assert torch.equal(hidden(load(folder)), before)


def test_weights_are_mapped_and_writing_to_them_leaves_the_file_alone(folder: Path) -> None:
    model = load(folder)
    with torch.no_grad():
        model.decoder.embed_tokens.weight.add_(1)
    assert not torch.equal(load(folder).decoder.embed_tokens.weight, model.decoder.embed_tokens.weight)


def test_packing_on_request_and_by_configuration(folder: Path) -> None:
    plain, packed = load(folder), load(folder, quantize="int8")
    assert isinstance(packed.decoder.layers[0].mlp.up_proj, QuantizedLinear)
    assert (hidden(packed) - hidden(plain)).abs().max() < 0.2
    with pytest.raises(CheckpointError, match="quantised to int8"):
        save(packed, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantize": "int8"}))
    assert isinstance(load(folder).decoder.layers[0].mlp.up_proj, QuantizedLinear)


def test_half_precision_on_disk_loads_as_float32(folder: Path) -> None:
    tensors = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")
    model = load(folder)
    assert {tensor.dtype for tensor in own_tensors(model).values()} == {torch.float32}


DRAWN = Sampling(max_tokens=7, temperature=0.7, top_k=9, top_p=0.8, min_p=0.1, repetition_penalty=1.2)


@pytest.mark.parametrize("sampling", [Sampling(), DRAWN, Sampling(beams=4, length_penalty=0.6, stop=("a",))])
def test_the_default_sampling_goes_there_and_back(sampling: Sampling) -> None:
    assert sampling_from_hf(json.loads(json.dumps(sampling_to_hf(sampling, (2, 5)))), "g") == (sampling, (2, 5))


def test_generation_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"has eos_token_id None\. Give the id"):
        sampling_from_hf({}, "g")
    with pytest.raises(CheckpointError, match="says 'many' for max_tokens"):
        sampling_from_hf({"eos_token_id": 2, "max_new_tokens": "many"}, "g")
    assert sampling_from_hf({"eos_token_id": 2, "temperature": 0.6}, "g")[0] == replace(Sampling(), temperature=0.0)


def test_special_tokens_in_either_spelling() -> None:
    assert special_tokens({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": None, "model_max_length": 5}) == {
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
