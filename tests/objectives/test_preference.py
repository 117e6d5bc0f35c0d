"""Preference losses against trl's trainers on the same log-probabilities, and by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from sensorium.batch import Modality
from sensorium.data.packing import grow, pack
from sensorium.errors import RequestError
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.presets import tiny
from sensorium.objectives.preference import Answers, Preference, log_probabilities
from sensorium.parts import Message, Sample, Text

LENGTHS = torch.tensor([[7, 3, 5, 1], [2, 6, 5, 4]])
"""Of the chosen and of the rejected answers."""


def answers() -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of 8 tokens of 4 chosen, then 4 rejected answers: of the policy and of the reference; and the mask."""
    chance = torch.Generator().manual_seed(0)
    mask_BL = (torch.arange(8) < LENGTHS.flatten()[:, None]).float()
    policy_BL, reference_BL = (-torch.rand(2, 8, 8, generator=chance) * 2) * mask_BL
    return policy_BL, reference_BL, mask_BL


def split(tokens_BL: Tensor, mask_BL: Tensor) -> tuple[Answers, Answers]:
    totals, lengths = tokens_BL.sum(1).chunk(2), mask_BL.sum(1).chunk(2)
    return Answers(totals[0], lengths[0]), Answers(totals[1], lengths[1])


@pytest.mark.slow  # for the import of trl
@pytest.mark.parametrize(
    ("form", "theirs", "beta"), [("dpo", "sigmoid", 0.1), ("dpo", "sigmoid", 0.7), ("ln-dpo", "sigmoid_norm", 5.0)]
)
def test_with_a_reference_it_is_trls_loss(form: str, theirs: str, beta: float) -> None:
    """trl computes its loss from per-token log-probabilities that a model returns: two stand-ins return ours."""
    dpo = pytest.importorskip("trl.trainer.dpo_trainer")
    policy_BL, reference_BL, mask_BL = answers()
    said: dict[str, list[float]] = {}

    class Model(nn.Module):
        """Returns log-probabilities; whatever else the trainer logs is zeros."""

        is_gradient_checkpointing = False

        def __init__(self, tokens_BL: Tensor) -> None:
            super().__init__()
            self.tokens_BL = tokens_BL

        def forward(self, **_: object) -> SimpleNamespace:
            zeros_BL = torch.zeros_like(self.tokens_BL)
            return SimpleNamespace(log_probs=self.tokens_BL, entropy=zeros_BL, mean_logits=zeros_BL, is_top1=zeros_BL.bool())

    class Metrics(dict):  # type: ignore[type-arg]
        def __missing__(self, key: str) -> list[float]:
            return said.setdefault(key, [])

    trainer = SimpleNamespace(
        model=Model(policy_BL),
        ref_model=Model(reference_BL),
        accelerator=SimpleNamespace(device="cpu", gather_for_metrics=lambda value: value, gather=lambda value: value),
        args=SimpleNamespace(gradient_checkpointing=False, gradient_checkpointing_kwargs=None),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=False,
        f_divergence_type="reverse_kl",
        loss_types=[theirs],
        loss_weights=[1.0],
        beta=beta,
        use_weighting=False,
        _metrics={"train": Metrics()},
        _total_train_tokens=0,
        _tp_size=1,
    )
    completion_BL = torch.nn.functional.pad(mask_BL, (1, 0)).long()
    inputs = {
        "input_ids": torch.zeros(8, 9).long(),
        "attention_mask": torch.ones(8, 9).long(),
        "completion_mask": completion_BL,
    }
    wanted = dpo.DPOTrainer._compute_loss(trainer, Model(policy_BL), inputs, False)
    mine = Preference(form, beta)(*split(policy_BL, mask_BL), split(reference_BL, mask_BL))  # type: ignore[arg-type]
    assert float(mine.total) / mine.size == pytest.approx(float(wanted), abs=1e-6)
    assert mine.terms["preferred"][0] / 4 == pytest.approx(said["rewards/accuracies"][0]) if form == "dpo" else True


