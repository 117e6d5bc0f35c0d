"""A tree gives each learned token exactly what a row of its own gives it."""

from __future__ import annotations

import torch

from sensorium.batch import Batch, Features, Modality, Piece, Shown
from sensorium.data.packing import grow, pack
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.presets import tiny
from sensorium.objectives.next_token import NextToken
from sensorium.parts import Image, Message, Sample, Text, Use

TURNS = (("What is it?", "A dog."), ("What is it?", "A dot."), ("Is it red?", "No."))


def laid_out(model: MultimodalLM, turns: tuple[tuple[str, str], ...], features_TD: torch.Tensor) -> Batch:
    piece = Piece(Modality.IMAGE, (0.0, 0.0, 1.0, 1.0), (4, 4), tensor=features_TD)
    shown = {(0, 0): Shown((piece,), Use(0, 0, "image", "photo"))}
    samples = [
        Sample(reply, (Message("user", (Image("photo"), Text(ask))), Message("assistant", (Text(reply),), learn=True)))
        for ask, reply in turns
    ]
    return model.layout(samples, [shown] * len(samples), reply=False)


def plain_loss(model: MultimodalLM, batch: Batch, features: Features) -> float:
    """Row by row, with the model's own forward."""
    hidden_BLD = model(batch, features={Modality.IMAGE: features}).hidden_BLD
    logprobs_BLV = model.decoder.logits(hidden_BLD[:, :-1]).log_softmax(-1)
    own_BL = logprobs_BLV.gather(-1, batch.ids_BL[:, 1:, None])[..., 0]
    return float(-own_BL[batch.learn_BL[:, 1:]].sum())


def test_the_loss_of_a_tree_is_that_of_its_rows() -> None:
    torch.manual_seed(0)
    model = tiny().eval()
    features_TD = torch.randn(16, 24)
    batch = laid_out(model, TURNS, features_TD)
    tree = grow(batch, [1.0] * len(TURNS))
    assert len(tree) < int(batch.valid_BL.sum())
    connected = model.connectors["image"](Features(features_TD.repeat(3, 1, 1), torch.ones(3, 16, dtype=torch.bool)))
    with torch.no_grad():
        packed = NextToken()(model, pack([tree]))
        assert abs(float(packed.total) - plain_loss(model, batch, connected)) < 1e-3
        assert packed.size == int(batch.learn_BL.sum())


def test_trees_of_different_size_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    model = tiny().eval()
    trees = [grow(laid_out(model, TURNS[:count], torch.randn(16, 24)), [1.0] * count) for count in (1, 3)]
    with torch.no_grad():
        alone = sum(float(NextToken()(model, pack([tree])).total) for tree in trees)
        together = float(NextToken()(model, pack(trees)).total)
    assert abs(alone - together) < 1e-3


def test_weights_count_the_learned_tokens() -> None:
    model = tiny().eval()
    batch = laid_out(model, TURNS, torch.randn(16, 24))
    learned = batch.learn_BL.sum(1).tolist()
    packed = pack([grow(batch, [1.0, 0.0, 0.5])])
    assert float(packed.targets.weights_T.sum()) == learned[0] + 0.5 * learned[2]


def test_a_position_sees_its_ancestors_only() -> None:
    model = tiny()
    tree = grow(laid_out(model, TURNS, torch.randn(16, 24)), [1.0] * 3)
    packed = pack([tree])
    for node, parent in enumerate(tree.parents):
        seen = packed.attend_BLS[0, node].nonzero().flatten().tolist()
        chain = [node]
        while (parent := tree.parents[chain[-1]]) >= 0:
            chain.append(parent)
        assert seen == sorted(chain)
        assert tree.depths[node] == len(chain) - 1
