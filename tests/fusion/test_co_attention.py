"""Co-attention units against torch's encoder and decoder layers and LXMERT's cross-attention."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import LxmertConfig
from transformers.models.lxmert.modeling_lxmert import LxmertCrossAttentionLayer

from sensorium.batch import Features
from sensorium.fusion.co_attention import Ask, CoAttention, GuidedUnit, Reduce, SelfUnit, Think, UnitConfig
from sensorium.nn.trace import Trace

CONFIG = UnitConfig(dim=16, heads=4, hidden=24, activation="relu")


def stream(rows: int, length: int, *lengths: int) -> Features:
    return Features(torch.randn(rows, length, 16), torch.arange(length) < torch.tensor(lengths)[:, None])


def set_attention(ours: Ask, theirs: nn.MultiheadAttention, norm: nn.LayerNorm) -> None:
    weights, biases = theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3)
    layers = (ours.attention.query, ours.attention.key, ours.attention.value)
    for layer, weight, bias in zip(layers, weights, biases, strict=True):
        layer.weight.data, layer.bias.data = weight.data, bias.data
    ours.attention.out.load_state_dict(theirs.out_proj.state_dict())
    ours.norm.load_state_dict(norm.state_dict())


def set_mlp(ours: Think, theirs: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer, norm: nn.LayerNorm) -> None:
    ours.up.load_state_dict(theirs.linear1.state_dict())
    ours.down.load_state_dict(theirs.linear2.state_dict())
    ours.norm.load_state_dict(norm.state_dict())


def shake(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)


def difference(ours: Features, theirs: Tensor) -> float:
    """The largest where ours are valid."""
    return (ours.x_BTD[ours.valid_BT] - theirs[ours.valid_BT]).abs().max().item()


def test_a_self_unit_is_torchs_encoder_layer() -> None:
    theirs = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
    shake(theirs)
    ours = SelfUnit(CONFIG)
    set_attention(ours.ask_self, theirs.self_attn, theirs.norm1)
    set_mlp(ours.think, theirs, theirs.norm2)
    words = stream(2, 5, 5, 3)
    assert difference(ours(words), theirs(words.x_BTD, src_key_padding_mask=~words.valid_BT)) < 1e-5


def test_a_guided_unit_is_torchs_decoder_layer() -> None:
    theirs = nn.TransformerDecoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
    shake(theirs)
    ours = GuidedUnit(CONFIG)
    assert ours.ask_self is not None
    set_attention(ours.ask_self, theirs.self_attn, theirs.norm1)
    set_attention(ours.ask_guide, theirs.multihead_attn, theirs.norm2)
    set_mlp(ours.think, theirs, theirs.norm3)
    regions, words = stream(2, 6, 4, 6), stream(2, 5, 5, 3)
    masks = {"tgt_key_padding_mask": ~regions.valid_BT, "memory_key_padding_mask": ~words.valid_BT}
    assert difference(ours(regions, words), theirs(regions.x_BTD, words.x_BTD, **masks)) < 1e-5


def test_one_side_of_co_attention_is_lxmerts_cross_attention() -> None:
    theirs = LxmertCrossAttentionLayer(LxmertConfig(hidden_size=16, num_attention_heads=4)).eval()
    shake(theirs)
    ours = Ask(CONFIG.model_copy(update={"eps": 1e-12}))
    pairs = [(ours.attention.query, theirs.att.query), (ours.attention.key, theirs.att.key)]
    pairs += [(ours.attention.value, theirs.att.value), (ours.attention.out, theirs.output.dense)]
    for mine, other in [*pairs, (ours.norm, theirs.output.LayerNorm)]:
        mine.load_state_dict(other.state_dict())
    words, regions = stream(2, 5, 5, 3), stream(2, 6, 4, 6)
    bias = torch.zeros(2, 1, 1, 6).masked_fill(~regions.valid_BT[:, None, None], torch.finfo(torch.float32).min)
    torch.testing.assert_close(ours(words.x_BTD, regions), theirs(words.x_BTD, regions.x_BTD, bias)[0], atol=1e-5, rtol=1e-5)


def test_both_streams_ask_what_the_other_was_before() -> None:
    layer = CoAttention(CONFIG)
    shake(layer)
    words, regions = stream(2, 5, 5, 3), stream(2, 6, 4, 6)
    said, seen = layer(words, regions)
    assert difference(said, layer.words(layer.words_ask(words, regions)).x_BTD) < 1e-5
    assert difference(seen, layer.regions(layer.regions_ask(regions, words)).x_BTD) < 1e-5


def test_padding_of_either_stream_changes_nothing() -> None:
    layer = CoAttention(CONFIG)
    shake(layer)
    words, regions = stream(1, 5, 3), stream(1, 6, 4)
    said, seen = layer(words, regions)
    short = [Features(side.x_BTD[:, :n], side.valid_BT[:, :n]) for side, n in ((words, 3), (regions, 4))]
    for long, cut in zip((said, seen), layer(*short), strict=True):
        assert difference(cut, long.x_BTD[:, : cut.x_BTD.shape[1]]) < 1e-5


def test_attention_is_shown_when_it_is_asked_for_and_changes_nothing() -> None:
    layer = CoAttention(CONFIG)
    shake(layer)
    words, regions = stream(2, 5, 5, 3), stream(2, 6, 4, 6)
    trace = Trace(["joint.0.words.guided", "joint.0.regions.guided", "joint.0.regions.self"])
    said, _ = layer(words, regions, "joint.0", trace)
    assert difference(layer(words, regions)[0], said.x_BTD) < 1e-5
    found = trace.result()
    assert found["joint.0.words.guided"].shape == (2, 4, 5, 6)
    assert found["joint.0.regions.guided"].shape == (2, 4, 6, 5)
    assert not found["joint.0.words.guided"][0, :, :, 4:].any()
    torch.testing.assert_close(found["joint.0.words.guided"].sum(-1), torch.ones(2, 4, 5))


def test_a_stream_that_can_ask_nobody_stays_finite() -> None:
    ask = Ask(CONFIG)
    nobody = stream(1, 3, 0)
    trace = Trace(["asked"])
    assert bool(ask(torch.randn(1, 2, 16), nobody, "asked", trace).isfinite().all())
    assert not trace.result()["asked"].any()


def test_reduction_is_the_weighted_mean_of_the_valid_positions() -> None:
    reduce = Reduce(2, 2)
    for parameter in reduce.parameters():
        nn.init.zeros_(parameter)
    reduce.weigh[0].weight.data.copy_(torch.eye(2))
    reduce.weigh[2].weight.data.copy_(torch.tensor([[1.0, 0.0]]))
    x_BTD = torch.tensor([[[0.0, 4.0], [2.0, 8.0], [50.0, 50.0]]])
    trace = Trace(["reduced"])
    found = reduce(Features(x_BTD, torch.tensor([[True, True, False]])), "reduced", trace)
    share = float(torch.tensor(2.0).sigmoid())  # softmax of 0 and 2
    assert found[0].tolist() == pytest.approx([2 * share, 4 + 4 * share], abs=1e-5)
    assert trace.result()["reduced"][0].tolist() == pytest.approx([1 - share, share, 0.0], abs=1e-6)
