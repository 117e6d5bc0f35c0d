"""The families of fusion, small and alike: each is shown a frozen encoder's features of a picture and chooses an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, sqrt
from typing import TypeVar, cast

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sensorium.batch import Batch, Features, Modality, Piece, Shown
from sensorium.fusion.cross_attention import GatedCrossAttention, GatedCrossAttentionConfig
from sensorium.fusion.layout import Layout
from sensorium.fusion.pairs import Pairs, Regions, cells
from sensorium.fusion.projector import MLPProjector, ProjectorConfig
from sensorium.fusion.qformer import QFormer, QFormerConfig
from sensorium.fusion.resampler import Resampler, ResamplerConfig
from sensorium.language.config import DecoderConfig
from sensorium.language.decoder import Decoder
from sensorium.model.joint import Joint
from sensorium.model.joint_config import (
    BlockConfig,
    CoAttentive,
    JointBlueprint,
    JointConfig,
    Modular,
    RegionConfig,
    SingleStream,
    Streams,
    word_tokenizer,
)
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.reading import Reader
from sensorium.nn.trace import SILENT, Trace
from sensorium.parts import Image, Message, Sample, Text, Use
from sensorium.protocols import Connector, Encoder
from sensorium.training.lab.exam import split

M = TypeVar("M", bound=nn.Module)

SPECIALS = ("<pad>", "<answer>")
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}{% if add_generation_prompt %}<answer>{% endif %}"


@dataclass(frozen=True, slots=True)
class Shape:
    """What all families have in common.

    Args:
        words: the vocabulary besides the special tokens. answers: those of them that are answers.
        dim_in, places: width and number of a picture's features, which lie on a square grid.
        dim: width everywhere else. layers: blocks. queries: of the families that have learned queries.
    """

    words: tuple[str, ...]
    answers: tuple[str, ...]
    dim_in: int
    places: int
    dim: int = 96
    heads: int = 4
    layers: int = 3
    queries: int = 8

    @property
    def vocabulary(self) -> dict[str, int]:
        """Word to id."""
        return {word: index for index, word in enumerate((*SPECIALS, "<unknown>", *self.words))}

    @property
    def side(self) -> int:
        """Of the grid."""
        return isqrt(self.places)


class Seen(nn.Module):
    """Stands where an encoder stands: the media are its features already."""

    modality = Modality.IMAGE

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dim, self.side = shape.dim_in, shape.side

    def prepare(self, decoded: object) -> list[Piece]:  # noqa: ARG002
        """Never called."""
        raise AssertionError("pictures are looked at before the lesson")

    def grid(self, tensor: Tensor) -> tuple[int, ...]:  # noqa: ARG002 (all pictures are alike)
        """Of every picture."""
        return (self.side, self.side)

    def forward(self, media: Sequence[Tensor], trace: Trace = SILENT) -> Features:  # noqa: ARG002 (nothing happens here)
        """P features `(T, D)` as one tensor."""
        x_PTD = torch.stack(list(media))
        return Features(x_PTD, torch.ones(x_PTD.shape[:2], dtype=torch.bool))


class Continues(nn.Module):
    """A decoder that reads the picture, then the question, and says the next word; of the words, the answers compete."""

    def __init__(self, model: MultimodalLM, answers: Sequence[int]) -> None:
        super().__init__()
        self.model, self.answers = model, list(answers)
        tower, link = model.encoders[Modality.IMAGE], model.connectors[Modality.IMAGE]
        assert isinstance(tower, Seen)
        self.grid = () if model.crossings else cast(Connector, link).grid((tower.side, tower.side))
        self._rows: dict[str, Batch] = {}

    def forward(self, seen_BTD: Tensor, questions: Sequence[str]) -> Tensor:
        """Features of B pictures and B questions to logits `(B, A)`."""
        batch = self.batch(seen_BTD, questions)
        hidden_BLD = self.model(batch).hidden_BLD
        last_B = batch.valid_BL.sum(1) - 1
        logits_BV: Tensor = self.model.decoder.logits(hidden_BLD[torch.arange(len(last_B)), last_B])
        return logits_BV[:, self.answers]

    def batch(self, seen_BTD: Tensor, questions: Sequence[str]) -> Batch:
        """What the model's layout makes of them; each question is laid out once, since it is asked again and again."""
        rows = [self._row(text) for text in questions]

        def padded(tensors: Sequence[Tensor], value: int) -> Tensor:
            return pad_sequence([tensor[0] for tensor in tensors], batch_first=True, padding_value=value)

        return Batch(
            tuple(row.samples[0] for row in rows),
            padded([row.ids_BL for row in rows], self.model.layout.filler),
            padded([row.valid_BL for row in rows], False),
            padded([row.learn_BL for row in rows], False),
            {Modality.IMAGE: list(seen_BTD)},
            tuple(placed._replace(sample=number) for number, row in enumerate(rows) for placed in row.placements),
            tuple(row.uses[0] for row in rows),
        )

    def _row(self, text: str) -> Batch:
        if text not in self._rows:
            piece = Piece(Modality.IMAGE, (0.0, 0.0, 1.0, 1.0), self.grid, tensor=torch.empty(0))
            shown = {(0, 0): Shown((piece,), Use(0, 0, "image", "picture"))}
            sample = Sample(text, (Message("user", (Image("picture"), Text(" ".join(split(text))))),))
            self._rows[text] = self.model.layout([sample], [shown], reply=True)
        return self._rows[text]


