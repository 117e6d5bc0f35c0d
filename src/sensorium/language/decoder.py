"""The causal transformer: Llama, SmolLM2, Qwen 2 and 3, Mistral and Gemma 3 by configuration, with their weight names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.language.cache import KVCache
from sensorium.language.config import DecoderConfig
from sensorium.language.step import NativeStep
from sensorium.nn.attention import attend, attend_documents, attend_openly, bias_of, visible
from sensorium.nn.fused import Fused, fuse
from sensorium.nn.mlp import GatedMlp
from sensorium.nn.norm import RmsNorm
from sensorium.nn.rope import Turn, rotate, turn
from sensorium.nn.trace import SILENT, Trace

if TYPE_CHECKING:
    from sensorium.language.quantized import QuantizedEmbedding


class View(NamedTuple):
    """What one layer sees in one call; layers of one kind share it.

    Args:
        turn: rotary tables of the new positions.
        bias_BNLS: on the scores; None where no key need be hidden.
        causal: hide by order instead of a bias.
        first: keys before this one are out of every query's window.
        documents: lengths of what lies end to end, each seen by itself alone; `window`: how much of it.
    """

    turn: Turn
    bias_BNLS: Tensor | None = None
    causal: bool = False
    first: int = 0
    documents: Sequence[int] | None = None
    window: int | None = None


class SelfAttention(nn.Module):
    """Rotary attention with shared key-value heads over the cache and the new positions."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.config = layer, config
        wide, narrow = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.dim, wide, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.dim, narrow, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.dim, narrow, bias=config.qkv_bias)
        self.o_proj = nn.Linear(wide, config.dim, bias=config.out_bias)
        if config.qk_norm:
            self.q_norm = RmsNorm(config.head_dim, config.norm_eps, config.norm_offset)
            self.k_norm = RmsNorm(config.head_dim, config.norm_eps, config.norm_offset)
        self.qkv: Callable[[Tensor], Tensor] | None = None  # faster ways to the same, for inference: `fuse`
        self.out: Callable[[Tensor], Tensor] | None = None

    def forward(self, x_BLD: Tensor, view: View, cache: KVCache | None, trace: Trace) -> Tensor:
        """`(B, L, D)` to `(B, L, D)`."""
        q_BNLH, k_BKSH, v_BKSH = self._heads(x_BLD, view.turn)
        if cache is not None:
            k_BKSH, v_BKSH = cache.append(self.layer, k_BKSH, v_BKSH)
        if view.first:
            k_BKSH, v_BKSH = k_BKSH[:, :, view.first :], v_BKSH[:, :, view.first :]
        scale, softcap = self.config.attention_scale, self.config.attention_softcap
        name = f"decoder.{self.layer}.attention"
        if view.documents is not None:
            out_BNLH = attend_documents(
                q_BNLH, k_BKSH, v_BKSH, view.documents, window=view.window, scale=scale, softcap=softcap
            )
        elif softcap is not None or trace.wants(name):
            bias_BNLS = view.bias_BNLS
            if view.causal:
                bias_BNLS = bias_of(
                    visible(torch.arange(x_BLD.shape[1], device=x_BLD.device)[None], k_BKSH.shape[2]), q_BNLH.dtype
                )
            out_BNLH, weights_BNLS = attend_openly(q_BNLH, k_BKSH, v_BKSH, bias_BNLS=bias_BNLS, scale=scale, softcap=softcap)
            trace(name, F.pad(weights_BNLS, (view.first, 0)))
        else:
            out_BNLH = attend(q_BNLH, k_BKSH, v_BKSH, bias_BNLS=view.bias_BNLS, causal=view.causal, scale=scale)
        out_BLD: Tensor = (self.out or self.o_proj)(out_BNLH.transpose(1, 2).flatten(2))
        return out_BLD

    def fuse(self, packed: bool) -> None:
        """Run the three projections of the input as one; see `nn.fused`."""
        self.qkv = fuse([self.q_proj, self.k_proj, self.v_proj], packed)
        self.out = fuse([self.o_proj], packed) if packed else None

    def unfuse(self) -> None:
        """Back to the layers one by one."""
        self.qkv = self.out = None

    def _heads(self, x_BLD: Tensor, by: Turn) -> tuple[Tensor, Tensor, Tensor]:
        """Turned queries `(B, N, L, H)`, turned keys and values `(B, K, L, H)`."""
        heads, shared, width = self.config.heads, self.config.kv_heads, self.config.head_dim
        if self.qkv is not None and not self.config.qk_norm:
            all_BLNH = self.qkv(x_BLD).view(*x_BLD.shape[:2], -1, width)
            qk_BLNH, v_BLKH = all_BLNH[:, :, : heads + shared], all_BLNH[:, :, heads + shared :]
            turned_BLNH = rotate(qk_BLNH, by)
            q_BLNH, k_BLKH = turned_BLNH[:, :, :heads], turned_BLNH[:, :, heads:]
            return q_BLNH.transpose(1, 2), k_BLKH.transpose(1, 2), v_BLKH.transpose(1, 2)
        if self.qkv is not None:
            q_BLNH, k_BLKH, v_BLKH = torch.split(
                self.qkv(x_BLD).view(*x_BLD.shape[:2], -1, width), [heads, shared, shared], dim=2
            )
        else:
            q_BLNH, k_BLKH, v_BLKH = (
                project(x_BLD).view(*x_BLD.shape[:2], -1, width) for project in (self.q_proj, self.k_proj, self.v_proj)
            )
        if self.config.qk_norm:
            q_BLNH, k_BLKH = self.q_norm(q_BLNH), self.k_norm(k_BLKH)
        return rotate(q_BLNH, by).transpose(1, 2), rotate(k_BLKH, by).transpose(1, 2), v_BLKH.transpose(1, 2)


