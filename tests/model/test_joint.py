"""Joint models: the single stream against VisualBERT, both families' masks and origins, and the checkpoint folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import VisualBertConfig, VisualBertModel

from sensorium.batch import Modality
from sensorium.data.synthetic import World
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.vit_config import ViTConfig
from sensorium.errors import CheckpointError, RequestError
from sensorium.fusion.pairs import Pairs, Regions, Words
from sensorium.model.config import ViTTower
from sensorium.model.joint import Joint, OneStream
from sensorium.model.joint_checkpoint import load, save
from sensorium.model.joint_config import (
    BlockConfig,
    CoAttentive,
    JointBlueprint,
    JointConfig,
    Modular,
    RegionConfig,
    SingleStream,
    Streams,
    word_tokenizer,
)
from sensorium.model.load import load as load_assistant
from sensorium.nn.trace import Trace
from sensorium.parts import Image, Message, Sample, Text

TEXTS = ("A red circle is left of a blue square.", "purple ring")
STREAMS: tuple[Streams, ...] = (SingleStream(depth=2), CoAttentive(words=1, depth=1), Modular(depth=2))


def config(streams: Streams = STREAMS[0], **changes: object) -> JointConfig:
    tokenizer = word_tokenizer(TEXTS)
    given: dict[str, object] = {
        "vocabulary": tokenizer.get_vocab_size(),
        "positions": 24,
        "blocks": BlockConfig(width=16, heads=4, mlp_width=24),
        "regions": RegionConfig(dim=12, classes=("red circle", "blue square")),
        "streams": streams,
        "image": ViTTower(config=ViTConfig("siglip", 12, 1, 2, 16, image_size=24, patch=8)),
        "answers": ("yes", "no"),
    }
    return JointConfig.model_validate(given | changes)


def model(streams: Streams = STREAMS[0], **changes: object) -> Joint:
    torch.manual_seed(0)
    made = Joint(JointBlueprint(config(streams, **changes), word_tokenizer(TEXTS), ImageProcessing(size=(24, 24)), "# toy\n"))
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    return made.eval()


def samples() -> list[Sample]:
    world, objects = World(0, 24), list[Sample]()
    for index, text in enumerate(TEXTS):
        scene = world.samples(2)[index]
        shown = scene.messages[0].parts[0]
        assert isinstance(shown, Image)
        meta = {
            "objects": [{"name": "red circle", "box": [0.0, 0.0, 0.5, 0.5]}, {"name": "ring", "box": [0.5, 0.25, 1.0, 1.0]}]
        }
        said = (Message("user", (shown,)), Message("assistant", (Text(text),), learn=True))
        objects.append(Sample(f"s{index}", said, meta if index == 0 else {"objects": meta["objects"][:1]}))
    return objects


def test_the_single_stream_is_visualbert() -> None:
    shape = {"hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 24}
    theirs = VisualBertModel(
        VisualBertConfig(vocab_size=20, visual_embedding_dim=12, max_position_embeddings=24, **shape)
    ).eval()
    ours = model(regions=RegionConfig(dim=12, boxes=False, norm=False), image=None, answers=())
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.2)
    table, into = theirs.embeddings, ours.embedding
    count = ours.config.vocabulary
    into.words.weight.data = table.word_embeddings.weight.data[:count]
    into.positions.weight.data = table.position_embeddings.weight.data
    into.types.weight.data[0] = table.token_type_embeddings.weight.data[0]
    into.types.weight.data[1] = (
        table.visual_token_type_embeddings.weight.data[1] + table.visual_position_embeddings.weight.data[0]
    )
    into.features.load_state_dict(table.visual_projection.state_dict())
    into.word_norm.load_state_dict(table.LayerNorm.state_dict())
    into.region_norm.load_state_dict(table.LayerNorm.state_dict())
    streams = ours.streams
    assert isinstance(streams, OneStream)
    for mine, other in zip(streams.blocks, theirs.encoder.layer, strict=True):
        attention = [getattr(other.attention.self, name) for name in ("query", "key", "value")]
        mine.attention.qkv.weight.data = torch.cat([layer.weight.data for layer in attention])
        mine.attention.qkv.bias.data = torch.cat([layer.bias.data for layer in attention])
        for here, there in (
            (mine.attention.out, other.attention.output.dense),
            (mine.attention_norm, other.attention.output.LayerNorm),
            (mine.up, other.intermediate.dense),
            (mine.down, other.output.dense),
            (mine.mlp_norm, other.output.LayerNorm),
        ):
            here.load_state_dict(there.state_dict())
    streams.pooler.load_state_dict(theirs.pooler.dense.state_dict())
    ids_BL, valid_BL = torch.randint(count, (2, 6)), torch.arange(6) < torch.tensor([[6], [4]])
    x_BGD, valid_BG = torch.randn(2, 3, 12), torch.arange(3) < torch.tensor([[2], [3]])
    words = Words(ids_BL, valid_BL, torch.zeros_like(valid_BL), ((), ()))
    output = ours(Pairs(words, Regions(x_BGD, valid_BG, torch.zeros(2, 3, 4), ((), ()))))
    wanted = theirs(ids_BL, valid_BL.long(), visual_embeds=x_BGD, visual_attention_mask=valid_BG.long())
    valid = torch.cat([valid_BL, valid_BG], 1)
    torch.testing.assert_close(output.hidden()[valid], wanted.last_hidden_state[valid], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.pooled_BD, wanted.pooler_output, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("streams", STREAMS, ids=lambda form: form.kind)
def test_a_pair_means_the_same_alone_and_in_a_batch(streams: Streams) -> None:
    made = model(streams)
    both, alone = made(made.batch(samples())), made(made.batch(samples()[1:]))
    length = int(alone.words.valid_BT.sum())
    torch.testing.assert_close(both.words.x_BTD[1, :length], alone.words.x_BTD[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both.regions.x_BTD[1], alone.regions.x_BTD[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both.pooled_BD[1], alone.pooled_BD[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("streams", STREAMS, ids=lambda form: form.kind)
def test_who_is_told_about_the_picture(streams: Streams) -> None:
    made = model(streams)
    pairs = made.batch(samples())
    seen, blind = made(pairs), made(Pairs(pairs.words, pairs.regions.blind()))
    assert not torch.allclose(seen.pooled_BD, blind.pooled_BD, atol=1e-3)
    told = not torch.allclose(seen.words.x_BTD, blind.words.x_BTD, atol=1e-3)
    assert told is (streams.kind != "mcan")


@pytest.mark.parametrize("streams", STREAMS, ids=lambda form: form.kind)
def test_a_masked_region_shows_its_box_and_nothing_else(streams: Streams) -> None:
    made = model(streams)
    pairs = made.batch(samples())
    masked_BG = torch.zeros_like(pairs.regions.valid_BG)
    masked_BG[:, 2] = True
    other_BGD = pairs.regions.x_BGD.clone()
    other_BGD[:, 2] = 7.0
    other = Pairs(pairs.words, replace(pairs.regions, x_BGD=other_BGD))
    torch.testing.assert_close(made(pairs, masked_BG).hidden(), made(other, masked_BG).hidden())
    moved_BGX = pairs.regions.boxes_BGX.clone()
    moved_BGX[:, 2] = 0.5
    moved = Pairs(pairs.words, replace(pairs.regions, boxes_BGX=moved_BGX))
    assert not torch.equal(made(pairs, masked_BG).hidden(), made(moved, masked_BG).hidden())


def test_cells_of_the_grid_are_regions_with_their_places() -> None:
    made = model()
    output = made(made.batch(samples()))
    assert output.regions.x_BTD.shape == (2, 9, 16)
    length = output.words.x_BTD.shape[1]
    spot = output.origin(1, length + 5)
    assert spot is not None
    assert (spot.sample, spot.message, spot.part, spot.modality) == (1, 0, 0, Modality.IMAGE)
    assert spot.cell(length + 5) == pytest.approx((1 / 3, 2 / 3, 2 / 3, 1.0))
    word = output.origin(0, 2)
    assert word is not None
    assert TEXTS[0][slice(*(int(edge) for edge in word.cell(2)))].strip() == "red"


def test_objects_are_regions_and_their_names_are_anchors() -> None:
    made = model(tags=True, regions=RegionConfig(dim=12, at="boxes"))
    pairs = made.batch(samples())
    assert pairs.regions.valid_BG.tolist() == [[True, True], [True, False]]
    cells = model()
    cells.load_state_dict(made.state_dict(), strict=False)
    grid_TD = cells.batch(samples()).regions.x_BGD[0]
    part_TD = grid_TD.view(3, 3, 12)
    quarter = (part_TD[0, 0] * 4 + part_TD[0, 1] * 2 + part_TD[1, 0] * 2 + part_TD[1, 1]) / 9
    torch.testing.assert_close(pairs.regions.x_BGD[0, 0], quarter, atol=1e-5, rtol=1e-5)
    length = int(pairs.words.valid_BL[0].sum())
    words = [made.reader.tokenizer.id_to_token(index) for index in pairs.words.ids_BL[0, :length].tolist()]
    assert words[-5:] == ["[SEP]", "red", "circle", "ring", "[SEP]"]
    assert pairs.words.tags_BL[0].tolist() == [False] * (length - 4) + [True] * 4
    tag = pairs.origin(0, length - 3)
    assert tag is not None
    assert (tag.modality, tag.part, tag.extent) == (Modality.TEXT, 0, (0.0, 0.0, 0.5, 0.5))
    plain = replace(pairs.words, tags_BL=torch.zeros_like(pairs.words.tags_BL))
    assert not torch.allclose(made(pairs).pooled_BD, made(Pairs(plain, pairs.regions)).pooled_BD, atol=1e-4)


def test_what_is_shown_on_request_sums_to_one() -> None:
    one, two = model(), model(STREAMS[1])
    trace = Trace(["joint.1.attention", "joint.0.hidden", "joint.words.embedding"])
    output = one(one.batch(samples()), trace=trace)
    assert trace.result()["joint.1.attention"].shape == (2, 4, *(output.hidden().shape[1],) * 2)
    torch.testing.assert_close(trace.result()["joint.1.attention"].sum(-1), torch.ones(2, 4, output.hidden().shape[1]))
    names = [
        "joint.words.0.self",
        "joint.0.words.guided",
        "joint.0.regions.self",
        "joint.words.reduced",
        "joint.regions.reduced",
    ]
    trace = Trace(names)
    two(two.batch(samples()), trace=trace)
    assert trace.result()["joint.0.words.guided"].shape[-1] == 9
    torch.testing.assert_close(trace.result()["joint.regions.reduced"].sum(-1), torch.ones(2))


def test_gradients_reach_the_image_encoder() -> None:
    made = model(regions=RegionConfig(dim=12, at="boxes"))
    made.match(made(made.batch(samples())).pooled_BD).sum().backward()
    assert made.encoder is not None
    assert all(parameter.grad is not None for parameter in made.encoder.parameters())


@pytest.mark.parametrize("streams", STREAMS, ids=lambda form: form.kind)
def test_a_saved_model_comes_back_whole(streams: Streams, tmp_path: Path) -> None:
    made = model(streams, tags=True)
    save(made, tmp_path / "toy")
    again = load(tmp_path / "toy")
    assert again.config == made.config
    assert again.blueprint.card == "# toy\n"
    torch.testing.assert_close(again(again.batch(samples())).hidden(), made(made.batch(samples())).hidden(), rtol=0, atol=0)
    assert again.answer is not None


def test_it_is_no_model_that_answers(tmp_path: Path) -> None:
    save(model(), tmp_path / "toy")
    with pytest.raises(RequestError, match=r"is a joint model.*Open it with sensorium\.model\.joint_checkpoint\.load"):
        load_assistant(str(tmp_path / "toy"))


def test_a_missing_or_unknown_tensor_is_an_error(tmp_path: Path) -> None:
    save(model(), tmp_path / "toy")
    file = tmp_path / "toy" / "model.safetensors"
    tensors = load_file(file)
    tensors["odd"] = tensors.pop("match.out.bias")
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors \('match.out.bias'\) and holds 1 .*'odd'"):
        load(tmp_path / "toy")


def test_an_unknown_field_is_an_error(tmp_path: Path) -> None:
    save(model(), tmp_path / "toy")
    file = tmp_path / "toy" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"dropout": 0.1}), "utf-8")
    with pytest.raises(CheckpointError, match="dropout"):
        load(tmp_path / "toy")


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValidationError, match="width 18 is no multiple of 4 heads"):
        config(blocks=BlockConfig(width=18, heads=4, mlp_width=8))
    with pytest.raises(ValidationError, match=r"the image encoder gives width 12, regions\.dim is 10"):
        config(regions=RegionConfig(dim=10))
    with pytest.raises(CheckpointError, match="has 16 tokens, config.json says 99"):
        model(vocabulary=99)
    with pytest.raises(CheckpointError, match="preprocessor_config.json: is missing"):
        Joint(JointBlueprint(config(), word_tokenizer(TEXTS)))


def test_samples_that_cannot_be_read_are_refused() -> None:
    made, sample = model(regions=RegionConfig(dim=12, at="boxes")), samples()[0]
    text = replace(sample, messages=sample.messages[1:])
    with pytest.raises(RequestError, match="sample s0: has 0 pictures"):
        made.batch([text])
    with pytest.raises(RequestError, match=r'sample s0: has no objects in meta\["objects"\]'):
        made.batch([replace(sample, meta={})])
    with pytest.raises(RequestError, match=r"sample s0, object 0: has the box \[0, 0, 2, 2\]"):
        made.batch([replace(sample, meta={"objects": [{"name": "ring", "box": [0, 0, 2, 2]}]})])
    with pytest.raises(RequestError, match="sample s0, object 0: has no name"):
        made.batch([replace(sample, meta={"objects": [{"box": [0, 0, 1, 1]}]})])
    long = replace(sample, messages=(sample.messages[0], Message("assistant", (Text("ring " * 30),))))
    with pytest.raises(RequestError, match="text of sample s0: takes 32 positions, the model holds 24"):
        made.batch([long])
    with pytest.raises(RequestError, match="joint model: has no image encoder"):
        model(image=None).batch([sample])


def test_only_the_roles_asked_for_are_read() -> None:
    made = model()
    ids_BL = made.batch(samples(), roles=("user",)).words.ids_BL
    assert ids_BL.tolist() == [[made.reader.first, made.reader.last]] * 2
