"""Spectrogram and encoder against transformers' own; a sound's cost and result depend on its own length only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import WhisperConfig as TheirConfig
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from sensorium.encoders.audio import AudioEncoder, WhisperConfig, names_from_hf, names_to_hf
from sensorium.encoders.spectrogram import log_mel
from sensorium.errors import CheckpointError, RequestError
from sensorium.nn.trace import Trace

TOY = WhisperConfig(mels=80, dim=32, layers=2, heads=4, inner=48, steps=1500)


def _speechlike(seconds: float, seed: int = 0) -> torch.Tensor:
    """Noise and gliding tones under a slow envelope, with a stretch of digital silence."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16_000)) / 16_000
    tones = sum(np.sin(2 * np.pi * pitch * time * (1 + 0.1 * np.sin(time))) for pitch in (120, 430, 1900))
    sound = (tones * 0.1 + rng.normal(0, 0.01, len(time))) * (0.55 + 0.45 * np.sin(3 * time))
    sound[len(sound) // 3 : len(sound) // 3 + 500] = 0.0
    return torch.from_numpy(sound.astype(np.float32))


def _theirs() -> WhisperEncoder:
    torch.manual_seed(0)
    config = TheirConfig(
        d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=48, attn_implementation="sdpa", num_mel_bins=80
    )
    encoder = WhisperEncoder(config).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return encoder


def _state(encoder: WhisperEncoder) -> dict[str, torch.Tensor]:
    return {f"model.encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    ours = AudioEncoder(TOY).eval()
    ours.load_state_dict(names_from_hf(_state(_theirs())))
    return ours


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("seconds", [0.31, 7.777, 30.0])
def test_mel_equals_the_reference(mels: int, seconds: float) -> None:
    sound = _speechlike(seconds)
    theirs = WhisperFeatureExtractor(feature_size=mels)(
        sound.numpy(), sampling_rate=16_000, return_tensors="pt"
    ).input_features[0]
    assert (log_mel(sound, mels, frames=3000) - theirs).abs().max() <= 1e-5
    own = log_mel(sound, mels)
    assert own.shape == (mels, 2 * -(-len(sound) // 320))
    assert (own - theirs[:, : own.shape[1]]).abs().max() <= 1e-5


@pytest.mark.parametrize(("samples", "frames"), [(0, None), (480_001, None), (16_000, 50), (16_000, 3002)])
def test_mel_refuses_what_does_not_fit(samples: int, frames: int | None) -> None:
    with pytest.raises(RequestError, match=r"480,000 samples.*up to 30 s"):
        log_mel(torch.zeros(samples), frames=frames)


def test_silence_is_finite() -> None:
    assert log_mel(torch.zeros(1)).flatten().tolist() == [-1.5] * 160


def test_encoder_equals_the_reference_on_full_windows(encoder: AudioEncoder) -> None:
    mels = [log_mel(_speechlike(4.0, seed), frames=3000) for seed in (1, 2)]
    with torch.no_grad():
        theirs = _theirs()(torch.stack(mels)).last_hidden_state
        ours = encoder(mels)
    assert ours.valid_BT.all()
    assert (ours.x_BTD - theirs).abs().max() <= 1e-4


def test_a_row_is_what_it_is_alone(encoder: AudioEncoder) -> None:
    mels = [log_mel(_speechlike(seconds)) for seconds in (1.0, 2.37, 0.02)]
    with torch.no_grad():
        together, alone = encoder(mels), [encoder([mel]) for mel in mels]
    assert together.valid_BT.sum(1).tolist() == [encoder.grid(mel)[0] for mel in mels] == [50, 119, 1]
    assert not together.x_BTD[~together.valid_BT].any()
    for row, one in enumerate(alone):
        assert one.valid_BT.all()
        assert (together.x_BTD[row, together.valid_BT[row]] - one.x_BTD[0]).abs().max() <= 1e-5


def test_traced_attention_explains_the_output(encoder: AudioEncoder) -> None:
    trace = Trace(("encoder.audio.stem", "encoder.audio.1.attention", "encoder.audio.1"))
    mels = [log_mel(_speechlike(seconds)) for seconds in (0.5, 0.2)]
    with torch.no_grad():
        encoder(mels, trace)
    weights = trace.result()["encoder.audio.1.attention"]
    assert weights.shape == (2, 4, 25, 25)
    assert not weights[1, :, :, 10:].any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 25))


def test_a_middle_layer_is_what_that_block_gives() -> None:
    middle, last = AudioEncoder(TOY, layer=1).eval(), AudioEncoder(TOY).eval()
    last.load_state_dict(middle.state_dict())
    mels = [log_mel(_speechlike(seconds)) for seconds in (0.5, 0.2)]
    trace = Trace(("encoder.audio.0",))
    with torch.no_grad():
        given, whole = middle(mels), last(mels, trace)
        assert torch.equal(middle.encode(mels).x_BTD, whole.x_BTD)
    block_PTD = trace.result()["encoder.audio.0"]
    assert torch.equal(given.x_BTD[given.valid_BT], block_PTD[given.valid_BT])
    assert not given.x_BTD[~given.valid_BT].any()
    with pytest.raises(RequestError, match="audio layer 3: is not among 1 to 2"):
        AudioEncoder(TOY, layer=3)


def test_too_long_is_refused() -> None:
    with pytest.raises(RequestError, match=r"2\.0 s: is longer than the encoder's 1 s"):
        AudioEncoder(WhisperConfig(dim=8, layers=1, heads=1, inner=8, steps=50))([torch.zeros(80, 200)])


def test_names_there_and_back() -> None:
    state = _state(_theirs())
    back = names_to_hf(names_from_hf(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_names_are_strict() -> None:
    state = _state(_theirs())
    with pytest.raises(CheckpointError, match=r"layers\.0\.fc3\.weight: is known to no Whisper layer"):
        names_from_hf(state | {"model.encoder.layers.0.fc3.weight": torch.zeros(1)})
    del state["model.encoder.layers.1.fc1.weight"]
    with pytest.raises(CheckpointError, match=r"model\.encoder\.layers\.1\.fc1\.weight: is missing"):
        names_from_hf(state)


def test_config_there_and_back() -> None:
    assert WhisperConfig.from_hf(TheirConfig().to_dict()) == WhisperConfig()
    assert WhisperConfig.from_hf(TOY.to_hf()) == TOY
    assert TheirConfig(**TOY.to_hf()).encoder_ffn_dim == 48
    with pytest.raises(CheckpointError, match="has model type and activation"):
        WhisperConfig.from_hf({"model_type": "llama"})
    with pytest.raises(CheckpointError, match="lacks the whole number encoder_layers"):
        WhisperConfig.from_hf({name: value for name, value in TOY.to_hf().items() if name != "encoder_layers"})
