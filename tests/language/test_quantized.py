"""Packed weights: exact where they can be, the same compiled and in torch, layer by layer and in one step."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from sensorium.errors import CheckpointError, RequestError
from sensorium.language.cache import KVCache
from sensorium.language.config import DecoderConfig
from sensorium.language.decoder import Decoder
from sensorium.language.native import NativeUnavailable, native
from sensorium.language.quantized import Bits, QuantizedEmbedding, QuantizedLinear, from_tensors, quantize, to_tensors
from sensorium.language.step import NativeStep
from sensorium.nn.lora import LoraConfig, add_lora
from sensorium.nn.rope import Rope
from sensorium.nn.trace import Trace

PLAIN = DecoderConfig("llama", 90, 48, 3, 6, 2, 8, 80, 64, tie_embeddings=True)
GEMMA = replace(
    PLAIN,
    head_dim=16,
    qk_norm=True,
    sliding=(True, True, False),
    sliding_window=5,
    local_rope=Rope(100.0),
    sandwich_norms=True,
    norm_offset=1.0,
    embed_scale=7.0,
    attention_scale=0.2,
    attention_softcap=5.0,
    logit_softcap=10.0,
    activation="gelu_tanh",
)
SHAPES = {
    "llama": PLAIN,
    "heads of 64, one shared": replace(PLAIN, head_dim=64, heads=3, kv_heads=1),
    "heads of 128": replace(PLAIN, head_dim=128, heads=2, kv_heads=2),
    "biases": replace(PLAIN, qkv_bias=True, out_bias=True, tie_embeddings=False),
    "norms of heads": replace(PLAIN, qk_norm=True, activation="gelu"),
    "a window": replace(PLAIN, sliding=(True, False, True), sliding_window=5, activation="relu"),
    "gemma": GEMMA,
}


@pytest.fixture(params=["compiled", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to compute, one after the other."""
    native.cache_clear()
    if request.param == "torch":
        monkeypatch.setenv("SENSORIUM_NATIVE", "0")
    else:
        _need_compiler()
    yield request.param
    native.cache_clear()


@pytest.fixture
def compiled() -> None:
    """Only where there is a compiler."""
    _need_compiler()


def _need_compiler() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NativeUnavailable)
        if native() is None:
            pytest.skip("no C compiler here")


def _decoder(config: DecoderConfig = PLAIN) -> Decoder:
    torch.manual_seed(0)
    decoder = Decoder(config).eval().requires_grad_(False)
    for weight in decoder.parameters():
        weight.add_(0.1 * torch.randn_like(weight)) if weight.dim() == 1 else weight.mul_(5)
    return decoder


def _ids(rows: int, length: int) -> Tensor:
    return torch.randint(0, 90, (rows, length), generator=torch.Generator().manual_seed(rows))


# -- one layer


