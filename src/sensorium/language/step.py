"""One token for each row through the whole decoder in one compiled call, where it can be done; see `NativeStep`."""

from __future__ import annotations

import ctypes
from collections.abc import MutableMapping
from itertools import count
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sensorium.language.cache import KVCache
from sensorium.language.native import CAdapter, CCall, CLayer, CLinear, CModel, Native, native
from sensorium.nn.lora import LoraLinear, Switch
from sensorium.nn.rope import Rope, turn

if TYPE_CHECKING:
    from sensorium.language.decoder import Decoder

_ACTIVATIONS = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3}
_NORMS = {
    False: ("input_layernorm", None, "post_attention_layernorm", None),
    True: ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"),
}
"""By `sandwich_norms`: before and after attention, before and after the MLP."""


class NativeStep:
    """Does `Decoder.forward` for one new position in each row, or declines (None), and the layers are called one by one.

    ==================================================================  =========================================
    asked for                                                           done
    ==================================================================  =========================================
    Llama, SmolLM2, Qwen 2 and 3, Mistral, Gemma 3: shared key-value    compiled
    heads, biases, QK-norm, sandwich norms, windows, soft caps, any
    rotary form, every activation of `nn.mlp`
    rows of uneven length, padding rows, positions of the caller's      compiled
    int8, int4 and fp32 layers, mixed at will                           compiled
    LoRA on any layer, several sets too, each row on or off             compiled
    more than one position; no cache; a mask of the caller's            layer by layer
    a trace, inserts, gradients                                         layer by layer
    DoRA; dropout in training; merged adapters that are switched        layer by layer
    weights, cache or input not fp32, or not on the CPU                 layer by layer
    no compiler                                                         layer by layer
    ==================================================================  =========================================

    The plan (pointers to all weights) is made at the first step and again when a layer or a weight has been replaced.
    """

    def __init__(self) -> None:
        self._plan: _Plan | None = None
        self.used = 0  # steps done so far

    def __call__(self, decoder: Decoder, embeds_BLD: Tensor, cache: KVCache, positions_BL: Tensor | None) -> Tensor | None:
        """Hidden states `(B, 1, D)` and a cache with one position more in its store (not yet in its lengths); or None."""
        if torch.is_grad_enabled() or not (_plain(embeds_BLD) and _plain(cache.store) and cache.store.is_contiguous()):
            return None
        compiled = native()
        if compiled is None:
            return None
        if self._plan is None or not self._plan.holds():
            self._plan = _Plan(decoder)
        if not self._plan.possible(decoder.training):
            return None
        self.used += 1
        return self._plan.step(compiled, embeds_BLD, cache, positions_BL)

    def __deepcopy__(self, memo: object) -> NativeStep:
        return NativeStep()


