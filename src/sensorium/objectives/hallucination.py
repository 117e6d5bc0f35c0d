"""Hallucination-augmented contrastive learning (HACL, Jiang et al. 2024): captions with invented things are hard negatives.

A caption that names something which the picture does not show lies near the true one in the space of texts. Put among the
negatives, it teaches the picture's vector the difference.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from sensorium.objectives.contrastive import Contrast, against_wrong, own
from sensorium.objectives.loss import Loss


class HallucinationContrast(nn.Module):
    """Callable over the unit vectors of pictures, their captions and hallucinated captions.

    Picture to text is HACL's: a picture's right texts against the other captions and the hallucinated ones. Text to picture
    is CLIP's.

    Args:
        shared: the hallucinated captions of all pictures stand against each picture, as in the paper, which supposes that what
            is invented for one picture is true of no other. Where it may be, only a picture's own do.
        scale: where the learned scale starts; None is CLIP's.
    """

    def __init__(self, *, shared: bool = False, scale: float | None = None) -> None:
        super().__init__()
        self.shared = shared
        self.contrast = Contrast("softmax", scale=scale)

    def forward(
        self,
        images_PD: Tensor,
        texts_PD: Tensor,
        hallucinated_PCD: Tensor,
        right_PP: Tensor | None = None,
        mine: slice = slice(None),
    ) -> Loss:
        """The mean over both directions times how many pairs count.

        Args:
            images_PD, texts_PD: row i of both is a pair. hallucinated_PCD: C wrong captions of each picture.
            right_PP: bool, other right pairs. mine: the pairs that count here; see `Contrast` for both.
        """
        count = len(images_PD)
        own_PP = own(count, images_PD.device)
        right_PP = own_PP if right_PP is None else right_PP | own_PP
        scores_PP = self.contrast.scores(images_PD, texts_PD)
        own_PC = torch.einsum("pd,pcd->pc", images_PD, hallucinated_PCD) * self.contrast.scale
        invented_PX = self.contrast.scores(images_PD, hallucinated_PCD.flatten(0, 1)) if self.shared else own_PC
        scores_PX = torch.cat([scores_PP, invented_PX], dim=1)
        right_PX = nn.functional.pad(right_PP, (0, invented_PX.shape[1]))
        to_text_M = against_wrong(scores_PX[mine], right_PX[mine])
        to_image_M = against_wrong(scores_PP.t()[mine], right_PP.t()[mine])
        total, size = (to_text_M + to_image_M).sum() / 2, float(len(to_text_M))
        resisted = float((own_PC.detach().amax(1) < scores_PP.detach().diagonal())[mine].sum())
        terms = {"loss": (float(total.detach()), size), "resisted": (resisted, size)}
        return Loss(total, size, terms)


def hallucinate(text: str, kinds: Sequence[Collection[str]], chance: random.Random, absent: Collection[str] = ()) -> str | None:
    """The text with one word replaced by another of its kind that the text does not have, such as "cube" by "ball".

    Args:
        kinds: the sets of words within which one may stand for another.
        absent: when given, only these words come in (what is known not to be in the picture).

    Returns:
        None where the text has no such word, or no other word is left.
    """
    words = re.findall(r"\w+|\W+", text)
    places = list(range(len(words)))
    chance.shuffle(places)
    for place in places:
        for kind in kinds:
            if words[place] in kind:
                others = sorted(set(kind) - set(words))
                others = [word for word in others if word in absent] if absent else others
                if others:
                    return "".join([*words[:place], chance.choice(others), *words[place + 1 :]])
    return None
