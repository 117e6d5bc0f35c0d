"""What a run is really learning from: tokens that teach, media that are seen, and what the loss is without them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from sensorium.batch import Batch, Features, Modality, Placement
from sensorium.data.flat import Flat
from sensorium.data.packing import Packed, targets_of
from sensorium.errors import CheckpointError
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.training.config import Settings
from sensorium.training.task import Blindfold, Task

Rows = Batch | Flat | Packed
B = TypeVar("B")


class Truth(Settings):
    """What is watched at every evaluation.

    Args:
        blind: measure the loss with the media zeroed and with those of other rows.
        towers: a part that should learn and got no gradient since the last evaluation stops the run.
        patience: a collapse seen at so many evaluations running stops the run; 0 only tells.
    """

    blind: bool = True
    towers: bool = True
    patience: int = Field(default=3, ge=0)


class Account(NamedTuple):
    """Of a batch: positions, those that are learned, and those that media take, by modality."""

    rows: int
    tokens: int
    supervised: int
    media: dict[str, int]


def account(batch: Any) -> Account | None:
    """What a batch of ours holds; None for batches of another kind."""
    if isinstance(batch, Batch):
        tokens, supervised, rows = int(batch.valid_BL.sum()), len(targets_of(batch).ids_T), len(batch.samples)
    elif isinstance(batch, Flat):
        tokens, supervised, rows = batch.ids_BL.numel(), len(batch.targets.ids_T), len(batch.lengths)
    elif isinstance(batch, Packed):
        tokens, supervised, rows = int(batch.attend_BLS.any(1).sum()), len(batch.targets.ids_T), len(batch.ids_BL)
    else:
        return None
    return Account(rows, tokens, supervised, _media_tokens(batch.placements))


def blindfolded(batch: Any, how: Blindfold) -> Any:
    """A batch of ours with its media replaced: by zeros, or each by the next one of its grid; None where that cannot be."""
    if not isinstance(batch, Batch | Flat | Packed) or not batch.media:
        return None
    media: dict[Modality, Sequence[Tensor]] = {}
    for kind, tensors in batch.media.items():
        grids = [spot.grid for spot in batch.placements if spot.modality is kind]
        moved = [torch.zeros_like(tensor) for tensor in tensors] if how == "zeroed" else _turned(tensors, grids)
        if moved is None:
            return None
        media[kind] = moved
    return replace(batch, media=media) if isinstance(batch, Batch) else batch._replace(media=media)


@dataclass(slots=True)
class Verdict:
    """What one evaluation found; `loss` is the weighted sum of the tasks' losses, None without held batches."""

    values: dict[str, Any] = field(default_factory=dict)
    loss: float | None = None


