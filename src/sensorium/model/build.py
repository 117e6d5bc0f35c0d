"""A blueprint to the model it describes, with weights that mean nothing until a checkpoint is assigned to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import nn
from torch.overrides import TorchFunctionMode

from sensorium.batch import Modality
from sensorium.encoders.audio import AudioEncoder
from sensorium.encoders.cnn import EfficientNet, EfficientNetEncoder
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.text import Bert, BertEncoder
from sensorium.encoders.video import VideoEncoder
from sensorium.encoders.vit import ViT, ViTEncoder
from sensorium.errors import CheckpointError
from sensorium.fusion.cross_attention import GatedCrossAttention
from sensorium.fusion.layout import Layout
from sensorium.fusion.projector import MLPProjector
from sensorium.fusion.qformer import QFormer
from sensorium.fusion.resampler import Resampler
from sensorium.heads.embedding import EmbeddingHead, ResidualMap
from sensorium.language.decoder import Decoder
from sensorium.language.speech import SpeechDecoder
from sensorium.model import config as said
from sensorium.model.config import Blueprint, Config
from sensorium.model.dual import DualEncoder
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.reading import Reader
from sensorium.model.transcribe import SpeechModel
from sensorium.nn.lora import add_lora
from sensorium.protocols import Connector, Encoder

_FILLS = frozenset(
    (
        *("uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "xavier_uniform_", "zeros_", "ones_", "constant_"),
        *("zero_", "fill_", "copy_", "mul_", "add_", "erfinv_", "clamp_"),
    )
)


class Unfilled(TorchFunctionMode):
    """Within it, filling a parameter in place (as constructors do with random numbers) does nothing and costs nothing."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        filled = args[0] if args else (kwargs or {}).get("tensor")  # torch.nn.init names its argument
        if isinstance(filled, nn.Parameter) and getattr(func, "__name__", "") in _FILLS:
            return filled
        return func(*args, **(kwargs or {}))


def build(blueprint: Blueprint) -> MultimodalLM:
    """The model, its parameters at their random starting values, in evaluation mode.

    Raises:
        CheckpointError: the blueprint lacks a tokenizer or the pictures' preprocessing that a part of it needs.
    """
    config = blueprint.config
    decoder = Decoder(config.language)
    switch = add_lora(decoder, config.adapter) if config.adapter else None
    encoders = _encoders(blueprint)
    speech = _speech(blueprint, encoders)
    connectors = _connectors(config)
    layout = Layout(
        blueprint.tokenizer, blueprint.template, blueprint.special, config.filler, config.language.max_positions, blueprint.ends
    )
    reader = Reader(
        cast(Mapping[Modality, Encoder], encoders),
        cast(Mapping[Modality, Connector], connectors),
        listen=None if speech is None else speech.read,
        spliced=config.crossings is None,
        policy=config.policy,
    )
    crossings = None
    if config.crossings:
        crossings = {layer: GatedCrossAttention(config.crossings.config) for layer in config.crossings.before}
    model = MultimodalLM(
        decoder, encoders, connectors, layout, reader, crossings=crossings, switch=switch, dual=_dual(blueprint), speech=speech
    )
    model.blueprint = blueprint
    return model.eval()


def build_unfilled(blueprint: Blueprint) -> MultimodalLM:
    """The same at once: parameters are memory that nobody wrote to, for `tensors.assign` to replace."""
    with Unfilled():
        return build(blueprint)


def _encoders(blueprint: Blueprint) -> dict[Modality, nn.Module]:
    """Each modality's encoder; a clip's is the picture's, frame by frame."""
    encoders: dict[Modality, nn.Module] = {}
    for modality, tower in blueprint.config.encoders.items():
        match tower:
            case said.ViTTower():
                encoders[modality] = ViTEncoder(ViT(tower.config), _processing(blueprint), tower.layer, norm=tower.norm)
            case said.EfficientNetTower():
                encoders[modality] = EfficientNetEncoder(EfficientNet(tower.config), _processing(blueprint))
            case said.WhisperTower():
                encoders[modality] = AudioEncoder(tower.config, tower.layer)
            case said.VideoTower():
                pass
    for modality, tower in blueprint.config.encoders.items():
        if isinstance(tower, said.VideoTower):
            image = encoders[Modality.IMAGE]
            assert isinstance(image, ViTEncoder | EfficientNetEncoder)
            encoders[modality] = VideoEncoder(image, tower.config)
    return encoders


def _processing(blueprint: Blueprint) -> ImageProcessing:
    if blueprint.processing is None:
        raise CheckpointError(
            "preprocessor_config.json", "is missing, and there is an image encoder", "Copy the whole checkpoint folder"
        )
    return blueprint.processing


def _connectors(config: Config) -> dict[Modality, nn.Module]:
    connectors: dict[Modality, nn.Module] = {}
    for modality, link in config.connectors.items():
        match link:
            case said.Projector():
                connectors[modality] = MLPProjector(link.config)
            case said.Resampler():
                connectors[modality] = Resampler(link.config)
            case said.QFormer():
                connectors[modality] = QFormer(link.config)
            case said.Shared():
                pass
    for modality, link in config.connectors.items():
        if isinstance(link, said.Shared):
            connectors[modality] = connectors[link.modality]
    return connectors


def _dual(blueprint: Blueprint) -> DualEncoder | None:
    dual = blueprint.config.dual
    if dual is None:
        return None
    if blueprint.text_tokenizer is None:
        raise CheckpointError(
            "text_tokenizer.json", "is missing, and there is a text encoder", "Copy the whole checkpoint folder"
        )
    text = BertEncoder(Bert(dual.text.config), blueprint.text_tokenizer, dual.text.window)
    return DualEncoder(text, EmbeddingHead(dual.image_head), ResidualMap(text.dim, dual.text_map) if dual.text_map else None)


def _speech(blueprint: Blueprint, encoders: Mapping[Modality, nn.Module]) -> SpeechModel | None:
    speech = blueprint.config.speech
    if speech is None:
        return None
    if blueprint.speech_tokenizer is None:
        raise CheckpointError(
            "speech_tokenizer.json", "is missing, and there is a speech decoder", "Copy the whole checkpoint folder"
        )
    encoder = encoders[Modality.AUDIO]
    assert isinstance(encoder, AudioEncoder)
    return SpeechModel(encoder, SpeechDecoder(speech.config), blueprint.speech_tokenizer, speech.tokens)
