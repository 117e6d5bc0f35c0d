"""The reward against pycocoevalcap's, and the objective against its formula."""

from __future__ import annotations

import pytest
import torch

from sensorium.batch import Batch, Modality, Piece, Shown
from sensorium.data.packing import grow, pack
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.presets import tiny
from sensorium.objectives.cider import CiderD, words
from sensorium.objectives.next_token import NextToken
from sensorium.objectives.self_critical import SelfCritical, answered
from sensorium.parts import Image, Message, Sample, Text, Use

REFERENCES = [
    ["a black dog runs on the green grass", "the dog is running", "a dog runs", "dog on grass"],
    ["a man rides a red bike down a street", "a man on a bike", "the man rides a bicycle", "cyclist in the street"],
    ["two children play with a ball on the beach", "kids play ball", "two kids on the beach", "children with a ball"],
]
SAID = ["a black dog runs on grass", "a man on a red bike bike bike", "two men"]


def test_rewards_equal_the_reference_implementation() -> None:
    scorer = pytest.importorskip("pycocoevalcap.cider.cider_scorer").CiderScorer(n=4, sigma=6.0)
    for text, references in zip(SAID, REFERENCES, strict=True):
        scorer += (text, references)
    _, wanted = scorer.compute_score()
    reward = CiderD([[words(text) for text in references] for references in REFERENCES])
    found = [reward(photo, words(text)) for photo, text in enumerate(SAID)]
    assert found == pytest.approx(list(wanted), abs=1e-9)
    assert found[0] > 1 > found[2]


def test_words_are_cut_as_in_the_reference_captions_and_a_stop_counts() -> None:
    assert words("A dog's T-shirt, on grass.") == ["a", "dog", "'s", "t-shirt", "on", "grass", "."]
    assert words("The dog doesn't") == ["the", "dog", "does", "n't"]


def prompts(model: MultimodalLM, count: int) -> Batch:
    torch.manual_seed(1)
    shown, samples = [], []
    for number in range(count):
        grid = model.connectors["image"].grid((7, 7))
        piece = Piece(Modality.IMAGE, (0.0, 0.0, 1.0, 1.0), grid, tensor=torch.randn(49, 24))
        shown.append({(0, 0): Shown((piece,), Use(0, 0, "image", "photo"))})
        samples.append(Sample(str(number), (Message("user", (Image("photo"), Text("What?"))),)))
    return model.layout(samples, shown, reply=True)


def test_the_total_is_each_advantage_times_minus_the_log_probability() -> None:
    model = tiny(adapter=True).eval()
    batch, vocabulary = prompts(model, 2), list(range(40))
    objective = SelfCritical([*vocabulary, *model.layout.ends], draws=3, room=5, temperature=0.7)
    drawn = objective.draw(model, batch)
    objective.draw = lambda *_: drawn  # type: ignore[method-assign]
    rewards = iter([1.0, 0.0, 2.0, 5.0, 5.0, 5.0])
    loss = objective(model, batch, lambda row, text: next(rewards))
    wanted = 0.0
    for ids, advantage in zip(drawn[0::2], (0.0, -1.5, 1.5), strict=True):  # those of prompt 1 are all alike
        packed = pack([grow(answered(batch, 0, [ids]), [1.0])])
        losses_T = NextToken(vocabulary=objective.vocabulary_V.tolist()).losses(model, packed, 0.7).detach()
        wanted += advantage * float(losses_T.sum())
    assert float(loss.total.detach()) == pytest.approx(wanted, abs=1e-4)
    assert loss.size == 6.0
    assert loss.terms["reward"] == (18.0, 6.0)


def test_answers_end_or_fill_the_room_and_keep_to_the_vocabulary() -> None:
    model = tiny(adapter=True).eval()
    allowed = [5, 6, 7, *model.layout.ends]
    drawn = SelfCritical(allowed, draws=4, room=6).draw(model, prompts(model, 2))
    assert len(drawn) == 8
    assert all(set(ids) <= set(allowed) for ids in drawn)
    assert all(len(ids) == 6 or ids[-1] in model.layout.ends for ids in drawn)
    assert all(not model.layout.ends & set(ids[:-1]) for ids in drawn)


def test_what_is_rewarded_becomes_likelier() -> None:
    torch.manual_seed(0)
    model = tiny(adapter=True).eval()
    batch = prompts(model, 1)
    objective = SelfCritical([5, 6, 7, 8, *model.layout.ends], draws=8, room=4)
    decode = model.layout.tokenizer.decode
    parameters = [*model.decoder.parameters(), *model.connectors["image"].parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer, seen = torch.optim.Adam(parameters, 0.02), []
    for _ in range(60):
        loss = objective(model, batch, lambda _, text: float(text.startswith(decode([6]))))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        seen.append(loss.terms["reward"][0] / 8)
    assert seen[0] < 0.7
    assert seen[-1] == 1.0
