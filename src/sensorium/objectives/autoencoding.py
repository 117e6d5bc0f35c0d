"""Cross-modal autoencoding with modality dropout: rebuild every modality from those that are left (Ngiam et al. 2011)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sensorium.batch import Modality
from sensorium.model.autoencoder import Autoencoder
from sensorium.objectives.loss import Loss


class Autoencoding:
    """Callable over (model, vectors, seed).

    Args:
        alone: share of the rows that keep one modality, each one as often; the others keep all. Ngiam's is two thirds of two.
    """

    def __init__(self, alone: float = 2 / 3) -> None:
        self.alone = alone

    def __call__(self, model: Autoencoder, vectors: Mapping[Modality, Tensor], seed: int) -> Loss:
        """Squared errors of all modalities, in standard deviations, each the mean over its numbers; summed over rows.

        Terms: `autoencoding`; and of the rows that kept one modality only, `image_from_audio` and so on.
        """
        standard = {kind: model.standard(kind, x_BD) for kind, x_BD in vectors.items()}
        kinds = list(standard)
        kept_BK = self.keep(len(next(iter(standard.values()))), len(kinds), seed)
        shown = {kind: standard[kind] * kept_BK[:, column, None] for column, kind in enumerate(kinds)}
        rebuilt = model.decode(model.encode(shown))
        errors = {kind: (rebuilt[kind] - standard[kind]).square().mean(1) for kind in kinds}
        total = torch.stack(list(errors.values())).sum()
        count = float(len(kept_BK))
        terms = {"autoencoding": (float(total.detach()), count)}
        for column, source in enumerate(kinds):
            only_B = kept_BK[:, column] & (kept_BK.sum(1) == 1)
            for target in kinds:
                if target is not source and bool(only_B.any()):
                    terms[f"{target}_from_{source}"] = (float(errors[target][only_B].detach().sum()), float(only_B.sum()))
        return Loss(total, count, terms)

    def keep(self, rows: int, kinds: int, seed: int) -> Tensor:
        """Which modalities each row keeps, `(rows, kinds)` bool; a pure function of the seed."""
        chance = torch.Generator().manual_seed(seed)
        lonely_B = torch.rand(rows, generator=chance) < self.alone
        which_B = torch.randint(kinds, (rows,), generator=chance)
        return ~lonely_B[:, None] | (torch.arange(kinds) == which_B[:, None])
