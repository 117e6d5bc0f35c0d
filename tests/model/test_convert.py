from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from sensorium.batch import Features, Modality
from sensorium.encoders.vit import ViT
from sensorium.errors import CheckpointError
from sensorium.fusion.layout import Layout
from sensorium.fusion.projector import ProjectorConfig
from sensorium.fusion.resampler import ResamplerConfig
from sensorium.heads.embedding import EmbeddingConfig
from sensorium.model.causal import read_language
from sensorium.model.checkpoint import load
from sensorium.model.config import Dual, Projector, Resampler
from sensorium.model.convert import compose, convert, export
from sensorium.model.presets import CHATML, tiny, tiny_blueprint
from sensorium.model.towers import read_sentences, read_vision, read_whisper
from sensorium.parts import Message, Sample, Text
from tests.model.test_gguf import TOKENS, reference, write

TEXT = {
    "vocab_size": 512,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "eos_token_id": 2,
}
VISION = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 28, "patch_size": 7}
VISION_MLP = VISION | {"intermediate_size": 48}
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", {}),
    "smollm2": ("LlamaForCausalLM", "LlamaConfig", {"tie_word_embeddings": True}),
    "mistral": ("MistralForCausalLM", "MistralConfig", {"sliding_window": 9}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {}),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {"head_dim": 16, "tie_word_embeddings": True}),
    "gemma3": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {
            "head_dim": 16,
            "sliding_window": 8,
            "query_pre_attn_scalar": 16,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
}
IDS = torch.arange(24).reshape(2, 12) * 7 % 500


def made(model: str, config: Any) -> Any:
    torch.manual_seed(0)
    net = getattr(transformers, model)(config).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.2)
    return net