class Chooses(nn.Module):
    """A joint encoder of words and regions with an answer head on the pair, as UNITER and MCAN answer questions."""

    def __init__(self, model: Joint, side: int) -> None:
        super().__init__()
        self.model, self.cells_GX = model, cells((side, side), (0.0, 0.0, 1.0, 1.0))

    def forward(self, seen_BTD: Tensor, questions: Sequence[str]) -> Tensor:
        """Features of B pictures and B questions to logits `(B, A)`."""
        samples = [Sample(str(row), (Message("user", (Text(text),)),)) for row, text in enumerate(questions)]
        valid_BG = torch.ones(seen_BTD.shape[:2], dtype=torch.bool)
        regions = Regions(seen_BTD, valid_BG, self.cells_GX.expand(len(samples), -1, -1), ((),) * len(samples))
        assert self.model.answer is not None
        logits_BA: Tensor = self.model.answer(self.model(Pairs(self.model.reader(samples, ("user",)), regions)).pooled_BD)
        return logits_BA


def projector(shape: Shape) -> nn.Module:
    """LLaVA class: all places as tokens of the stream."""
    sides = (shape.side, shape.side)
    return _decoder(
        shape, MLPProjector(ProjectorConfig(dim_in=shape.dim_in, dim_out=shape.dim, hidden=2 * shape.dim, positions=sides))
    )


def resampler(shape: Shape) -> nn.Module:
    """Flamingo's Perceiver resampler: a few learned queries gather the picture."""
    config = ResamplerConfig(
        dim_in=shape.dim_in,
        dim_out=shape.dim,
        dim=shape.dim,
        queries=shape.queries,
        layers=1,
        heads=shape.heads,
        head_dim=shape.dim // shape.heads,
        hidden=2 * shape.dim,
    )
    return _decoder(shape, Resampler(config))


def qformer(shape: Shape) -> nn.Module:
    """BLIP-2's querying transformer."""
    config = QFormerConfig(
        dim_in=shape.dim_in,
        dim_out=shape.dim,
        dim=shape.dim,
        queries=shape.queries,
        layers=1,
        heads=shape.heads,
        hidden=2 * shape.dim,
        every=1,
    )
    return _decoder(shape, QFormer(config))


def cross_attention(shape: Shape) -> nn.Module:
    """Flamingo's gated cross-attention: the picture is a memory that all layers but the first look at."""
    link = MLPProjector(ProjectorConfig(dim_in=shape.dim_in, dim_out=shape.dim))
    config = GatedCrossAttentionConfig(
        dim=shape.dim, memory=shape.dim, heads=shape.heads, head_dim=shape.dim // shape.heads, hidden=2 * shape.dim
    )
    return _decoder(shape, link, {layer: GatedCrossAttention(config) for layer in range(1, shape.layers)})


def single_stream(shape: Shape) -> nn.Module:
    """UNITER class: words and regions in one encoder."""
    return _joint(shape, SingleStream(depth=shape.layers))


def co_attention(shape: Shape) -> nn.Module:
    """ViLBERT class: two streams whose layers look at each other."""
    return _joint(shape, CoAttentive(words=1, depth=shape.layers - 1))


def modular(shape: Shape) -> nn.Module:
    """MCAN: self-attention on the words, then regions guided by them."""
    return _joint(shape, Modular(depth=shape.layers - 1))


def _decoder(shape: Shape, link: nn.Module, crossings: Mapping[int, GatedCrossAttention] | None = None) -> nn.Module:
    language = DecoderConfig(
        family="llama",
        vocab_size=len(shape.vocabulary),
        dim=shape.dim,
        layers=shape.layers,
        heads=shape.heads,
        kv_heads=shape.heads,
        head_dim=shape.dim // shape.heads,
        inner_dim=2 * shape.dim,
        max_positions=256,
        tie_embeddings=True,
    )
    words = Tokenizer(models.WordLevel(shape.vocabulary, unk_token="<unknown>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.add_special_tokens(list(SPECIALS))
    seen = Seen(shape)
    reader = Reader({Modality.IMAGE: cast(Encoder, seen)}, {Modality.IMAGE: cast(Connector, link)}, spliced=not crossings)
    layout = Layout(words, TEMPLATE, {}, 0, language.max_positions)
    model = MultimodalLM(Decoder(language), {Modality.IMAGE: seen}, {Modality.IMAGE: link}, layout, reader, crossings=crossings)
    return Continues(initialise(model), [shape.vocabulary[word] for word in shape.answers])


def _joint(shape: Shape, streams: Streams) -> nn.Module:
    words = word_tokenizer([" ".join(shape.words)])
    config = JointConfig(
        vocabulary=words.get_vocab_size(),
        blocks=BlockConfig(width=shape.dim, heads=shape.heads, mlp_width=3 * shape.dim),
        regions=RegionConfig(dim=shape.dim_in),
        streams=streams,
        answers=shape.answers,
    )
    return Chooses(initialise(Joint(JointBlueprint(config, words))), shape.side)


def initialise(module: M) -> M:
    """Weights to learn from: matrices N(0, 1/width), embeddings, queries and positions N(0, 0.02), vectors as built."""
    for name, parameter in module.named_parameters():
        if parameter.dim() < 2:
            continue
        table = any(word in name for word in ("embed", "position", "quer", "latents"))
        with torch.no_grad():
            parameter.normal_(0, 0.02 if table else 1 / sqrt(parameter[0].numel()))
    return module


FAMILIES: Mapping[str, Callable[[Shape], nn.Module]] = {
    "projector": projector,
    "resampler": resampler,
    "q-former": qformer,
    "cross-attention": cross_attention,
    "single-stream": single_stream,
    "co-attention": co_attention,
    "modular": modular,
}
"""Features `(B, T, D)` of pictures and B questions to logits `(B, A)` of the shape's answers."""
