"""The one configuration of a checkpoint: what is built, from closed models; an unknown field is an error, as is a missing one.

`config.json` holds `Config`. Pictures' preprocessing, the default sampling, the tokenizers and the chat template stand in the
files where Hugging Face tools look for them (see `checkpoint`); `Blueprint` holds all of it together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from tokenizers import Tokenizer

from sensorium.batch import Modality
from sensorium.encoders.audio import WhisperConfig
from sensorium.encoders.cnn import FEATURES, EfficientNetConfig
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.text import BertConfig
from sensorium.encoders.video import VideoConfig
from sensorium.encoders.vit_config import ViTConfig
from sensorium.errors import CheckpointError
from sensorium.fusion.cross_attention import GatedCrossAttentionConfig
from sensorium.fusion.projector import ProjectorConfig
from sensorium.fusion.qformer import QFormerConfig
from sensorium.fusion.resampler import ResamplerConfig
from sensorium.heads.embedding import EmbeddingConfig
from sensorium.language.config import DecoderConfig
from sensorium.language.speech import SpeechConfig
from sensorium.language.speech_tokens import SpeechTokens
from sensorium.model.reading import Policy
from sensorium.nn.closed import ClosedConfig
from sensorium.nn.lora import LoraConfig
from sensorium.protocols import Sampling

FORMAT = 1
"""Version of `config.json`; another one is refused."""


Packing = Literal["int8", "int4"]
"""See `language/quantized.py`."""


class ViTTower(ClosedConfig):
    """SigLIP, CLIP and DINOv2 shapes; `layer` and `norm`: which hidden state the features are (see `ViTEncoder`)."""

    kind: Literal["vit"] = "vit"
    config: ViTConfig
    layer: int = -1
    norm: bool = True


class EfficientNetTower(ClosedConfig):
    """EfficientNet-Lite."""

    kind: Literal["efficientnet"] = "efficientnet"
    config: EfficientNetConfig


class WhisperTower(ClosedConfig):
    """Whisper's encoder; `layer`: the block whose output a connector reads (see `AudioEncoder`)."""

    kind: Literal["whisper"] = "whisper"
    config: WhisperConfig
    layer: int | None = None


class VideoTower(ClosedConfig):
    """Frames through the image encoder, whose weights it shares."""

    kind: Literal["video"] = "video"
    config: VideoConfig = VideoConfig()


Tower = Annotated[ViTTower | EfficientNetTower | WhisperTower | VideoTower, Field(discriminator="kind")]


class Projector(ClosedConfig):
    """An MLP."""

    kind: Literal["projector"] = "projector"
    config: ProjectorConfig


class Resampler(ClosedConfig):
    """Perceiver resampler."""

    kind: Literal["resampler"] = "resampler"
    config: ResamplerConfig


class QFormer(ClosedConfig):
    """BLIP-2's queries."""

    kind: Literal["qformer"] = "qformer"
    config: QFormerConfig


class Shared(ClosedConfig):
    """The very connector of another modality."""

    kind: Literal["shared"] = "shared"
    modality: Modality


Link = Annotated[Projector | Resampler | QFormer | Shared, Field(discriminator="kind")]


class Crossings(ClosedConfig):
    """Gated cross-attention before the decoder layers `before`; without it media are spliced into the token stream."""

    before: tuple[int, ...]
    config: GatedCrossAttentionConfig


class Text(ClosedConfig):
    """A BERT-shaped text encoder; `window`: tokens read at once."""

    config: BertConfig
    window: int = Field(default=256, gt=0)


class Dual(ClosedConfig):
    """The shared space of vectors: the text encoder makes it, a head takes pictures into it.

    Args:
        text_map: inner width of a residual map on the text side; None is none.
    """

    text: Text
    image_head: EmbeddingConfig
    text_map: int | None = Field(default=None, gt=0)


class Speech(ClosedConfig):
    """Whisper's decoder on the audio encoder, for transcription."""

    config: SpeechConfig
    tokens: SpeechTokens


