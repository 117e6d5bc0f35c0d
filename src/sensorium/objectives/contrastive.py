"""Contrastive learning of pictures and texts (InfoNCE, as in CLIP) where a picture has several right texts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.objectives.loss import Loss


def contrast(images_PD: Tensor, texts_PCD: Tensor, scale: Tensor) -> Loss:
    """Each text finds its picture, and each picture its texts: all of them are right, the other pictures' are wrong.

    Args:
        images_PD: unit vectors of P pictures. texts_PCD: of C texts for each of them. scale: on the cosines.

    Returns:
        The mean over both directions times P.
    """
    pictures, captions = texts_PCD.shape[:2]
    scores_XP = texts_PCD.flatten(0, 1) @ images_PD.t() * scale
    own_X = torch.arange(pictures, device=scores_XP.device).repeat_interleave(captions)
    to_picture = F.cross_entropy(scores_XP, own_X)
    scores_PPC = scores_XP.t().unflatten(1, (pictures, captions))  # type: ignore[no-untyped-call]
    own_PC = scores_PPC.diagonal().t()
    to_text = (scores_PPC.flatten(1).logsumexp(1)[:, None] - own_PC).mean()
    total = (to_picture + to_text) / 2 * pictures
    found = float((scores_XP.argmax(1) == own_X).float().mean())
    return Loss(total, pictures, {"loss": (float(total.detach()), pictures), "found": (found * pictures, pictures)})