class _Plan:
    """A decoder as native.c sees it, and what must not change while that is true."""

    def __init__(self, decoder: Decoder) -> None:
        config = decoder.config
        self.watched: list[tuple[MutableMapping[str, Any], str, Any, int]] = []
        self.switches: list[Switch] = []
        self.merged: list[LoraLinear] = []
        self.kept: list[ctypes.Array[CAdapter]] = []  # what pointers point to
        self.refused = self.dropout = False
        self.width = config.head_dim
        self.tables: list[_Table] = []
        ropes: list[Rope] = []
        layers = (CLayer * config.layers)()
        for index, (layer, c_layer) in enumerate(zip(decoder.layers, layers, strict=True)):
            attention, mlp = layer.get_submodule("self_attn"), layer.get_submodule("mlp")
            for parent, names in ((attention, "qkvo"), (mlp, ("gate", "up", "down"))):
                for name in names:
                    setattr(c_layer, name, self._linear(parent, f"{name}_proj"))
            places = ("before_attention", "after_attention", "before_mlp", "after_mlp")
            for name, norm in zip(places, _NORMS[config.sandwich_norms], strict=True):
                setattr(c_layer, name, norm and self._norm(layer, norm))
            if config.qk_norm:
                c_layer.q_norm, c_layer.k_norm = self._norm(attention, "q_norm"), self._norm(attention, "k_norm")
            rope = config.rope_of(index)
            if rope not in ropes:
                ropes.append(rope)
            c_layer.table, c_layer.window = ropes.index(rope), config.window(index) or 0
        self.refused |= len(ropes) > 2
        self.tables = [_Table(rope, config.head_dim) for rope in ropes]
        scale = config.attention_scale
        self.model = CModel(
            config.layers,
            config.dim,
            config.heads,
            config.kv_heads,
            config.head_dim,
            config.inner_dim,
            _ACTIVATIONS[config.activation],
            config.norm_eps,
            config.norm_offset,
            config.head_dim**-0.5 if scale is None else scale,
            config.attention_softcap or 0.0,
            self._norm(decoder, "norm"),
            layers,
        )

    def holds(self) -> bool:
        """Whether all layers and weights are where they were."""
        for holder, name, thing, address in self.watched:
            now = holder.get(name)
            if now is not thing or (address and now.data_ptr() != address):
                return False
        return True

    def possible(self, training: bool) -> bool:
        """Whether the step can be done as things stand."""
        switched = any(layer.switch.rows_B is not None for layer in self.merged)
        return not (self.refused or switched or (training and self.dropout))

    def step(self, compiled: Native, embeds_BLD: Tensor, cache: KVCache, positions_BL: Tensor | None) -> Tensor:
        """One position for each row; writes to the cache's store."""
        rows, lengths = cache.rows, cache.lengths
        cache.reserve(max(lengths) + 1)
        where = lengths if positions_BL is None else positions_BL.expand(rows, 1)[:, 0].tolist()
        c_lengths, c_positions = (ctypes.c_int32 * rows)(*lengths), (ctypes.c_int32 * rows)(*where)
        embeds_BLD = embeds_BLD.contiguous()
        hidden_BLD = torch.empty_like(embeds_BLD)
        on = b"".join(_mask(switch.rows_B, rows) for switch in self.switches)
        call = CCall(
            rows=rows,
            capacity=cache.capacity,
            embeds=embeds_BLD.data_ptr(),
            hidden=hidden_BLD.data_ptr(),
            cache=cache.store.data_ptr(),
            lengths=ctypes.addressof(c_lengths),
            positions=ctypes.addressof(c_positions),
            on=ctypes.cast(ctypes.c_char_p(on), ctypes.c_void_p).value,
        )
        farthest = max(where)
        for i, table in enumerate(self.tables):
            call.cosines[i], call.sines[i] = table.reach(farthest)
        compiled.step(self.model, call)
        return hidden_BLD

    def _linear(self, parent: nn.Module, name: str) -> CLinear:
        """The layer for native.c; sets `refused` when it cannot be."""
        base = self._watch(parent, name)
        chain: list[LoraLinear] = []
        while isinstance(base, LoraLinear):
            chain.append(base)
            base = self._watch(base, "base")
        if hasattr(base, "c_layer"):
            self._watch(base, "packed"), self._watch(base, "scales")
            c_linear: CLinear = base.c_layer()
        elif type(base) is nn.Linear and _plain(base.weight) and base.weight.is_contiguous():
            self._watch(base, "weight")
            c_linear = CLinear(0, base.in_features, base.out_features, weight=base.weight.data_ptr())
        else:
            self.refused = True
            return CLinear()
        if base.bias is not None:
            self._watch(base, "bias")
            self.refused |= not _plain(base.bias)
            c_linear.bias = base.bias.data_ptr()
        adapters = [made for adapter in chain if (made := self._adapter(adapter)) is not None]
        self.kept.append((CAdapter * len(adapters))(*adapters))
        c_linear.adapters, c_linear.adapter = len(adapters), self.kept[-1]
        return c_linear

    def _adapter(self, adapter: LoraLinear) -> CAdapter | None:
        """None: it is in the weights already."""
        self.watched.append((vars(adapter), "merged", adapter.merged, 0))
        self.watched.append((vars(adapter), "switch", adapter.switch, 0))
        if adapter.merged:
            self.merged.append(adapter)
            return None
        down_RD, up_ER = self._watch(adapter, "lora_A"), self._watch(adapter, "lora_B")
        self.dropout |= adapter.config.dropout > 0
        self.refused |= adapter.lora_magnitude is not None or not (_plain(down_RD) and _plain(up_ER))
        self.refused |= not (down_RD.is_contiguous() and up_ER.is_contiguous())
        if adapter.switch not in self.switches:
            self.switches.append(adapter.switch)
        which = self.switches.index(adapter.switch)
        return CAdapter(down_RD.shape[0], which, adapter.config.scale, down_RD.data_ptr(), up_ER.data_ptr())

    def _norm(self, parent: nn.Module, name: str) -> int:
        norm = self._watch(parent, name)
        weight_D: Tensor = self._watch(norm, "weight")
        self.refused |= not _plain(weight_D)
        return weight_D.data_ptr()

    def _watch(self, parent: nn.Module, name: str) -> Any:
        for holder in (parent._modules, parent._parameters, parent._buffers):
            thing = holder.get(name)
            if thing is not None:
                self.watched.append((holder, name, thing, thing.data_ptr() if isinstance(thing, Tensor) else 0))
                return thing
        raise AssertionError(f"{type(parent).__name__} has no {name}")


class _Table:
    """Cosines and signed sines for all positions up to one, made longer when a later one is needed."""

    def __init__(self, rope: Rope, width: int) -> None:
        self.rope, self.width, self.length = rope, width, 0

    def reach(self, position: int) -> tuple[int, int]:
        """Addresses of both tables."""
        if position >= self.length:
            self.length = next(size for power in count(10) if (size := 1 << power) > position)
            made = turn(self.rope, torch.arange(self.length)[None], self.width, torch.float32)
            self.cosines, self.sines = (table.reshape(self.length, self.width).contiguous() for table in made)
        return self.cosines.data_ptr(), self.sines.data_ptr()


def _plain(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def _mask(rows_B: Tensor | bool | None, rows: int) -> bytes:
    """For which rows an adapter works, a byte each."""
    if isinstance(rows_B, Tensor):
        return bytes(rows_B.tolist())
    return bytes([rows_B is not False]) * rows
