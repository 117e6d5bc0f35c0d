"""Samples end to end learn what they learn in rows of their own, and none sees another."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.batch import Batch, Modality, Piece, Shown
from sensorium.data.flat import flatten
from sensorium.errors import DataError, RequestError
from sensorium.language.config import DecoderConfig
from sensorium.language.decoder import Decoder
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.presets import tiny
from sensorium.objectives.next_token import NextToken
from sensorium.parts import Image, Message, Sample, Text, Use

TURNS = (("What is it?", "A dog runs."), ("Where?", "No."), ("How many dogs are on the red field?", "Two."))


def samples(pictures: tuple[bool, ...] = (True, False, True)) -> list[Sample]:
    return [
        Sample(reply, (Message("user", (Text(ask),)), Message("assistant", (Text(reply),), learn=True)), {"picture": picture})
        for (ask, reply), picture in zip(TURNS, pictures, strict=True)
    ]


def laid_out(model: MultimodalLM, pictures: tuple[bool, ...] = (True, False, True)) -> Batch:
    """Rows of unequal lengths, of which some show a picture of its own."""
    rows, shown = [], []
    for number, (sample, picture) in enumerate(zip(samples(pictures), pictures, strict=True)):
        if picture:
            pixels_CHW = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(number))
            piece = Piece(Modality.IMAGE, (0.0, 0.0, 1.0, 1.0), (4, 4), tensor=pixels_CHW)
            ask = replace(sample.messages[0], parts=(Image("photo"), *sample.messages[0].parts))
            sample = replace(sample, messages=(ask, *sample.messages[1:]))
            shown.append({(0, 0): Shown((piece,), Use(0, 0, "image", "photo"))})
        else:
            shown.append({})
        rows.append(sample)
    return model.layout(rows, shown, reply=False)


def padded_loss(model: MultimodalLM, batch: Batch) -> Tensor:
    """By the model's own forward over padded rows, with logits everywhere."""
    logits_BLV = model.decoder.logits(model(batch).hidden_BLD[:, :-1])
    losses_BL = F.cross_entropy(logits_BLV.transpose(1, 2), batch.ids_BL[:, 1:], reduction="none")
    return losses_BL[batch.learn_BL[:, 1:]].sum()


@pytest.mark.parametrize("adapter", [False, True])
def test_losses_and_gradients_are_those_of_padded_rows(adapter: bool) -> None:
    model = tiny(adapter=adapter)
    if adapter:
        for name, weight in model.named_parameters():
            weight.requires_grad_(True)
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
    batch = laid_out(model)
    assert int(batch.valid_BL.sum()) < batch.valid_BL.numel()
    flat = flatten([batch])
    assert flat.ids_BL.shape[1] < int(batch.valid_BL.sum()), "neither padding nor what follows the last learned token"
    wanted = padded_loss(model, batch)
    wanted.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    loss = NextToken(encoders=model.encoders)(model, flat)
    loss.total.backward()
    assert loss.size == int(batch.learn_BL.sum())
    assert float((loss.total - wanted).detach()) == pytest.approx(0, abs=1e-4)
    for name, weight in model.named_parameters():
        if name in gradients:
            assert weight.grad is not None, name
            assert (weight.grad - gradients[name]).abs().max() <= 1e-5 * max(1, float(gradients[name].abs().max())), name


def test_a_sample_is_not_seen_by_another() -> None:
    model = tiny().eval()
    batch = laid_out(model, (True, True, True))
    flat, losses = flatten([batch]), []
    for changed in range(4):
        ids_BL, media = flat.ids_BL.clone(), list(flat.media[Modality.IMAGE])
        if changed < 3:
            begin = sum(flat.lengths[:changed])
            ids_BL[0, begin : begin + flat.lengths[changed]] = 77
            media[changed] = media[changed] + 1
        with torch.no_grad():
            hidden_TD = NextToken(encoders=model.encoders).hidden(
                model, flat._replace(ids_BL=ids_BL, media={Modality.IMAGE: media})
            )
        owner_T = torch.bucketize(flat.targets.places_T, torch.tensor(flat.lengths).cumsum(0), right=True)
        losses.append([hidden_TD[owner_T == row] for row in range(3)])
    for changed in range(3):
        for row in range(3):
            same = losses[changed][row].equal(losses[3][row])
            assert same == (row != changed), (changed, row)


def test_several_batches_lie_end_to_end_with_their_weights() -> None:
    model = tiny().eval()
    batches = [laid_out(model, (True, False, False)), laid_out(model, (False, False, True))]
    flat = flatten(batches, [1.0, 0.0, 2.0, 1.0, 1.0, 0.5])
    learned = [count for batch in batches for count in batch.learn_BL.sum(1).tolist()]
    assert float(flat.targets.weights_T.sum()) == sum(a * b for a, b in zip(learned, [1, 0, 2, 1, 1, 0.5], strict=True))
    with torch.no_grad():
        whole = NextToken(encoders=model.encoders)(model, flatten(batches))
        wanted = sum(float(padded_loss(model, batch)) for batch in batches)
    assert float(whole.total) == pytest.approx(wanted, abs=1e-3)


def test_a_model_with_crossings_is_refused() -> None:
    model = tiny(cross_attention=True)
    with pytest.raises(RequestError, match="through which packed samples would see each other's"):
        NextToken(encoders=model.encoders)(model, flatten([laid_out(tiny())]))


def test_a_row_without_a_learned_token_is_an_error() -> None:
    model = tiny()
    batch = laid_out(model)
    learn_BL = batch.learn_BL.clone()
    learn_BL[1] = False
    with pytest.raises(DataError, match=r"sample No\.: has no token to learn"):
        flatten([replace(batch, learn_BL=learn_BL)])


@pytest.mark.parametrize("change", [{}, {"sliding": (True, False), "sliding_window": 4}, {"attention_softcap": 5.0}])
def test_every_kind_of_attention_keeps_to_its_document(change: dict[str, object]) -> None:
    shape = {"vocab_size": 40, "dim": 16, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 8, "inner_dim": 24}
    decoder = Decoder(DecoderConfig("llama", max_positions=16, **shape, **change)).eval()  # type: ignore[arg-type]
    ids_BL = torch.randint(0, 40, (1, 21))
    with torch.no_grad():
        together = decoder(decoder.embed(ids_BL), documents=(9, 1, 11))
        alone = [decoder(decoder.embed(part_BL)) for part_BL in ids_BL.split([9, 1, 11], dim=1)]
    assert torch.allclose(together, torch.cat(alone, dim=1), atol=1e-5)
