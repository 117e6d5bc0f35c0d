"""Parity with the reference implementations at toy size, fp32: every family of decoder, encoder, connector and composite.

    python benchmarks/parity.py [--json FILE]

Prints one row a family with the largest absolute difference of its outputs, and fails if one is above 1e-4. The families are
those of the tests; references are random models of `transformers` (and of `efficientnet-lite-pytorch`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch

ROOT = Path(__file__).parents[1]
LIMIT = 1e-4
sys.path[:0] = [str(ROOT), str(ROOT / "src")]


class Row(NamedTuple):
    """One family, its reference and the largest difference; None where the reference is not installed."""

    kind: str
    name: str
    reference: str
    difference: float | None


def decoders() -> Iterator[Row]:
    """Logits of each text family, and of GGUF files through the converter."""
    from tests.language import families
    from tests.model.test_gguf import reference, write

    for family in families.FAMILIES:
        model = families.reference(family)
        decoder, ids_BL = families.ours(model), families.ids()
        difference = decoder.logits(decoder(decoder.embed(ids_BL))) - model(ids_BL).logits
        yield Row("decoder", family.name, family.model, float(difference.abs().max()))
    for kind in ("llama", "qwen2", "qwen3", "gemma3"):
        _, model = reference(kind)
        with tempfile.TemporaryDirectory() as folder:
            difference = _gguf(model, write(Path(folder) / "m.gguf", kind, model))
        yield Row("decoder", f"{kind}, from GGUF", type(model).__name__, difference)


def encoders() -> Iterator[Row]:
    """All outputs of each encoder: tokens, pooled vectors, logits."""
    from tests.encoders import families

    for family in [*families.vision_families(), *families.text_families()]:
        yield Row("encoder", family.name, family.reference.rpartition(".")[2], max(family.differences().values()))
    for family in families.cnn_families():
        try:
            yield Row("encoder", family.name, family.reference.rpartition(".")[2], max(family.differences().values()))
        except ImportError:
            yield Row("encoder", family.name, family.reference.rpartition(".")[2], None)


def speech() -> Iterator[Row]:
    """Whisper: the spectrogram, the encoder on 30 s, the decoder's logits."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    from sensorium.encoders import audio
    from sensorium.encoders.spectrogram import log_mel
    from sensorium.language import speech as spoken

    torch.manual_seed(0)
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    widths = {"d_model": 32, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "vocab_size": 99}
    special = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0)
    net = WhisperForConditionalGeneration(WhisperConfig(**layers, **widths, **special)).eval()
    for parameter in net.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    row = net.config.to_dict()
    encoder = audio.AudioEncoder(audio.WhisperConfig.from_hf(row)).eval()
    encoder.load_state_dict(audio.names_from_hf(net.state_dict()))
    decoder = spoken.SpeechDecoder(spoken.SpeechConfig.from_hf(row)).eval()
    decoder.load_state_dict(spoken.names_from_hf(net.state_dict()))
    samples = torch.randn(16_000 * 9) * 0.1
    extract = WhisperFeatureExtractor(feature_size=80)
    theirs_1MT = extract(samples.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    mel_MT = log_mel(samples, 80, frames=3000)
    yield Row("speech", "log-mel spectrogram", "WhisperFeatureExtractor", float((mel_MT - theirs_1MT[0]).abs().max()))
    features = encoder([mel_MT])
    wanted = net.model.encoder(mel_MT[None]).last_hidden_state
    yield Row("speech", "Whisper encoder", "WhisperEncoder", float((features.x_BTD - wanted).abs().max()))
    ids_BL = torch.randint(0, 90, (1, 9))
    ours = decoder.logits(decoder(ids_BL, decoder.memory(features)))
    wanted = net(encoder_outputs=(features.x_BTD,), decoder_input_ids=ids_BL).logits
    yield Row("speech", "Whisper decoder", "WhisperForConditionalGeneration", float((ours - wanted).abs().max()))


def connectors() -> Iterator[Row]:
    """LLaVA's MLP, Idefics3's pixel shuffle, Idefics' perceiver attention, BLIP-2's Q-former."""
    from transformers import Blip2QFormerConfig, Blip2QFormerModel
    from transformers.models.idefics.perceiver import IdeficsPerceiverAttention
    from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    from sensorium.batch import Features
    from sensorium.fusion.projector import MLPProjector, ProjectorConfig
    from sensorium.fusion.qformer import QFormer, QFormerConfig, from_blip2
    from sensorium.fusion.resampler import Resampler, ResamplerConfig

    torch.manual_seed(0)
    x_PTD, valid_PT = torch.randn(2, 16, 6), torch.ones(2, 16, dtype=torch.bool)
    vision, text = SimpleNamespace(hidden_size=6), SimpleNamespace(hidden_size=5)
    shared = {"vision_config": vision, "text_config": text}
    llava = LlavaMultiModalProjector(
        SimpleNamespace(**shared, vision_feature_layer=-2, multimodal_projector_bias=True, projector_hidden_act="gelu")
    )
    mlp = MLPProjector(ProjectorConfig(dim_in=6, dim_out=5, hidden=5)).eval()
    mlp.load_state_dict(llava.state_dict())
    difference = mlp(Features(x_PTD, valid_PT)).x_BTD - llava(x_PTD)
    yield Row("connector", "MLP projector", "LlavaMultiModalProjector", float(difference.abs().max()))
    shuffled = Idefics3Connector(SimpleNamespace(**shared, scale_factor=2))
    shuffle = MLPProjector(ProjectorConfig(dim_in=6, dim_out=5, pool="shuffle", size=2, bias=False)).eval()
    shuffle.load_state_dict({"linear_1.weight": shuffled.modality_projection.proj.weight})
    difference = shuffle(Features(x_PTD, valid_PT)).x_BTD - shuffled(x_PTD)
    yield Row("connector", "pixel shuffle", "Idefics3Connector", float(difference.abs().max()))
    perceiver = IdeficsPerceiverAttention(8, 2, 4, False)
    shape = {"dim_in": 8, "dim_out": 8, "dim": 8, "queries": 3, "layers": 1, "heads": 2, "head_dim": 4, "hidden": 16}
    layer = Resampler(ResamplerConfig.from_json(shape)).eval().layers[0]
    for ours, theirs in {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "output_proj"}.items():
        getattr(layer.attention, ours).weight.copy_(getattr(perceiver, theirs).weight)
    media_PTD, x_PQD = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    wanted_PQD = x_PQD + perceiver(media_PTD, x_PQD)
    wanted_PQD = wanted_PQD + layer.mlp(layer.norm_mlp(wanted_PQD))
    difference = layer(x_PQD, media_PTD, torch.ones(2, 5, dtype=torch.bool)) - wanted_PQD
    yield Row("connector", "perceiver resampler", "IdeficsPerceiverAttention", float(difference.abs().max()))
    inner = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    inner |= {"encoder_hidden_size": 6, "cross_attention_frequency": 2, "vocab_size": 12}
    blip = Blip2QFormerModel(Blip2QFormerConfig(**inner)).eval()
    state = {f"qformer.{name}": tensor for name, tensor in blip.state_dict().items()}
    queries_1QD = torch.randn(1, 3, 8)
    outward = {"language_projection.weight": torch.eye(8), "language_projection.bias": torch.zeros(8)}
    state |= {"query_tokens": queries_1QD, **outward}
    qformer = QFormer(QFormerConfig(dim_in=6, dim_out=8, dim=8, queries=3, layers=3, heads=2, hidden=16, every=2)).eval()
    qformer.load_state_dict(from_blip2(state))
    wanted_PQD = blip(query_embeds=queries_1QD.expand(2, -1, -1), encoder_hidden_states=x_PTD).last_hidden_state
    difference = qformer(Features(x_PTD, valid_PT)).x_BTD - wanted_PQD
    yield Row("connector", "Q-former", "Blip2QFormerModel", float(difference.abs().max()))


def composites() -> Iterator[Row]:
    """LLaVA 1.5 shapes through `convert`: pictures and text to logits."""
    from sensorium.model.checkpoint import load
    from sensorium.model.convert import convert
    from tests.model.test_convert import llava

    for vision, strategy in (("clip", "default"), ("siglip", "full")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            net = llava(folder / "theirs", vision, vision_feature_select_strategy=strategy)
            convert(folder / "theirs", folder / "ours")
            model = load(folder / "ours")
        pixels_PCHW, ids_BL = torch.randn(1, 3, 28, 28), torch.tensor([[1, 9, *[511] * 16, 8, 7]])
        embeds_BLD = model.decoder.embed(ids_BL).clone()
        embeds_BLD[:, 2:18] = model.connectors["image"](model.encoders["image"](list(pixels_PCHW))).x_BTD
        difference = model.decoder.logits(model.decode(embeds_BLD)) - net(input_ids=ids_BL, pixel_values=pixels_PCHW).logits
        yield Row("composite", f"LLaVA 1.5 with {vision}", type(net).__name__, float(difference.abs().max()))


def _gguf(model: torch.nn.Module, path: Path) -> float:
    from sensorium.language.config import DecoderConfig
    from sensorium.language.decoder import Decoder
    from sensorium.model.gguf import read_gguf

    read = read_gguf(path)
    decoder = Decoder(DecoderConfig.from_hf(read.config)).eval()
    decoder.load_state_dict({name.removeprefix("model."): tensor for name, tensor in read.tensors.items()})
    ids_BL = torch.arange(20).reshape(2, 10)
    return float((decoder.logits(decoder(decoder.embed(ids_BL))) - model(ids_BL).logits).abs().max())


GROUPS: tuple[Callable[[], Iterator[Row]], ...] = (decoders, encoders, speech, connectors, composites)


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the rows there")
    options = parser.parse_args()
    torch.manual_seed(0)
    rows = []
    print(f"{'kind':10} {'family':38} {'reference':30} max |difference|")
    for group in GROUPS:
        for row in group():
            rows.append(row)
            shown = "reference not installed" if row.difference is None else f"{row.difference:.1e}"
            failed = row.difference is not None and not row.difference <= LIMIT
            print(f"{row.kind:10} {row.name:38} {row.reference:30} {shown}{' ABOVE THE LIMIT' if failed else ''}", flush=True)
    known = [row.difference for row in rows if row.difference is not None]
    bad = sum(not difference <= LIMIT for difference in known)
    print(f"{len(known)} families compared, largest difference {max(known):.1e}, limit {LIMIT:.0e}, {bad} above it")
    if options.json:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
