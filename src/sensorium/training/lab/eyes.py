"""Pictures of an exam through one frozen encoder, once: the same eyes for every family."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional as F

from sensorium.batch import Modality
from sensorium.errors import RequestError
from sensorium.media import image
from sensorium.model.multimodal import MultimodalLM
from sensorium.nn.trace import Trace
from sensorium.protocols import Encoder
from sensorium.training.features import FeatureStore
from sensorium.training.lab.exam import Exam


def look(
    exam: Exam, model: MultimodalLM, folder: Path, say: Callable[[int, int], None], *, layer: str = "", side: int = 4
) -> None:
    """Keep features of every picture, averaged to `side` x `side` places, in `folder`; an interrupted look goes on.

    Args:
        say: told how many are done of how many.
        layer: a trace of the encoder that holds maps `(P, C, H, W)`, such as `encoder.image.10.hidden` of an EfficientNet;
            its early layers still know colours, of which its last features say little. Empty is the last features.

    Raises:
        RequestError: the model has no image encoder, or the encoder no such trace of maps.
    """
    if Modality.IMAGE not in model.encoders:
        raise RequestError("lab", "needs a model with an image encoder", "Use --eyes nano")
    encoder, count = cast(Encoder, model.encoders[Modality.IMAGE]), len(exam.pictures_PHWC)

    def encode(names: Sequence[str]) -> list[Tensor]:
        pieces = [encoder.prepare(image.decode(_png(exam, int(name))))[0] for name in names]
        tracer = Trace([layer] if layer else [])
        seen_PTD = encoder([piece.tensor for piece in pieces if piece.tensor is not None], tracer).x_BTD
        maps_PDYX = tracer.result()[layer] if layer else seen_PTD.transpose(1, 2).reshape(len(names), -1, *pieces[0].grid)
        if maps_PDYX.dim() != 4:
            raise RequestError(f"trace {layer}", f"has the shape {tuple(maps_PDYX.shape)}", "Name a layer of a CNN, or none")
        return list(F.adaptive_avg_pool2d(maps_PDYX, side).flatten(2).transpose(1, 2))

    store = FeatureStore(folder, len(encode(["0"])[0][0]), [str(index) for index in range(count)])
    for done in store.fill(encode, batch=32, save_every=8):
        say(done, count)


def recall(exam: Exam, folder: Path) -> Tensor:
    """What `look` kept: float16 `(P, T, D)`, each of the D numbers with mean 0 and variance 1 over pictures and places."""
    dim = json.loads((folder / "index.json").read_text("utf-8"))["dim"]
    store = FeatureStore(folder, dim, [str(index) for index in range(len(exam.pictures_PHWC))])
    seen_PTD = torch.stack([store[index] for index in range(len(store))])
    flat_ND = seen_PTD.flatten(0, 1)
    pieces = [flat_ND[start : start + 4096] for start in range(0, len(flat_ND), 4096)]  # in fp32, but never all at once
    mean_D = sum((piece.float().sum(0) for piece in pieces), torch.zeros(dim)) / len(flat_ND)
    square_D = sum(((piece.float() - mean_D).square().sum(0) for piece in pieces), torch.zeros(dim)) / len(flat_ND)
    for piece in pieces:
        piece.copy_((piece.float() - mean_D) / square_D.sqrt().clamp_min(1e-6))
    return seen_PTD


def _png(exam: Exam, index: int) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(exam.pictures_PHWC[index]).save(file, "PNG")
    return file.getvalue()
