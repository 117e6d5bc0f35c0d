"""Builder functions with plain arguments: `tiny` for tests, documents and bug reports; the shape of `nano`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from sensorium.batch import Modality
from sensorium.encoders.audio import WhisperConfig
from sensorium.encoders.cnn import EfficientNetConfig
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.text import BertConfig
from sensorium.encoders.video import VideoConfig
from sensorium.encoders.vit_config import ViTConfig
from sensorium.fusion.cross_attention import GatedCrossAttentionConfig
from sensorium.fusion.projector import ProjectorConfig
from sensorium.fusion.resampler import ResamplerConfig
from sensorium.heads.embedding import EmbeddingConfig
from sensorium.language.config import DecoderConfig
from sensorium.language.speech import SpeechConfig
from sensorium.language.speech_tokens import SpeechTokens
from sensorium.model.build import build
from sensorium.model.config import (
    Blueprint,
    Config,
    Crossings,
    Dual,
    EfficientNetTower,
    Link,
    Projector,
    Resampler,
    Shared,
    Speech,
    Text,
    VideoTower,
    ViTTower,
    WhisperTower,
)
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.reading import Policy
from sensorium.nn.closed import ClosedConfig
from sensorium.nn.lora import LoraConfig
from sensorium.nn.rope import Rope
from sensorium.protocols import Sampling

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML without a system message of its own."""

_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


class Eyes(ClosedConfig):
    """Which EfficientNet-Lite sees for `nano`, and pictures of how many pixels; more than it was trained on is a finer grid."""

    variant: Literal[0, 2] = 0
    size: int = Field(default=224, ge=32)

    @property
    def config(self) -> EfficientNetConfig:
        """The network, without its classifier, as a checkpoint holds it."""
        return replace(EfficientNetConfig.lite(self.variant, classes=0, fused=True), image_size=self.size)


class Trained(ClosedConfig):
    """The shapes of what this project trained for `nano`; stands in `weights/nano.json` beside the tensors.

    Args:
        eyes: the frozen encoder of pictures that it was trained on.
        connectors: of pictures, clips and sound. adapter: of the language model. image_head, text_map: of the shared space.
        max_tokens, beams, length_penalty: the default way to answer.
    """

    eyes: Eyes = Eyes()
    connectors: dict[Modality, Link]
    adapter: LoraConfig | None
    image_head: EmbeddingConfig
    text_map: int | None
    max_tokens: int = 128
    beams: int = 1
    length_penalty: float = 1.0

    @property
    def sampling(self) -> Sampling:
        """The default way to answer."""
        return Sampling(max_tokens=self.max_tokens, beams=self.beams, length_penalty=self.length_penalty)


def nano_config(trained: Trained) -> Config:
    """SmolLM2-135M-Instruct, EfficientNet-Lite, Whisper tiny.en and MiniLM, with the connectors that were trained."""
    language = DecoderConfig(
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
        rope=Rope(theta=1e5),
        tie_embeddings=True,
    )
    image = EfficientNetTower(config=trained.eyes.config)
    return Config(
        language=language,
        encoders={
            Modality.IMAGE: image,
            Modality.VIDEO: VideoTower(config=VideoConfig(groups=1)),
            Modality.AUDIO: WhisperTower(config=WhisperConfig(), layer=3),
        },
        connectors=trained.connectors,
        adapter=trained.adapter,
        dual=Dual(text=Text(config=BertConfig()), image_head=trained.image_head, text_map=trained.text_map),
        speech=Speech(config=SpeechConfig(), tokens=whisper_tokens_en()),
        filler=0,
        policy=Policy(sound_features=2.5),  # its sound connector was taught short words; see the card
    )


_NOT_SPEECH_EN = (
    1, 2, 7, 8, 9, 10, 14, 25, 26, 27, 28, 29, 31, 58, 59, 60, 61, 62, 63, 90, 91, 92, 93, 357, 366, 438, 532, 685, 705,
    796, 930, 1058, 1220, 1267, 1279, 1303, 1343, 1377, 1391, 1635, 1782, 1875, 2162, 2361, 2488, 3467, 4008, 4211, 4600,
    4808, 5299, 5855, 6329, 7203, 9609, 9959, 10563, 10786, 11420, 11709, 11907, 13163, 13697, 13700, 14808, 15306, 16410,
    16791, 17992, 19203, 19510, 20724, 22305, 22935, 27007, 30109, 30420, 33409, 34949, 40283, 40493, 40549, 47282, 49146,
    50257, 50357, 50358, 50359, 50360, 50361,
)  # fmt: skip
"""Marks and special tokens that Whisper's English-only models are told never to write (`suppress_tokens` of their settings)."""


