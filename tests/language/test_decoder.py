"""Order, padding, masks, traces, inserts and fusing of the decoder."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from sensorium.errors import RequestError
from sensorium.language.cache import KVCache
from sensorium.language.decoder import Decoder
from sensorium.nn.trace import Trace
from tests.language.families import FAMILIES, LENGTH, ids, ours, reference

PLAIN, GEMMA = FAMILIES[0], FAMILIES[-2]


@pytest.fixture(params=(PLAIN, GEMMA), ids=("llama", "gemma3"))
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return ours(reference(request.param)).requires_grad_(False)


def test_no_position_sees_the_future(decoder: Decoder) -> None:
    changed_BL = ids()
    changed_BL[:, 20] = (changed_BL[:, 20] + 1) % 97
    before_BLD, after_BLD = decoder(decoder.embed(ids())), decoder(decoder.embed(changed_BL))
    assert before_BLD[:, :20].equal(after_BLD[:, :20])
    assert (before_BLD[:, 20:] - after_BLD[:, 20:]).abs().amax((0, 2))[:3].min() > 1e-4


def test_a_window_hides_what_is_older() -> None:
    decoder = ours(reference(FAMILIES[9]))  # three layers that see 9 positions: nothing reaches further than 3 * 8
    changed_BL = ids()
    changed_BL[:, 3] = (changed_BL[:, 3] + 1) % 97
    with torch.no_grad():
        difference_L = (decoder(decoder.embed(ids())) - decoder(decoder.embed(changed_BL))).abs().amax((0, 2))
    assert difference_L[3 + 24] > 0
    assert difference_L[3 + 25 :].max() == 0


def test_padding_changes_nothing_for_valid_positions(decoder: Decoder) -> None:
    embeds_BLD, lengths = decoder.embed(ids(3)), (9, 33, 21)
    valid_BL = torch.arange(LENGTH) < torch.tensor(lengths)[:, None]
    noise_BLD = torch.where(valid_BL[..., None], embeds_BLD, torch.randn_like(embeds_BLD))
    hidden_BLD = decoder(noise_BLD, valid_BL=valid_BL)
    for row, length in enumerate(lengths):
        alone_BLD = decoder(embeds_BLD[row : row + 1, :length])
        assert (hidden_BLD[row, :length] - alone_BLD[0]).abs().max() < 1e-5


def test_an_explicit_mask_packs_branches_of_a_tree(decoder: Decoder) -> None:
    stem, branch = 6, 4  # one stem, two branches side by side, each as if it followed the stem at once
    embeds_BLD = decoder.embed(ids(1, stem + 2 * branch))
    place_L = torch.arange(stem + 2 * branch)
    owner_L = torch.where(place_L < stem, 0, 1 + (place_L - stem) // branch)
    seen_LL = (place_L <= place_L[:, None]) & ((owner_L == 0) | (owner_L == owner_L[:, None]))
    positions_L = torch.where(place_L < stem, place_L, stem + (place_L - stem) % branch)
    packed_BLD = decoder(embeds_BLD, positions_BL=positions_L[None], attend_BLS=seen_LL[None])
    for start in (stem, stem + branch):
        alone_BLD = torch.cat((embeds_BLD[:, :stem], embeds_BLD[:, start : start + branch]), dim=1)
        hidden_BLD = decoder(alone_BLD, attend_BLS=torch.ones(1, stem + branch, stem + branch).tril().bool())
        assert (packed_BLD[:, start : start + branch] - hidden_BLD[:, stem:]).abs().max() < 1e-5


def test_causal_mask_given_openly_equals_the_fast_path() -> None:
    decoder = ours(reference(PLAIN)).requires_grad_(False)
    embeds_BLD = decoder.embed(ids())
    seen_BLS = torch.ones(2, LENGTH, LENGTH, dtype=torch.bool).tril()
    assert (decoder(embeds_BLD) - decoder(embeds_BLD, attend_BLS=seen_BLS)).abs().max() < 1e-5


def test_shifted_positions_change_nothing_but_the_distances_do(decoder: Decoder) -> None:
    embeds_BLD, place_L = decoder.embed(ids()), torch.arange(LENGTH)[None]
    hidden_BLD = decoder(embeds_BLD)
    assert (decoder(embeds_BLD, positions_BL=place_L + 50) - hidden_BLD).abs().max() < 1e-4
    assert (decoder(embeds_BLD, positions_BL=place_L * 2) - hidden_BLD).abs().max() > 1e-3


def test_traces_by_name(decoder: Decoder) -> None:
    config = decoder.config
    names = [f"decoder.{i}.{what}" for i in range(config.layers) for what in ("hidden", "attention", "mlp")]
    trace = Trace(["decoder.embeds", *names])
    embeds_BLD = decoder.embed(ids())
    hidden_BLD = decoder(embeds_BLD, trace=trace)
    found = trace.result()
    assert found["decoder.embeds"].equal(embeds_BLD)
    assert (decoder.norm(found[f"decoder.{config.layers - 1}.hidden"]) - hidden_BLD).abs().max() < 1e-5
    assert (decoder(embeds_BLD) - hidden_BLD).abs().max() < 1e-5, "tracing must not change the result"
    for layer in range(config.layers):
        weights_BNLS = found[f"decoder.{layer}.attention"]
        assert weights_BNLS.shape == (2, config.heads, LENGTH, LENGTH)
        assert torch.allclose(weights_BNLS.sum(-1), torch.ones(2, config.heads, LENGTH), atol=1e-5)
        assert weights_BNLS.triu(1).abs().max() == 0
        window = config.window(layer)
        assert window is None or weights_BNLS.tril(-window).abs().max() == 0


def test_attention_traces_equal_the_reference() -> None:
    model = reference(PLAIN)
    decoder = ours(model).requires_grad_(False)
    trace = Trace(["decoder.1.attention"])
    decoder(decoder.embed(ids()), trace=trace)
    expected_BNLS = model(ids(), output_attentions=True).attentions[1]
    assert (trace.result()["decoder.1.attention"] - expected_BNLS).abs().max() < 1e-5


def test_a_trace_of_one_step_shows_all_keys(decoder: Decoder) -> None:
    cache, embeds_BLD = KVCache(decoder.config, 2), decoder.embed(ids())
    decoder(embeds_BLD[:, :-1], cache=cache)
    whole, step = Trace(["decoder.0.attention"]), Trace(["decoder.0.attention"])
    decoder(embeds_BLD, trace=whole)
    decoder(embeds_BLD[:, -1:], cache=cache, trace=step)
    last_BNLS = whole.result()["decoder.0.attention"][:, :, -1:]
    assert (step.result()["decoder.0.attention"] - last_BNLS).abs().max() < 1e-5


def test_inserts_run_before_their_layer(decoder: Decoder) -> None:
    embeds_BLD, seen = decoder.embed(ids()), {}
    trace = Trace(["decoder.0.hidden"])

    def insert(hidden_BLD: Tensor) -> Tensor:
        seen[1] = hidden_BLD
        return hidden_BLD + 0.1 * hidden_BLD.roll(1, dims=-1)

    changed_BLD = decoder(embeds_BLD, inserts={1: insert}, trace=trace)
    assert seen[1].equal(trace.result()["decoder.0.hidden"])
    assert (changed_BLD - decoder(embeds_BLD)).abs().max() > 1e-2
    assert decoder(embeds_BLD, inserts={2: lambda hidden_BLD: hidden_BLD}).equal(decoder(embeds_BLD))
    with pytest.raises(AssertionError, match="never run"):
        decoder(embeds_BLD, inserts={99: insert})


def test_gradient_reaches_the_embeddings_but_not_the_future(decoder: Decoder) -> None:
    embeds_BLD = decoder.embed(ids()).requires_grad_()
    decoder(embeds_BLD)[:, 10].square().sum().backward()
    assert embeds_BLD.grad is not None
    assert embeds_BLD.grad[:, 10].abs().max() > 0
    assert embeds_BLD.grad[:, 11:].abs().max() == 0


@pytest.mark.parametrize("causal", [True, False])
def test_bf16_gradient_follows_fp32(causal: bool) -> None:
    decoder = ours(reference(PLAIN)).requires_grad_(False)
    seen_BLS = None if causal else torch.ones(2, LENGTH, LENGTH, dtype=torch.bool).tril()
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        decoder.to(dtype)
        embeds_BLD = decoder.embed(ids()).requires_grad_()
        hidden_BLD = decoder(embeds_BLD, attend_BLS=seen_BLS)
        assert hidden_BLD.dtype == dtype
        (hidden_BLD.float() * torch.linspace(-1, 1, 48)).sum().backward()
        assert embeds_BLD.grad is not None
        grads.append(embeds_BLD.grad.float())
    assert torch.nn.functional.cosine_similarity(grads[0].flatten(), grads[1].flatten(), dim=0) > 0.98


def test_attention_softcap_bounds_the_scores() -> None:
    import dataclasses

    plain = ours(reference(PLAIN)).requires_grad_(False)
    capped = Decoder(dataclasses.replace(plain.config, attention_softcap=0.05)).requires_grad_(False)
    capped.load_state_dict(plain.state_dict())
    traces = [Trace(["decoder.0.attention"]) for _ in range(2)]
    for decoder, trace in zip((plain, capped), traces, strict=True):
        decoder(decoder.embed(ids()), trace=trace)
    free, bound = (trace.result()["decoder.0.attention"][:, :, -1].log() for trace in traces)
    assert (free.amax(-1) - free.amin(-1)).max() > 0.1 + 1e-3
    assert (bound.amax(-1) - bound.amin(-1)).max() <= 0.1 + 1e-5


def test_too_long_a_text_is_refused_with_the_limit() -> None:
    decoder = ours(reference(PLAIN)).requires_grad_(False)
    with pytest.raises(RequestError, match="129 positions are over the limit of 128"):
        decoder(torch.zeros(1, 129, 48))
    cache = KVCache(decoder.config, 1)
    decoder(torch.zeros(1, 128, 48), cache=cache)
    with pytest.raises(RequestError, match="129 positions are over the limit of 128"):
        decoder(torch.zeros(1, 1, 48), cache=cache)
    assert cache.lengths == [128]


def test_left_padding_is_our_own_mistake(decoder: Decoder) -> None:
    valid_BL = torch.ones(2, LENGTH, dtype=torch.bool)
    valid_BL[0, :3] = False
    with pytest.raises(AssertionError, match="padded on the right"):
        decoder(decoder.embed(ids()), valid_BL=valid_BL)


def test_fusing_is_undone_by_loading_casting_and_copying(decoder: Decoder) -> None:
    embeds_BLD, other = decoder.embed(ids()), copy.deepcopy(decoder)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(0.9)
    expected_BLD = other(embeds_BLD)
    decoder.fuse(packed=True)
    assert decoder.layers[0].self_attn.qkv is not None
    assert copy.deepcopy(decoder).layers[0].mlp.gate_up is None
    decoder.load_state_dict(other.state_dict())
    assert decoder.layers[0].self_attn.qkv is None
    assert (decoder(embeds_BLD) - expected_BLD).abs().max() < 1e-6
    decoder.fuse()
    decoder.double()
    assert decoder.layers[0].self_attn.qkv is None
    assert (decoder(embeds_BLD.double()) - expected_BLD).abs().max() < 1e-5


def test_fusing_takes_no_memory_and_freezes(decoder: Decoder) -> None:
    decoder.requires_grad_(True)
    decoder.fuse()
    attention = decoder.layers[0].self_attn
    assert attention.k_proj.weight.untyped_storage().data_ptr() == attention.qkv.weight.untyped_storage().data_ptr()
    assert not attention.k_proj.weight.requires_grad
