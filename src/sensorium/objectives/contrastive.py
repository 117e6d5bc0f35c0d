"""Contrastive learning of pictures and texts: softmax (CLIP) or sigmoid (SigLIP), several right pairs, and doubtful ones.

Any two kinds of media whose vectors have one width will do; "picture" and "text" stand for the two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.objectives.loss import Loss

Form = Literal["softmax", "sigmoid"]

FILLERS = frozenset(
    (
        *("a", "an", "the", "this", "that", "is", "are", "there", "one", "of"),
        *("ein", "eine", "einen", "einem", "einer", "der", "die", "das", "den", "dem", "ist", "sind", "es"),
    )
)
"""Words that two captions of the same content may differ in."""

_STARTS: dict[Form, tuple[float, float]] = {"softmax": (1 / 0.07, 0.0), "sigmoid": (10.0, -10.0)}
_HIGHEST_SCALE = 100.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """How much the pairs of a batch are doubted; captions gathered from the web are often of something else (ALIGN).

    Args:
        trim: up to this share of the pairs is not learned, those of the largest loss in the batch (iterative trimmed loss,
            Shen & Sanghavi 2019), and of them only what the model finds less likely than chance: one that knows nothing yet
            learns from all. They stay among the negatives: without that, a model could make its task as easy as it likes.
            A little more than the share of wrong captions is about right.
        soft: this share of each target is what the model itself says (soft bootstrapping, Reed et al. 2015, eq. 5).
    """

    trim: float = 0.0
    soft: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("trim", self.trim), ("soft", self.soft)):
            if not 0 <= value < 1:
                raise RequestError(f"contrastive {name}", f"is {value}, outside 0 to 1", "Give the share of pairs in doubt")


class Contrast(nn.Module):
    """Callable over the unit vectors of both sides; the scale on the cosines (and the sigmoid's bias) is learned with the rest.

    Args:
        form: "softmax" is InfoNCE both ways (Radford et al. 2021, figure 3). "sigmoid" asks of each pair by itself whether it
            is right (Zhai et al. 2023, eq. 1, with its starting values t = 10 and b = -10).
        doubt: for noisy pairs; None trusts all of them.
        scale: where the learned scale starts; None is the paper's. It never exceeds 100.
    """

    def __init__(self, form: Form = "softmax", doubt: Doubt | None = None, scale: float | None = None) -> None:
        super().__init__()
        start, bias = _STARTS[form]
        self.form, self.doubt = form, doubt or Doubt()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale or start)))
        self.bias = nn.Parameter(torch.tensor(bias)) if form == "sigmoid" else None

    def forward(self, images_PD: Tensor, texts_PD: Tensor, right_PP: Tensor | None = None, mine: slice = slice(None)) -> Loss:
        """The mean over pictures (and, for the softmax, over both directions) times how many count.

        Args:
            images_PD, texts_PD: unit vectors; row i of both is a pair.
            right_PP: bool, whether text j is right for picture i too (`alike`, `holding`); the diagonal always is. Such a pair
                is no negative: each right pair competes with the wrong ones alone.
            mine: the pairs that count here; the others are there to be told from, and count in another process.
        """
        own_PP = own(len(images_PD), images_PD.device)
        right_PP = own_PP if right_PP is None else right_PP | own_PP
        scores_PP = self.scores(images_PD, texts_PD)
        hits_M1 = scores_PP.detach()[mine].argmax(1, keepdim=True)
        found = float(right_PP[mine].gather(1, hits_M1).float().sum())
        kept_P = self._believed(scores_PP.detach(), right_PP) if self.doubt.trim else None
        losses_M = self._losses(scores_PP, right_PP, mine, kept_P)
        losses_M = losses_M if kept_P is None else losses_M[kept_P[mine]]
        total, size, counted = losses_M.sum(), len(losses_M), len(hits_M1)
        same = float(images_PD.detach().mean(0).square().sum())
        terms = {"loss": (float(total.detach()), size), "found": (found, counted), "crowded": (same * counted, counted)}
        return Loss(total, size, {name: (value, float(count)) for name, (value, count) in terms.items()})

    def scores(self, images_PD: Tensor, texts_XD: Tensor) -> Tensor:
        """The logits of every picture with every text, `(P, X)`."""
        scores_PX = images_PD @ texts_XD.t() * self.scale
        return scores_PX if self.bias is None else scores_PX + self.bias

    @property
    def scale(self) -> Tensor:
        """On the cosines."""
        return self.log_scale.clamp(max=math.log(_HIGHEST_SCALE)).exp()

    def _losses(self, scores_PP: Tensor, right_PP: Tensor, mine: slice, kept_P: Tensor | None = None) -> Tensor:
        """Of each picture of `mine` (and the text beside it), `(M,)`; one that is not kept is wrong for other texts, and right
        for none.
        """
        if self.form == "sigmoid":
            scores_MP = scores_PP[mine]
            targets_MP = right_PP[mine].to(scores_MP.dtype)
            if self.doubt.soft:
                targets_MP = torch.lerp(targets_MP, scores_MP.detach().sigmoid(), self.doubt.soft)
            return F.binary_cross_entropy_with_logits(scores_MP, targets_MP, reduction="none").sum(1)
        to_text_M, said_PP = against_wrong(scores_PP[mine], right_PP[mine]), scores_PP
        if kept_P is not None:
            doubted_PP = right_PP & ~kept_P[:, None]
            scores_PP, right_PP = scores_PP.masked_fill(doubted_PP, torch.finfo(scores_PP.dtype).min), right_PP & ~doubted_PP
        to_image_M = against_wrong(scores_PP.t()[mine], right_PP.t()[mine])
        losses_M = (to_text_M + to_image_M) / 2
        if self.doubt.soft:
            said_M = (_entropy(said_PP[mine]) + _entropy(said_PP.t()[mine])) / 2
            losses_M = torch.lerp(losses_M, said_M, self.doubt.soft)
        return losses_M

    def _believed(self, scores_PP: Tensor, right_PP: Tensor) -> Tensor:
        """Which pairs are kept, bool."""
        own_PP = own(len(scores_PP), scores_PP.device)
        others_PP = right_PP & ~own_PP
        doubt_P = scores_PP.new_zeros(len(scores_PP))
        for scores, others in ((scores_PP, others_PP), (scores_PP.t(), others_PP.t())):
            chance_P = (~others).sum(1).log()
            doubt_P = doubt_P + against_wrong(scores.masked_fill(others, torch.finfo(scores.dtype).min), own_PP) - chance_P
        count = max(1, math.ceil((1 - self.doubt.trim) * len(doubt_P)))
        bar = doubt_P.sort().values[count - 1].clamp(min=0)
        return doubt_P <= bar


def contrast(images_PD: Tensor, texts_PCD: Tensor, scale: Tensor) -> Loss:
    """Each text finds its picture, and each picture its texts: all of them are right, the other pictures' are wrong.

    Args:
        images_PD: unit vectors of P pictures. texts_PCD: of C texts for each of them. scale: on the cosines.

    Returns:
        The mean over both directions times P. A picture's texts share one softmax, so that the least loss is ln C.
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


def alike(texts: Sequence[str], pictures: Sequence[Hashable] | None = None) -> Tensor:
    """Which pairs of a batch are no negatives, bool `(P, P)`: the same picture, or a text that says the same.

    Two texts say the same when they have the same words in the same order, whatever the case, the punctuation and `FILLERS`.

    Args:
        texts: one a pair. pictures: what tells a picture from another, such as its path; None means that all differ.
    """
    said = _numbered([_content(text) for text in texts])
    same_PP = said[:, None] == said
    if pictures is None:
        return same_PP
    assert len(pictures) == len(texts), f"{len(texts)} texts of {len(pictures)} pictures"
    shown = _numbered(pictures)
    return same_PP | (shown[:, None] == shown)


def holding(texts: Sequence[str]) -> Tensor:
    """Which texts each text holds, bool `(P, P)`: [i, j] where the words of text j stand in a row within those of text i.

    "A red star" says less than "a small red star", and is true of the picture that the latter is of; not the other way round.
    Case, punctuation and `FILLERS` do not count. Of a text that denies ("no red star") this would be wrong.
    """
    said = [f" {' '.join(_content(text))} " for text in texts]
    return torch.tensor([[other in one for other in said] for one in said])


def own(count: int, device: torch.device | None = None) -> Tensor:
    """Each picture with its own text and no other, bool `(count, count)`."""
    return torch.eye(count, dtype=torch.bool, device=device)


def against_wrong(scores_PX: Tensor, right_PX: Tensor) -> Tensor:
    """For each row the mean over its right columns of `-log(e^right / (e^right + sum of e^wrong))`, `(P,)`.

    With one right column this is the cross-entropy; with more, none of them stands against another.
    """
    lowest = torch.finfo(scores_PX.dtype).min
    wrong_P1 = scores_PX.masked_fill(right_PX, lowest).logsumexp(1, keepdim=True)
    losses_PX = F.softplus(wrong_P1 - scores_PX).masked_fill(~right_PX, 0.0)
    return losses_PX.sum(1) / right_PX.sum(1).clamp(min=1)


def _entropy(scores_PX: Tensor) -> Tensor:
    """Cross-entropy of each row with what the model itself says, `(P,)`."""
    return -(scores_PX.detach().softmax(1) * scores_PX.log_softmax(1)).sum(1)


def _content(text: str) -> tuple[str, ...]:
    words = tuple(re.findall(r"\w+", text.lower()))
    return tuple(word for word in words if word not in FILLERS) or words


def _numbered(items: Sequence[Hashable]) -> Tensor:
    """Equal items get equal numbers."""
    numbers: dict[Hashable, int] = {}
    return torch.tensor([numbers.setdefault(item, len(numbers)) for item in items])