@pytest.mark.parametrize("shape", [(16, 32), (33, 70), (5, 3)])
@pytest.mark.parametrize("bits", [8, 4])
def test_weights_lose_at_most_half_a_step(bits: Bits, shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    weight_ED = torch.randn(shape)
    error_ED = (QuantizedLinear(weight_ED, None, bits).dequantized() - weight_ED).abs()
    if bits == 8:
        assert (error_ED <= weight_ED.abs().amax(1, keepdim=True) / 127 * 0.501).all()
    else:
        groups = torch.nn.functional.pad(weight_ED, (0, -shape[1] % 32)).unflatten(1, (-1, 32))
        step = ((groups.amax(-1) - groups.amin(-1)) / 15).repeat_interleave(32, 1)[:, : shape[1]]
        assert (error_ED <= step * 0.501 + weight_ED.abs().max() * 2**-9).all()  # and fp16's rounding of the edges


def test_weights_of_a_q4_1_file_are_kept_exactly() -> None:
    torch.manual_seed(2)
    codes = torch.randint(0, 16, (20, 3, 32))
    codes[:, :, 0], codes[:, :, 1] = 0, 15
    step, low = torch.rand(20, 3, 1).mul(0.02).half().float(), torch.randn(20, 3, 1).half().float()
    weight_ED = (codes * step + low).flatten(1)
    assert QuantizedLinear(weight_ED, None, 4).dequantized().equal(weight_ED)


@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("shape", [(16, 32), (50, 70), (3, 5), (100, 256)])
@pytest.mark.parametrize("bits", [8, 4])
def test_a_layer_computes_with_rounded_weights_and_inputs(way: str, bits: Bits, shape: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(3)
    layer = QuantizedLinear(torch.randn(shape), torch.randn(shape[0]) if bias else None, bits)
    for rows in (1, 2, 7, 8, 19, 300):
        x_BD = torch.randn(rows, shape[1]) * torch.rand(rows, 1) * 10
        x_BD[1:2] = 0
        grouped = nn.functional.pad(x_BD, (0, -shape[1] % 32)).unflatten(1, (-1, 32)).double()
        scale = grouped.abs().amax(-1, keepdim=True).clamp_min(1e-30) / 127
        rounded_BD = ((grouped / scale).round() * scale).flatten(1)[:, : shape[1]]
        expected_BE = rounded_BD @ layer.dequantized().double().T + (layer.bias if bias else 0)
        assert (layer(x_BD) - expected_BE).abs().max() < 2e-5 * expected_BE.abs().max()


def test_extremes_do_not_overflow(way: str) -> None:
    for bits in (8, 4):
        layer = QuantizedLinear(torch.full((16, 4096), 3.0), None, bits)  # every product as large as it can be
        x_BD = torch.stack((torch.full((4096,), 1e30), torch.full((4096,), -1e-30), torch.zeros(4096)))
        expected_BE = (x_BD.double().sum(1) * 3.0)[:, None].expand(3, 16)
        assert torch.allclose(layer(x_BD).double(), expected_BE, rtol=1e-3, atol=0)


def test_any_shape_and_dtype_goes_in(way: str) -> None:
    layer = QuantizedLinear(torch.randn(20, 40), None, 8)
    x_BLD = torch.randn(2, 3, 80)[..., ::2]
    assert layer(x_BLD).shape == (2, 3, 20)
    assert layer(x_BLD).equal(layer(x_BLD.contiguous()))
    assert layer(x_BLD.bfloat16()).dtype == torch.bfloat16
    assert layer.bfloat16().scales.dtype == torch.float32  # scales are not cast


def test_an_embedding_gives_rows_and_scores(way: str) -> None:
    torch.manual_seed(4)
    weight_VD = torch.randn(45, 24)
    table = QuantizedEmbedding(weight_VD)
    ids_BL = torch.tensor([[0, 44, 17], [16, 15, 1]])
    assert table(ids_BL).equal(table.dequantized()[ids_BL])
    hidden_BLD = torch.randn(2, 3, 24)
    exact_BLV = hidden_BLD @ weight_VD.T
    assert (table.project(hidden_BLD) - exact_BLV).norm() < 0.01 * exact_BLV.norm()


# -- the decoder


@pytest.mark.parametrize(("bits", "limit"), [(8, 0.05), (4, 0.4)])
def test_the_logits_stay_near(bits: Bits, limit: float) -> None:
    plain, packed = _decoder(), quantize(_decoder(), bits)
    with torch.no_grad():
        right, near = (d.logits(d(d.embed(_ids(2, 30)))) for d in (plain, packed))
    assert (near - right).norm() / right.norm() < limit


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_one_step_equals_the_layers(name: str, bits: Bits | None, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = _decoder(SHAPES[name])
    if bits:
        quantize(decoder, bits)
    for rows, threads in ((1, 1), (3, 1), (9, 3)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        valid_BL = torch.arange(40) < 40 - torch.arange(rows)[:, None] % 5
        step = NativeStep()
        got, caches = [], []
        for decoder.step in (None, step):
            cache = KVCache(decoder.config, rows, 12)  # has to grow
            decoder(decoder.embed(_ids(rows, 40)), valid_BL=valid_BL, cache=cache)
            got.append([decoder.logits(decoder(decoder.embed(_ids(rows, 1 + i)[:, -1:]), cache=cache)) for i in range(5)])
            caches.append(cache)
        assert step.used == 5
        assert caches[0].lengths == caches[1].lengths
        layers, one = torch.cat(got[0]), torch.cat(got[1])
        scale = layers.abs().max()
        # a rounded input may fall on the other side where the sums differ in their last bit
        assert (layers - one).abs().max() < (0.05 if bits else 1e-5) * scale
        assert (layers - one).abs().mean() < (0.003 if bits else 1e-6) * scale


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("rows_B", [None, False, torch.tensor([True, False, True])], ids=["all", "none", "some"])
@torch.no_grad()
def test_adapters_work_for_the_rows_that_are_on(rows_B: Tensor | bool | None) -> None:
    decoder = quantize(_decoder(), 8)
    switch = add_lora(decoder, LoraConfig(r=3, alpha=12.0))
    assert isinstance(decoder.layers[0].self_attn.q_proj.base, QuantizedLinear)
    for name, weight in decoder.named_parameters():
        if "lora_B" in name:
            weight.normal_()
    step, got = NativeStep(), []
    for decoder.step in (None, step):
        cache = KVCache(decoder.config, 3, 20)
        with switch.rows(rows_B):
            decoder(decoder.embed(_ids(3, 9)), cache=cache)
            got.append(decoder(decoder.embed(_ids(3, 1)), cache=cache))
    assert step.used == 1
    assert (got[0] - got[1]).abs().max() < 0.05 * got[0].abs().max()
    assert (got[0] - got[1]).abs().mean() < 0.003 * got[0].abs().max()


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("bits", [8, None], ids=["int8", "fp32"])
@torch.no_grad()
def test_several_sets_of_adapters_work_each_for_its_own_rows(bits: Bits | None) -> None:
    decoder = quantize(_decoder(), bits) if bits else _decoder()
    first = add_lora(decoder, LoraConfig(r=3, alpha=12.0))
    second = add_lora(decoder, LoraConfig(r=5, alpha=10.0, targets=("q_proj", "down_proj")), "second")
    for name, weight in decoder.named_parameters():
        if "lora_B" in name:
            weight.normal_()
    step = NativeStep()
    apart = []
    for of_first, of_second in ((True, False), (False, True), ([1, 0, 1], [0, 1, 1]), (True, [0, 0, 1])):
        rows = [torch.tensor(one, dtype=torch.bool) if isinstance(one, list) else one for one in (of_first, of_second)]
        got = []
        with first.rows(rows[0]), second.rows(rows[1]):
            for decoder.step in (None, step):
                cache = KVCache(decoder.config, 3, 20)
                decoder(decoder.embed(_ids(3, 9)), cache=cache)
                got.append(decoder(decoder.embed(_ids(3, 1)), cache=cache))
        assert (got[0] - got[1]).abs().max() < (0.05 if bits else 1e-5) * got[0].abs().max()
        apart.append(got[1])
    assert step.used == 4
    assert all((one - other).abs().max() > 0.1 for one, other in pairwise(apart))


@pytest.mark.usefixtures("compiled")
@torch.no_grad()
def test_positions_of_the_caller_turn_the_heads() -> None:
    decoder, got = _decoder(), []
    for decoder.step in (None, NativeStep()):
        cache = KVCache(decoder.config, 2, 20)
        decoder(decoder.embed(_ids(2, 9)), cache=cache)
        got.append(decoder(decoder.embed(_ids(2, 1)), cache=cache, positions_BL=torch.tensor([[3], [2000]])))
    assert (got[0] - got[1]).abs().max() < 1e-5 * got[0].abs().max()


@pytest.mark.usefixtures("compiled")
@torch.no_grad()
def test_a_finished_row_keeps_its_length() -> None:
    decoder, cache = quantize(_decoder(), 8), KVCache(PLAIN, 2, 4)
    decoder(decoder.embed(_ids(2, 3)), cache=cache)
    decoder(decoder.embed(_ids(2, 1)), valid_BL=torch.tensor([[True], [False]]), cache=cache)
    assert cache.lengths == [4, 3]


@pytest.mark.usefixtures("compiled")
def test_a_full_context_is_refused() -> None:
    decoder, cache = quantize(_decoder(), 8), KVCache(PLAIN, 1)
    with torch.no_grad():
        for i in range(64):
            decoder(decoder.embed(_ids(1, 65)[:, i : i + 1]), cache=cache)
        with pytest.raises(RequestError, match="65 positions are over the limit of 64"):
            decoder(decoder.embed(_ids(1, 1)), cache=cache)
    assert decoder.step is not None
    assert decoder.step.used == 64


@pytest.mark.usefixtures("compiled")
@torch.no_grad()
def test_what_one_step_cannot_do_goes_through_the_layers() -> None:
    decoder = quantize(_decoder(), 8)
    step = decoder.step
    assert step is not None
    cache = KVCache(PLAIN, 1, 32)
    x_BLD = decoder.embed(_ids(1, 1))
    decoder(decoder.embed(_ids(1, 4)), cache=cache)
    decoder(x_BLD, cache=cache, trace=(trace := Trace(("decoder.1.mlp",))))
    assert "decoder.1.mlp" in trace.result()
    decoder(x_BLD, cache=cache, inserts={0: lambda hidden_BLD: hidden_BLD * 2})
    decoder(x_BLD, cache=cache, attend_BLS=torch.ones(1, 1, 7, dtype=torch.bool))
    with torch.enable_grad():
        decoder(x_BLD, cache=cache)
    decoder(x_BLD, cache=KVCache(PLAIN, 1, 4, dtype=torch.bfloat16))
    assert step.used == 0
    decoder(x_BLD, cache=cache)
    assert step.used == 1


@pytest.mark.usefixtures("compiled")
@torch.no_grad()
def test_dora_goes_through_the_layers() -> None:
    decoder = _decoder()
    decoder.step = NativeStep()
    add_lora(decoder, LoraConfig(r=2, targets=("q_proj",), dora=True))
    decoder(decoder.embed(_ids(1, 1)), cache=KVCache(PLAIN, 1, 4))
    assert decoder.step.used == 0


@pytest.mark.usefixtures("compiled")
@torch.no_grad()
def test_a_change_of_weights_is_seen() -> None:
    decoder, other = _decoder(), _decoder()
    decoder.step = NativeStep()
    for weight in other.parameters():
        weight.add_(torch.randn_like(weight) * 0.1)

    def step(which: Decoder) -> Tensor:
        hidden_BLD: Tensor = which(which.embed(_ids(2, 1)), cache=KVCache(PLAIN, 2, 4))
        return hidden_BLD

    before = step(decoder)
    decoder.load_state_dict(other.state_dict())
    assert (step(decoder) - step(other)).abs().max() < 1e-5 < (before - step(other)).abs().max()
    decoder.layers[0].mlp.up_proj = other.layers[0].mlp.up_proj = nn.Linear(48, 80, bias=False)
    assert (step(decoder) - step(other)).abs().max() < 1e-5
    decoder.layers[1].mlp.up_proj.weight = other.layers[1].mlp.up_proj.weight = nn.Parameter(torch.randn(80, 48))
    assert (step(decoder) - step(other)).abs().max() < 1e-5
    decoder.norm.weight.data = other.norm.weight.data = torch.randn(48)
    assert (step(decoder) - step(other)).abs().max() < 1e-5
    assert decoder.step.used == 5


@pytest.mark.usefixtures("compiled")
@torch.no_grad()
def test_a_copy_steps_by_itself() -> None:
    decoder = quantize(_decoder(), 8)
    decoder(decoder.embed(_ids(1, 1)), cache=KVCache(PLAIN, 1, 4))
    twin = copy.deepcopy(decoder)
    expected = twin(twin.embed(_ids(1, 1)), cache=KVCache(PLAIN, 1, 4))
    del decoder
    assert twin(twin.embed(_ids(1, 1)), cache=KVCache(PLAIN, 1, 4)).equal(expected)


def test_adapters_on_packed_weights_learn(way: str) -> None:
    decoder = quantize(_decoder(), 8)
    add_lora(decoder, LoraConfig(r=2))
    exact = _decoder()
    add_lora(exact, LoraConfig(r=2))
    exact.load_state_dict({name: value for name, value in decoder.state_dict().items() if "lora" in name}, strict=False)
    for each in (decoder, exact):
        each.logits(each(each.embed(_ids(2, 8)))).square().mean().backward()
    grads = [dict(each.named_parameters())["layers.0.mlp.down_proj.lora_B"].grad for each in (decoder, exact)]
    assert grads[0] is not None
    assert grads[1] is not None
    assert torch.cosine_similarity(grads[0].flatten(), grads[1].flatten(), dim=0) > 0.99


@pytest.mark.parametrize("config", [PLAIN, SHAPES["biases"]], ids=["tied", "untied, biases"])
@pytest.mark.parametrize("bits", [8, 4])
def test_tensors_come_back_as_they_were(bits: Bits, config: DecoderConfig) -> None:
    packed = quantize(_decoder(config), bits)
    tensors = to_tensors(packed)
    assert tensors["layers.0.mlp.up_proj.weight_int8" if bits == 8 else "layers.0.mlp.up_proj.weight_int4"].dtype in (
        torch.int8,
        torch.uint8,
    )
    assert tensors["embed_tokens.weight_int8"].shape == (90, 48)
    assert ("lm_head.weight_int8" in tensors) is not config.tie_embeddings
    back = from_tensors(Decoder(config), tensors)
    with torch.no_grad():
        one, two = (d.logits(d(d.embed(_ids(1, 5)))) for d in (packed, back))
    assert one.equal(two)


def test_wrong_tensors_are_refused() -> None:
    tensors = to_tensors(quantize(_decoder(), 8))
    name = "layers.1.self_attn.q_proj.weight_scale"
    with pytest.raises(CheckpointError, match=f"quantised tensors.*{name}"):
        from_tensors(_decoder(), {key: value for key, value in tensors.items() if key != name})
    with pytest.raises(CheckpointError, match="weight_int4"):
        from_tensors(_decoder(), {**tensors, "layers.0.mlp.up_proj.weight_int4": tensors[name]})
    with pytest.raises(CheckpointError, match="shape"):
        from_tensors(_decoder(), {**tensors, "embed_tokens.weight_int8": tensors["embed_tokens.weight_int8"][:-1]})


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(RequestError, match="to 3 bits is not possible"):
        quantize(_decoder(), 3)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="packed already"):
        quantize(quantize(_decoder(), 8), 4)
    decoder = _decoder()
    add_lora(decoder, LoraConfig(r=2, targets=("o_proj",), dora=True))
    with pytest.raises(RequestError, match=r"adapter of layers\.0\.self_attn\.o_proj: needs the floating-point weights"):
        quantize(decoder, 8)