class Judge:
    """Evaluates a run's tasks on their held batches.

    Args:
        model: evaluated as it is, in evaluation mode. casting: as in training.
    """

    def __init__(self, model: Any, tasks: Sequence[Task[Any]], truth: Truth, casting: Any) -> None:
        self.model, self.tasks, self.truth, self.casting = model, tasks, truth, casting
        self._patience = truth.patience
        self._touched: set[str] = set()
        self._steps = 0
        self._strikes: dict[str, int] = {}

    def felt(self, norms: Mapping[str, float]) -> None:
        """The gradient norms of one step, by part."""
        self._steps += 1
        self._touched |= {name for name, norm in norms.items() if norm > 0}

    @torch.no_grad()
    def __call__(self, step: int, learning: Iterable[str]) -> Verdict:
        """Everything that is watched.

        Args:
            learning: the parts that should have got a gradient since the last time.

        Raises:
            CheckpointError: a part without a gradient, or a collapse seen too often.
        """
        if self.truth.towers and self._steps and (dead := sorted(set(learning) - self._touched)):
            problem = f"should learn, and has had no gradient since the last evaluation, up to step {step}"
            remedy = "Give it rows that reach it, or freeze it; rare media need a larger training.evaluate_every"
            raise CheckpointError(f"part {dead[0]}", problem, remedy)
        self._touched, self._steps = set(), 0
        modules = [item for item in (self.model, *(task.objective for task in self.tasks)) if isinstance(item, nn.Module)]
        modes = [(module, module.training) for item in modules for module in item.modules()]
        for item in modules:
            item.eval()
        try:
            return self._judged(step)
        finally:
            for module, mode in modes:
                module.training = mode

    def _judged(self, step: int) -> Verdict:
        verdict, signs = Verdict(), dict[str, str]()
        for task in self.tasks:
            if not task.held:
                continue
            front = "" if len(self.tasks) == 1 else f"{task.name}/"
            terms, size = self._terms(task, task.held)
            loss = terms["loss"]
            verdict.values |= {front + name: value for name, value in terms.items()}
            verdict.loss = (verdict.loss or 0.0) + task.weight * loss
            if self.truth.blind:
                verdict.values |= {front + name: value for name, value in self._gaps(task).items()}
            if task.contrastive and size > 1 and abs(loss - math.log(size)) < 0.02 * math.log(size):
                signs[f"{task.name}: loss"] = (
                    f"stays at {loss:.3f}, the logarithm of its {size:.0f} pairs: nothing is told apart"
                )
            signs |= self._signs(task)
        self._count(signs, step)
        if signs:
            verdict.values["collapse"] = [f"{name} {text}" for name, text in signs.items()]
        return verdict

    def _terms(self, task: Task[Any], batches: Sequence[Any]) -> tuple[dict[str, float], float]:
        """The mean of each term over batches, and the mean size of a batch.

        `loss` is the objective's own total by its size where it has no term of that name.
        """
        losses: list[Loss] = []
        for batch in batches:
            with self._cast():
                losses.append(task.objective(self.model, batch))
        names = sorted({name for loss in losses for name in loss.terms})
        sums = {name: [loss.terms[name] for loss in losses if name in loss.terms] for name in names}
        means = {
            name: sum(value for value, _ in all_) / max(sum(size for _, size in all_), 1e-9) for name, all_ in sums.items()
        }
        size = sum(loss.size for loss in losses)
        means.setdefault("loss", sum(float(loss.total) for loss in losses) / max(size, 1e-9))
        return means, size / len(losses)

    def _gaps(self, task: Task[Any]) -> dict[str, float]:
        """The loss blind, and how much higher it is than sighted, over the batches that have media."""
        found: dict[str, float] = {}
        ways: tuple[Blindfold, ...] = ("zeroed", "swapped")
        for how in ways:
            pairs = [(batch, (task.blind or blindfolded)(batch, how)) for batch in task.held]
            pairs = [pair for pair in pairs if pair[1] is not None]
            if pairs:
                sighted, blind = (self._terms(task, [pair[side] for pair in pairs])[0]["loss"] for side in (0, 1))
                found |= {f"loss_{how}": blind, f"gap_{how}": blind - sighted}
        return found

    def _signs(self, task: Task[Any]) -> dict[str, str]:
        """Signs that a language model sees nothing or says one thing."""
        if not isinstance(self.model, MultimodalLM) or not isinstance(task.objective, NextToken):
            return {}
        signs: dict[str, str] = {}
        held = [batch for batch in task.held if isinstance(batch, Batch | Flat)]
        for kind, spread in _spreads(self.model, task.objective, held, self._cast).items():
            if spread < 1e-7:
                signs[f"connectors.{kind}"] = f"gives all media the same features (spread {spread:.1e} of their size)"
        given, said = _first_words(self.model, task.objective, held, self._cast)
        if len(given) >= 8 and max(given.count(word) for word in set(given)) <= 0.8 * len(given) and len(set(said)) == 1:
            signs[f"{task.name}: answers"] = f"all begin alike, for {len(set(given))} different beginnings asked for"
        return signs

    def _count(self, signs: Mapping[str, str], step: int) -> None:
        self._strikes = {name: self._strikes.get(name, 0) + 1 for name in signs}
        for name, times in self._strikes.items():
            if self._patience and times >= self._patience:
                problem = f"{signs[name]}, at {times} evaluations running, up to step {step}"
                remedy = "Lower the rate, check the media, or set training.truth.patience=0 to go on all the same"
                raise CheckpointError(name, problem, remedy)

    def _cast(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self.casting()
        return context


def _media_tokens(placements: Sequence[Placement]) -> dict[str, int]:
    found: dict[str, int] = {}
    for spot in placements:
        if spot.modality is not Modality.TEXT:
            found[str(spot.modality)] = found.get(str(spot.modality), 0) + spot.length
    return found


def _turned(tensors: Sequence[Tensor], grids: Sequence[tuple[int, ...]]) -> list[Tensor] | None:
    """Each in the place of the one before it that takes as many positions; None where one has no like."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, grid in enumerate(grids):
        groups.setdefault(grid, []).append(index)
    if any(len(group) < 2 for group in groups.values()):
        return None
    moved = list(tensors)
    for group in groups.values():
        for index, other in zip(group, group[1:] + group[:1], strict=True):
            moved[index] = tensors[other]
    return moved


def _spreads(model: MultimodalLM, objective: NextToken, held: Sequence[Batch | Flat], cast: Any) -> dict[str, float]:
    """For each modality the variance of its connector's outputs over media, as a share of their mean square."""
    found: dict[str, float] = {}
    encoders = model.encoders if held and isinstance(held[0], Batch) else objective.encoders
    for kind in sorted({kind for batch in held for kind in batch.media}):
        tensors = [tensor for batch in held for tensor in batch.media.get(kind, ())][:16]
        if encoders is None or len({tensor.float().sum().item() for tensor in tensors}) < 2:
            continue
        with cast():
            features: Features = model.connectors[kind](encoders[kind](tensors))
        weights_PT1 = features.valid_BT[..., None].float()
        means_PD = (features.x_BTD.float() * weights_PT1).sum(1) / weights_PT1.sum(1).clamp(min=1)
        found[str(kind)] = float(means_PD.var(0).mean() / means_PD.square().mean().clamp(min=1e-30))
    return found


def _first_words(
    model: MultimodalLM, objective: NextToken, held: Sequence[Batch | Flat], cast: Any
) -> tuple[list[int], list[int]]:
    """The first learned token of each row, and what the model says there."""
    given: list[int] = []
    said: list[int] = []
    for batch in held:
        targets = targets_of(batch) if isinstance(batch, Batch) else batch.targets
        with cast():
            words_T = model.decoder.logits(objective.hidden(model, batch)).argmax(-1)
        rows = targets.rows_T.tolist()
        if isinstance(batch, Flat):
            ends_R = torch.tensor(batch.lengths).cumsum(0)
            rows = torch.searchsorted(ends_R, targets.places_T, right=True).tolist()
        firsts = [index for index, row in enumerate(rows) if index == 0 or rows[index - 1] != row]
        given += [int(targets.ids_T[index]) for index in firsts]
        said += [int(words_T[index]) for index in firsts]
    return given, said
