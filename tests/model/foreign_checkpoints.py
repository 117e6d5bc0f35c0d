"""Tiny random checkpoints of public families, written as their folders are: weights, tokenizer, processor, chat template."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% elif part['type'] == 'video' %}VIDEO{% elif part['type'] == 'audio' %}AUDIO"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
SIGLIP = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), "utf-8")


def write_bytes_tokenizer(folder: Path, special: list[str], settings: dict[str, Any]) -> Tokenizer:
    """A byte-level BPE tokenizer with a few merges, as GPT-2, Qwen and SmolLM use."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "a"), ("Y", "e"), ("Ye", "s"), ("o", "g")]
    vocabulary = {token: index for index, token in enumerate([*alphabet, *(a + b for a, b in merges)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), "utf-8")
    write_json(folder / "tokenizer_config.json", {"clean_up_tokenization_spaces": False, "model_max_length": 32768} | settings)
    return tokenizer


def save(folder: Path, model_class: Any, config: Any, ends: list[int], **generation: Any) -> Path:
    """Random weights, spread enough that no two tokens are alike."""
    torch.manual_seed(0)
    model = model_class(config).eval()
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3 / weight[0].numel() ** 0.5 if "conv" in name or "patch" in name else 0.12)
    model.generation_config = transformers.GenerationConfig(eos_token_id=ends, **generation)
    model.save_pretrained(folder)
    return folder