def whisper_tokens_en() -> SpeechTokens:
    """The tokens of Whisper's English-only models that are not words."""
    return SpeechTokens(start=50257, end=50256, no_timestamps=50362, suppress=_NOT_SPEECH_EN, suppress_first=(220, 50256))


def tiny(
    vocab: int = 512,
    *,
    dim: int = 32,
    layers: int = 2,
    cross_attention: bool = False,
    adapter: bool = False,
    seed: int = 0,
) -> MultimodalLM:
    """A random toy with every tower: it answers nonsense, in the right form, at once.

    Args:
        vocab: at least 259: all bytes and three special tokens. cross_attention: media as memory instead of spliced.
        adapter: with a low-rank adapter.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(tiny_blueprint(vocab, dim=dim, layers=layers, cross_attention=cross_attention, adapter=adapter))


def tiny_blueprint(
    vocab: int = 512, *, dim: int = 32, layers: int = 2, cross_attention: bool = False, adapter: bool = False
) -> Blueprint:
    """What `tiny` is built from."""
    width, inner = 24, 48
    crossings = GatedCrossAttentionConfig(dim=dim, memory=dim, heads=2, head_dim=8, hidden=inner)
    config = Config(
        language=DecoderConfig(
            family="llama",
            vocab_size=vocab,
            dim=dim,
            layers=layers,
            heads=4,
            kv_heads=2,
            head_dim=8,
            inner_dim=2 * dim,
            max_positions=1024,
            tie_embeddings=True,
        ),
        encoders={
            Modality.IMAGE: ViTTower(config=ViTConfig("siglip", width, 2, 2, inner, image_size=32, patch=8)),
            Modality.VIDEO: VideoTower(),
            Modality.AUDIO: WhisperTower(config=WhisperConfig(dim=width, layers=2, heads=2, inner=inner)),
        },
        connectors={
            Modality.IMAGE: Projector(config=ProjectorConfig(dim_in=width, dim_out=dim, hidden=inner)),
            Modality.VIDEO: Shared(modality=Modality.IMAGE),
            Modality.AUDIO: Resampler(
                config=ResamplerConfig(
                    dim_in=width, dim_out=dim, dim=width, queries=4, layers=1, heads=2, head_dim=12, hidden=inner
                )
            ),
        },
        crossings=Crossings(before=(layers - 1,), config=crossings) if cross_attention else None,
        adapter=LoraConfig(r=4, alpha=8.0) if adapter else None,
        dual=Dual(
            text=Text(config=BertConfig(vocab, width, 2, 2, inner, 128, pooler=False), window=64),
            image_head=EmbeddingConfig(dim_in=width, dim_out=width, queries=2, dim=8, hidden=16),
            text_map=16,
        ),
        speech=Speech(
            config=SpeechConfig(vocab=1760, dim=width, layers=2, heads=2, inner=inner), tokens=SpeechTokens(257, 256, 258)
        ),
        filler=0,
    )
    words = _bytes(_SPECIALS)
    text = _bytes(_SPECIALS)
    text.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[(name, _SPECIALS.index(name)) for name in _SPECIALS[1:]]
    )
    times = [f"<|{step / 50:.2f}|>" for step in range(1501)]
    heard = _bytes(("<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", *times), first=256)
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    return Blueprint(
        config,
        words,
        CHATML,
        special,
        (_SPECIALS.index("<|im_end|>"),),
        ImageProcessing(size=(32, 32)),
        Sampling(max_tokens=16),
        text,
        heard,
        "# tiny\n\nA random toy: every tower, no sense.\n",
    )


def _bytes(specials: tuple[str, ...], first: int = 0) -> Tokenizer:
    """A tokenizer of single bytes; the special tokens have the ids from `first` on."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    order = [*specials, *letters] if first == 0 else [*letters, *specials]
    assert first in (0, len(letters))
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(order)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in specials])
    return tokenizer
