"""A contrastive training step of ours beside a plain textbook one of the same towers, weights and loss: CPU time, interleaved.

python -m benchmarks.contrastive_step [--rounds 7]. The textbook side is what a tutorial writes: convolution for the patches,
separate query, key and value layers, attention as softmax of an explicit product, captions padded to the full context (77, as
CLIP), AdamW as it comes. Ours puts captions of like lengths together; `--full` gives captions that fill the context, so that
this saves nothing. Both losses are compared before any time is taken.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.synthetic.fit import pictures, scenes
from sensorium.batch import Features
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.text import BertConfig
from sensorium.encoders.vit import ViTConfig
from sensorium.estimate import estimate
from sensorium.model.config import ViTTower
from sensorium.model.joint_config import word_tokenizer
from sensorium.model.pair import Pair, PairConfig
from sensorium.objectives.contrastive import Contrast
from sensorium.training.optimizer import Group, adamw

CONTEXT, SIZE, PATCH, WIDTH = 77, 64, 8, 192


class Attention(nn.Module):
    """As a tutorial writes it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """`(B, T, D)` to the same shape."""
        rows, count, width = x_BTD.shape
        q, k, v = (layer(x_BTD).view(rows, count, self.heads, -1).transpose(1, 2) for layer in (self.q, self.k, self.v))
        scores = q @ k.transpose(-2, -1) / math.sqrt(width // self.heads)
        if mask_BT is not None:
            scores = scores.masked_fill(~mask_BT[:, None, None, :], float("-inf"))
        mixed = scores.softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(rows, count, width))


