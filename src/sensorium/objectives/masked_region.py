"""Masked region modelling: the regions whose features were hidden, from the words and the other regions (Chen et al. 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.fusion.pairs import Pairs, Regions
from sensorium.model.joint import Joint
from sensorium.nn.trace import SILENT, Trace
from sensorium.objectives.loss import Loss


class MaskedRegion:
    """Callable over (model, pairs, seed). Only regions are hidden, never words with them.

    Args:
        target: `features` (UNITER's MRFR): the squared error of the rebuilt features, summed over their numbers; the encoder
            must not learn meanwhile, or there is nothing to hold on to. `classes` (MRC-kl): KL(detector || model), the
            detector's word being `Regions.classes_BGC`.
        share: of the regions.
    """

    def __init__(self, target: Literal["features", "classes"], share: float = 0.15) -> None:
        self.target, self.share = target, share

    def __call__(self, model: Joint, pairs: Pairs, seed: int, trace: Trace = SILENT) -> Loss:
        """The sum over the hidden regions; its size is how many there are.

        Terms: `masked_region_features`, or `masked_region_classes` and `regions_right`, the share named as the detector does.
        """
        return restore(model, pairs, self.hide(pairs.regions, seed), self.target, trace)

    def hide(self, regions: Regions, seed: int) -> Tensor:
        """Which regions are hidden, `(B, G)` bool; at least one in every row. A pure function of the seed."""
        chance = torch.Generator().manual_seed(seed)
        draw_BG = torch.rand(regions.valid_BG.shape, generator=chance).masked_fill(~regions.valid_BG, 2.0)
        return regions.valid_BG & ((draw_BG < self.share) | (draw_BG == draw_BG.amin(1, keepdim=True)))


def restore(
    model: Joint, pairs: Pairs, masked_BG: Tensor, target: Literal["features", "classes"], trace: Trace = SILENT
) -> Loss:
    """The loss of given hidden regions.

    Raises:
        RequestError: classes are wanted, and the regions or the model have none.
    """
    hidden_TD, count = model(pairs, masked_BG, trace).regions.x_BTD[masked_BG], float(masked_BG.sum())
    if target == "features":
        rebuilt_TF = model.region_head.rebuild(hidden_TD, model.embedding.features.weight)
        total = F.mse_loss(rebuilt_TF, pairs.regions.x_BGD[masked_BG].detach(), reduction="sum")
        return Loss(total, count, {"masked_region_features": (float(total.detach()), count)})
    if pairs.regions.classes_BGC is None or model.region_head.classes is None:
        lack = "regions have no classes" if pairs.regions.classes_BGC is None else "model was built without classes"
        raise RequestError("masked regions", f"cannot be classified: the {lack}", "Give them, or rebuild the features instead")
    logits_TC, wanted_TC = model.region_head.classes(hidden_TD), pairs.regions.classes_BGC[masked_BG]
    total = F.kl_div(logits_TC.log_softmax(-1), wanted_TC, reduction="sum")
    right = float((logits_TC.argmax(-1) == wanted_TC.argmax(-1)).sum())
    return Loss(total, count, {"masked_region_classes": (float(total.detach()), count), "regions_right": (right, count)})
