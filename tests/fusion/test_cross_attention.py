from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sensorium.batch import Features, Modality, Placement
from sensorium.errors import RequestError
from sensorium.fusion.cross_attention import GatedCrossAttention, GatedCrossAttentionConfig, Memory, remember

CONFIG = GatedCrossAttentionConfig(dim=8, memory=6, heads=2, head_dim=4, hidden=16)


def place(row: int, start: int, kind: Modality = Modality.IMAGE) -> Placement:
    return Placement(row, 0, 0, kind, start, (1,), (0.0, 0.0, 1.0, 1.0))


def two_rows() -> tuple[list[Placement], dict[Modality, Features]]:
    """Row 0: a picture at 1 and a sound at 4; row 1: a picture at 2."""
    pictures = Features(torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool))
    sounds = Features(torch.randn(1, 4, 6), torch.tensor([[True, True, False, False]]))
    placements = [place(0, 1), place(0, 4, Modality.AUDIO), place(1, 2)]
    return placements, {Modality.IMAGE: pictures, Modality.AUDIO: sounds}


def open_gates(layer: GatedCrossAttention) -> GatedCrossAttention:
    layer.gate.data.fill_(0.7)
    layer.gate_mlp.data.fill_(-0.4)
    return layer


def test_with_shut_gates_the_logits_are_the_frozen_models_exactly() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2
    )
    model = LlamaForCausalLM(config).eval()
    ids = torch.randint(20, (2, 7))
    before = model(ids).logits
    memory = remember(*two_rows(), rows=2)
    positions = torch.arange(7).expand(2, -1)
    gates = torch.nn.ModuleList(GatedCrossAttention(CONFIG) for _ in model.model.layers)
    for gate, layer in zip(gates, model.model.layers, strict=True):
        layer.register_forward_pre_hook(lambda _, args, gate=gate: (gate(args[0], memory, positions), *args[1:]))
    assert torch.equal(model(ids).logits, before)
    for gate in gates:
        open_gates(gate)
    changed = (model(ids).logits - before).abs().amax(-1) > 0
    assert changed.tolist() == [[False] + [True] * 6, [False] * 2 + [True] * 5]
    model(ids).logits.sum().backward()
    assert all(gate.gate.grad.abs() > 0 for gate in gates)


def test_a_position_sees_only_earlier_media_of_its_own_row() -> None:
    memory = remember(*two_rows(), rows=2)
    seen = memory.visible(torch.arange(6).expand(2, -1))
    assert seen.sum(-1).tolist() == [[0, 3, 3, 3, 5, 5], [0, 0, 3, 3, 3, 3]]
    assert memory.visible(torch.arange(6).expand(2, -1), latest=True).sum(-1).tolist()[0] == [0, 3, 3, 3, 2, 2]
    assert memory.start_BM[0].tolist() == [1, 1, 1, 4, 4]


def test_later_media_and_other_rows_change_nothing() -> None:
    torch.manual_seed(0)
    layer, hidden, positions = open_gates(GatedCrossAttention(CONFIG)), torch.randn(2, 6, 8), torch.arange(6).expand(2, -1)
    placements, features = two_rows()
    before = layer(hidden, remember(placements, features, 2), positions)
    features[Modality.AUDIO].x_BTD.add_(1.0)
    after = layer(hidden, remember(placements, features, 2), positions)
    assert torch.equal(before[:, :4], after[:, :4])
    assert torch.equal(before[1], after[1])
    assert (before[0, 4:] - after[0, 4:]).abs().amin(0).max() > 0


def test_decoding_step_by_step_equals_the_whole_row() -> None:
    torch.manual_seed(0)
    layer, hidden, memory = open_gates(GatedCrossAttention(CONFIG)), torch.randn(2, 6, 8), remember(*two_rows(), rows=2)
    whole = layer(hidden, memory, torch.arange(6).expand(2, -1))
    steps = [layer(hidden[:, k : k + 1], memory, torch.full((2, 1), k)) for k in range(6)]
    torch.testing.assert_close(torch.cat(steps, 1), whole)


def test_rows_without_media_pass_untouched() -> None:
    layer, hidden = open_gates(GatedCrossAttention(CONFIG)), torch.randn(3, 4, 8)
    placements, features = two_rows()
    out = layer(hidden, remember(placements, features, rows=3), torch.arange(4).expand(3, -1))
    assert torch.equal(out[2], hidden[2])
    empty = Memory(torch.zeros(3, 0, 6), torch.zeros(3, 0, dtype=torch.bool), torch.zeros(3, 0, dtype=torch.long))
    assert torch.equal(layer(hidden, empty, torch.arange(4).expand(3, -1)), hidden)


def test_counts_are_checked() -> None:
    placements, features = two_rows()
    with pytest.raises(RequestError, match="image: has 1 placements but 2 pieces"):
        remember(placements[:2], features, rows=2)
    with pytest.raises(RequestError, match="no features"):
        remember([], {}, rows=1)