class Config(ClosedConfig):
    """What `config.json` holds.

    Args:
        filler: the token id that stands at media positions until their features take the place.
        adapter: low-rank adapter of the language model, at work on rows that hold pictures.
        policy: how media are read. quantize: weights of the language model are packed when they are loaded.
    """

    format: Literal[1] = 1
    model_type: Literal["sensorium"] = "sensorium"
    architectures: tuple[Literal["MultimodalLM"]] = ("MultimodalLM",)
    language: DecoderConfig
    encoders: dict[Modality, Tower] = Field(default_factory=dict)
    connectors: dict[Modality, Link] = Field(default_factory=dict)
    crossings: Crossings | None = None
    adapter: LoraConfig | None = None
    dual: Dual | None = None
    speech: Speech | None = None
    filler: int = Field(ge=0)
    policy: Policy = Policy()
    quantize: Packing | None = None

    @model_validator(mode="after")
    def _fits(self) -> Config:
        """Parts that need one another are there, and their widths agree."""
        if self.encoders.keys() != self.connectors.keys():
            raise ValueError(
                f"encoders {sorted(self.encoders)} and connectors {sorted(self.connectors)} are not of the same modalities"
            )
        if self.filler >= self.language.vocab_size:
            raise ValueError(f"filler {self.filler} is beyond the vocabulary of {self.language.vocab_size}")
        for modality, tower in self.encoders.items():
            if isinstance(tower, VideoTower) and not isinstance(
                self.encoders.get(Modality.IMAGE), ViTTower | EfficientNetTower
            ):
                raise ValueError(f"the {modality} encoder needs an image encoder to share")
        reader, wanted = "the language model", self.language.dim
        if self.crossings is not None:
            reader, wanted = "cross-attention", self.crossings.config.memory
            if self.crossings.config.dim != self.language.dim:
                raise ValueError(
                    f"crossings of width {self.crossings.config.dim} do not fit a language model of {self.language.dim}"
                )
        for modality, link in self.connectors.items():
            width = self.width(modality)
            if not isinstance(link, Shared) and link.config.dim_in != width:
                raise ValueError(f"the {modality} connector takes width {link.config.dim_in}, its encoder gives {width}")
            if isinstance(link, Shared):
                other = self.connectors.get(link.modality)
                if other is None or isinstance(other, Shared):
                    raise ValueError(f"the {modality} connector shares that of {link.modality}, which is not there")
            elif link.config.dim_out != wanted:
                raise ValueError(f"the {modality} connector gives width {link.config.dim_out}, {reader} takes {wanted}")
        if self.speech is not None and not isinstance(self.encoders.get(Modality.AUDIO), WhisperTower):
            raise ValueError("the speech decoder needs a whisper encoder of audio")
        if self.dual is not None and Modality.IMAGE not in self.encoders:
            raise ValueError("the dual encoder needs an image encoder")
        if self.crossings is not None and any(not 0 <= layer < self.language.layers for layer in self.crossings.before):
            raise ValueError(f"crossings {self.crossings.before} are not all before one of {self.language.layers} layers")
        return self

    def width(self, modality: Modality) -> int:
        """Of an encoder's features."""
        tower = self.encoders[modality]
        match tower:
            case ViTTower():
                return tower.config.width
            case EfficientNetTower():
                return FEATURES
            case WhisperTower():
                return tower.config.dim
            case VideoTower():
                return self.width(Modality.IMAGE)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, every field."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, row: Mapping[str, Any], thing: str = "config.json") -> Config:
        """The inverse of `to_json`.

        Raises:
            CheckpointError: unknown, missing or wrong fields, each by name; another format; or parts that do not fit together.
        """
        if row.get("model_type") != "sensorium":
            kind = row.get("model_type")
            raise CheckpointError(
                thing, f"is of a {kind!r} model, not a Sensorium checkpoint", "Convert it: sensorium models convert"
            )
        if row.get("format") != FORMAT:
            raise CheckpointError(
                thing,
                f"has format {row.get('format')!r}, this version reads {FORMAT}",
                "Use the version of Sensorium that wrote it",
            )
        try:
            json.dumps(row, allow_nan=False)
        except (ValueError, TypeError) as error:
            raise CheckpointError(thing, f"is not plain JSON ({error})", "Write finite numbers") from error
        try:
            return cls.model_validate(dict(row))
        except ValidationError as error:
            wrong = [
                f"{'.'.join(str(item) for item in found['loc']) or 'as a whole'}: {found['msg']}" for found in error.errors()
            ]
            shown = "; ".join(wrong[:5])
            raise CheckpointError(
                thing, f"has {len(wrong)} wrong fields ({shown})", "Correct them, or write the file again"
            ) from error


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that a model is built from, besides its weights.

    Args:
        template: Jinja chat template. special: its names for special tokens, `{"eos_token": "</s>", ...}`.
        ends: ids of the tokens that end an answer.
        processing: of pictures; needed where there is an image encoder.
        text_tokenizer, speech_tokenizer: of the dual's text encoder and of the speech decoder.
        card: the README of the checkpoint.
    """

    config: Config
    tokenizer: Tokenizer
    template: str
    special: Mapping[str, str] = field(default_factory=dict)
    ends: tuple[int, ...] = ()
    processing: ImageProcessing | None = None
    sampling: Sampling = field(default_factory=Sampling)
    text_tokenizer: Tokenizer | None = None
    speech_tokenizer: Tokenizer | None = None
    card: str = ""
