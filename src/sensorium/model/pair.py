"""A small dual encoder to train: pictures, words and sounds as unit vectors of one space, and naming by it without training.

CLIP's shape (Radford et al. 2021) with any of our towers. `dual.DualEncoder` puts media into a text encoder's space instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.batch import Features
from sensorium.encoders.audio import AudioEncoder, WhisperConfig
from sensorium.encoders.cnn import FEATURES, EfficientNet
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.spectrogram import RATE
from sensorium.encoders.text import Bert, BertConfig
from sensorium.encoders.vit import ViT, ViTConfig
from sensorium.errors import RequestError
from sensorium.heads.embedding import EmbeddingConfig, EmbeddingHead
from sensorium.media import audio, image
from sensorium.model.build import Unfilled
from sensorium.model.checkpoint import CARD, CONFIG, TOKENIZER, read_tokenizer, refuse_other
from sensorium.model.config import EfficientNetTower, ViTTower
from sensorium.model.joint_config import word_tokenizer
from sensorium.model.tensors import assign, own_tensors, read_json, read_tensors, recover, replacing, write_json, write_tensors
from sensorium.nn.closed import ClosedConfig
from sensorium.parts import Audio, Image, Message, Part, Text

AT_ONCE = 64
"""Media in one pass where no gradient is wanted."""
ALIKE = 16
"""Texts in one pass, of like lengths."""


class PairConfig(ClosedConfig):
    """What `config.json` holds.

    Args:
        dim: width of the shared space. queries: learned weightings of each tower's places (see `EmbeddingHead`).
        audio: the tower of recordings, if there is one.
    """

    format: Literal[1] = 1
    model_type: Literal["sensorium-pair"] = "sensorium-pair"
    architectures: tuple[Literal["Pair"]] = ("Pair",)
    image: Annotated[ViTTower | EfficientNetTower, Field(discriminator="kind")]
    text: BertConfig
    audio: WhisperConfig | None = None
    dim: int = Field(default=64, gt=0)
    queries: int = Field(default=2, gt=0)


class Named(NamedTuple):
    """What pictures are called: the index of the class, and the probability of each, `(P, C)`."""

    best_P: Tensor
    probabilities_PC: Tensor


class Pair(nn.Module):
    """A tower and a head for each kind of medium.

    Args:
        tokenizer: frames a text by its special tokens. processing: of pictures.
    """

    def __init__(self, config: PairConfig, tokenizer: Tokenizer, processing: ImageProcessing) -> None:
        super().__init__()
        self.config, self.processing = config, processing
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        width = config.image.config.width if isinstance(config.image, ViTTower) else FEATURES
        self.image = ViT(config.image.config) if isinstance(config.image, ViTTower) else EfficientNet(config.image.config)
        self.text, self.image_head, self.text_head = Bert(config.text), self._head(int(width)), self._head(config.text.width)
        self.audio = AudioEncoder(config.audio) if config.audio else None
        self.audio_head = self._head(config.audio.dim) if config.audio else None
        for module in self.modules():
            if isinstance(module, nn.Embedding) and module.weight.requires_grad:
                nn.init.normal_(module.weight, std=0.02)
        if isinstance(self.image, ViT):
            nn.init.normal_(self.image.positions, std=0.02)

    def images(self, pixels_PCHW: Tensor) -> Tensor:
        """Prepared pictures of one size to unit vectors `(P, dim)`; uint8 pixels of the right size are normalised here."""
        if pixels_PCHW.dtype == torch.uint8:
            processing = self.processing
            mean_C11, std_C11 = (
                pixels_PCHW.new_tensor(row, dtype=torch.float32)[:, None, None] for row in (processing.mean, processing.std)
            )
            pixels_PCHW = (pixels_PCHW * processing.rescale - mean_C11) / std_C11
        if isinstance(self.image, ViT):
            x_PTD = self.image.finish(self.image(pixels_PCHW))
        else:
            x_PTD = self.image(pixels_PCHW).flatten(2).transpose(1, 2)
        return self._pool(self.image_head, Features(x_PTD, torch.ones(x_PTD.shape[:2], dtype=torch.bool)))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `(P, dim)`; texts of like lengths go together, so that little is computed for padding.

        Raises:
            RequestError: a text longer than the text tower's positions.
        """
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        longest, most = max(map(len, rows)), self.config.text.positions
        if longest > most:
            problem = f"takes {longest} tokens, the text tower reads {most}"
            raise RequestError(f"text {texts[[len(row) for row in rows].index(longest)][:40]!r}", problem, "Shorten it")
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        groups = [order[start : start + ALIKE] for start in range(0, len(order), ALIKE)]
        vectors_PD = torch.cat([self._texts([rows[index] for index in group]) for group in groups])
        return vectors_PD[torch.tensor(order).argsort()]

    def sounds(self, mels: Sequence[Tensor]) -> Tensor:
        """Spectrograms `mel_MT` to unit vectors `(P, dim)`.

        Raises:
            RequestError: there is no audio tower, or a sound is longer than it hears.
        """
        if self.audio is None or self.audio_head is None:
            raise RequestError("sound", "cannot be heard: this model has no audio tower", "Build it with one")
        return self._pool(self.audio_head, self.audio(mels))

    @torch.no_grad()
    def embed(self, messages: Sequence[Message]) -> Tensor:
        """Unit vectors `(len(messages), dim)`; several parts in one message are averaged.

        Raises:
            MediaError: a medium that cannot be read. RequestError: one that the model has no tower for, or no part at all.
        """
        return torch.stack([self._message(message) for message in messages])

    @torch.no_grad()
    def classes(self, names: Sequence[Sequence[str]]) -> Tensor:
        """Unit vectors `(C, dim)` of classes, each the mean over its wordings (CLIP's prompt ensemble, section 3.1.4)."""
        vectors_XD = torch.cat([self.texts(wordings).mean(0, keepdim=True) for wordings in names])
        return F.normalize(vectors_XD, dim=-1)

    @torch.no_grad()
    def name(self, pixels_PCHW: Tensor, classes_CD: Tensor, scale: float = 100.0) -> Named:
        """Which class each picture is nearest to; `scale` is that of the cosines in training."""
        some = [self.images(pixels_PCHW[start : start + AT_ONCE]) for start in range(0, len(pixels_PCHW), AT_ONCE)]
        scores_PC = torch.cat(some) @ classes_CD.t() * scale
        return Named(scores_PC.argmax(1), scores_PC.softmax(1))

    def save(self, folder: Path | str) -> None:
        """Write `folder` anew; an interrupted write leaves what was there before.

        Raises:
            CheckpointError: `folder` holds something that is not a checkpoint.
        """
        folder = Path(folder).expanduser().resolve()
        refuse_other(folder)
        with replacing(folder) as fresh:
            write_json(fresh / CONFIG, self.config.to_json())
            (fresh / TOKENIZER).write_text(self.tokenizer.to_str(), encoding="utf-8")
            (fresh / CARD).write_text("# A dual encoder\n\nTrained with Sensorium's contrastive objective.\n", encoding="utf-8")
            self.processing.write(fresh)
            write_tensors(fresh, own_tensors(self))

    @classmethod
    def load(cls, folder: Path | str) -> Pair:
        """The model of a folder, in evaluation mode.

        Raises:
            CheckpointError: a file that is missing or damaged, or tensors that are missing, unexpected or of another shape.
        """
        folder = Path(folder).expanduser()
        recover(folder)
        config = PairConfig.from_json(read_json(folder / CONFIG))
        with Unfilled():
            model = cls(config, read_tokenizer(folder / TOKENIZER), ImageProcessing.read(folder))
        assign(model, read_tensors(folder), str(folder))
        return model.eval()

    def _head(self, width: int) -> EmbeddingHead:
        config = self.config
        return EmbeddingHead(
            EmbeddingConfig(
                dim_in=width, dim_out=config.dim, queries=config.queries, dim=min(width, 2 * config.dim), hidden=2 * config.dim
            )
        )

    def _texts(self, rows: Sequence[list[int]]) -> Tensor:
        """Ids to unit vectors, padded to the longest."""
        longest = max(map(len, rows))
        ids_PT = torch.tensor([row + [self.config.text.pad] * (longest - len(row)) for row in rows])
        valid_PT = torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]
        x_PTD = self.text(ids_PT, None if bool(valid_PT.all()) else valid_PT)
        return self._pool(self.text_head, Features(x_PTD, valid_PT))

    def _pool(self, head: EmbeddingHead, features: Features) -> Tensor:
        vectors_PD: Tensor = head(features)
        return vectors_PD

    def _message(self, message: Message) -> Tensor:
        if not message.parts:
            raise RequestError("embed", "a message has no parts", "Give a text, a picture or a sound")
        return F.normalize(torch.cat([self._part(part) for part in message.parts]).mean(0), dim=-1)

    def _part(self, part: Part) -> Tensor:
        match part:
            case Text():
                return self.texts([part.text])
            case Image():
                return self.images(self.processing.view(image.decode(part.source).pixels_CHW).pixels_CHW[None])
            case Audio() if self.audio is not None:
                heard = audio.decode(part.source, start=part.start, stop=part.stop, rate=RATE)
                mels = [piece.tensor for piece in self.audio.prepare(heard) if piece.tensor is not None]
                return F.normalize(self.sounds(mels).mean(0, keepdim=True), dim=-1)
            case _:
                kind = type(part).__name__.lower()
                raise RequestError(f"{kind} part", "has no tower in this model", "Give a text, or a medium it was trained on")


def tiny_dual(
    texts: Sequence[str], *, size: int = 64, patch: int = 8, width: int = 64, depth: int = 3, sounds: bool = False
) -> Pair:
    """A dual encoder of well under a million parameters, with random weights, whose tokenizer knows the words of `texts`.

    Args:
        size, patch: pixels of the square pictures' sides. width, depth: of each tower. sounds: with an audio tower.
    """
    tokenizer, heads = word_tokenizer(texts), max(1, width // 32)
    config = PairConfig(
        image=ViTTower(config=ViTConfig("siglip", width, depth, heads, 3 * width, size, patch)),
        text=BertConfig(tokenizer.get_vocab_size(), width, max(1, depth - 1), heads, 3 * width, 64, pooler=False),
        audio=WhisperConfig(dim=width, layers=depth, heads=heads, inner=3 * width) if sounds else None,
        dim=width,
    )
    return Pair(config, tokenizer, ImageProcessing(size=(size, size)))
