"""The decoder computes what `transformers` computes, family by family."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from sensorium.language.cache import KVCache
from sensorium.language.config import DecoderConfig
from sensorium.language.decoder import Decoder
from tests.language.families import FAMILIES, LENGTH, Family, ids, ours, reference

BOUND = 1e-5


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Decoder]:
    model = reference(request.param)
    return model, ours(model)


@torch.no_grad()
def test_logits_of_a_whole_text(pair: tuple[Any, Decoder]) -> None:
    model, decoder = pair
    expected_BLV = model(ids()).logits
    logits_BLV = decoder.logits(decoder(decoder.embed(ids())))
    assert expected_BLV.std() > 0.05, "a reference whose logits are all alike proves nothing"
    assert logits_BLV.dtype == torch.float32
    assert (logits_BLV - expected_BLV).abs().max() <= BOUND


@torch.no_grad()
def test_padded_rows_against_the_reference_with_its_mask(pair: tuple[Any, Decoder]) -> None:
    model, decoder = pair
    lengths = (LENGTH, 13)
    valid_BL = torch.arange(LENGTH) < torch.tensor(lengths)[:, None]
    expected_BLV = model(ids(), attention_mask=valid_BL.long()).logits
    logits_BLV = decoder.logits(decoder(decoder.embed(ids()), valid_BL=valid_BL))
    assert (logits_BLV - expected_BLV)[valid_BL].abs().max() <= BOUND


@torch.no_grad()
def test_token_by_token_against_the_reference_with_its_cache(pair: tuple[Any, Decoder]) -> None:
    model, decoder = pair
    cache, past = KVCache(decoder.config, 2), None
    for start, stop in ((0, 11), *((i, i + 1) for i in range(11, LENGTH))):
        step = model(ids()[:, start:stop], past_key_values=past, use_cache=True)
        past = step.past_key_values
        logits_BLV = decoder.logits(decoder(decoder.embed(ids()[:, start:stop]), cache=cache))
        assert (logits_BLV - step.logits).abs().max() <= BOUND
    assert cache.lengths == [LENGTH, LENGTH]


@torch.no_grad()
def test_fused_and_packed_projections_change_nothing(pair: tuple[Any, Decoder]) -> None:
    model, decoder = pair
    expected_BLV, state = model(ids()).logits, decoder.state_dict()
    for packed in (False, True):
        decoder.fuse(packed=packed)
        cache, parts = KVCache(decoder.config, 2), []
        for start, stop in pairwise((0, LENGTH - 7, LENGTH - 2, LENGTH - 1, LENGTH)):  # 66, 10, 2 and 2 tokens at once
            parts.append(decoder.logits(decoder(decoder.embed(ids()[:, start:stop]), cache=cache)))
        assert (torch.cat(parts, 1) - expected_BLV).abs().max() <= BOUND
        fused = decoder.state_dict()
        assert fused.keys() == state.keys()
        assert all(fused[name].equal(state[name]) for name in state)
    decoder.unfuse()


def test_gradients_of_the_input_and_of_every_weight(pair: tuple[Any, Decoder]) -> None:
    model, decoder = pair
    decoder.requires_grad_(True)
    pull_BLV = torch.randn(2, LENGTH, decoder.config.vocab_size, generator=torch.Generator().manual_seed(3))
    (model(ids()).logits * pull_BLV).sum().backward()
    (decoder.logits(decoder(decoder.embed(ids()))) * pull_BLV).sum().backward()
    theirs = {name.removeprefix("model."): weight.grad for name, weight in model.named_parameters()}
    for name, weight in decoder.named_parameters():
        assert weight.grad is not None, name
        scale = theirs[name].abs().max()
        assert (weight.grad - theirs[name]).abs().max() <= 1e-4 * scale, name
    model.zero_grad(), decoder.zero_grad()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_config_survives_the_way_there_and_back(family: Family) -> None:
    import transformers

    theirs = getattr(transformers, family.config)
    original = reference(family).config
    config = DecoderConfig.from_hf(original.to_dict())
    written = config.to_hf()
    assert DecoderConfig.from_hf(written) == config
    assert DecoderConfig.from_hf(theirs(**written).to_dict()) == config
    assert written["architectures"] == [family.model]
