"""Who is judged: any model that generates or scores, with what pins it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import sensorium
from sensorium.errors import RequestError
from sensorium.evaluation.dictation import recogniser
from sensorium.model import remote
from sensorium.model.generate import Assistant
from sensorium.model.load import folder_of, is_served, load
from sensorium.model.seen import Seen
from sensorium.parts import Json
from sensorium.protocols import Embeds, Generates, Sampling, Scores

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
        args: `quantize` (int8, int4) and `words` (yes, no: reading of words in pictures) for a folder; for a server see
            `model.remote_settings`.

    Raises:
        RequestError: an unknown argument. Else what `load` and `remote.open` raise.
    """
    if is_served(name):
        server = remote.open(name, args)
        return wrap(server, server.name, "server", _digest([json.dumps(server.about, sort_keys=True)]), server.about)
    if unknown := sorted(set(args) - {"quantize", "words"}):
        raise RequestError(f"model argument {unknown[0]}", f"is not known for {name}", "Known: quantize, words")
    folder, quantize = folder_of(name), args.get("quantize")
    if quantize not in (None, "int8", "int4"):
        raise RequestError("model argument quantize", f"is {quantize!r}", "Give int8 or int4")
    if args.get("words", "yes") not in ("yes", "no"):
        raise RequestError("model argument words", f"is {args['words']!r}", "Give yes or no")
    model = load(name, quantize=quantize, words=args.get("words", "yes") == "yes")  # type: ignore[arg-type]
    kind: Literal["sensorium", "foreign"] = "sensorium" if isinstance(model, Assistant) else "foreign"
    if isinstance(model, Assistant):
        model.seen = Seen(model.model)
    settings = {
        "template_sha256": digest_files(folder, _TEMPLATE),
        "preprocessing_sha256": digest_files(folder, _PREPROCESSING),
        "options": dict(sorted(args.items())),
    }
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".md")
    fingerprint = _digest([digest_files(folder, names), *(f"{key}={value}" for key, value in sorted(args.items()))])
    return wrap(model, Path(name).name, kind, fingerprint, settings)


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
