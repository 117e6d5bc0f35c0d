"""Who is judged: any model that generates or scores, with what pins it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch

import sensorium
from sensorium.errors import RequestError
from sensorium.evaluation.dictation import recogniser
from sensorium.model import remote
from sensorium.model.generate import Assistant
from sensorium.model.load import folder_of, is_served, load
from sensorium.model.seen import Seen
from sensorium.parts import Json
from sensorium.protocols import Embeds, Generates, Sampling, Scores

ARGUMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"quantize": ("int8", "int4"), "dtype": ("bf16",), "words": ("yes", "no"), "heard": ("yes", "no")}
)
"""What a model in a folder can be opened with: the language model's weights packed, or in bfloat16; the words in pictures read,
the words heard in sound laid out beside its features, or not."""
_CODE = ("media", "encoders", "fusion", "language", "heads", "nn", "model")
_TEMPLATE = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
_PREPROCESSING = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")


@dataclass(frozen=True)
class Subject:
    """A model to be judged.

    Args:
        name: what people call it. kind: `sensorium`, `foreign` or `server`.
        fingerprint: SHA-256 of its files and options; of a server's address and model name, since nothing else is to be had.
        settings: `template_sha256`, `preprocessing_sha256` and the options it was opened with.
        generates, scores, embeds: the model, as what it can do. hears: its speech recognition, for transcripts.
        beams: whether it searches beams; where it does not, tasks that ask for them are answered greedily, and results say so.
    """

    name: str
    kind: Literal["sensorium", "foreign", "server"]
    fingerprint: str
    settings: Json
    generates: Generates
    scores: Scores | None = None
    embeds: Embeds | None = None
    hears: Generates | None = None
    beams: bool = True

    def able(self, sampling: Sampling) -> Sampling:
        """As it can be followed."""
        return sampling if self.beams or sampling.beams == 1 else replace(sampling, beams=1, length_penalty=1.0)

    def cannot(self, sampling: Sampling) -> str:
        """What of it is not followed, in words; "" where all is."""
        if self.able(sampling) == sampling:
            return ""
        return f"{sampling.beams} beams are asked for; {self.name} searches none, and answered greedily"

    def told(self) -> dict[str, object]:
        """What results say of it."""
        return {"name": self.name, "kind": self.kind, "fingerprint": self.fingerprint, **self.settings}


def open_subject(name: str, args: Mapping[str, str]) -> Subject:
    """A model by name: `nano`, a checkpoint folder of ours or of `transformers`, or `openai:URL#MODEL`.

    Args:
        args: of `ARGUMENTS` for a folder; for a server see `model.remote_settings`.

    Raises:
        RequestError: an argument that is unknown, or not for this model. Else what `load` and `remote.open` raise.
    """
    if is_served(name):
        server = remote.open(name, args)
        return wrap(server, server.name, "server", _digest([json.dumps(server.about, sort_keys=True)]), server.about)
    _check(name, args)
    folder, quantize = folder_of(name), args.get("quantize")
    model = load(name, quantize=quantize, words=args.get("words", "yes") == "yes")  # type: ignore[arg-type]
    kind: Literal["sensorium", "foreign"] = "sensorium" if isinstance(model, Assistant) else "foreign"
    if isinstance(model, Assistant):
        _settle(model, args)
        model.seen = Seen(model.model)
    elif mine := sorted({"dtype", "heard", "words"} & set(args)):
        raise RequestError(f"model argument {mine[0]}", f"is for models of ours, and {name} is none", "Leave it out")
    settings = {
        "template_sha256": digest_files(folder, _TEMPLATE),
        "preprocessing_sha256": digest_files(folder, _PREPROCESSING),
        "options": dict(sorted(args.items())),
    }
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".md")
    fingerprint = _digest([digest_files(folder, names), *(f"{key}={value}" for key, value in sorted(args.items()))])
    return wrap(model, Path(name).name, kind, fingerprint, settings)


def _check(name: str, args: Mapping[str, str]) -> None:
    for key, value in sorted(args.items()):
        if key not in ARGUMENTS:
            raise RequestError(f"model argument {key}", f"is not known for {name}", f"Known: {', '.join(ARGUMENTS)}")
        if value not in ARGUMENTS[key]:
            raise RequestError(f"model argument {key}", f"is {value!r}", f"Give {' or '.join(ARGUMENTS[key])}")
    if {"quantize", "dtype"} <= set(args):
        raise RequestError("model argument dtype", "is given beside quantize, which packs the weights", "Leave one of them out")


def _settle(model: Assistant, args: Mapping[str, str]) -> None:
    if args.get("dtype") == "bf16":
        model.model.decoder.to(torch.bfloat16)
    if args.get("heard") == "no":
        policy = replace(model.model.reader.policy, words_in_sound=False)
        model.model.reader = replace(model.model.reader, policy=policy)


def wrap(
    model: Generates, name: str, kind: Literal["sensorium", "foreign", "server"], fingerprint: str, settings: Json
) -> Subject:
    """A model in memory; what it can do besides generating is found by its methods."""
    return Subject(
        name,
        kind,
        fingerprint,
        settings,
        model,
        model if isinstance(model, Scores) else None,
        model if isinstance(model, Embeds) else None,
        recogniser(model),
        getattr(model, "searches_beams", True),
    )


def digest_files(folder: Path, names: Sequence[str]) -> str:
    """SHA-256 over names and contents of those files that are there."""
    digest = hashlib.sha256()
    for name in names:
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()


def code() -> dict[str, str]:
    """The package's version, and the SHA-256 of the source that an answer depends on."""
    root, digest = Path(sensorium.__file__).parent, hashlib.sha256()
    for path in sorted(path for room in _CODE for kind in ("*.py", "*.c") for path in (root / room).rglob(kind)):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return {"version": sensorium.__version__, "source_sha256": digest.hexdigest()}


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()