class Layer(nn.Module):
    """Attention and MLP, each normed before and added to the stream; normed behind as well in Gemma's form."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()

        def norm() -> RmsNorm:
            return RmsNorm(config.dim, config.norm_eps, config.norm_offset)

        self.layer, self.sandwich = layer, config.sandwich_norms
        self.input_layernorm = norm()
        self.self_attn = SelfAttention(config, layer)
        self.post_attention_layernorm = norm()
        if config.sandwich_norms:
            self.pre_feedforward_layernorm, self.post_feedforward_layernorm = norm(), norm()
        self.mlp = GatedMlp(config.dim, config.inner_dim, config.activation)

    def forward(self, hidden_BLD: Tensor, view: View, cache: KVCache | None, trace: Trace) -> Tensor:
        """`(B, L, D)` to `(B, L, D)`."""
        read_BLD = self.self_attn(self.input_layernorm(hidden_BLD), view, cache, trace)
        if self.sandwich:
            hidden_BLD = hidden_BLD + self.post_attention_layernorm(read_BLD)
            thought_BLD = self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(hidden_BLD)))
        else:
            hidden_BLD = hidden_BLD + read_BLD
            thought_BLD = self.mlp(self.post_attention_layernorm(hidden_BLD))
        trace(f"decoder.{self.layer}.mlp", thought_BLD)
        hidden_BLD = hidden_BLD + thought_BLD
        trace(f"decoder.{self.layer}.hidden", hidden_BLD)
        return hidden_BLD


class Decoder(nn.Module):
    """Embeddings to hidden states to logits; weights are named as in the family's `transformers` model, without `model.`.

    Args:
        config: its shape. Weights start random (normal, 0.02); load a checkpoint with `load_state_dict(strict=True)`.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.layers))
        self.norm = RmsNorm(config.dim, config.norm_eps, config.norm_offset)
        if not config.tie_embeddings:
            self.lm_head = nn.Linear(config.dim, config.vocab_size, bias=False)
        self.head: Callable[[Tensor], Tensor] | None = None  # a faster way to the logits: `fuse`
        self.step: NativeStep | None = None  # a faster way for one position in each row: `fuse`, `quantize`
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.02)
            elif name.endswith(".bias"):
                nn.init.zeros_(weight)

    def embed(self, ids_BL: Tensor) -> Tensor:
        """Token ids to embeddings `(B, L, D)`, scaled as the family scales them."""
        embeds_BLD: Tensor = self.embed_tokens(ids_BL)
        if self.config.embed_scale != 1.0:
            embeds_BLD = embeds_BLD * torch.tensor(self.config.embed_scale, dtype=embeds_BLD.dtype)
        return embeds_BLD

    def forward(
        self,
        embeds_BLD: Tensor,
        *,
        valid_BL: Tensor | None = None,
        cache: KVCache | None = None,
        positions_BL: Tensor | None = None,
        attend_BLS: Tensor | None = None,
        documents: Sequence[int] | None = None,
        inserts: Mapping[int, Callable[[Tensor], Tensor]] | None = None,
        trace: Trace = SILENT,
    ) -> Tensor:
        """Hidden states after the final norm, `(B, L, D)`; those of padding mean nothing.

        Args:
            valid_BL: bool, rows padded on the right; None is no padding.
            cache: what each row has read before; grows by the row's valid positions.
            positions_BL: for the rotary tables only; None is the cached length plus the index.
            attend_BLS: bool, the whole truth on who sees whom: neither causal order nor windows are added. With a cache, S
                is the longest row's cached length plus L.
            documents: lengths of the documents that lie end to end in L. Each is causal and alone, its positions start at 0
                (where `positions_BL` is not given), and no padding is computed. Attention cannot be traced then.
            inserts: run on the stream before the layer of that number (gated cross-attention comes in here).
            trace: gives "decoder.embeds", and of layer i "decoder.{i}.hidden", "decoder.{i}.mlp" and
                "decoder.{i}.attention" (probabilities, `(B, N, L, S)`).

        Raises:
            RequestError: more positions than the configuration allows.
        """
        rows, count = embeds_BLD.shape[:2]
        assert valid_BL is None or bool((valid_BL[:, 1:] <= valid_BL[:, :-1]).all()), "rows are padded on the right"
        assert not inserts or max(inserts) < self.config.layers, "an insert behind the last layer would never run"
        if cache is not None:
            assert cache.rows == rows, f"{rows} rows and a cache of {cache.rows}"
            alone = count == 1 and attend_BLS is None and not inserts and not trace.wanted
            if self.step is not None and alone and (positions_BL is not None or cache.longest < self.config.max_positions):
                stepped_BLD = self.step(self, embeds_BLD, cache, positions_BL)
                if stepped_BLD is not None:
                    cache.advance([1] * rows if valid_BL is None else valid_BL[:, 0].tolist())
                    return stepped_BLD
            cache.begin(count)
        if documents is not None:
            assert cache is None, "documents are read whole"
            assert attend_BLS is None, "documents say who sees whom"
            views = self._document_views(embeds_BLD, positions_BL, documents)
        else:
            views = self._views(embeds_BLD, cache, positions_BL, attend_BLS)
        trace("decoder.embeds", embeds_BLD)
        hidden_BLD = embeds_BLD
        for i, layer in enumerate(self.layers):
            if inserts and i in inserts:
                hidden_BLD = inserts[i](hidden_BLD)
            hidden_BLD = layer(hidden_BLD, views[i], cache, trace)
        if cache is not None:
            cache.advance([count] * rows if valid_BL is None else valid_BL.sum(1).tolist())
        normed_BLD: Tensor = self.norm(hidden_BLD)
        return normed_BLD

    def logits(self, hidden_D: Tensor) -> Tensor:
        """Hidden states `(..., D)` to fp32 logits `(..., V)`."""
        if self.head is not None:
            logits_V = self.head(hidden_D).float()
        elif self.config.tie_embeddings:
            table: nn.Embedding | QuantizedEmbedding = self.embed_tokens
            if isinstance(table, nn.Embedding):
                logits_V = F.linear(hidden_D, table.weight).float()
            else:
                logits_V = table.project(hidden_D).float()
        else:
            logits_V = self.lm_head(hidden_D).float()
        cap = self.config.logit_softcap
        return logits_V if cap is None else (logits_V / cap).tanh() * cap

    def fuse(self, packed: bool = False) -> None:
        """Freeze the weights and run projections that share an input as one product, and steps compiled, for inference.

        Adapted or quantised layers are left as they are. Names and state dict do not change; moving, casting or loading
        undoes it.

        Args:
            packed: also keep fp32 weights in oneDNN's layout, for steps of 2 to 32 tokens; takes the weights' memory again.
        """
        for part in self._fusable():
            part.fuse(packed)
        self.step = self.step or NativeStep()
        self.head = Fused([self.embed_tokens if self.config.tie_embeddings else self.lm_head], packed) if packed else None

    def unfuse(self) -> None:
        """Back to the layers one by one; the weights stay frozen."""
        for part in self._fusable():
            part.unfuse()
        self.head = None

    def _fusable(self) -> Iterator[SelfAttention | GatedMlp]:
        return (part for part in self.modules() if isinstance(part, SelfAttention | GatedMlp))

    def _apply(self, *args: Any, **options: Any) -> Decoder:
        self.unfuse()  # `to` gives every parameter a storage of its own
        super()._apply(*args, **options)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        self.unfuse()  # the weights may be replaced, and a packed copy would be of the old ones
        super()._load_from_state_dict(*args, **options)

    def _document_views(self, embeds_BLD: Tensor, positions_BL: Tensor | None, documents: Sequence[int]) -> list[View]:
        """As `_views`, for documents end to end."""
        config, longest = self.config, max(documents)
        if positions_BL is None:
            if longest > config.max_positions:
                problem = f"{longest} positions are over the limit of {config.max_positions}"
                raise RequestError("context", problem, "Shorten the conversation")
            positions_BL = torch.cat([torch.arange(count, device=embeds_BLD.device) for count in documents])[None]
        assert positions_BL.shape[1] == sum(documents) == embeds_BLD.shape[1], "documents fill the row"
        made: dict[tuple[object, int | None], View] = {}
        for i in range(config.layers):
            rope, window = kind = config.rope_of(i), config.window(i)
            if kind not in made:
                tables = turn(rope, positions_BL, config.head_dim, embeds_BLD.dtype)
                made[kind] = View(tables, documents=tuple(documents), window=window)
        return [made[config.rope_of(i), config.window(i)] for i in range(config.layers)]

    def _views(
        self, embeds_BLD: Tensor, cache: KVCache | None, positions_BL: Tensor | None, attend_BLS: Tensor | None
    ) -> list[View]:
        """For each layer its rotary tables and what it may see, made once for each kind of layer."""
        config, count, dtype = self.config, embeds_BLD.shape[1], embeds_BLD.dtype
        lengths = cache.lengths if cache is not None else [0]
        keys = max(lengths) + count
        if positions_BL is None and keys > config.max_positions:
            raise RequestError(
                "context", f"{keys} positions are over the limit of {config.max_positions}", "Shorten the conversation"
            )
        even = len(set(lengths)) == 1
        start_B = torch.tensor(lengths[:1] if even else lengths, device=embeds_BLD.device)
        slots_BL = start_B[:, None] + torch.arange(count, device=embeds_BLD.device)
        positions_BL = slots_BL if positions_BL is None else positions_BL
        made: dict[tuple[object, int | None], View] = {}
        for i in range(config.layers):
            kind = config.rope_of(i), config.window(i)
            if kind in made:
                continue
            rope, window = kind
            tables = turn(rope, positions_BL, config.head_dim, dtype)
            if attend_BLS is not None:
                made[kind] = View(tables, bias_of(attend_BLS, dtype))
            elif even and count == 1:
                made[kind] = View(tables, first=max(0, keys - window) if window else 0)
            elif keys == count and (window is None or window >= count):
                made[kind] = View(tables, causal=True)
            else:
                made[kind] = View(tables, bias_of(visible(slots_BL, keys, window), dtype))
        return [made[config.rope_of(i), config.window(i)] for i in range(config.layers)]
