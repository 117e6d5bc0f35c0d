"""A thinner copy of a language model, and the objective that teaches it from the whole one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from sensorium.data.flat import Flat
from sensorium.errors import RequestError
from sensorium.model.build import build
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.distillation import Distillation, Lessons, Seen, spread
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken


def thin(model: MultimodalLM, layers: int) -> MultimodalLM:
    """The same model with fewer decoder layers, evenly chosen, the last among them (DistilBERT, Sanh et al. 2019).

    Raises:
        RequestError: more layers than there are, or a model whose media come in before certain layers.
    """
    assert model.blueprint is not None
    config = model.blueprint.config
    if config.crossings is not None:
        problem = "reads media before certain layers, which a thinner copy would not have"
        raise RequestError("teacher", problem, "Use one whose media are spliced in")
    kept = [teacher for _, teacher in spread(layers, config.language.layers)]
    shape = config.model_copy(update={"language": replace(config.language, layers=layers)})
    student = build(replace(model.blueprint, config=shape))
    student.load_state_dict(_renumbered(model, kept))
    return student


class Taught(nn.Module):
    """Callable over (student, batch): the teacher's distributions and last hidden states at the learned tokens.

    Args:
        teacher: frozen by this.
    """

    def __init__(self, teacher: MultimodalLM, student: MultimodalLM, lessons: Lessons) -> None:
        super().__init__()
        if lessons.attention:
            problem = "are not made for rows laid end to end"
            raise RequestError("distillation: attention maps", problem, "Set their weight to 0")
        self._teacher = (teacher.requires_grad_(False).eval(),)  # in a tuple: its tensors are not this module's
        widths = student.decoder.config.dim, teacher.decoder.config.dim
        self.objective = Distillation(lessons, *widths, layers=1 if lessons.hidden else 0)

    def forward(self, model: MultimodalLM, flat: Flat) -> Loss:
        """Summed over the learned tokens."""
        with torch.no_grad():
            told = self._seen(self._teacher[0], flat)
        loss: Loss = self.objective(self._seen(model, flat), told, flat.targets.ids_T)
        return loss

    def _seen(self, model: MultimodalLM, flat: Flat) -> Seen:
        hidden_TD = NextToken(encoders=model.encoders).hidden(model, flat)
        return Seen(model.decoder.logits(hidden_TD), [hidden_TD[None]])


def _renumbered(model: MultimodalLM, kept: Sequence[int]) -> dict[str, torch.Tensor]:
    """A model's tensors with only these decoder layers, counted anew."""
    places, state = {f"decoder.layers.{old}.": f"decoder.layers.{new}." for new, old in enumerate(kept)}, {}
    for name, tensor in model.state_dict().items():
        front = next((place for place in places if name.startswith(place)), None)
        if front is not None:
            state[places[front] + name[len(front) :]] = tensor
        elif not name.startswith("decoder.layers."):
            state[name] = tensor
    return state
