"""The trainable dual encoder: unit vectors of each medium, naming by prompts, a strict folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.encoders.cnn import EfficientNetConfig
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.text import BertConfig
from sensorium.errors import CheckpointError, RequestError
from sensorium.media.audio import encode_wav
from sensorium.media.image import encode_png
from sensorium.model.config import EfficientNetTower
from sensorium.model.joint_config import word_tokenizer
from sensorium.model.load import load
from sensorium.model.pair import Pair, PairConfig, tiny_dual
from sensorium.parts import Audio, Image, Message, Text, Video
from sensorium.protocols import Embeds

WORDS = ["A red circle.", "a blue star above it"]


@pytest.fixture(scope="module")
def pair() -> Pair:
    torch.manual_seed(0)
    return tiny_dual(WORDS, size=32, patch=8, width=32, depth=2, sounds=True).eval()


def picture(seed: int = 0, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (3, size, size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_every_medium_becomes_a_unit_vector_of_one_width(pair: Pair) -> None:
    wave = encode_wav(torch.from_numpy(np.sin(np.arange(8000) / 9).astype(np.float32)) * 0.5, 16000)
    parts = (Text("a red star"), Image(encode_png(picture())), Audio(wave))
    vectors_PD = pair.embed([Message("user", (part,)) for part in parts])
    assert vectors_PD.shape == (3, 32)
    assert torch.allclose(vectors_PD.norm(dim=-1), torch.ones(3), atol=1e-5)
    both_D = pair.embed([Message("user", parts[:2])])[0]
    assert torch.allclose(both_D, torch.nn.functional.normalize(vectors_PD[:2].mean(0), dim=-1), atol=1e-5)
    assert isinstance(pair, Embeds)


def test_bytes_and_prepared_pixels_are_the_same_picture(pair: Pair) -> None:
    pixels_CHW = picture()
    prepared_CHW = pair.processing.view(pixels_CHW).pixels_CHW
    assert torch.allclose(pair.images(pixels_CHW[None]), pair.images(prepared_CHW[None]), atol=1e-5)


def test_a_text_does_not_depend_on_its_neighbours(pair: Pair) -> None:
    texts = ["a star", "A red circle.", "a blue star above it"] * 12
    together_PD = pair.texts(texts)
    alone_PD = torch.cat([pair.texts([text]) for text in texts])
    assert torch.allclose(together_PD, alone_PD, atol=1e-5)


def test_naming_picks_the_class_whose_wordings_are_nearest(pair: Pair) -> None:
    names = [["A red circle."], ["a blue star", "star"]]
    classes_CD = pair.classes(names)
    wanted_D = torch.nn.functional.normalize(pair.texts(["a blue star"])[0] + pair.texts(["star"])[0], dim=-1)
    assert torch.allclose(classes_CD[1], wanted_D, atol=1e-5)
    pixels_PCHW = torch.stack([picture(seed) for seed in range(3)])
    named = pair.name(pixels_PCHW, classes_CD, scale=10.0)
    scores_PC = pair.images(pixels_PCHW) @ classes_CD.t() * 10
    assert torch.allclose(named.probabilities_PC, scores_PC.softmax(1), atol=1e-5)
    assert named.best_P.tolist() == scores_PC.argmax(1).tolist()


def test_gradients_reach_every_tensor(pair: Pair) -> None:
    mel_MT = torch.randn(80, 20)
    vectors_PD = torch.cat([pair.images(picture()[None]), pair.texts(["red circle"]), pair.sounds([mel_MT])])
    vectors_PD.sum().backward()
    still = {name for name, parameter in pair.named_parameters() if parameter.requires_grad and parameter.grad is None}
    assert still == set()
    pair.zero_grad()


def test_a_folder_gives_the_same_model(pair: Pair, tmp_path: Path) -> None:
    pair.save(tmp_path / "pair")
    again = Pair.load(tmp_path / "pair")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in pair.state_dict().items())
    assert torch.allclose(again.texts(WORDS), pair.texts(WORDS), atol=1e-6)
    with pytest.raises(RequestError, match=r"is a dual encoder.*sensorium\.model\.pair\.Pair\.load"):
        load(str(tmp_path / "pair"))
    (tmp_path / "pair" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no safetensors|no weights|holds no|safetensors"):
        Pair.load(tmp_path / "pair")


def test_a_convolutional_tower_works_as_well() -> None:
    tokenizer = word_tokenizer(WORDS)
    text = BertConfig(tokenizer.get_vocab_size(), 16, 1, 1, 32, 16, pooler=False)
    tower = EfficientNetTower(config=EfficientNetConfig(width=0.25, depth=0.25, image_size=64, classes=0))
    config = PairConfig(image=tower, text=text, dim=8)
    pair = Pair(config, tokenizer, ImageProcessing(size=(64, 64))).eval()
    assert pair.images(picture(size=64)[None]).shape == (1, 8)


def test_what_it_cannot_take_in_is_said(pair: Pair) -> None:
    with pytest.raises(
        RequestError, match="video part: has no tower in this model. Give a text, or a medium it was trained on"
    ):
        pair.embed([Message("user", (Video("film.mp4"),))])
    with pytest.raises(RequestError, match="a message has no parts. Give a text, a picture or a sound"):
        pair.embed([Message("user", ())])
    with pytest.raises(RequestError, match=r"text 'red red.*takes 82 tokens, the text tower reads 64\. Shorten it"):
        pair.texts(["a star", "red " * 80])
    with pytest.raises(RequestError, match="sound: cannot be heard: this model has no audio tower. Build it with one"):
        tiny_dual(WORDS, size=32, width=32).sounds([torch.zeros(80, 4)])
