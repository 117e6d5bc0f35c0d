"""Next-token prediction on packed trees: cross-entropy at the learned positions only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.batch import Features, Modality
from sensorium.data.packing import Packed
from sensorium.fusion.splice import splice
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.loss import Loss


class NextToken:
    """Callable over (model, packed). The media of a packed batch are features that the encoders have made already.

    Args:
        smoothing: of the labels, over the tokens that compete.
        vocabulary: the token ids that compete in the softmax; None is all. A text of a few thousand words does not need
            the product with 49,152 rows at every position.
        rare: so many others, drawn anew at every call, compete as well, so that none of them is forgotten.
    """

    def __init__(self, smoothing: float = 0.0, vocabulary: Sequence[int] | None = None, rare: int = 0) -> None:
        self.smoothing, self.rare = smoothing, rare
        self.vocabulary_V = None if vocabulary is None else torch.tensor(sorted(set(vocabulary)))

    def __call__(self, model: MultimodalLM, packed: Packed) -> Loss:
        """The weighted sum over the learned tokens; its size is the sum of the weights."""
        weights_T = packed.targets.weights_T
        logits_TV, ids_T = self._logits(model, self.hidden(model, packed), packed.targets.ids_T)
        losses_T = F.cross_entropy(logits_TV, ids_T, reduction="none", label_smoothing=self.smoothing)
        total, count = (losses_T * weights_T).sum(), float(weights_T.sum())
        hits = float((logits_TV.argmax(-1) == ids_T).sum())
        return Loss(total, count, {"loss": (float(total.detach()), count), "right": (hits, float(len(ids_T)))})

    def hidden(self, model: MultimodalLM, packed: Packed) -> Tensor:
        """Hidden states at the places of the targets, `(T, D)`."""
        embeds_BLD = splice(model.decoder.embed(packed.ids_BL), packed.placements, connect(model, packed.media))
        hidden_BLD = model.decoder(embeds_BLD, positions_BL=packed.positions_BL, attend_BLS=packed.attend_BLS)
        hidden_TD: Tensor = hidden_BLD[packed.targets.rows_T, packed.targets.places_T]
        return hidden_TD

    def losses(self, model: MultimodalLM, packed: Packed) -> Tensor:
        """Minus the log-probability of each target, `(T,)`, without weights or smoothing."""
        logits_TV, ids_T = self._logits(model, self.hidden(model, packed), packed.targets.ids_T)
        return F.cross_entropy(logits_TV, ids_T, reduction="none")

    def _logits(self, model: MultimodalLM, hidden_TD: Tensor, ids_T: Tensor) -> tuple[Tensor, Tensor]:
        """fp32 logits of the competing tokens, and where the right ones are among them."""
        if self.vocabulary_V is None:
            return model.decoder.logits(hidden_TD), ids_T
        size = model.decoder.config.vocab_size
        some_V = torch.unique(torch.cat([self.vocabulary_V, torch.randint(size, (self.rare,))]))
        weight_VD = model.decoder.embed_tokens.weight if model.decoder.config.tie_embeddings else model.decoder.lm_head.weight
        place_V = torch.full((size,), -1).index_copy(0, some_V, torch.arange(len(some_V)))
        assert bool((place_V[ids_T] >= 0).all()), "a learned token is not in the vocabulary given"
        return F.linear(hidden_TD, weight_VD[some_V]).float(), place_V[ids_T]


def connect(model: MultimodalLM, media: Mapping[Modality, Sequence[Tensor]]) -> dict[Modality, Features]:
    """Encoders' features, `(T, D)` each, through the connectors."""
    return {kind: model.connectors[kind](_padded(tensors)) for kind, tensors in media.items()}


def _padded(tensors: Sequence[Tensor]) -> Features:
    """Features of several pieces, each `(T, D)`, with their mask."""
    steps = torch.tensor([len(tensor) for tensor in tensors])
    x_PTD = torch.nn.utils.rnn.pad_sequence([tensor.float() for tensor in tensors], batch_first=True)
    return Features(x_PTD, torch.arange(x_PTD.shape[1]) < steps[:, None])