class Block(nn.Module):
    """Norm before (picture) or behind (text)."""

    def __init__(self, width: int, heads: int, inner: int, eps: float, before: bool) -> None:
        super().__init__()
        self.before = before
        self.attention = Attention(width, heads)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, T, D)` to the same shape."""
        if self.before:
            x = x + self.attention(self.norm1(x), mask)
            return x + self.down(F.gelu(self.up(self.norm2(x))))
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Textbook(nn.Module):
    """The same towers as a `Pair`, its weights copied."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        assert isinstance(pair.config.image, ViTTower)
        image, text = pair.config.image.config, pair.config.text
        self.heads, self.tokenizer = (
            nn.ModuleList([copy.deepcopy(pair.image_head), copy.deepcopy(pair.text_head)]),
            pair.tokenizer,
        )
        self.patches = nn.Conv2d(3, image.width, image.patch, image.patch)
        self.places = nn.Parameter(pair.image.positions.detach().clone())  # type: ignore[union-attr]
        self.image = nn.ModuleList(
            Block(image.width, image.heads, image.mlp_width, image.norm_eps, True) for _ in range(image.depth)
        )
        self.image_norm = nn.LayerNorm(image.width, eps=image.norm_eps)
        self.words, self.positions = nn.Embedding(text.vocabulary, text.width), nn.Embedding(text.positions, text.width)
        self.types, self.text_norm = nn.Embedding(text.types, text.width), nn.LayerNorm(text.width, eps=text.norm_eps)
        self.text = nn.ModuleList(
            Block(text.width, text.heads, text.mlp_width, text.norm_eps, False) for _ in range(text.depth)
        )
        theirs = [(self.patches, pair.image.patches), (self.image_norm, pair.image.norm)]  # type: ignore[union-attr]
        theirs += [(self.words, pair.text.words), (self.positions, pair.text.positions)]
        theirs += [(self.types, pair.text.types), (self.text_norm, pair.text.norm)]
        for mine, other in theirs:
            mine.load_state_dict(other.state_dict())  # type: ignore[union-attr]
        for blocks, others in ((self.image, pair.image.blocks), (self.text, pair.text.blocks)):  # type: ignore[union-attr]
            for mine_block, other_block in zip(blocks, others, strict=True):  # type: ignore[arg-type]
                _fill(mine_block, other_block)

    def images(self, pixels: Tensor) -> Tensor:
        """Unit vectors of uint8 pictures."""
        x = self.patches((pixels / 255 - 0.5) / 0.5).flatten(2).transpose(1, 2) + self.places
        for block in self.image:
            x = block(x)
        return self.heads[0](Features(self.image_norm(x), torch.ones(x.shape[:2], dtype=torch.bool)))

    def texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors of padded ids."""
        x = self.words(ids) + self.positions(torch.arange(ids.shape[1])) + self.types(torch.zeros_like(ids))
        x = self.text_norm(x)
        for block in self.text:
            x = block(x, mask)
        return self.heads[1](Features(x, mask))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--full", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    some = scenes(args.batch * args.rounds)
    texts = [scene.captions()[scene.index % 4] for scene in some]
    pixels = pictures(some)
    tokenizer = word_tokenizer(texts)
    if args.full:  # words without marks are a token each
        texts = [" ".join((re.findall(r"\w+", text) * CONTEXT)[: CONTEXT - 2]) for text in texts]
    text = BertConfig(8192, WIDTH, max(1, args.depth // 2), 3, 4 * WIDTH, CONTEXT, pooler=False)
    tower = ViTTower(config=ViTConfig("siglip", WIDTH, args.depth, 3, 4 * WIDTH, SIZE, PATCH))
    ours = Pair(PairConfig(image=tower, text=text, dim=128), tokenizer, ImageProcessing(size=(SIZE, SIZE)))
    theirs = Textbook(ours)
    steps = {"textbook": _textbook(theirs), "ours": _ours(ours)}
    first = {name: step(pixels[: args.batch], texts[: args.batch], False) for name, step in steps.items()}
    assert abs(first["ours"] - first["textbook"]) < 1e-4, f"not the same arithmetic: {first}"
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(args.rounds):
        part = slice(turn * args.batch, (turn + 1) * args.batch)
        for name in list(steps)[:: 1 if turn % 2 else -1]:
            began = time.process_time()
            steps[name](pixels[part], texts[part], True)
            times[name].append(time.process_time() - began)
    ratios = [slow / fast for slow, fast in zip(times["textbook"], times["ours"], strict=True)]
    kept = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts)) / len(texts)
    print(f"{machine()}, 1 thread, torch {torch.__version__}")
    print(f"batch {args.batch}, {(SIZE // PATCH) ** 2} patches a picture, context {CONTEXT}, captions of {kept:.1f} tokens")
    print(f"loss of the first batch: {first['ours']:.5f} ours, {first['textbook']:.5f} textbook")
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name:10} median {middle:.3f} s of CPU time a step, {args.batch / middle:.1f} pairs/s")
    print(f"ratio      {estimate(ratios, lambda rows: float(statistics.median(rows.tolist())))} (median of paired rounds)")


def machine() -> str:
    """The processor by name, and how many there are."""
    listed = Path("/proc/cpuinfo")
    named = re.findall(r"model name\s*: (.+)", listed.read_text("utf-8")) if listed.is_file() else []
    return f"{named[0] if named else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


Step = Callable[[Tensor, Sequence[str], bool], float]


def _ours(pair: Pair) -> Step:
    objective = Contrast()
    parameters = {**dict(pair.named_parameters()), "scale": objective.log_scale}
    optimizer = adamw([Group(parameters, 1e-4, 0.01)])

    def step(pixels: Tensor, texts: Sequence[str], learn: bool) -> float:
        loss = objective(pair.images(pixels), pair.texts(texts))
        if learn:
            optimizer.zero_grad()
            (loss.total / loss.size).backward()
            optimizer.step()
        return float(loss.total.detach()) / loss.size

    return step


def _textbook(model: Textbook) -> Step:
    scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    optimizer = torch.optim.AdamW([*model.parameters(), scale], 1e-4)

    def step(pixels: Tensor, texts: Sequence[str], learn: bool) -> float:
        rows = [encoding.ids for encoding in model.tokenizer.encode_batch(list(texts))]
        ids = torch.tensor([row + [0] * (CONTEXT - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (CONTEXT - len(row)) for row in rows]).bool()
        logits = model.images(pixels) @ model.texts(ids, mask).t() * scale.exp()
        labels = torch.arange(len(logits))
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2
        if learn:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    return step


def _fill(mine: Block, other: nn.Module) -> None:
    """One of our blocks, its fused projection cut into three."""
    state = dict(other.state_dict())
    names = {"norm1": "attention_norm", "norm2": "mlp_norm", "up": "up", "down": "down", "attention.out": "attention.out"}
    for kind in ("weight", "bias"):
        own = {f"{name}.{kind}": state[f"{theirs}.{kind}"] for name, theirs in names.items()}
        parts = state[f"attention.qkv.{kind}"].chunk(3)
        own |= {f"attention.{name}.{kind}": part for name, part in zip("qkv", parts, strict=True)}
        mine.load_state_dict(own, strict=False)


if __name__ == "__main__":
    main()