@pytest.mark.slow
def test_simpo_is_trls_loss() -> None:
    cpo = pytest.importorskip("trl.experimental.cpo.cpo_trainer")
    policy_BL, _, mask_BL = answers()
    chosen, rejected = split(policy_BL, mask_BL)
    trainer = SimpleNamespace(
        alpha=0.0, beta=2.0, simpo_gamma=1.2, label_smoothing=0.0, loss_type="simpo", accelerator=SimpleNamespace(device="cpu")
    )
    losses_B, *_ = cpo.CPOTrainer.cpo_loss(trainer, chosen.total_B / chosen.length_B, rejected.total_B / rejected.length_B)
    mine = Preference("simpo", 2.0, margin=1.2)(chosen, rejected)
    assert float(mine.total) == pytest.approx(float(losses_B.sum()), abs=1e-5)


def test_dpo_by_hand() -> None:
    """A policy that is the reference has gained nothing: ln 2 a pair, and a gradient of beta / 2 on each log-probability."""
    chosen_B = torch.tensor([-3.0], requires_grad=True)
    rejected_B, length_B = torch.tensor([-5.0]), torch.tensor([4.0])
    reference = Answers(torch.tensor([-3.0]), length_B), Answers(torch.tensor([-5.0]), length_B)
    loss = Preference("dpo", 0.4)(Answers(chosen_B, length_B), Answers(rejected_B, length_B), reference)
    assert float(loss.total.detach()) == pytest.approx(math.log(2))
    loss.total.backward()
    assert chosen_B.grad is not None and float(chosen_B.grad) == pytest.approx(-0.2)
    assert loss.terms["preferred"] == (0.0, 1.0)


def test_a_longer_answer_gains_nothing_by_its_length_where_that_is_divided_out() -> None:
    zero = Answers(torch.zeros(1), torch.ones(1))
    short, long = Answers(torch.tensor([-2.0]), torch.tensor([2.0])), Answers(torch.tensor([-8.0]), torch.tensor([8.0]))
    still = Preference("ln-dpo")(short, long, (zero, zero))
    assert float(still.total) == pytest.approx(math.log(2))
    assert float(Preference("dpo")(short, long, (zero, zero)).total) < math.log(2)


def test_references_are_asked_for_and_refused() -> None:
    some = Answers(torch.zeros(1), torch.ones(1))
    with pytest.raises(RequestError, match="preference dpo: needs the log-probabilities of the reference. Score the answers"):
        Preference()(some, some)
    with pytest.raises(RequestError, match="preference simpo: compares with no reference. Leave them out"):
        Preference("simpo")(some, some, (some, some))
    with pytest.raises(RequestError, match="margin 0.5: has no meaning for dpo. Leave it out, or use simpo"):
        Preference(margin=0.5)


@pytest.fixture(scope="module")
def model() -> MultimodalLM:
    return tiny()


def test_log_probabilities_are_those_of_the_rows_one_by_one(model: MultimodalLM) -> None:
    said = ["Yes.", "A longer answer than that.", "No"]
    samples = [
        Sample(text, (Message("user", (Text("Why?"),)), Message("assistant", (Text(text),), learn=True))) for text in said
    ]
    packed = pack([grow(model.batch([sample]), [1.0]) for sample in samples])
    found = log_probabilities(model, packed)
    for row, sample in enumerate(samples):
        batch = model.batch([sample])
        logits_LV = model.decoder.logits(model(batch).hidden_BLD)[0]
        learned_L = batch.learn_BL[0].nonzero()[:, 0]
        logs = [float(logits_LV[place - 1].log_softmax(-1)[batch.ids_BL[0, place]].detach()) for place in learned_L]
        assert float(found.total_B[row].detach()) == pytest.approx(sum(logs), abs=1e-3)
        assert float(found.length_B[row]) == len(logs)
    assert Modality.IMAGE not in packed.media
    assert not found.detached().total_B.requires_grad
