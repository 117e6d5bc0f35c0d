"""What a run begins from: a checkpoint or the tiny toy, with fresh connectors or a fresh adapter where they are asked for."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from sensorium.batch import Modality
from sensorium.errors import RequestError
from sensorium.fusion.projector import MLPProjector
from sensorium.fusion.qformer import QFormer
from sensorium.fusion.resampler import Resampler
from sensorium.model import checkpoint, presets
from sensorium.model import config as said
from sensorium.model.load import folder_of
from sensorium.model.multimodal import MultimodalLM
from sensorium.nn.lora import LoraConfig, adapted, add_lora
from sensorium.training.config import Settings

TINY = "tiny"


class Adapter(Settings):
    """A low-rank adapter of the language model; see `nn.lora.LoraConfig`.

    Args:
        rate: of learning. targets: linear layers of the decoder, by the ends of their paths.
    """

    rate: float = 2e-4
    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    rslora: bool = False
    dora: bool = False


def open_model(name: str, *, words: bool | None = None) -> MultimodalLM:
    """A model to train.

    Args:
        name: `tiny` (a random toy, for trying things out), `nano`, or a checkpoint folder of ours.
        words: whether words in pictures, and those heard in sound, are read into the row; None leaves the model's own way.
            It is part of what is written at the end.
    """
    model = presets.tiny() if name == TINY else checkpoint.load(folder_of(name))
    if words is not None:
        policy = replace(model.reader.policy, words_in_images=words, words_in_sound=words)
        model.reader = replace(model.reader, policy=policy)
        _reconfigure(model, policy=policy)
    return model


def fresh_connector(model: MultimodalLM, modality: Modality, seed: int) -> None:
    """New random weights for one connector, its last norm, if it has one, at the size of the token embeddings.

    Raises:
        RequestError: the model has no such connector.
    """
    if str(modality) not in model.connectors:
        known = ", ".join(model.connectors) or "none"
        raise RequestError(f"connector of {modality}", "is not in this model", f"It has {known}")
    assert model.blueprint is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match model.blueprint.config.connectors[modality]:
            case said.Projector(config=config):
                fresh: nn.Module = MLPProjector(config)
            case said.Resampler(config=config):
                fresh = Resampler(config)
            case said.QFormer(config=config):
                fresh = QFormer(config)
            case said.Shared(modality=other):
                problem, remedy = f"is that of {other}", f"Make that of {other} fresh"
                raise RequestError(f"connector of {modality}", problem, remedy)
    model.connectors[str(modality)].load_state_dict(fresh.state_dict(), assign=True)
    last = getattr(model.connectors[str(modality)], "norm_out", None)
    weight = getattr(last, "weight", None)
    if isinstance(weight, nn.Parameter):
        size = float(model.decoder.embed_tokens.weight.detach().float().square().mean().sqrt())
        nn.init.constant_(weight, size)


def fresh_adapter(model: MultimodalLM, adapter: Adapter) -> None:
    """A low-rank adapter that changes nothing yet; it works on rows that hold pictures or clips.

    Raises:
        RequestError: there is one already, or a target that names no layer.
    """
    if adapted(model.decoder):
        raise RequestError("adapter", "is there already", "Train that one on: leave `adapter` out and set parts.adapter.rate")
    config = LoraConfig(
        r=adapter.r,
        alpha=adapter.alpha,
        dropout=adapter.dropout,
        targets=adapter.targets,
        rslora=adapter.rslora,
        dora=adapter.dora,
    )
    model.switch = add_lora(model.decoder, config)
    _reconfigure(model, adapter=config)


def _reconfigure(model: MultimodalLM, **changes: object) -> None:
    assert model.blueprint is not None
    model.blueprint = replace(model.blueprint, config=model.blueprint.config.model_copy(update=changes))
