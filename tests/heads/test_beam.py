from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from sensorium.heads.beam import BeamState, Hypothesis


def tiny(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=13, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, initializer_range=0.6
    )
    return LlamaForCausalLM(config).eval()


@torch.no_grad()
def search(model: LlamaForCausalLM, prompts: Tensor, state: BeamState) -> BeamState:
    rows = prompts
    while not state.done:
        fork = state.step(model(rows).logits[:, -1].log_softmax(-1))
        rows = torch.cat([rows[fork.parents_B], fork.ids_B[:, None]], 1)
        assert torch.equal(rows[:, prompts.shape[1] :], state.said())
    return state


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("beams", "penalty", "stop"), [(2, 1.0, [0]), (4, 0.0, [0, 3]), (3, 2.0, [5]), (2, 0.5, [2, 7]), (4, -1.0, [0])]
)
def test_equals_transformers(seed: int, beams: int, penalty: float, stop: list[int]) -> None:
    model, prompts = tiny(seed), torch.randint(13, (3, 4), generator=torch.Generator().manual_seed(seed))
    expected = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=7,
        length_penalty=penalty,
        do_sample=False,
        eos_token_id=stop,
        pad_token_id=12,
        return_dict_in_generate=True,
        output_scores=True,
    )
    state = search(model, prompts, BeamState(3, beams, stop, max_tokens=7, length_penalty=penalty))
    ours = [item for row in state.best(beams) for item in row]
    for found, ids, score in zip(ours, expected.sequences[:, 4:].tolist(), expected.sequences_scores.tolist(), strict=True):
        assert list(found.ids) == ids[: len(found.ids)]
        assert set(ids[len(found.ids) :]) <= {12}
        assert found.score == pytest.approx(score, rel=1e-5)
        assert found.score == pytest.approx(sum(found.logprobs) / len(found.ids) ** penalty, rel=1e-5)
        assert found.ended is (found.ids[-1] in stop)


def test_with_as_many_beams_as_answers_the_best_of_all_is_found() -> None:
    chain = torch.randn(4, 4, generator=torch.Generator().manual_seed(5)).log_softmax(-1)
    state, rows = BeamState(1, 64, [], max_tokens=3, length_penalty=0.0), torch.tensor([[0]])
    while not state.done:
        fork = state.step(chain[rows[:, -1]])
        rows = torch.cat([rows[fork.parents_B], fork.ids_B[:, None]], 1)
    best: Hypothesis = state.best()[0][0]
    scores = {
        ids: float(sum(chain[a, b] for a, b in itertools.pairwise((0, *ids)))) for ids in itertools.product(range(4), repeat=3)
    }
    assert best.ids == max(scores, key=lambda ids: scores[ids])
    assert best.score == pytest.approx(max(scores.values()), abs=1e-5)
    assert not best.ended


def test_ranking_may_differ_from_the_reported_log_probabilities() -> None:
    plain = torch.tensor([[0.7, 0.2, 0.1]]).log()
    state = BeamState(1, 1, [], max_tokens=1)
    state.step(plain, ranking_BV=torch.tensor([[-9.0, -1.0, -9.0]]))
    best = state.best()[0][0]
    assert best.ids == (1,)
    assert best.logprobs == pytest.approx((torch.tensor(0.2).log().item(),))
    assert best.score == -1.0


def test_one_beam_is_greedy() -> None:
    model, prompts = tiny(0), torch.tensor([[1, 2, 3]])
    expected = model.generate(
        prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=7, do_sample=False, eos_token_id=0, pad_token_id=12
    )
    assert list(search(model, prompts, BeamState(1, 1, [0], max_tokens=7)).best()[0][0].ids) == expected[0, 3:].tolist()
