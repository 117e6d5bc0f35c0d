"""The embedded default: weights from installed packages and the connectors shipped here, assembled once into a checkpoint.

The packages are single-author repackagings, so each file's SHA-256 is pinned. No network is used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from pydantic import ValidationError
from tokenizers import Tokenizer
from torch import Tensor

from sensorium.cache import cache_folder
from sensorium.encoders import audio, cnn, text
from sensorium.encoders.cnn import EfficientNet
from sensorium.encoders.processing import EFFICIENTNET_LITE
from sensorium.errors import CheckpointError
from sensorium.language import speech
from sensorium.model import checkpoint, presets
from sensorium.model.config import FORMAT, Blueprint
from sensorium.model.ctranslate2 import read_ctranslate2
from sensorium.model.gguf import read_gguf
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.nano_parts import EYES, LANGUAGE, SOURCES, SPEECH, SPEECH_TOKENIZER, TEXT, TEXT_TOKENIZER, Source
from sensorium.model.presets import Eyes, Trained, nano_config
from sensorium.model.tensors import read_file, replacing, write_tensors
from sensorium.nn.peft import PREFIX

_REVISION = 1
"""Raise it when the way of assembling changes, so that checkpoints in caches are made anew."""
_ROOM = 1_100_000_000
"""Bytes that assembling needs in the cache."""

Progress = Callable[[str], None]


def load_nano(progress: Progress | None = None) -> MultimodalLM:
    """`nano`, assembled first if need be.

    Raises:
        DependencyError: a weight package is not installed. CheckpointError: a file is not what it should be.
    """
    return checkpoint.load(assemble(progress=progress))


def assemble(cache_dir: Path | None = None, progress: Progress | None = None, trained: Path | None = None) -> Path:
    """The folder of `nano` in the user's cache, made when it is not there yet (some ten seconds, 0.9 GB).

    Args:
        cache_dir: by default `SENSORIUM_CACHE`, or the system's place for caches.
        progress: told what is being done.
        trained: folder of `nano.json` and `nano-*.safetensors`; by default those that ship with the package.

    Raises:
        DependencyError: a weight package is not installed. CheckpointError: a file is not what it should be, or no room.
    """
    trained = Path(str(files("sensorium.model"))) / "weights" if trained is None else trained
    cache = cache_folder() if cache_dir is None else cache_dir
    folder = cache / f"nano-{fingerprint(trained)}"
    if (folder / checkpoint.CONFIG).is_file():
        return folder
    say = progress or _silent
    for source in sources(trained):
        source.locate()
    _make_room(cache)
    lock = FileLock(cache / "nano.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("another process is assembling nano; waiting for it")
        lock.acquire()
    try:
        if not (folder / checkpoint.CONFIG).is_file():
            _assemble(folder, trained, say)
    finally:
        lock.release()
    return folder


def fingerprint(trained: Path) -> str:
    """Changes with every source, with the trained weights and with the format."""
    digest = hashlib.sha256(json.dumps([FORMAT, _REVISION, [source.sha256 for source in sources(trained)]]).encode())
    for path in _trained_files(trained):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def assembled() -> list[Path]:
    """Every assembled `nano` in the cache, older ones too."""
    return sorted(path.parent for path in cache_folder().glob(f"nano-*/{checkpoint.CONFIG}"))


def _assemble(folder: Path, trained: Path, say: Progress) -> None:
    say("checking the weight packages")
    paths = {source: source.check() for source in sources(trained)}
    shapes, own = read_trained(trained)
    config = nano_config(shapes)
    say("reading SmolLM2-135M-Instruct")
    language = read_gguf(paths[LANGUAGE])
    tensors = checkpoint.decoder_names(language.tensors, config.adapter)
    say("reading EfficientNet-Lite, Whisper tiny.en and MiniLM")
    tensors |= _prefixed("encoders.image.network.", _image(paths[EYES[shapes.eyes.variant]], shapes.eyes))
    whisper = read_ctranslate2(paths[SPEECH])
    tensors |= _prefixed("encoders.audio.", audio.names_from_hf(whisper))
    tensors |= _prefixed("speech_decoder.", speech.names_from_hf(whisper))
    assert config.dual is not None
    tensors |= _prefixed("dual.text.bert.", text.names_from_hf(read_file(paths[TEXT]), config.dual.text.config))
    tensors |= {name: tensor.float() for name, tensor in own.items()}
    tokenizer = Tokenizer.from_str(language.tokenizer)
    special = checkpoint.special_tokens(language.tokenizer_config)
    blueprint = Blueprint(
        config,
        tokenizer,
        presets.CHATML,
        special,
        (checkpoint.token_id(tokenizer, "<|im_end|>"),),
        replace(EFFICIENTNET_LITE, size=(shapes.eyes.size, shapes.eyes.size)),
        shapes.sampling,
        checkpoint.read_tokenizer(paths[TEXT_TOKENIZER]),
        checkpoint.read_tokenizer(paths[SPEECH_TOKENIZER]),
        _card(trained, tuple(paths)),
    )
    say(f"writing {folder}")
    with replacing(folder) as fresh:
        checkpoint.write_blueprint(blueprint, fresh)
        write_tensors(fresh, tensors)
        checkpoint.load(fresh)  # a tensor out of place is found now, not by the first user


def sources(trained: Path) -> tuple[Source, ...]:
    """What weights trained in this shape need.

    Raises:
        CheckpointError: `nano.json` is missing or wrong.
    """
    return (*SOURCES, EYES[_shapes(trained).eyes.variant])


def read_trained(folder: Path) -> tuple[Trained, dict[str, Tensor]]:
    """The shapes and tensors trained by this project, the adapter's under PEFT's names, the others as in the model.

    Raises:
        CheckpointError: they are missing or do not fit together.
    """
    tensors: dict[str, Tensor] = {}
    for path in _trained_files(folder):
        if path.suffix == ".safetensors":
            tensors |= {_name(name): tensor for name, tensor in read_file(path).items()}
    return _shapes(folder), tensors


def _shapes(folder: Path) -> Trained:
    if not (folder / "nano.json").is_file():
        raise CheckpointError(str(folder), "holds no nano.json", "Install sensorium again, or train the connectors: make nano")
    try:
        return Trained.model_validate_json((folder / "nano.json").read_bytes())
    except ValidationError as error:
        raise CheckpointError(str(folder / "nano.json"), f"is wrong ({error})", "Install sensorium again") from error


def _name(name: str) -> str:
    """The adapter ships under PEFT's names."""
    if not name.startswith(PREFIX):
        return name
    return "decoder." + name.removeprefix(PREFIX).removesuffix(".weight")


