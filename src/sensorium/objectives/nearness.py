"""Nearness: a connector's output should be nearest to the code of the right word, and near it.

The codes are learned first, as soft prompts are (Lester et al. 2021, arXiv:2104.08691), so that a frozen language model says
the right words. Then none of its layers is needed to teach the connector, which sees many more examples for the same work.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from sensorium.objectives.loss import Loss


def nearness(cosines_PW: Tensor, words_P: Tensor, smoothing: float = 0.1, scale: float = 5.0) -> Loss:
    """Cross-entropy over the cosines to all codes, and 1 - cosine to the right one; the size is P.

    Args:
        scale: on the cosines in the cross-entropy. With ten words and a smoothing of .1, a scale of 5 asks for cosines .9
            apart; with 12 the smoothing would hold them at .4.
    """
    named_P = F.cross_entropy(scale * cosines_PW, words_P, reduction="none", label_smoothing=smoothing)
    total, count = (named_P + 1 - cosines_PW.gather(1, words_P[:, None])[:, 0]).sum(), len(words_P)
    hits = float((cosines_PW.argmax(1) == words_P).sum())
    return Loss(total, count, {"loss": (float(total.detach()), count), "right": (hits, count)})
