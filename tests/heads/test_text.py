from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
import torch
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from sensorium.errors import RequestError
from sensorium.heads.text import (
    check_sampling,
    draw,
    filtered,
    generator,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise_repetition,
    report,
    scale,
)
from sensorium.protocols import Sampling

NO_IDS = torch.zeros(5, 0, dtype=torch.long)


def logits() -> Tensor:
    return torch.randn(5, 40, generator=torch.Generator().manual_seed(1)) * 3


def test_each_filter_equals_transformers_exactly() -> None:
    x = logits()
    tied = x.round()
    ids = torch.randint(40, (5, 7), generator=torch.Generator().manual_seed(2))
    for values in (x, tied):
        for k in (1, 3, 100):
            assert torch.equal(keep_top_k(values, k), TopKLogitsWarper(k)(NO_IDS, values))
        for p in (0.1, 0.5, 0.9, 0.999):
            assert torch.equal(keep_top_p(values, p), TopPLogitsWarper(p)(NO_IDS, values))
        for p in (0.02, 0.3, 1.0):
            assert torch.equal(keep_min_p(values, p), MinPLogitsWarper(p)(NO_IDS, values))
        for t in (0.3, 1.7):
            assert torch.equal(scale(values, t), TemperatureLogitsWarper(t)(NO_IDS, values))
        for penalty in (0.8, 1.3):
            assert torch.equal(
                penalise_repetition(values, ids, penalty), RepetitionPenaltyLogitsProcessor(penalty)(ids, values)
            )


def test_all_filters_together_come_in_the_order_of_transformers() -> None:
    chain = LogitsProcessorList(
        [TemperatureLogitsWarper(0.7), TopKLogitsWarper(20), TopPLogitsWarper(0.8), MinPLogitsWarper(0.05)]
    )
    sampling = Sampling(temperature=0.7, top_k=20, top_p=0.8, min_p=0.05)
    assert torch.equal(filtered(logits(), sampling), chain(NO_IDS, logits()))


def test_padding_and_foreign_ids_do_not_count_as_said() -> None:
    x = logits()[:1]
    ids, valid = torch.tensor([[3, 4, 99]]), torch.tensor([[True, False, True]])
    changed = (penalise_repetition(x, ids, 2.0, valid) != x)[0].nonzero().flatten().tolist()
    assert changed == [3]


def test_greedy_takes_the_best_and_reports_the_unmodified_distribution() -> None:
    x = logits()
    plain = x.log_softmax(-1)
    drawn = draw(x, Sampling(repetition_penalty=50.0, top_logprobs=3), ids_BL=x.argmax(-1, keepdim=True))
    assert not (drawn.ids_B == x.argmax(-1)).any()
    assert torch.equal(drawn.logprobs_B, plain.gather(1, drawn.ids_B[:, None])[:, 0])
    assert torch.equal(drawn.top_logprobs_BN, plain.topk(3).values)
    assert torch.equal(drawn.top_ids_BN[:, 0], x.argmax(-1))
    assert draw(x, Sampling(temperature=0.0, top_k=1)).top_ids_BN.shape == (5, 0)


def test_a_seed_repeats_the_draw_and_another_changes_it() -> None:
    x, sampling = torch.zeros(64, 30), Sampling(temperature=1.0, seed=3)
    again = [draw(x, sampling, chance=generator(sampling)).ids_B for _ in range(2)]
    other = replace(sampling, seed=4)
    assert torch.equal(*again)
    assert not torch.equal(again[0], draw(x, other, chance=generator(other)).ids_B)
    assert generator(Sampling()) is None


def test_draws_follow_the_filtered_distribution() -> None:
    x = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(20_000, -1)
    sampling = Sampling(temperature=1.0, top_k=2, seed=0)
    shares = torch.bincount(draw(x, sampling, chance=generator(sampling)).ids_B, minlength=4) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.625, 0.375, 0.0, 0.0]), rtol=0, atol=0.015)


def test_half_precision_is_reported_in_single() -> None:
    out = report(torch.zeros(1, 8, dtype=torch.bfloat16), torch.tensor([2]), top=1)
    assert out.logprobs_B.dtype is torch.float32
    assert out.logprobs_B.item() == pytest.approx(-log(8))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_tokens": 0}, "max_tokens: is 0. Give a value at least 1"),
        ({"temperature": -0.1}, "temperature: is -0.1"),
        ({"temperature": 1e-9}, "temperature: is 1e-09. Give a value of 0 (greedy), or 0.001 and above"),
        ({"temperature": float("nan")}, "temperature: is nan"),
        ({"top_k": -1}, "top_k: is -1"),
        ({"top_p": 0.0}, "top_p: is 0.0"),
        ({"min_p": 1.5}, "min_p: is 1.5"),
        ({"repetition_penalty": 0.0}, "repetition_penalty: is 0.0"),
        ({"beams": 0}, "beams: is 0"),
        ({"beams": 2, "temperature": 0.5}, "beams: is 2 with temperature 0.5"),
        ({"top_logprobs": 21}, "top_logprobs: is 21. Give a value from 0 to 20"),
        ({"stop": ("",)}, "stop: holds an empty string"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, object], words: str) -> None:
    check_sampling(Sampling())
    with pytest.raises(RequestError) as caught:
        check_sampling(Sampling(**options))  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_penalty_needs_the_tokens_so_far() -> None:
    with pytest.raises(RequestError, match="repetition_penalty: needs the tokens so far"):
        draw(logits(), Sampling(repetition_penalty=1.2))
