"""A causal language model out of a public folder or GGUF file, with its tokenizer, chat template and default sampling."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from sensorium.errors import CheckpointError, RequestError
from sensorium.fusion.layout import Layout
from sensorium.language.config import DecoderConfig
from sensorium.model.checkpoint import decoder_names, read_text, read_tokenizer, sampling_from_hf, special_tokens
from sensorium.model.config import Blueprint, Config
from sensorium.model.gguf import read_gguf
from sensorium.model.tensors import read_json, read_tensors
from sensorium.parts import Message, Sample, Text
from sensorium.protocols import Sampling

PLAIN = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""For a model without a chat template: messages one after another."""

_TYPED = (
    "{% set ns = namespace(all=[]) %}{% for message in messages %}{% set ns.all = ns.all + [{'role': message['role'], "
    "'content': [{'type': 'text', 'text': message['content']}]}] %}{% endfor %}{% set messages = ns.all %}"
)
"""Goes before a template that wants each message's content as a list of parts."""

_BUFFERS = re.compile(r"rotary_emb\.inv_freq$|\.attn\.(masked_)?bias$")
"""What old files hold beside the weights."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language model's shape, its tensors named as in `transformers`, and all that surrounds it; `source` names it."""

    source: str
    config: DecoderConfig
    tensors: Mapping[str, Tensor]
    tokenizer: Tokenizer
    template: str
    special: Mapping[str, str]
    ends: tuple[int, ...]
    sampling: Sampling

    def blueprint(self) -> Blueprint:
        """Of a model of text alone."""
        filler = self.special.get("pad_token", self.special.get("eos_token"))
        config = Config(language=self.config, filler=(self.tokenizer.token_to_id(filler) if filler else None) or 0)
        note = "\nIt came without a chat template: messages are written one after another.\n" if self.template == PLAIN else ""
        card = f"# {self.source}\n\nConverted from `{self.source}`.\n{note}"
        return Blueprint(config, self.tokenizer, self.template, self.special, self.ends, sampling=self.sampling, card=card)

    def ours(self) -> dict[str, Tensor]:
        """The tensors as a `MultimodalLM` without adapter names them.

        Raises:
            CheckpointError: a head that the configuration ties to the embedding, and that differs from it.
        """
        kept = {name: tensor for name, tensor in self.tensors.items() if not _BUFFERS.search(name)}
        head = kept.get("lm_head.weight")
        if self.config.tie_embeddings and head is not None:
            if not torch.equal(head, kept.get("model.embed_tokens.weight", torch.empty(0))):
                raise CheckpointError(
                    self.source,
                    "ties its head to its embedding, and holds a head that differs",
                    "Set tie_word_embeddings to false",
                )
            del kept["lm_head.weight"]
        return decoder_names(kept, None)


def read_language(source: Path, template: str | None = None) -> Language:
    """A text model's folder or GGUF file.

    Args:
        template: a chat template instead of its own.

    Raises:
        CheckpointError: a model, tokenizer or template that is not read here.
    """
    if source.suffix == ".gguf":
        model = read_gguf(source)
        config, generation = DecoderConfig.from_hf(model.config), {"eos_token_id": model.config.get("eos_token_id")}
        tokenizer, row = Tokenizer.from_str(model.tokenizer), model.tokenizer_config
        return surround(source, config, model.tensors, (tokenizer, row, generation), template or model.chat_template)
    row = read_json(source / "config.json")
    words, chat = read_words(source, row), template or own_template(source)
    return surround(source, DecoderConfig.from_hf(row), read_tensors(source), words, chat)


Words = tuple[Tokenizer, Mapping[str, Any], Mapping[str, Any]]
"""A tokenizer, its `tokenizer_config.json`, and the settings of generation."""


def surround(
    source: Path, config: DecoderConfig, tensors: Mapping[str, Tensor], words: Words, template: str | None
) -> Language:
    """A shape and tensors with what surrounds them.

    Raises:
        CheckpointError: nothing says which token ends an answer, or the template cannot be rendered.
    """
    tokenizer, row, generation = words
    special = special_tokens(row)
    sampling, ends = sampling_from_hf({"max_new_tokens": Sampling().max_tokens, **generation}, str(source))
    working = working_template(tokenizer, PLAIN if template is None else template, special, config)
    return Language(source.stem, config, tensors, tokenizer, working, special, ends, sampling)


def read_words(folder: Path, config: Mapping[str, Any]) -> Words:
    """The tokenizer of a folder and its settings of generation, those in its `config.json` where it has no others.

    Raises:
        CheckpointError: no `tokenizer.json`.
    """
    if not (folder / "tokenizer.json").is_file():
        remedy = "Write one with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        raise CheckpointError(str(folder / "tokenizer.json"), "is missing", remedy)
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    row = _optional(folder / "tokenizer_config.json")
    special = special_tokens(row)
    generation = {"eos_token_id": config.get("eos_token_id")}
    if generation["eos_token_id"] is None and "eos_token" in special:
        generation["eos_token_id"] = tokenizer.token_to_id(special["eos_token"])
    given = {name: value for name, value in _optional(folder / "generation_config.json").items() if value is not None}
    return tokenizer, row, generation | given


def own_template(folder: Path) -> str | None:
    """The chat template of a folder, from any of the places where it may stand."""
    if (folder / "chat_template.jinja").is_file():
        return read_text(folder / "chat_template.jinja")
    for file in ("chat_template.json", "tokenizer_config.json"):
        found = _optional(folder / file).get("chat_template")
        if isinstance(found, list):
            found = next((row.get("template") for row in found if row.get("name") == "default"), None)
        if isinstance(found, str):
            return found
    return None


def working_template(tokenizer: Tokenizer, template: str, special: Mapping[str, str], config: DecoderConfig) -> str:
    """The template in the form that the layout renders: contents are strings, and each is shown once.

    Raises:
        CheckpointError: it is not to be had in that form.
    """
    sample = Sample("trial", (Message("user", (Text("a"),)), Message("assistant", (Text("b"),)), Message("user", (Text("c"),))))
    problem = ""
    for form in (template, _TYPED + template):
        try:
            Layout(tokenizer, form, special, 0, config.max_positions)([sample], [{}], reply=True)
        except (CheckpointError, RequestError) as error:
            problem = problem or error.problem
            continue
        return form
    raise CheckpointError(
        "chat template", f"cannot be used ({problem})", "Give another: convert(source, destination, template=...)"
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