def llava_onevision(folder: Path) -> Path:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
    settings = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None}
    tokenizer = write_bytes_tokenizer(folder, special, settings)
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_resize": True, "do_rescale": True, "do_normalize": True, "do_pad": True, "do_convert_rgb": True,
            "image_grid_pinpoints": [[28, 28], [28, 56], [56, 28], [56, 56]], "resample": 3, "rescale_factor": 1 / 255,
            "image_processor_type": "LlavaOnevisionImageProcessor", "processor_class": "LlavaOnevisionProcessor",
            "size": {"height": 28, "width": 28},
        } | HALF,
    )  # fmt: skip
    write_json(folder / "video_preprocessor_config.json", {"video_processor_type": "LlavaOnevisionVideoProcessor"} | HALF)
    write_json(
        folder / "processor_config.json",
        {
            "image_token": "<image>", "video_token": "<video>", "num_image_tokens": 4, "vision_aspect_ratio": "anyres_max_9",
            "vision_feature_select_strategy": "full", "processor_class": "LlavaOnevisionProcessor",
        },
    )  # fmt: skip
    (folder / "chat_template.jinja").write_text(CHATML.replace("IMAGE", "<image>\n").replace("VIDEO", "<video>\n"), "utf-8")
    size = tokenizer.get_vocab_size()
    config = transformers.LlavaOnevisionConfig(
        vision_config=transformers.SiglipVisionConfig(**SIGLIP, image_size=28, vision_use_head=False),
        text_config=transformers.Qwen2Config(**TEXT, vocab_size=size, max_position_embeddings=512),
        image_token_index=tokenizer.token_to_id("<image>"),
        video_token_index=tokenizer.token_to_id("<video>"),
        image_grid_pinpoints=[[28, 28], [28, 56], [56, 28], [56, 56]],
        vision_feature_layer=-1,
    )
    ends = [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    drawing = {"do_sample": True, "temperature": 0.1, "repetition_penalty": 3.0}
    return save(folder, transformers.LlavaOnevisionForConditionalGeneration, config, ends, **drawing)


def _idefics(folder: Path, processor: str, image_processor: str, model: Any, config: Any, vision: Any) -> Path:
    rows = [f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)]
    special = [
        "<|endoftext|>",
        "<|im_start|>",
        "<end_of_utterance>",
        "<fake_token_around_image>",
        "<global-img>",
        "<image>",
        *rows,
    ]
    settings = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<end_of_utterance>", "pad_token": "<|endoftext|>"}
    settings |= {"bos_token": "<|im_start|>", "unk_token": "<|endoftext|>", "processor_class": processor}
    tokenizer = write_bytes_tokenizer(folder, special, settings)
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_convert_rgb": True, "do_image_splitting": True, "do_normalize": True, "do_pad": True, "do_rescale": True,
            "do_resize": True, "image_processor_type": image_processor, "max_image_size": {"longest_edge": 28},
            "processor_class": processor, "resample": 1, "rescale_factor": 1 / 255, "size": {"longest_edge": 56},
        } | HALF,
    )  # fmt: skip
    write_json(folder / "processor_config.json", {"image_seq_len": 4, "processor_class": processor})
    template = (
        "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
        "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
        "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
        "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
        "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
    )
    (folder / "chat_template.jinja").write_text(template, "utf-8")
    made = config(
        vision_config=vision(**{**SIGLIP, "patch_size": 7}, image_size=28),
        text_config=transformers.LlamaConfig(
            **TEXT, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512, pad_token_id=0, bos_token_id=1
        ),
        image_token_id=tokenizer.token_to_id("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    return save(folder, model, made, [tokenizer.token_to_id("<end_of_utterance>")])


def idefics3(folder: Path) -> Path:
    from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

    model = transformers.Idefics3ForConditionalGeneration
    return _idefics(
        folder, "Idefics3Processor", "Idefics3ImageProcessor", model, transformers.Idefics3Config, Idefics3VisionConfig
    )


def smolvlm(folder: Path) -> Path:
    from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig

    model = transformers.SmolVLMForConditionalGeneration
    return _idefics(folder, "SmolVLMProcessor", "SmolVLMImageProcessor", model, transformers.SmolVLMConfig, SmolVLMVisionConfig)


def _qwen_vl(folder: Path, processor: str, model: Any, config: Any, vision: dict[str, Any], text: dict[str, Any]) -> Path:
    special = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    settings = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None}
    tokenizer = write_bytes_tokenizer(folder, special, settings)
    ids = {name: tokenizer.token_to_id(name) for name in special}
    pixels = {"min_pixels": 28 * 28, "max_pixels": 28 * 28 * 9, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2}
    write_json(
        folder / "preprocessor_config.json",
        pixels | CLIP | {"image_processor_type": "Qwen2VLImageProcessor", "processor_class": processor},
    )
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    (folder / "chat_template.jinja").write_text(
        CHATML.replace("IMAGE", image).replace("VIDEO", image.replace("image", "video")), "utf-8"
    )
    made = config(
        vision_config={"depth": 2, "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
        | vision,
        text_config=TEXT | {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 512} | text,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    return save(folder, model, made, [ids["<|im_end|>"], ids["<|endoftext|>"]])


def qwen2_5_vl(folder: Path) -> Path:
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}}
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "out_hidden_size": 32,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    model, config = transformers.Qwen2_5_VLForConditionalGeneration, transformers.Qwen2_5_VLConfig
    return _qwen_vl(folder, "Qwen2_5_VLProcessor", model, config, vision, rope)


def qwen3_vl(folder: Path) -> Path:
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [1, 1, 2]}, "head_dim": 8}
    vision = {"hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32, "num_position_embeddings": 16}
    vision |= {"deepstack_visual_indexes": [0]}
    model, config = transformers.Qwen3VLForConditionalGeneration, transformers.Qwen3VLConfig
    return _qwen_vl(folder, "Qwen3VLProcessor", model, config, vision, rope)


def gemma3(folder: Path) -> Path:
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    images = ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]
    letters = [*"\n▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?!'-:", "\n\n", "▁a", "th", "the"]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    merges = [("\n", "\n"), ("▁", "a"), ("t", "h"), ("th", "e")]
    vocabulary = {token: index for index, token in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(" "), "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([*special, *images])
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": True, "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
            "extra_special_tokens": named, "processor_class": "Gemma3Processor", "tokenizer_class": "GemmaTokenizer",
            "clean_up_tokenization_spaces": False,
        } | named,
    )  # fmt: skip
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_convert_rgb": True, "do_normalize": True, "do_pan_and_scan": False, "do_rescale": True, "do_resize": True,
            "image_processor_type": "Gemma3ImageProcessor", "image_seq_length": 4, "processor_class": "Gemma3Processor",
            "resample": 2, "rescale_factor": 1 / 255, "size": {"height": 56, "width": 56},
        } | HALF,
    )  # fmt: skip
    write_json(folder / "processor_config.json", {"image_seq_length": 4, "processor_class": "Gemma3Processor"})
    template = (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        "{% for message in messages %}"
        "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}"
        "{% for item in message['content'] %}{% if item['type'] == 'image' %}{{ '<start_of_image>' }}"
        "{% else %}{{ item['text'] | trim }}{% endif %}{% endfor %}{{ '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    )
    (folder / "chat_template.jinja").write_text(template, "utf-8")
    text = TEXT | {
        "vocab_size": tokenizer.get_vocab_size(),
        "head_dim": 8,
        "sliding_window": 16,
        "max_position_embeddings": 512,
    }
    config = transformers.Gemma3Config(
        text_config=transformers.Gemma3TextConfig(
            **text, query_pre_attn_scalar=8, layer_types=["sliding_attention", "full_attention"]
        ),
        vision_config=transformers.SiglipVisionConfig(**SIGLIP, image_size=56, vision_use_head=False),
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.token_to_id("<start_of_image>"),
        eoi_token_index=tokenizer.token_to_id("<end_of_image>"),
        image_token_index=tokenizer.token_to_id("<image_soft_token>"),
    )
    ends = [tokenizer.token_to_id("<eos>"), tokenizer.token_to_id("<end_of_turn>")]
    return save(folder, transformers.Gemma3ForConditionalGeneration, config, ends)


HEARING = {"chunk_length": 2, "feature_size": 80, "hop_length": 160, "n_fft": 400, "n_samples": 32000, "nb_max_frames": 200}
HEARING |= {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "padding_side": "right",
    "padding_value": 0.0,
    "sampling_rate": 16000,
}


def whisper(folder: Path) -> Path:
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>"]
    special += ["<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    settings = {"tokenizer_class": "WhisperTokenizer", "processor_class": "WhisperProcessor", "eos_token": "<|endoftext|>"}
    settings |= {"bos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    tokenizer = write_bytes_tokenizer(folder, special, settings)
    ids = {name: tokenizer.token_to_id(name) for name in special}
    write_json(
        folder / "preprocessor_config.json", HEARING | {"processor_class": "WhisperProcessor", "return_attention_mask": False}
    )
    config = transformers.WhisperConfig(
        vocab_size=tokenizer.get_vocab_size(), num_mel_bins=80, d_model=32, encoder_layers=2, encoder_attention_heads=4,
        decoder_layers=2, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_source_positions=100,
        max_target_positions=64, decoder_start_token_id=ids["<|startoftranscript|>"], pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|endoftext|>"], suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    return save(
        folder,
        transformers.WhisperForConditionalGeneration,
        config,
        [ids["<|endoftext|>"]],
        decoder_start_token_id=ids["<|startoftranscript|>"],
        suppress_tokens=[3, 5],
        begin_suppress_tokens=[tokenizer.token_to_id("Ġ"), ids["<|endoftext|>"]],
        is_multilingual=True,
        lang_to_id={"<|en|>": ids["<|en|>"], "<|de|>": ids["<|de|>"]},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        no_timestamps_token_id=ids["<|notimestamps|>"],
    )


def qwen2_audio(folder: Path) -> Path:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>"]
    settings = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None}
    tokenizer = write_bytes_tokenizer(folder, special, settings)
    write_json(
        folder / "preprocessor_config.json", HEARING | {"processor_class": "Qwen2AudioProcessor", "return_attention_mask": True}
    )
    write_json(folder / "processor_config.json", {"processor_class": "Qwen2AudioProcessor"})
    audio = "<|audio_bos|><|AUDIO|><|audio_eos|>\n"
    (folder / "chat_template.jinja").write_text(CHATML.replace("AUDIO", audio, 1), "utf-8")
    config = transformers.Qwen2AudioConfig(
        audio_config=transformers.Qwen2AudioEncoderConfig(
            num_mel_bins=80,
            d_model=16,
            encoder_layers=2,
            encoder_attention_heads=2,
            encoder_ffn_dim=24,
            max_source_positions=100,
        ),
        text_config=transformers.Qwen2Config(**TEXT, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512),
        audio_token_index=tokenizer.token_to_id("<|AUDIO|>"),
    )
    ends = [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    return save(folder, transformers.Qwen2AudioForConditionalGeneration, config, ends)


def smollm(folder: Path) -> Path:
    """A text model: no towers at all."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    settings = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None}
    settings |= {"unk_token": "<|endoftext|>"}
    tokenizer = write_bytes_tokenizer(folder, special, settings)
    (folder / "chat_template.jinja").write_text(CHATML, "utf-8")
    config = transformers.LlamaConfig(**TEXT, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512)
    return save(folder, transformers.LlamaForCausalLM, config, [tokenizer.token_to_id("<|im_end|>")])


FAMILIES: dict[str, Callable[[Path], Path]] = {
    write.__name__: write
    for write in (llava_onevision, idefics3, smolvlm, qwen2_5_vl, qwen3_vl, gemma3, whisper, qwen2_audio, smollm)
}
