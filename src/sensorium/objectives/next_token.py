"""Next-token prediction on packed samples: cross-entropy at the learned positions only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.batch import Batch, Features, Modality
from sensorium.data.flat import Flat
from sensorium.data.packing import Packed, targets_of
from sensorium.errors import RequestError
from sensorium.fusion.splice import splice
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.loss import Loss


class Encoders(Protocol):
    """Encoders by modality: a module dictionary, or a mapping."""

    def __getitem__(self, modality: Any, /) -> Callable[[Sequence[Tensor]], Features]:
        """Takes prepared tensors to features."""
        ...


class NextToken:
    """Callable over (model, packed or flat). Without `encoders`, their media are features that were made before. A plain
    `Batch`, whose rows stand side by side, goes through the whole model, its encoders and crossings too.

    Args:
        smoothing: of the labels, over the tokens that compete.
        vocabulary: the token ids that compete in the softmax; None is all. A text of a few thousand words does not need
            the product with 49,152 rows at every position.
        rare: so many others, drawn anew at every call, compete as well, so that none of them is forgotten.
        encoders: what makes features of the media, by modality: the model's own, which may learn too, or a cached one.
    """

    def __init__(
        self,
        smoothing: float = 0.0,
        vocabulary: Sequence[int] | None = None,
        rare: int = 0,
        *,
        encoders: Encoders | None = None,
    ) -> None:
        self.smoothing, self.rare, self.encoders = smoothing, rare, encoders
        self.vocabulary_V = None if vocabulary is None else torch.tensor(sorted(set(vocabulary)))

    def __call__(self, model: MultimodalLM, packed: Packed | Flat | Batch) -> Loss:
        """The weighted sum over the learned tokens; its size is the sum of the weights."""
        hidden_TD = self.hidden(model, packed)
        targets = targets_of(packed) if isinstance(packed, Batch) else packed.targets
        ids_T, weights_T = targets.ids_T, targets.weights_T
        logits_TV, ids_T = self._logits(model, hidden_TD, ids_T)
        losses_T = F.cross_entropy(logits_TV, ids_T, reduction="none", label_smoothing=self.smoothing)
        total, count = (losses_T * weights_T).sum(), float(weights_T.sum())
        hits = float((logits_TV.argmax(-1) == ids_T).sum())
        return Loss(total, count, {"loss": (float(total.detach()), count), "right": (hits, float(len(ids_T)))})

    def hidden(self, model: MultimodalLM, packed: Packed | Flat | Batch) -> Tensor:
        """Hidden states at the places of the targets, `(T, D)`.

        Raises:
            RequestError: packed or flat samples for a model with crossings, whose media every position of a row would see.
        """
        if isinstance(packed, Batch):
            targets, whole_BLD = targets_of(packed), model(packed).hidden_BLD
            found_TD: Tensor = whole_BLD[targets.rows_T, targets.places_T]
            return found_TD
        if model.crossings:
            problem = "reads media by cross-attention, through which packed samples would see each other's"
            raise RequestError("this model", problem, "Give it plain batches, whose rows stand side by side")
        features = connect(model, packed.media, self.encoders)
        embeds_BLD = splice(model.decoder.embed(packed.ids_BL), packed.placements, features)
        if isinstance(packed, Flat):
            with model.adapted(packed.pictured_BL):
                hidden_BLD = model.decoder(embeds_BLD, documents=packed.lengths)
        else:
            hidden_BLD = model.decoder(embeds_BLD, positions_BL=packed.positions_BL, attend_BLS=packed.attend_BLS)
        hidden_TD: Tensor = hidden_BLD[packed.targets.rows_T, packed.targets.places_T]
        return hidden_TD

    def losses(self, model: MultimodalLM, packed: Packed | Flat, temperature: float = 1.0) -> Tensor:
        """Minus the log-probability of each target at a temperature, `(T,)`, without weights or smoothing."""
        logits_TV, ids_T = self._logits(model, self.hidden(model, packed), packed.targets.ids_T)
        return F.cross_entropy(logits_TV / temperature, ids_T, reduction="none")

    def logits(self, model: MultimodalLM, packed: Packed | Flat) -> Tensor:
        """fp32 logits of the vocabulary at the places of the targets, `(T, V)`."""
        hidden_TD = self.hidden(model, packed)
        if self.vocabulary_V is None:
            return model.decoder.logits(hidden_TD)
        return F.linear(hidden_TD, _unembedding(model)[self.vocabulary_V]).float()

    def _logits(self, model: MultimodalLM, hidden_TD: Tensor, ids_T: Tensor) -> tuple[Tensor, Tensor]:
        """fp32 logits of the competing tokens, and where the right ones are among them."""
        if self.vocabulary_V is None:
            return model.decoder.logits(hidden_TD), ids_T
        size = model.decoder.config.vocab_size
        some_V = torch.unique(torch.cat([self.vocabulary_V, torch.randint(size, (self.rare,))]))
        place_V = torch.full((size,), -1).index_copy(0, some_V, torch.arange(len(some_V)))
        assert bool((place_V[ids_T] >= 0).all()), "a learned token is not in the vocabulary given"
        return F.linear(hidden_TD, _unembedding(model)[some_V]).float(), place_V[ids_T]


def _unembedding(model: MultimodalLM) -> Tensor:
    """The rows of the output layer, `(V, D)`."""
    decoder = model.decoder
    return decoder.embed_tokens.weight if decoder.config.tie_embeddings else decoder.lm_head.weight


def connect(
    model: MultimodalLM, media: Mapping[Modality, Sequence[Tensor]], encoders: Encoders | None = None
) -> dict[Modality, Features]:
    """Media through encoders (without any they are features already, `(T, D)` each) and the model's connectors."""
    seen = {kind: _padded(tensors) if encoders is None else encoders[kind](tensors) for kind, tensors in media.items()}
    return {kind: model.connectors[kind](features) for kind, features in seen.items()}


def _padded(tensors: Sequence[Tensor]) -> Features:
    """Features of several pieces, each `(T, D)`, with their mask."""
    steps = torch.tensor([len(tensor) for tensor in tensors])
    x_PTD = torch.nn.utils.rnn.pad_sequence([tensor.float() for tensor in tensors], batch_first=True)
    return Features(x_PTD, torch.arange(x_PTD.shape[1]) < steps[:, None])