def _trained_files(folder: Path) -> list[Path]:
    return sorted([folder / "nano.json", *folder.glob("nano-*.safetensors"), *folder.glob("nano.md")])


def _image(path: Path, eyes: Eyes) -> dict[str, Tensor]:
    """The network with its batch norms folded in; the file is a pickle, of which torch reads tensors only."""
    config = replace(eyes.config, fused=False)
    network = EfficientNet(config).eval()
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(cnn.from_reference_names(state, config))
    return dict(network.fuse().state_dict())


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _card(trained: Path, used: Sequence[Source]) -> str:
    """The card that ships with the trained weights, and where the rest comes from."""
    own = trained / "nano.md"
    rows = "\n".join(f"| `{source.package}=={source.version}` | `{source.path}` | {source.licence} |" for source in used)
    head = own.read_text(encoding="utf-8") if own.is_file() else "# nano\n"
    return f"{head}\n## Pretrained parts\n\n| package | file | licence |\n|---|---|---|\n{rows}\n"


def _make_room(cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
    except OSError as error:
        raise CheckpointError(
            str(cache), f"cannot be written ({error.strerror})", "Set SENSORIUM_CACHE to a folder of yours"
        ) from error
    if free < _ROOM:
        problem = f"has {free / 1e9:.1f} GB free, assembling nano needs {_ROOM / 1e9:.1f} GB"
        raise CheckpointError(str(cache), problem, "Free some, or set SENSORIUM_CACHE to a folder elsewhere")


def _silent(words: str) -> None:
    del words
