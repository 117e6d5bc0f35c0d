"""The cache: chunks, rows of different lengths, cropping, forking, growth."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sensorium.language.cache import STEP, KVCache
from sensorium.language.decoder import Decoder
from tests.language.families import FAMILIES, LENGTH, ids, ours, reference

CHOSEN = {"llama": FAMILIES[0], "mistral, window": FAMILIES[9], "gemma3": FAMILIES[11]}


@pytest.fixture(params=CHOSEN.values(), ids=CHOSEN.keys(), scope="module")
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return ours(reference(request.param)).requires_grad_(False)


def close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() < 1e-5)


@pytest.mark.parametrize("cuts", [(17,), (1, 2, 3), (8, 9, 30, 39)])
def test_prefill_in_chunks_equals_one_go(decoder: Decoder, cuts: tuple[int, ...]) -> None:
    embeds_BLD, cache = decoder.embed(ids(3)), KVCache(decoder.config, 3)
    whole_BLD = decoder(embeds_BLD)
    bounds = (0, *cuts, LENGTH)
    parts = [decoder(embeds_BLD[:, a:b], cache=cache) for a, b in pairwise(bounds)]
    assert close(torch.cat(parts, dim=1), whole_BLD)


def test_rows_of_different_lengths_decode_as_if_alone(decoder: Decoder) -> None:
    embeds_BLD, lengths = decoder.embed(ids(3)), (5, 17, 11)
    whole_BLD = decoder(embeds_BLD)
    valid_BL = torch.arange(17) < torch.tensor(lengths)[:, None]
    cache = KVCache(decoder.config, 3)
    noisy_BLD = torch.where(valid_BL[..., None], embeds_BLD[:, :17], 7.0)
    hidden_BLD = decoder(noisy_BLD, valid_BL=valid_BL, cache=cache)
    assert cache.lengths == list(lengths)
    for row, length in enumerate(lengths):
        assert close(hidden_BLD[row, :length], whole_BLD[row, :length])
    for step in range(20):
        next_BLD = torch.stack([embeds_BLD[row, length + step] for row, length in enumerate(lengths)])[:, None]
        hidden_BLD = decoder(next_BLD, cache=cache)
        for row, length in enumerate(lengths):
            assert close(hidden_BLD[row, 0], whole_BLD[row, length + step])


def test_ragged_chunks_on_ragged_rows(decoder: Decoder) -> None:
    embeds_BLD, cache = decoder.embed(ids(2)), KVCache(decoder.config, 2)
    whole_BLD, seen = decoder(embeds_BLD), [0, 0]
    for counts in ((4, 9), (6, 0), (0, 5), (3, 3), (12, 7)):
        longest = max(counts)
        chunk_BLD, valid_BL = torch.zeros(2, longest, whole_BLD.shape[-1]), torch.zeros(2, longest, dtype=torch.bool)
        for row, count in enumerate(counts):
            chunk_BLD[row, :count] = embeds_BLD[row, seen[row] : seen[row] + count]
            valid_BL[row, :count] = True
        hidden_BLD = decoder(chunk_BLD, valid_BL=valid_BL, cache=cache)
        for row, count in enumerate(counts):
            assert count == 0 or close(hidden_BLD[row, :count], whole_BLD[row, seen[row] : seen[row] + count])
            seen[row] += count
        assert cache.lengths == seen


def test_crop_forgets(decoder: Decoder) -> None:
    embeds_BLD, cache = decoder.embed(ids(2)), KVCache(decoder.config, 2)
    whole_BLD = decoder(embeds_BLD)
    decoder(decoder.embed(ids(2).flip(0))[:, :30], cache=cache)
    cache.crop(0)
    decoder(embeds_BLD[:, :20], cache=cache)
    decoder(embeds_BLD[:, 30:], cache=cache)
    cache.crop([20, 12])
    assert cache.lengths == [20, 12]
    next_BLD = torch.stack((embeds_BLD[0, 20], embeds_BLD[1, 12]))[:, None]
    hidden_BLD = decoder(next_BLD, cache=cache)
    assert close(hidden_BLD[0, 0], whole_BLD[0, 20])
    assert close(hidden_BLD[1, 0], whole_BLD[1, 12])
    cache.crop(99)
    assert cache.lengths == [21, 13]


@pytest.mark.parametrize("rows", [[1, 0, 1, 1], [2], [0, 1, 2], [2, 0]])
def test_fork_reorders_repeats_and_drops_rows(decoder: Decoder, rows: list[int]) -> None:
    embeds_BLD, lengths = decoder.embed(ids(3)), (8, 3, 12)
    whole_BLD = decoder(embeds_BLD)
    cache = KVCache(decoder.config, 3)
    decoder(embeds_BLD[:, :12], valid_BL=torch.arange(12) < torch.tensor(lengths)[:, None], cache=cache)
    cache.fork(torch.tensor(rows))
    assert cache.lengths == [lengths[row] for row in rows]
    next_BLD = torch.stack([embeds_BLD[row, lengths[row]] for row in rows])[:, None]
    hidden_BLD = decoder(next_BLD, cache=cache)
    for new, old in enumerate(rows):
        assert close(hidden_BLD[new, 0], whole_BLD[old, lengths[old]])


def test_growth_is_in_steps_and_keeps_what_is_there(decoder: Decoder) -> None:
    config, cache = decoder.config, KVCache(decoder.config, 2, 1)
    assert cache.capacity == STEP
    assert cache.bytes == config.layers * 2 * 2 * config.kv_heads * STEP * config.head_dim * 4
    embeds_BLD = decoder.embed(torch.cat((ids(), ids(), ids()), dim=1))
    whole_BLD, stores = decoder(embeds_BLD), set()
    for i in range(embeds_BLD.shape[1]):
        hidden_BLD = decoder(embeds_BLD[:, i : i + 1], cache=cache)
        stores.add(cache.store.data_ptr())
        assert close(hidden_BLD[:, 0], whole_BLD[:, i])
    assert len(stores) <= 2, "120 tokens may need one growth, never one a token"
    assert cache.capacity == 2 * STEP


def test_a_bf16_cache_is_half_the_size_and_nearly_as_good(decoder: Decoder) -> None:
    embeds_BLD = decoder.embed(ids())
    full, half = KVCache(decoder.config, 2, LENGTH), KVCache(decoder.config, 2, LENGTH, dtype=torch.bfloat16)
    assert half.bytes * 2 == full.bytes
    exact_BLD, rough_BLD = (
        torch.cat([decoder(embeds_BLD[:, a:b], cache=c) for a, b in ((0, 30), (30, 40))], 1) for c in (full, half)
    )
    difference = (exact_BLD - rough_BLD).abs().max()
    assert 0 < difference < 0.2


def test_a_cache_refuses_a_graph_and_the_wrong_number_of_rows(decoder: Decoder) -> None:
    embeds_BLD = decoder.embed(ids())
    with pytest.raises(AssertionError, match="no graph"):
        decoder(embeds_BLD.clone().requires_grad_(), cache=KVCache(decoder.config, 2))
    with pytest.raises(AssertionError, match="2 rows and a cache of 3"):
        decoder(embeds_BLD, cache=KVCache(decoder.config, 3))
