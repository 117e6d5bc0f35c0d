"""What the frozen towers make of the training data, kept on disk: photos (mirrored too), rooms, digits, captions as vectors."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from recipes.nano_data import Photo
from sensorium.batch import Modality
from sensorium.data.sentences import as_sentence
from sensorium.media import audio, image
from sensorium.media.perturb import Perturbation, narrow
from sensorium.model.multimodal import MultimodalLM
from sensorium.training.features import FeatureStore

MIRRORED, PERTURBED = " mirrored", " perturbed "
VOICES, UPPER = Perturbation(), 3950.0
"""How recordings are perturbed; what a line of 8 kHz cannot carry is cut off afterwards."""
Say = Callable[[str], None]


def pictures(model: MultimodalLM, paths: Sequence[str], folder: Path, say: Say, mirrored: bool = False) -> FeatureStore:
    """Features of each picture on its grid, `(T, 1280)`, and then of its mirror image if asked for."""
    encoder = model.encoders[Modality.IMAGE]

    def pixels(name: str) -> Tensor:
        (piece,) = encoder.prepare(image.decode(name.removesuffix(MIRRORED)))
        return piece.tensor.flip(-1) if name.endswith(MIRRORED) else piece.tensor

    names = [name for path in paths for name in ((path, path + MIRRORED) if mirrored else (path,))]
    store = FeatureStore(folder, encoder.dim, names)
    for done in store.fill(lambda some: list(encoder([pixels(name) for name in some]).x_BTD), batch=32, save_every=25):
        say(f"{folder.name}: {done} of {len(names)}")
    return store


def pooled(store: FeatureStore, folder: Path, side: int, say: Say) -> FeatureStore:
    """Features of square grids, averaged to `side` x `side`: all that the connector reads, in a fraction of the memory."""
    place = {name: index for index, name in enumerate(store.names)}

    def average(some: Sequence[str]) -> list[Tensor]:
        x_PTD = torch.stack([store[place[name]] for name in some]).float()
        grid_PDHW = x_PTD.transpose(1, 2).unflatten(2, (math.isqrt(x_PTD.shape[1]), -1))
        return list(F.adaptive_avg_pool2d(grid_PDHW, side).flatten(2).transpose(1, 2))

    small = FeatureStore(folder, store.dim, store.names)
    for done in small.fill(average, batch=64, save_every=50):
        say(f"{folder.name}: {done} of {len(store.names)}")
    return small


def recordings(
    model: MultimodalLM, paths: Sequence[str], folder: Path, say: Say, perturbed: Sequence[str] = (), times: int = 0
) -> FeatureStore:
    """Features `(T, 384)` of each recording at its own length, and then of those `perturbed`, as many `times` each."""
    encoder = model.encoders[Modality.AUDIO]

    def sound(name: str) -> audio.Sound:
        path, _, turn = name.partition(PERTURBED)
        plain = audio.decode(path)
        if not turn:
            return plain
        wave_T = VOICES(plain.wave_T, plain.rate, random.Random(f"{turn} {Path(path).name}"))
        return replace(plain, wave_T=narrow(wave_T, plain.rate, UPPER))

    def encode(some: Sequence[str]) -> list[Tensor]:
        mels = [piece.tensor for name in some for piece in encoder.prepare(sound(name))]
        features = encoder(mels)
        return [x_TD[valid_T] for x_TD, valid_T in zip(features.x_BTD, features.valid_BT, strict=True)]

    names = [*paths, *(f"{path}{PERTURBED}{turn}" for turn in range(times) for path in perturbed)]
    store = FeatureStore(folder, encoder.dim, names)
    for done in store.fill(encode, batch=16, save_every=25):
        say(f"{folder.name}: {done} of {len(names)}")
    return store


@torch.no_grad()
def sentences(model: MultimodalLM, photos: Sequence[Photo], file: Path, say: Say) -> Tensor:
    """The frozen sentence vectors of all captions, `(photos, captions, 384)`."""
    if not file.is_file():
        assert model.dual is not None
        texts = [as_sentence(text) for photo in photos for text in photo.captions]
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors_ID = torch.zeros(len(texts), model.dual.dim)
        for start in range(0, len(order), 2048):
            some = order[start : start + 2048]
            vectors_ID[some] = model.dual.text.vectors([texts[index] for index in some])
            say(f"sentences: {start + len(some)} of {len(order)}")
        save_file({"sentences": vectors_ID.half()}, file)
    return load_file(file)["sentences"].float().unflatten(0, (len(photos), -1))
