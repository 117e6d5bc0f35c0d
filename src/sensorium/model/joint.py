"""Joint encoders of a text and a picture's regions: one stream (VisualBERT, UNITER, OSCAR) or two (ViLBERT, MCAN)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sensorium.batch import Features, Placement
from sensorium.encoders.cnn import EfficientNet, EfficientNetEncoder
from sensorium.encoders.text import BertBlock
from sensorium.encoders.vit import ViT, ViTEncoder
from sensorium.errors import CheckpointError, RequestError
from sensorium.fusion.co_attention import CoAttention, GuidedUnit, Reduce, SelfUnit
from sensorium.fusion.pairs import Pairs, Regions, Words, geometry
from sensorium.heads.joint import RegionHead, Verdict, WordHead
from sensorium.model.config import EfficientNetTower
from sensorium.model.joint_config import JointBlueprint, JointConfig, Modular, SingleStream
from sensorium.model.joint_reading import View, WordReader, look, view
from sensorium.nn.trace import SILENT, Trace
from sensorium.parts import Role, Sample

WORD, REGION, TAG = range(3)
"""Types of positions."""


class JointOutput(NamedTuple):
    """Hidden states; position p counts words 0..L-1, then regions, as in `pairs`.

    Args:
        words, regions: hidden states of either side. pooled_BD: of the pair.
    """

    words: Features
    regions: Features
    pooled_BD: Tensor
    pairs: Pairs

    def hidden(self) -> Tensor:
        """Words, then regions, `(B, L + G, D)`."""
        return torch.cat([self.words.x_BTD, self.regions.x_BTD], 1)

    def origin(self, row: int, position: int) -> Placement | None:
        """Which part a position shows; its `cell(position)` says which characters or which box. None for special tokens."""
        return self.pairs.origin(row, position)


class Embedding(nn.Module):
    """Words and regions in one space, each with its type: BERT's embedding, and UNITER's of regions (Chen et al. 2020, 3.1)."""

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        width, eps, self.boxed, self.normed = (
            config.blocks.width,
            config.blocks.norm_eps,
            config.regions.boxes,
            config.regions.norm,
        )
        self.words = nn.Embedding(config.vocabulary, width)
        self.positions = nn.Embedding(config.positions, width)
        self.types = nn.Embedding(3, width)
        for table in (self.words, self.positions, self.types):
            nn.init.normal_(table.weight, std=0.02)
        self.word_norm, self.region_norm = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.features = nn.Linear(config.regions.dim, width)
        self.boxes = nn.Linear(7, width) if self.boxed else None
        self.feature_norm = nn.LayerNorm(width, eps=eps) if self.normed else nn.Identity()
        self.box_norm = nn.LayerNorm(width, eps=eps) if self.normed and self.boxed else nn.Identity()
        self.hidden = nn.Parameter(torch.zeros(config.regions.dim))

    def say(self, words: Words) -> Features:
        """`(B, L, D)`."""
        types_BLD = self.types(torch.where(words.tags_BL, TAG, WORD))
        x_BLD = self.words(words.ids_BL) + self.positions.weight[: words.ids_BL.shape[1]] + types_BLD
        return Features(self.word_norm(x_BLD), words.valid_BL)

    def see(self, regions: Regions, masked_BG: Tensor | None) -> Features:
        """`(B, G, D)`; masked regions keep their boxes and lose their features."""
        x_BGF = regions.x_BGD if masked_BG is None else torch.where(masked_BG[..., None], self.hidden, regions.x_BGD)
        x_BGD = self.feature_norm(self.features(x_BGF)) + self.types.weight[REGION]
        if self.boxes is not None:
            x_BGD = x_BGD + self.box_norm(self.boxes(geometry(regions.boxes_BGX)))
        return Features(self.region_norm(x_BGD), regions.valid_BG)


class OneStream(nn.Module):
    """All positions in one encoder; the pair is the first position through a dense layer (BERT's pooler).

    Traces: `joint.{i}.hidden` `(B, L + G, D)` and `joint.{i}.attention` `(B, N, L + G, L + G)`, words first.
    """

    def __init__(self, config: JointConfig, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(BertBlock(config.bert) for _ in range(depth))
        self.pooler = nn.Linear(config.blocks.width, config.blocks.width)

    def forward(self, words: Features, regions: Features, trace: Trace = SILENT) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states of words and of regions, and the pair's vector."""
        length = words.x_BTD.shape[1]
        x_BLD, valid_BL = torch.cat([words.x_BTD, regions.x_BTD], 1), torch.cat([words.valid_BT, regions.valid_BT], 1)
        for index, block in enumerate(self.blocks):
            x_BLD = block(x_BLD, valid_BL, f"joint.{index}", trace)
            trace(f"joint.{index}.hidden", x_BLD)
        return x_BLD[:, :length], x_BLD[:, length:], torch.tanh(self.pooler(x_BLD[:, 0]))


class TwoStreams(nn.Module):
    """A stream of words and one of regions; the pair is MCAN's sum of the two reduced streams, normed (Yu et al. 2019, eq. 12).

    ViLBERT: blocks on the words alone, then co-attentional layers. MCAN: SA on the words, then SGA on the regions.

    Traces: `joint.words.{i}.self`, `joint.{i}.words.guided`, `joint.{i}.regions.guided` (and `.self`), the weights of the
    reduction `joint.words.reduced` and `joint.regions.reduced`.
    """

    def __init__(self, config: JointConfig, words: int, layers: Sequence[CoAttention | GuidedUnit]) -> None:
        super().__init__()
        width = config.blocks.width
        self.words = nn.ModuleList(SelfUnit(config.unit) for _ in range(words))
        self.layers = nn.ModuleList(layers)
        self.reduce_words, self.reduce_regions = Reduce(width, width), Reduce(width, width)
        self.from_words, self.from_regions = nn.Linear(width, width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=config.blocks.norm_eps)

    def forward(self, words: Features, regions: Features, trace: Trace = SILENT) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states of words and of regions, and the pair's vector."""
        for index, block in enumerate(self.words):
            words = block(words, f"joint.words.{index}", trace)
        for index, layer in enumerate(self.layers):
            if isinstance(layer, CoAttention):
                words, regions = layer(words, regions, f"joint.{index}", trace)
            else:
                regions = layer(regions, words, f"joint.{index}.regions", trace)
        said_BD = self.from_words(self.reduce_words(words, "joint.words.reduced", trace))
        seen_BD = self.from_regions(self.reduce_regions(regions, "joint.regions.reduced", trace))
        return words.x_BTD, regions.x_BTD, self.norm(said_BD + seen_BD)


class Joint(nn.Module):
    """A text with a picture to hidden states of every word and region.

    Built from a blueprint, its parameters at their random starting values.

    Raises:
        CheckpointError: a tokenizer of another size than the vocabulary, or an image encoder without its processing.

    Heads: `word_head` (masked words), `region_head` (masked regions), `match` (do the two belong together, a logit),
    `answer` (which of the configured answers; None without any).
    """

    def __init__(self, blueprint: JointBlueprint) -> None:
        super().__init__()
        config = blueprint.config
        width, eps = config.blocks.width, config.blocks.norm_eps
        if (words := blueprint.tokenizer.get_vocab_size()) != config.vocabulary:
            problem = f"has {words} tokens, config.json says {config.vocabulary}"
            raise CheckpointError("tokenizer.json", problem, "Use the tokenizer that belongs to the weights")
        self.blueprint, self.config = blueprint, config
        self.reader = WordReader(blueprint.tokenizer, config.positions, config.tags)
        self.encoder = _encoder(blueprint)
        self.embedding = Embedding(config)
        self.streams = _streams(config)
        self.word_head = WordHead(width, config.vocabulary, eps)
        self.region_head = RegionHead(width, config.regions.dim, len(config.regions.classes), eps)
        self.match = Verdict(width, width, 1, eps)
        self.answer = Verdict(width, 2 * width, len(config.answers), eps) if config.answers else None

    def forward(self, pairs: Pairs, masked_BG: Tensor | None = None, trace: Trace = SILENT) -> JointOutput:
        """Encode pairs.

        Args:
            masked_BG: regions whose features are hidden; masked words are ids already.
            trace: besides the streams' own, `joint.words.embedding` and `joint.regions.embedding`.
        """
        words, regions = self.embedding.say(pairs.words), self.embedding.see(pairs.regions, masked_BG)
        trace("joint.words.embedding", words.x_BTD)
        trace("joint.regions.embedding", regions.x_BTD)
        words_BLD, regions_BGD, pooled_BD = self.streams(words, regions, trace)
        return JointOutput(Features(words_BLD, words.valid_BT), Features(regions_BGD, regions.valid_BT), pooled_BD, pairs)

    def batch(self, samples: Sequence[Sample], roles: Sequence[Role] = ("user", "assistant")) -> Pairs:
        """Read the samples' texts and look at their pictures.

        Args:
            roles: whose Text parts are read: for questions only the user's, or the answer is read too.

        Raises:
            RequestError: no encoder, not one picture a sample, a text that is too long, or objects that cannot be read.
            MediaError: a picture that cannot be decoded.
        """
        return Pairs(self.reader(samples, roles), self.look([self.view(sample) for sample in samples]))

    def view(self, sample: Sample) -> View:
        """A sample's picture, decoded and prepared for the encoder. Raises what `batch` does."""
        return view(sample, self.eyes, self.config.regions.at)

    def look(self, views: Sequence[View], trace: Trace = SILENT) -> Regions:
        """The regions of pictures, through the encoder. Raises what `batch` does."""
        return look(views, self.eyes, trace)

    @property
    def eyes(self) -> ViTEncoder | EfficientNetEncoder:
        """The image encoder.

        Raises:
            RequestError: there is none.
        """
        if self.encoder is None:
            raise RequestError("joint model", "has no image encoder", "Give Regions of features, or build it with one")
        return self.encoder


def _streams(config: JointConfig) -> OneStream | TwoStreams:
    form = config.streams
    if isinstance(form, SingleStream):
        return OneStream(config, form.depth)
    if isinstance(form, Modular):
        return TwoStreams(config, form.depth, [GuidedUnit(config.unit) for _ in range(form.depth)])
    return TwoStreams(config, form.words, [CoAttention(config.unit) for _ in range(form.depth)])


def _encoder(blueprint: JointBlueprint) -> ViTEncoder | EfficientNetEncoder | None:
    tower, processing = blueprint.config.image, blueprint.processing
    if tower is None:
        return None
    if processing is None:
        remedy = "Copy the whole checkpoint folder"
        raise CheckpointError("preprocessor_config.json", "is missing, and there is an image encoder", remedy)
    if isinstance(tower, EfficientNetTower):
        return EfficientNetEncoder(EfficientNet(tower.config), processing)
    return ViTEncoder(ViT(tower.config), processing, tower.layer, norm=tower.norm)
