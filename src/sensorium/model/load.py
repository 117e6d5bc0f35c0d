"""A model by name: the embedded default, a folder of ours or anybody's, or a server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from sensorium.errors import CheckpointError, RequestError
from sensorium.media.source import Access, Limits
from sensorium.model.generate import Assistant

if TYPE_CHECKING:
    from sensorium.model.foreign import ForeignModel
    from sensorium.model.remote import RemoteModel

NANO, SERVER = "nano", "openai"
OTHERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"sensorium-joint": ("a joint model", "joint_checkpoint.load"), "sensorium-pair": ("a dual encoder", "pair.Pair.load")}
)
"""Model types of ours that are no language models: what they are, and what of `sensorium.model` opens them."""


def load(
    name: str = NANO,
    *,
    quantize: Literal["int8", "int4"] | None = None,
    words: bool = True,
    hosts: Sequence[str] = (),
    limits: Limits | None = None,
) -> Assistant | ForeignModel | RemoteModel:
    """A model ready to answer.

    Args:
        name: `nano`, assembled into the user's cache on first use, a checkpoint folder, or `openai:URL#MODEL` (a server with
            the settings it has by default; `remote.open` takes others).
        quantize: pack the weights of a language model of ours.
        words: read the words in pictures (a model of ours).
        hosts: hosts whose URLs its media may come from. limits: of media.

    Raises:
        RequestError: no such folder, a model of ours that gives no answers, or a model that is not ours is to be quantised.
        CheckpointError: the folder does not hold what its configuration says.
        DependencyError: a package that the model's weights or code come in is not installed. ServerError: see `remote.open`.
    """
    access, limits = Access(hosts=tuple(hosts)), limits or Limits()
    if is_served(name):
        if quantize is not None:
            raise RequestError(name, "is a served model, whose weights are not packed here", "Leave --quantize out")
        from sensorium.model import remote

        return remote.open(name, limits=limits, access=access)
    folder = folder_of(name)
    kind = kind_of(folder)
    if kind in OTHERS:
        what, opener = OTHERS[kind]
        raise RequestError(name, f"is {what}, which does not answer in words", f"Open it with sensorium.model.{opener}")
    if kind != "sensorium":
        if quantize is not None:
            raise RequestError(name, "is a foreign model, whose weights are not packed here", "Leave --quantize out")
        from sensorium.model.foreign import ForeignModel  # transformers takes seconds to import

        return ForeignModel.load(folder, limits=limits, access=access)
    from sensorium.model.checkpoint import load as load_folder

    model = load_folder(folder, quantize=quantize)
    policy = replace(model.reader.policy, words_in_images=words and model.reader.policy.words_in_images)
    model.reader = replace(model.reader, policy=policy, limits=limits, access=access)
    if model.blueprint is None or model.blueprint.config.quantize is None:
        model.decoder.fuse()
    return Assistant(model, name)


def is_served(name: str) -> bool:
    """Whether a name is a server's, `openai:URL#MODEL`."""
    return name == SERVER or name.startswith(f"{SERVER}:")


def folder_of(name: str) -> Path:
    """The checkpoint folder that a name stands for; `nano` is assembled first if need be. Raises what `assemble` raises."""
    if name != NANO:
        return Path(name)
    from sensorium.model.nano import assemble

    return assemble()


def kind_of(folder: Path) -> str:
    """`model_type` of a checkpoint folder.

    Raises:
        RequestError: it is not a folder. CheckpointError: it has no readable configuration.
    """
    if not folder.is_dir():
        raise RequestError(
            str(folder), "is not a checkpoint folder", "Give nano, a folder with a config.json, or openai:URL#MODEL"
        )
    try:
        row = json.loads((folder / "config.json").read_text("utf-8"))
        return str(row["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "Give a folder in the Hugging Face layout; convert a GGUF file with: sensorium models convert"
        raise CheckpointError(str(folder / "config.json"), f"names no model type ({error})", remedy) from error
