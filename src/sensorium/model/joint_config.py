"""The configuration of a joint model, and the blueprint that is built from it: `config.json` of its checkpoint folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from sensorium.encoders.cnn import FEATURES
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.text import BertConfig
from sensorium.fusion.co_attention import UnitConfig
from sensorium.model.config import EfficientNetTower, ViTTower
from sensorium.nn.closed import ClosedConfig

PAD, CLS, SEP, MASK, UNKNOWN = SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")
"""The special tokens of a joint model's tokenizer, in BERT's spelling."""


class SingleStream(ClosedConfig):
    """Words and regions in one encoder of `depth` blocks (VisualBERT, UNITER, OSCAR)."""

    kind: Literal["single"] = "single"
    depth: int = Field(gt=0)


class CoAttentive(ClosedConfig):
    """ViLBERT: `words` blocks on the text alone, then `depth` co-attentional layers."""

    kind: Literal["vilbert"] = "vilbert"
    words: int = Field(default=0, ge=0)
    depth: int = Field(gt=0)


class Modular(ClosedConfig):
    """MCAN, encoder-decoder form: `depth` SA units on the words, then `depth` SGA units on the regions, guided by the words.

    Words never see regions here: masked words are guessed from the text alone.
    """

    kind: Literal["mcan"] = "mcan"
    depth: int = Field(gt=0)


Streams = Annotated[SingleStream | CoAttentive | Modular, Field(discriminator="kind")]


class RegionConfig(ClosedConfig):
    """How regions come in.

    Args:
        dim: width of their features. at: each cell of the encoder's grid, or the boxes in a sample's `meta["objects"]`.
        boxes: where a region lies is embedded. norm: features and boxes are each normed before they are added, as in UNITER;
            VisualBERT norms only the sum.
        classes: names that a region can have, for masked-region classification.
    """

    dim: int = Field(gt=0)
    at: Literal["cells", "boxes"] = "cells"
    boxes: bool = True
    norm: bool = True
    classes: tuple[str, ...] = ()


class BlockConfig(ClosedConfig):
    """The shape that every block shares.

    Args:
        mlp_width: inner width of the MLPs. norm_eps: of every norm.
    """

    width: int = Field(gt=0)
    heads: int = Field(gt=0)
    mlp_width: int = Field(gt=0)
    norm_eps: float = Field(default=1e-12, gt=0)


class JointConfig(ClosedConfig):
    """What `config.json` holds.

    Args:
        vocabulary: token ids. positions: of words and tags together, at most.
        tags: object names are laid out after the text as anchors (OSCAR).
        image: the encoder of pictures; without one, regions are given as features.
        answers: what questions can be answered with; () builds no answer head.
    """

    format: Literal[1] = 1
    model_type: Literal["sensorium-joint"] = "sensorium-joint"
    architectures: tuple[Literal["Joint"]] = ("Joint",)
    vocabulary: int = Field(gt=len(SPECIALS))
    positions: int = Field(default=64, gt=2)
    blocks: BlockConfig
    regions: RegionConfig
    streams: Streams
    tags: bool = False
    image: Annotated[ViTTower | EfficientNetTower, Field(discriminator="kind")] | None = None
    answers: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> JointConfig:
        if self.blocks.width % self.blocks.heads:
            raise ValueError(f"width {self.blocks.width} is no multiple of {self.blocks.heads} heads")
        if self.image is not None:
            width = self.image.config.width if isinstance(self.image, ViTTower) else FEATURES
            if width != self.regions.dim:
                raise ValueError(f"the image encoder gives width {width}, regions.dim is {self.regions.dim}")
        return self

    @property
    def bert(self) -> BertConfig:
        """A block in BERT's terms."""
        blocks = self.blocks
        return BertConfig(
            self.vocabulary, blocks.width, 0, blocks.heads, blocks.mlp_width, self.positions, 0, blocks.norm_eps, pooler=False
        )

    @property
    def unit(self) -> UnitConfig:
        """A block in MCAN's terms."""
        blocks = self.blocks
        return UnitConfig(dim=blocks.width, heads=blocks.heads, hidden=blocks.mlp_width, eps=blocks.norm_eps)


@dataclass(frozen=True, slots=True)
class JointBlueprint:
    """All that a joint model is built from, besides its weights.

    Args:
        tokenizer: knows `SPECIALS`. processing: of pictures, where there is an image encoder. card: the checkpoint's README.
    """

    config: JointConfig
    tokenizer: Tokenizer
    processing: ImageProcessing | None = None
    card: str = ""


def word_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """A tokenizer of whole lower-case words and marks: every word of the texts, in alphabetical order, after `SPECIALS`."""
    normalizer, splitter = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    words = {word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    vocabulary = {word: index for index, word in enumerate([*SPECIALS, *sorted(words - set(SPECIALS))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.add_special_tokens(list(SPECIALS))
    frame = [(token, vocabulary[token]) for token in (CLS, SEP)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{CLS} $A {SEP}", special_tokens=frame)
    return tokenizer