def words(folder: Path, template: str = CHATML) -> None:
    """A tokenizer as public folders have it."""
    (folder / "tokenizer.json").write_text(tiny_blueprint().tokenizer.to_str())
    row = {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>", "pad_token": "<|im_end|>", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(row))


def text_folder(folder: Path, family: str) -> Any:
    model, config, more = FAMILIES[family]
    net = made(model, getattr(transformers, config)(**TEXT | more))
    net.save_pretrained(folder)
    words(folder)
    return net


@torch.no_grad()
def logits(folder: Path) -> torch.Tensor:
    model = load(folder)
    return model.decoder.logits(model.decode(model.decoder.embed(IDS)))


@pytest.mark.parametrize("family", FAMILIES)
def test_text_models_there_and_back(tmp_path: Path, family: str) -> None:
    net = text_folder(tmp_path / "theirs", family)
    with torch.no_grad():
        wanted = net(IDS).logits
    convert(tmp_path / "theirs", tmp_path / "ours")
    assert (logits(tmp_path / "ours") - wanted).abs().max() <= 1e-4
    export(tmp_path / "ours", tmp_path / "again")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again", dtype=torch.float32).eval()
    with torch.no_grad():
        assert (again(IDS).logits - wanted).abs().max() <= 1e-6
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    assert (
        tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "<|im_start|>user\nhi<|im_end|>\n"
    )


def test_half_precision_stays_on_disk_and_is_exact(tmp_path: Path) -> None:
    net = text_folder(tmp_path / "theirs", "llama").bfloat16()
    net.save_pretrained(tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    stored = load_file(tmp_path / "ours" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    with torch.no_grad():
        assert (logits(tmp_path / "ours") - net.float()(IDS).logits).abs().max() <= 1e-4


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gemma3"])
def test_gguf_files(tmp_path: Path, kind: str) -> None:
    _, net = reference(kind)
    path = write(tmp_path / "model.gguf", kind, net)
    convert(path, tmp_path / "ours", template=CHATML)
    ids = torch.arange(20).reshape(2, 10)
    model = load(tmp_path / "ours")
    with torch.no_grad():
        ours = model.decoder.logits(model.decode(model.decoder.embed(ids)))
        assert (ours - net(ids).logits).abs().max() <= 1e-4
    assert model.layout.ends == {2}
    assert model.layout.tokenizer.get_vocab_size() == len(TOKENS)


def test_a_template_of_typed_parts_is_given_typed_parts(tmp_path: Path) -> None:
    typed = (
        "{% for message in messages %}{{ message['role'].upper() }}: {% for part in message['content'] %}"
        "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{{ '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    )
    text_folder(tmp_path / "theirs", "llama")
    words(tmp_path / "theirs", typed)
    convert(tmp_path / "theirs", tmp_path / "ours")
    layout = load(tmp_path / "ours").layout
    batch = layout([Sample("s", (Message("user", (Text("hello"),)),))], [{}], reply=True)
    assert layout.tokenizer.decode(batch.ids_BL[0].tolist()) == "USER: hello\nASSISTANT:"
    with pytest.raises(CheckpointError, match=r"chat template: cannot be used \(.*template=\.\.\."):
        convert(tmp_path / "theirs", tmp_path / "ours", template="{{ messages[0]['content'] }}")


def test_a_model_without_template_says_so_in_its_card(tmp_path: Path) -> None:
    text_folder(tmp_path / "theirs", "llama")
    row = json.loads((tmp_path / "theirs" / "tokenizer_config.json").read_text())
    del row["chat_template"]
    (tmp_path / "theirs" / "tokenizer_config.json").write_text(json.dumps(row))
    convert(tmp_path / "theirs", tmp_path / "ours")
    assert "without a chat template" in (tmp_path / "ours" / "README.md").read_text()


def llava(tmp_path: Path, vision: str = "clip", **more: Any) -> Any:
    tower = {
        "clip": transformers.CLIPVisionConfig(**VISION_MLP),
        "siglip": transformers.SiglipVisionConfig(**VISION_MLP, vision_use_head=False),
    }[vision]
    config = transformers.LlavaConfig(
        vision_config=tower, text_config=transformers.LlamaConfig(**TEXT), image_token_index=511, **more
    )
    net = made("LlavaForConditionalGeneration", config)
    net.save_pretrained(tmp_path)
    words(tmp_path)
    processor = {"clip": "CLIPImageProcessor", "siglip": "SiglipImageProcessor"}[vision]
    size = {"height": 28, "width": 28}
    row = {"image_processor_type": processor, "size": size, "crop_size": size, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    if vision == "clip":
        row["size"] = {"shortest_edge": 28}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(row))
    return net


@pytest.mark.parametrize(("vision", "more"), [("clip", {}), ("siglip", {"vision_feature_select_strategy": "full"})])
def test_llava(tmp_path: Path, vision: str, more: dict[str, Any]) -> None:
    net = llava(tmp_path / "theirs", vision, **more)
    convert(tmp_path / "theirs", tmp_path / "ours")
    model = load(tmp_path / "ours")
    pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[1, 9, *[511] * 16, 8, 7], [3, 4, *[511] * 16, 5, 6]])
    with torch.no_grad():
        wanted = net(input_ids=ids, pixel_values=pixels).logits
        features: Features = model.connectors["image"](model.encoders["image"](list(pixels)))
        embeds = model.decoder.embed(ids)
        embeds[:, 2:18] = features.x_BTD
        ours = model.decoder.logits(model.decode(embeds))
    assert (ours - wanted).abs().max() <= 1e-4


def test_llavas_that_read_otherwise_are_refused(tmp_path: Path) -> None:
    llava(tmp_path / "theirs", vision_feature_select_strategy="full")
    with pytest.raises(CheckpointError, match=r"takes the layers -2 of its vision tower by 'full'\. Run it as it is"):
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_what_has_no_exact_form_is_refused_with_the_way_out(tmp_path: Path) -> None:
    no_form = "no exact form here"
    for kind, words_ in (("idefics3", no_form), ("dinov2", "single tower"), ("sensorium", no_form), (None, no_form)):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        with pytest.raises(CheckpointError, match=words_):
            convert(tmp_path, tmp_path / "ours")
    with pytest.raises(CheckpointError, match=r"config\.json: is missing"):
        convert(tmp_path / "nowhere", tmp_path / "ours")


def test_a_lacking_tensor_leaves_nothing_behind(tmp_path: Path) -> None:
    text_folder(tmp_path / "theirs", "llama")
    tensors = load_file(tmp_path / "theirs" / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "theirs" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors \('decoder.layers.1.mlp.up_proj.weight'"):
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_a_head_that_should_be_tied_and_is_not(tmp_path: Path) -> None:
    text_folder(tmp_path / "theirs", "smollm2")
    tensors = load_file(tmp_path / "theirs" / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, tmp_path / "theirs" / "model.safetensors")
    convert(tmp_path / "theirs", tmp_path / "ours")
    tensors["lm_head.weight"] += 1
    save_file(tensors, tmp_path / "theirs" / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds a head that differs"):
        convert(tmp_path / "theirs", tmp_path / "ours")


def test_only_text_models_are_exported(tmp_path: Path) -> None:
    from sensorium.model.checkpoint import save

    save(tiny(), tmp_path / "ours")
    with pytest.raises(CheckpointError, match="holds more than a language model"):
        export(tmp_path / "ours", tmp_path / "theirs")


def towers(folder: Path) -> None:
    """A SigLIP, a Whisper and a BERT folder, and a text model's."""
    made("SiglipVisionModel", transformers.SiglipVisionConfig(**VISION_MLP)).save_pretrained(folder / "siglip")
    row = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 28, "width": 28}, "resample": 2}
    row |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "siglip" / "preprocessor_config.json").write_text(json.dumps(row))
    shape = {"d_model": 32, "num_mel_bins": 80, "pad_token_id": 0}
    shape |= {
        f"{part}_{name}": value for part in ("encoder", "decoder") for name, value in (("attention_heads", 2), ("ffn_dim", 48))
    }
    whisper = transformers.WhisperConfig(vocab_size=1760, encoder_layers=2, decoder_layers=2, **shape)
    made("WhisperForConditionalGeneration", whisper).save_pretrained(folder / "whisper")
    ids = {"decoder_start_token_id": 257, "eos_token_id": 256, "no_timestamps_token_id": 258}
    (folder / "whisper" / "generation_config.json").write_text(json.dumps(ids))
    bert = transformers.BertConfig(
        vocab_size=512,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    made("BertModel", bert).save_pretrained(folder / "bert")
    blueprint = tiny_blueprint()
    for name, tokenizer in (("whisper", blueprint.speech_tokenizer), ("bert", blueprint.text_tokenizer)):
        assert isinstance(tokenizer, Tokenizer)
        (folder / name / "tokenizer.json").write_text(tokenizer.to_str())
    text_folder(folder / "text", "llama")


def test_a_new_model_of_public_towers(tmp_path: Path) -> None:
    towers(tmp_path)
    sentences = read_sentences(tmp_path / "bert", window=32)
    head = EmbeddingConfig(dim_in=32, dim_out=24, queries=1, dim=8, hidden=8)
    audio = ResamplerConfig(dim_in=32, dim_out=48, dim=32, queries=4, layers=1, heads=2, head_dim=16, hidden=32)
    compose(
        read_language(tmp_path / "text"),
        tmp_path / "new",
        connectors={
            Modality.IMAGE: Projector(config=ProjectorConfig(dim_in=32, dim_out=48)),
            Modality.AUDIO: Resampler(config=audio),
        },
        image=read_vision(tmp_path / "siglip"),
        audio=read_whisper(tmp_path / "whisper"),
        dual=(sentences, Dual(text=sentences.text, image_head=head)),
    )
    model = load(tmp_path / "new")
    pixels = torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    theirs = transformers.SiglipVisionModel.from_pretrained(tmp_path / "siglip").eval()
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(2))
    whisper = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path / "whisper").eval()
    with torch.no_grad():
        wanted = theirs(pixels).last_hidden_state
        assert (model.encoders["image"](list(pixels)).x_BTD - wanted).abs().max() <= 1e-4
        assert (model.encoders["audio"](list(mel)).x_BTD - whisper.model.encoder(mel).last_hidden_state).abs().max() <= 1e-4
    assert "random: train them" in (tmp_path / "new" / "README.md").read_text()


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    towers(tmp_path)
    link = Projector(config=ProjectorConfig(dim_in=33, dim_out=48))
    text, image = read_language(tmp_path / "text"), read_vision(tmp_path / "siglip")
    with pytest.raises(CheckpointError, match=r"the composed model: has 1 wrong fields .*takes width 33, its encoder gives 32"):
        compose(text, tmp_path / "new", connectors={Modality.IMAGE: link}, image=image)


def test_open_clip_weights_under_their_own_names(tmp_path: Path) -> None:
    config = transformers.CLIPVisionConfig(**VISION_MLP | {"hidden_act": "gelu", "projection_dim": 20})
    net = made("CLIPVisionModelWithProjection", config)
    state = {name.removeprefix("vision_model."): tensor for name, tensor in net.state_dict().items()}
    named = {
        "visual.class_embedding": state["embeddings.class_embedding"],
        "visual.positional_embedding": state["embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["embeddings.patch_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T.contiguous(),
        "logit_scale": torch.tensor(1.0),
    }
    for leaf in ("weight", "bias"):
        named |= {
            f"visual.ln_pre.{leaf}": state[f"pre_layrnorm.{leaf}"],
            f"visual.ln_post.{leaf}": state[f"post_layernorm.{leaf}"],
        }
        for layer in range(3):
            theirs, ours = f"visual.transformer.resblocks.{layer}", f"encoder.layers.{layer}"
            qkv = [state[f"{ours}.self_attn.{part}_proj.{leaf}"] for part in "qkv"]
            named |= {
                f"{theirs}.attn.in_proj_{leaf}": torch.cat(qkv),
                f"{theirs}.attn.out_proj.{leaf}": state[f"{ours}.self_attn.out_proj.{leaf}"],
                f"{theirs}.ln_1.{leaf}": state[f"{ours}.layer_norm1.{leaf}"],
                f"{theirs}.ln_2.{leaf}": state[f"{ours}.layer_norm2.{leaf}"],
                f"{theirs}.mlp.c_fc.{leaf}": state[f"{ours}.mlp.fc1.{leaf}"],
                f"{theirs}.mlp.c_proj.{leaf}": state[f"{ours}.mlp.fc2.{leaf}"],
            }
    save_file(named, tmp_path / "model.safetensors")
    shape = {"image_size": 28, "layers": 3, "width": 32, "patch_size": 7, "head_width": 8, "mlp_ratio": 1.5}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"embed_dim": 20, "vision_cfg": shape}}))
    read = read_vision(tmp_path)
    ours_ = ViT(read.tower.config).eval()
    ours_.load_state_dict(read.tensors)
    pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (ours_.pooled(ours_(pixels)) - net(pixels).image_embeds).abs().max() <= 1e-4
    assert read.processing.shape == (28, 28)


def test_the_layout_is_that_of_the_converted_model(tmp_path: Path) -> None:
    text_folder(tmp_path / "theirs", "qwen2")
    convert(tmp_path / "theirs", tmp_path / "ours")
    layout = load(tmp_path / "ours").layout
    assert isinstance(layout, Layout)
    assert layout.ends == {2}
    assert layout.filler == 2
