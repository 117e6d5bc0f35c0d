"""Adapter folders: PEFT reads ours, we read PEFT's, and both compute the same."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sensorium.errors import CheckpointError
from sensorium.language.config import DecoderConfig
from sensorium.language.decoder import Decoder
from sensorium.nn.lora import LoraConfig, absorb, adapted, add_lora, choose, merge, unmerge
from sensorium.nn.peft import PREFIX, adapter_state, load_adapter, save_adapter

IDS = torch.randint(0, 61, (2, 15), generator=torch.Generator().manual_seed(5))
KINDS: dict[str, dict[str, Any]] = {"lora": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}}


@pytest.fixture(scope="module")
def reference() -> Any:
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        attention_bias=True,
    )
    return transformers.LlamaForCausalLM(config).eval()


def ours(model: Any) -> Decoder:
    decoder = Decoder(DecoderConfig.from_hf(model.config.to_dict())).eval()
    decoder.load_state_dict({name.removeprefix("model."): tensor.clone() for name, tensor in model.state_dict().items()})
    return decoder


def logits(decoder: Decoder) -> torch.Tensor:
    return decoder.logits(decoder(decoder.embed(IDS)))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_we_read_what_peft_writes(reference: Any, kind: str, tmp_path: Path) -> None:
    import peft

    targets = ["q_proj", "o_proj", "down_proj"]
    config = peft.LoraConfig(r=4, lora_alpha=10, lora_dropout=0.1, target_modules=targets, task_type="CAUSAL_LM", **KINDS[kind])
    theirs = peft.get_peft_model(copy.deepcopy(reference), config).eval()
    for name, weight in theirs.named_parameters():
        if "lora_" in name:
            weight.add_(torch.randn_like(weight) * 0.2)
    theirs.save_pretrained(tmp_path)
    decoder = ours(reference)
    plain = logits(decoder)
    switch = load_adapter(decoder, tmp_path)
    expected = theirs(IDS).logits
    assert (expected - plain).abs().max() > 0.01
    assert (logits(decoder.eval()) - expected).abs().max() <= 1e-5
    with switch.rows(False):
        assert logits(decoder).equal(plain)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_peft_reads_what_we_write(reference: Any, kind: str, tmp_path: Path) -> None:
    import peft

    decoder = ours(reference)
    config = LoraConfig(
        r=4, alpha=10, dropout=0.1, targets=("k_proj", "v_proj", "gate_proj"), rslora=kind == "rslora", dora=kind == "dora"
    )
    add_lora(decoder, config)
    for layer in adapted(decoder).values():
        nn.init.normal_(layer.lora_B, std=0.3)
        if layer.lora_magnitude is not None:
            layer.lora_magnitude.mul_(1.3)
    save_adapter(decoder.eval(), tmp_path, base="tiny")
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(reference), tmp_path).eval()
    assert (theirs(IDS).logits - reference(IDS).logits).abs().max() > 0.01
    assert (theirs(IDS).logits - logits(decoder)).abs().max() <= 1e-5
    assert f"{PREFIX}layers.0.self_attn.k_proj.lora_A.weight" in load_file(tmp_path / "adapter_model.safetensors")


@torch.no_grad()
def test_patterns_of_targets_ranks_and_alphas_are_pefts(reference: Any, tmp_path: Path) -> None:
    import peft

    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=r"model\.layers\.\d+\.(self_attn\.[qv]_proj|mlp\.up_proj)|lm_head",
        exclude_modules=["layers.0.mlp.up_proj"],
        rank_pattern={"v_proj": 2, "^model.layers.1.self_attn.q_proj": 6},
        alpha_pattern={r"layers\.0\.self_attn\.q_proj": 20},
        task_type="CAUSAL_LM",
    )
    theirs = peft.get_peft_model(copy.deepcopy(reference), config).eval()
    for name, weight in theirs.named_parameters():
        if "lora_" in name:
            weight.add_(torch.randn_like(weight) * 0.2)
    theirs.save_pretrained(tmp_path / "theirs")
    decoder = ours(reference)
    load_adapter(decoder, tmp_path / "theirs")
    found = adapted(decoder.eval())
    both = {f"layers.{i}.self_attn.{name}" for i in (0, 1) for name in ("q_proj", "v_proj")}
    assert found.keys() == both | {"layers.1.mlp.up_proj", "lm_head"}
    assert [found[f"layers.{i}.self_attn.q_proj"].config.r for i in (0, 1)] == [4, 6]
    assert (logits(decoder) - theirs(IDS).logits).abs().max() <= 1e-5
    save_adapter(decoder, tmp_path / "ours")
    again = peft.PeftModel.from_pretrained(copy.deepcopy(reference), tmp_path / "ours").eval()
    assert (again(IDS).logits - theirs(IDS).logits).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_trained_here_works_there_merged_and_unmerged(reference: Any, kind: str, tmp_path: Path) -> None:
    import peft

    decoder = ours(reference)
    add_lora(decoder, LoraConfig(r=4, alpha=8, dropout=0.1, rslora=kind == "rslora", dora=kind == "dora"))
    optimizer = torch.optim.AdamW([weight for weight in decoder.parameters() if weight.requires_grad], lr=0.02)
    first = train_step(decoder.train(), optimizer)
    last = [train_step(decoder, optimizer) for _ in range(15)][-1]
    assert last < first - 0.05
    save_adapter(decoder.eval(), tmp_path)
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(reference), tmp_path).eval()
    with torch.no_grad():
        expected = theirs(IDS).logits
        assert (logits(decoder) - expected).abs().max() <= 1e-4
        merge(decoder)
        assert (logits(decoder) - expected).abs().max() <= 1e-4
        assert (theirs.merge_and_unload()(IDS).logits - logits(decoder)).abs().max() <= 1e-4
        unmerge(decoder)
        assert (logits(decoder) - expected).abs().max() <= 1e-4


def train_step(decoder: Decoder, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(logits(decoder)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def test_several_adapters_are_not_mixed_up(reference: Any, tmp_path: Path) -> None:
    import peft

    theirs = peft.get_peft_model(
        copy.deepcopy(reference), peft.LoraConfig(r=4, target_modules=["q_proj", "up_proj"]), "a"
    ).eval()
    theirs.add_adapter("b", peft.LoraConfig(r=2, lora_alpha=9, target_modules=["q_proj", "o_proj"], use_dora=True))
    for name, weight in theirs.named_parameters():
        if "lora_" in name:
            weight.add_(torch.randn_like(weight) * 0.2)
    theirs.save_pretrained(tmp_path)
    decoder = ours(reference)
    plain, expected = logits(decoder), {}
    for name in ("a", "b"):
        load_adapter(decoder, tmp_path / name, name=name)
        theirs.set_adapter(name)
        expected[name] = theirs(IDS).logits
    decoder.eval()
    assert (logits(decoder) - expected["b"]).abs().max() <= 1e-5, "the last one loaded is on"
    for name in ("a", "b", "a"):
        choose(decoder, name)
        assert (logits(decoder) - expected[name]).abs().max() <= 1e-5
        save_adapter(decoder, tmp_path / "again", name=name)
        assert (
            load_file(tmp_path / "again" / "adapter_model.safetensors").keys()
            == load_file(tmp_path / name / "adapter_model.safetensors").keys()
        )
    choose(decoder, None)
    assert logits(decoder).equal(plain)
    choose(decoder, "b")
    merge(decoder, "b")
    assert (logits(decoder) - expected["b"]).abs().max() <= 1e-4
    unmerge(decoder, "b")
    choose(decoder, "a")
    absorb(decoder, "b")
    assert adapted(decoder).keys() == adapted(decoder, "a").keys()
    choose(decoder, None)
    assert (logits(decoder) - expected["b"]).abs().max() <= 1e-4


@pytest.mark.parametrize("dora", [False, True])
@torch.no_grad()
def test_our_own_way_back_is_exact(reference: Any, dora: bool, tmp_path: Path) -> None:
    decoder, again = ours(reference), ours(reference)
    config = LoraConfig(r=3, alpha=7.5, dropout=0.25, targets=("o_proj", "up_proj"), dora=dora)
    add_lora(decoder, config)
    for layer in adapted(decoder).values():
        nn.init.normal_(layer.lora_B)
    save_adapter(decoder, tmp_path, prefix="decoder.")
    load_adapter(again, tmp_path, prefix="decoder.")
    assert logits(again.eval()).equal(logits(decoder.eval()))
    assert next(iter(adapted(again).values())).config == config
    assert adapter_state(again).keys() == adapter_state(decoder).keys()


@pytest.fixture
def folder(reference: Any, tmp_path: Path) -> Path:
    decoder = ours(reference)
    add_lora(decoder, LoraConfig(r=2, targets=("q_proj",)))
    save_adapter(decoder, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "is of type 'IA3', LORA is needed"),
        ({"bias": "all"}, "asks for bias = 'all', which is not done here"),
        ({"rank_pattern": {"q_proj": 4}}, r"lora_A.weight is \(2, 32\), \(4, 32\) is needed"),
        ({"lora_bias": True}, "asks for lora_bias = True, which is not done here"),
        ({"layers_to_transform": [1]}, r"asks for layers_to_transform = \[1\]"),
        ({"init_lora_weights": "pissa"}, "started by 'pissa', which changes the weights it adapts"),
        ({"r": "4"}, "r is '4', a whole number from 1 is needed"),
        ({"modules_to_save": ["lm_head"]}, r"asks for modules_to_save = \['lm_head'\]"),
        ({"target_modules": None}, "target_modules is None, names or a regular expression are needed"),
        ({"target_modules": "q_proj"}, "target_modules 'q_proj' without None names no layer of the model"),
        ({"r": 3}, r"lora_A.weight is \(2, 32\), \(3, 32\) is needed"),
        ({"target_modules": ["q_proj", "k_proj"]}, r"lacks 4 tensors .*k_proj.* and has 0 unknown ones"),
        ({"use_dora": True}, r"lacks 2 tensors .*lora_magnitude_vector"),
    ],
)
def test_settings_that_do_not_fit_are_refused(reference: Any, folder: Path, change: dict[str, Any], message: str) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message):
        load_adapter(ours(reference), folder)


def test_tensors_of_another_model_are_refused(reference: Any, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks 4 tensors .* and has 4 unknown ones"):
        load_adapter(ours(reference), folder, prefix="model.")
    file = folder / "adapter_model.safetensors"
    save_file(load_file(file) | {"more": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"has 1 unknown ones \['more'\]"):
        load_adapter(ours(reference), folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(reference: Any, folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: is missing"):
        load_adapter(ours(reference), folder)
