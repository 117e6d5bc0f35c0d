"""Dual encoder: pictures, clips, pages, recordings and words as unit vectors of one space (CLIP, Radford et al. 2021).

The picture tower is the language model's own image encoder with a head of its own; the text tower fixes the space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.batch import Modality, Piece, Shown
from sensorium.encoders.text import BertEncoder
from sensorium.errors import RequestError
from sensorium.model.reading import Reader
from sensorium.parts import Audio, Image, Message, Part, Text


class DualEncoder(nn.Module):
    """Puts every medium into the space of a text encoder.

    Args:
        text: sentence vectors, the space itself.
        image_head: features of the image encoder to a vector, `(P, T, D)` to unit `(P, text.dim)`.
        text_head: a map within the space for the text side, or None.

    A clip is the mean of its frames' vectors and its words'. A recording and a document are the words in them. Several parts in
    one message are averaged.
    """

    def __init__(self, text: BertEncoder, image_head: nn.Module, text_head: nn.Module | None = None) -> None:
        super().__init__()
        self.text, self.image_head, self.text_head = text, image_head, text_head

    @property
    def dim(self) -> int:
        """Width of the space."""
        return self.text.dim

    @staticmethod
    def require(dual: DualEncoder | None) -> DualEncoder:
        """The dual encoder of a model that has one.

        Raises:
            RequestError: it has none.
        """
        if dual is None:
            raise RequestError("embed", "this model has no shared space", "Use a model with a dual encoder, such as nano")
        return dual

    @torch.no_grad()
    def embed(self, messages: Sequence[Message], reader: Reader, encoders: Mapping[str, nn.Module]) -> Tensor:
        """Unit vectors, float32 `(len(messages), dim)`.

        Args:
            reader: of the model; what it reads of a medium is what is embedded.
            encoders: of the model, by modality.

        Raises:
            RequestError: a message without parts, or a recording or document in which no words are found.
        """
        return torch.stack([self._message(message, reader, encoders) for message in messages])

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `(len(texts), dim)` of plain texts."""
        vectors_PD = self.text.vectors(texts)
        return vectors_PD if self.text_head is None else F.normalize(self.text_head(vectors_PD), dim=-1)

    def _message(self, message: Message, reader: Reader, encoders: Mapping[str, nn.Module]) -> Tensor:
        if not message.parts:
            raise RequestError("embed", "a message has no parts", "Give a text or a medium")
        vectors_PD = torch.cat([self._part(part, reader, encoders) for part in message.parts])
        return F.normalize(vectors_PD.mean(0), dim=-1)

    def _part(self, part: Part, reader: Reader, encoders: Mapping[str, nn.Module]) -> Tensor:
        if isinstance(part, Text):
            return self.texts([part.text])
        if isinstance(part, Image):  # a picture's vector is of what it shows, not of the words in it
            reader = replace(reader, policy=replace(reader.policy, words_in_images=False))
        shown = reader.show(Audio(part.source, part.start, part.stop, spoken=True) if isinstance(part, Audio) else part)
        seen = [piece for piece in shown.pieces if piece.modality in (Modality.IMAGE, Modality.VIDEO)]
        vectors = [self.images(piece, encoders) for piece in seen]
        words = _words(shown)
        if words:
            vectors.append(self.texts([words]))
        if not vectors:
            raise RequestError(shown.use.name, "holds neither a picture nor words to embed", "Embed another medium")
        return F.normalize(torch.cat(vectors).mean(0, keepdim=True), dim=-1)

    def images(self, piece: Piece, encoders: Mapping[str, nn.Module]) -> Tensor:
        """One picture's or clip's unit vector `(1, dim)`."""
        vectors_PD: Tensor = self.image_head(encoders[str(piece.modality)]([piece.tensor]))
        return F.normalize(vectors_PD, dim=-1)


def _words(shown: Shown) -> str:
    return " ".join(piece.text.strip() for piece in shown.pieces if piece.modality is Modality.TEXT)
