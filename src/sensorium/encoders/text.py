"""BERT-shaped text encoder (Devlin et al. 2019): words to features, and whole texts to unit vectors.

Text longer than the window is not cut: it is read in windows, and a text's vector is the mean over the tokens of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.batch import Features, Modality, Piece
from sensorium.encoders.attention import SelfAttention
from sensorium.encoders.names import Name, NameMap
from sensorium.errors import CheckpointError, RequestError
from sensorium.nn.trace import SILENT, Trace


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The shape of a BERT.

    Args:
        positions: tokens it can read at once. types: segment embeddings; text is always segment 0.
        pooler: whether the checkpoint has the dense layer on the first token; sentence vectors do not use it.
    """

    vocabulary: int = 30522
    width: int = 384
    depth: int = 6
    heads: int = 12
    mlp_width: int = 1536
    positions: int = 512
    types: int = 2
    norm_eps: float = 1e-12
    pad: int = 0
    pooler: bool = True

    @classmethod
    def from_hf(cls, mapping: Mapping[str, Any], *, pooler: bool = True) -> BertConfig:
        """From the `config.json` of a `BertModel`.

        Raises:
            CheckpointError: another model type, activation or kind of positions, or a missing field.
        """
        for key, wanted in (("model_type", "bert"), ("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
            if mapping.get(key, wanted) != wanted:
                problem = f"{key} is {mapping[key]!r}, not {wanted!r}"
                raise CheckpointError("BERT config.json", problem, "Use a plain BERT checkpoint")
        if missing := sorted(set(_CONFIG.values()) - mapping.keys()):
            raise CheckpointError("BERT config.json", f"lacks {', '.join(missing)}", "Copy the file again")
        for theirs in _CONFIG.values():
            if not isinstance(mapping[theirs], float if theirs == "layer_norm_eps" else int) or mapping[theirs] < 0:
                raise CheckpointError("BERT config.json", f"has {theirs} {mapping[theirs]!r}", "Copy the file again")
        if mapping["hidden_size"] % max(mapping["num_attention_heads"], 1):
            shape = f"has width {mapping['hidden_size']} for {mapping['num_attention_heads']} heads"
            raise CheckpointError("BERT config.json", shape, "Use a model whose width its heads divide")
        return cls(**{ours: mapping[theirs] for ours, theirs in _CONFIG.items()}, pooler=pooler)

    def to_hf(self) -> dict[str, Any]:
        """The inverse, as `config.json` has it."""
        fixed = {"model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu"}
        return fixed | {theirs: getattr(self, ours) for ours, theirs in _CONFIG.items()}


_CONFIG = {
    "vocabulary": "vocab_size",
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
    "norm_eps": "layer_norm_eps",
    "pad": "pad_token_id",
}


class BertBlock(nn.Module):
    """Attention and MLP, each followed by residual and norm."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config.width, config.heads)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.up = nn.Linear(config.width, config.mlp_width)
        self.down = nn.Linear(config.mlp_width, config.width)
        self.mlp_norm = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(self, x_PTD: Tensor, valid_PT: Tensor | None, name: str = "", trace: Trace = SILENT) -> Tensor:
        """`(P, T, D)` to `(P, T, D)`; `name` is the block's prefix in traces."""
        if trace.wants(f"{name}.attention"):
            mixed_PTD, weights_PNTS = self.attention.openly(x_PTD, valid_PT)
            trace(f"{name}.attention", weights_PNTS)
        else:
            mixed_PTD = self.attention(x_PTD, valid_PT)
        x_PTD = self.attention_norm(x_PTD + mixed_PTD)
        out_PTD: Tensor = self.mlp_norm(x_PTD + self.down(F.gelu(self.up(x_PTD))))
        return out_PTD


class Bert(nn.Module):
    """The network: ids to hidden states."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.positions, config.width)
        self.types = nn.Embedding(config.types, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.blocks = nn.ModuleList(BertBlock(config) for _ in range(config.depth))
        self.pooler = nn.Linear(config.width, config.width) if config.pooler else None

    def forward(self, ids_PT: Tensor, valid_PT: Tensor | None = None, trace: Trace = SILENT) -> Tensor:
        """Ids `(P, T)` to hidden states `(P, T, D)`; `valid_PT=None` means that all are valid."""
        x_PTD: Tensor = self.words(ids_PT) + self.positions.weight[: ids_PT.shape[1]] + self.types.weight[0]
        x_PTD = self.norm(x_PTD)
        for index, block in enumerate(self.blocks):
            x_PTD = block(x_PTD, valid_PT, f"encoder.text.{index}", trace)
            trace(f"encoder.text.{index}.hidden", x_PTD)
        return x_PTD

    def pooled(self, hidden_PTD: Tensor) -> Tensor:
        """BERT's own pooling `(P, D)`: tanh of a dense layer on the first token.

        Raises:
            RequestError: the checkpoint came without that layer.
        """
        if self.pooler is None:
            raise RequestError("BERT", "has no pooler", "Use vectors(), which pools by the mean")
        pooled_PD: Tensor = torch.tanh(self.pooler(hidden_PTD[:, 0]))
        return pooled_PD


class BertEncoder(nn.Module):
    """Text in, features or unit vectors out.

    Args:
        tokenizer: with the template that frames a text by its special tokens; its own cutting and padding are switched off.
        window: tokens read at once, special tokens included; MiniLM was trained on 256 at most.
    """

    modality = Modality.TEXT

    def __init__(self, bert: Bert, tokenizer: Tokenizer, window: int = 256) -> None:
        super().__init__()
        fewest = tokenizer.num_special_tokens_to_add(False) + 1
        if not fewest <= window <= bert.config.positions:
            limits = f"between {fewest} and {bert.config.positions}"
            raise RequestError("text encoder", f"cannot read windows of {window} tokens", f"Choose a window {limits}")
        self.bert, self.window, self.dim = bert, window, bert.config.width
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(window)  # gives the rest as further windows, which `prepare` keeps

    def prepare(self, decoded: str) -> list[Piece]:
        """A text as windows of ids, each with its extent in characters; the empty text is one window of special tokens."""
        encoding = self.tokenizer.encode(decoded)
        pieces: list[Piece] = []
        for window in (encoding, *encoding.overflowing):
            spans = [span for span, special in zip(window.offsets, window.special_tokens_mask, strict=True) if not special]
            extent = (float(spans[0][0]), float(spans[-1][1])) if spans else (0.0, float(len(decoded)))
            pieces.append(Piece(Modality.TEXT, extent, (len(window.ids),), tensor=torch.tensor(window.ids)))
        return pieces

    def _windows(self, text: str) -> list[Tensor]:
        return [piece.tensor for piece in self.prepare(text) if piece.tensor is not None]

    def grid(self, tensor: Tensor) -> tuple[int, ...]:
        """`(tokens,)`."""
        return (len(tensor),)

    def forward(self, media: Sequence[Tensor], trace: Trace = SILENT) -> Features:
        """Windows of ids to hidden states, padded on the right.

        Raises:
            RequestError: a window is longer than the network's positions.
        """
        longest = max(len(ids_T) for ids_T in media)
        if longest > self.bert.config.positions:
            remedy = "Cut it with prepare()"
            raise RequestError("text encoder", f"got {longest} tokens, over its {self.bert.config.positions} positions", remedy)
        device = self.bert.words.weight.device
        ids_PT = torch.full((len(media), longest), self.bert.config.pad)
        for row, ids_T in enumerate(media):
            ids_PT[row, : len(ids_T)] = ids_T
        lengths_P = torch.tensor([len(ids_T) for ids_T in media])
        valid_PT = (torch.arange(longest) < lengths_P[:, None]).to(device)
        mask = None if bool((lengths_P == longest).all()) else valid_PT
        return Features(self.bert(ids_PT.to(device), mask, trace), valid_PT)

    @torch.no_grad()
    def vectors(self, texts: Sequence[str], batch: int = 32) -> Tensor:
        """One unit vector a text, `(len(texts), D)`: the mean hidden state, special tokens included, over all windows."""
        windows = [(row, ids_T) for row, text in enumerate(texts) for ids_T in self._windows(text)]
        windows.sort(key=lambda item: len(item[1]))  # like lengths together: less padding
        sums_PD = torch.zeros(len(texts), self.dim, device=self.bert.words.weight.device)
        for start in range(0, len(windows), batch):
            rows, media = zip(*windows[start : start + batch], strict=True)
            features = self(media)
            sums_BD = (features.x_BTD * features.valid_BT[..., None]).sum(1)
            sums_PD.index_add_(0, torch.tensor(rows, device=sums_PD.device), sums_BD)
        return F.normalize(sums_PD, dim=-1)


def names_from_hf(state: Mapping[str, Tensor], config: BertConfig) -> dict[str, Tensor]:
    """The state of a `transformers` `BertModel` (also under the prefix `bert.`) as that of `Bert`.

    Raises:
        CheckpointError: a tensor is missing, or one is left over.
    """
    bare = {name.removeprefix("bert."): tensor for name, tensor in state.items()}
    return _names(config).from_theirs(bare, ignored=("embeddings.position_ids", *(() if config.pooler else ("pooler.",))))


def names_to_hf(state: Mapping[str, Tensor], config: BertConfig) -> dict[str, Tensor]:
    """The inverse of `names_from_hf`."""
    return _names(config).to_theirs(state)


def _names(config: BertConfig) -> NameMap:
    names = [
        Name("words.weight", ("embeddings.word_embeddings.weight",)),
        Name("positions.weight", ("embeddings.position_embeddings.weight",)),
        Name("types.weight", ("embeddings.token_type_embeddings.weight",)),
    ]
    modules: dict[str, tuple[str, ...]] = {"norm": ("embeddings.LayerNorm",)}
    if config.pooler:
        modules["pooler"] = ("pooler.dense",)
    for index in range(config.depth):
        layer = f"encoder.layer.{index}"
        modules |= {
            f"blocks.{index}.attention.qkv": tuple(f"{layer}.attention.self.{key}" for key in ("query", "key", "value")),
            f"blocks.{index}.attention.out": (f"{layer}.attention.output.dense",),
            f"blocks.{index}.attention_norm": (f"{layer}.attention.output.LayerNorm",),
            f"blocks.{index}.up": (f"{layer}.intermediate.dense",),
            f"blocks.{index}.down": (f"{layer}.output.dense",),
            f"blocks.{index}.mlp_norm": (f"{layer}.output.LayerNorm",),
        }
    for ours, theirs in modules.items():
        names += [Name(f"{ours}.{key}", tuple(f"{module}.{key}" for module in theirs)) for key in ("weight", "bias")]
    return NameMap("BERT", tuple(names))
