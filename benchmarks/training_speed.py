"""Training a nanoVLM-shaped model on ragged captions: our loop beside a plain PyTorch loop, in one run on this machine.

    python benchmarks/training_speed.py [--data folder] [--rounds 5] [--json file]

A vision transformer (12 layers of 192, 192-pixel photos), pixel shuffle and a decoder (8 layers of 384, 16,384 tokens), 26 M
parameters, the encoder frozen, fp32. A row is a photo and one to five of its captions, a turn each: k of them with odds 1/k, so
that most rows are short and a few long, as conversations are. All ways have the same weights, rows, learning rates, clipping
and AdamW arithmetic; they differ in this only:

    plain     rows padded to the longest of the batch, encoder every step, logits at every position, torch's default AdamW
    packed    the same, rows flat end to end without padding
    all       `training.loop.Loop`: packed, cached features, logits at learned positions only, fused AdamW

Ways take turns, a few steps at a time; ratios are medians over the turns. CPU seconds are those of all threads: on a machine
that is shared, trust them before the wall. Model FLOPs (2 a weight and token forward, 4 backward where it learns) are held
against the matmul peak measured between the turns. Captions come from --data (a folder with flickr8k), or are made up.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.batch import Batch, Modality, Piece, Shown
from sensorium.data.flat import Flat, flatten
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.vit_config import ViTConfig
from sensorium.fusion.projector import ProjectorConfig
from sensorium.language.config import DecoderConfig
from sensorium.media import image
from sensorium.model.build import build
from sensorium.model.config import Blueprint, Config, Projector, ViTTower
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.next_token import NextToken
from sensorium.parts import Image, Message, Sample, Text, Use
from sensorium.training.cached import CachedEncoder
from sensorium.training.loop import Loop
from sensorium.training.optimizer import Group
from sensorium.training.rig import Rig, Step
from sensorium.training.schedule import Plan
from sensorium.training.task import Task

SPECIALS = ("<pad>", "<user>", "<assistant>", "<end>")
TEMPLATE = "{% for message in messages %}{{ '<' + message['role'] + '>' + message['content'] + '<end>' }}{% endfor %}"
SIDE, VOCABULARY, RATE, BETAS, CLIP = 192, 16_384, 3e-4, (0.9, 0.98), 1.0


@dataclass(frozen=True)
class Shape:
    """Of the decoder."""

    dim: int = 384
    layers: int = 8
    inner: int = 1024


class Row(NamedTuple):
    """A photo (a path, or the seed of a drawn one) and its captions."""

    photo: str | int
    captions: tuple[str, ...]


@dataclass
class Clock:
    """Seconds of the wall and of all threads, step by step."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


Way = Callable[[Sequence[Batch]], list[float]]
"""Trains on some batches and returns the loss of each."""


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    rows = _rows(options)
    tokenizer = _tokenizer(rows)
    with tempfile.TemporaryDirectory() as folder:
        report = _measure(options, rows, tokenizer, Path(folder))
    _show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder that holds flickr8k/captions.jsonl and its images")
    parser.add_argument("--photos", type=int, default=256, help="different photos")
    parser.add_argument("--batch", type=int, default=16, help="rows")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way")
    parser.add_argument("--steps", type=int, default=2, help="in a turn")
    parser.add_argument("--captions", type=int, default=5, help="of a photo at most; 1 is one caption a row")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--shapes", action=argparse.BooleanOptionalAction, default=True, help="utilisation of wider decoders too"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _measure(options: argparse.Namespace, rows: Sequence[Row], tokenizer: Tokenizer, folder: Path) -> dict[str, Any]:
    start = _model(Shape(), tokenizer)
    count = options.rounds * options.steps + 1
    batches = list(itertools.islice(_batches(start, rows, options), count))
    plan = Plan(steps=count, warmup=4)
    cache = CachedEncoder(start.encoders[Modality.IMAGE], folder / "features")
    began = time.process_time()
    for batch in batches:
        cache(batch.media[Modality.IMAGE])
    filling = time.process_time() - began
    ways: dict[str, Way] = {
        "plain": _plain(_model(Shape(), tokenizer), plan),
        "packed": _packed(_model(Shape(), tokenizer), plan),
        "all": _ours(start, cache, plan),
    }
    clocks, peaks = _race(ways, batches, options)
    tokens = {"padded": sum(batch.ids_BL.numel() for batch in batches[1:]), "real": _real(batches[1:])}
    tokens["learned"] = sum(int(batch.learn_BL.sum()) for batch in batches[1:])
    peak = _typical(peaks)
    report: dict[str, Any] = {
        "machine": _machine(options),
        "rows": {"data": str(options.data or "made up"), "batch": options.batch, "captions": options.captions},
        "parameters": {"all": _weights(start), "encoder": _weights(start.encoders), "decoder": _weights(start.decoder)},
        "tokens": tokens | {"efficiency of padding": tokens["real"] / tokens["padded"]},
        "peak_gflops": {"wall": peak.wall / 1e9, "cpu": peak.cpu / 1e9},
        "cache": {"cpu_seconds_to_fill": filling, "photos": cache.misses, "hits": cache.hits},
        "ways": {name: _row(clock, options) for name, clock in clocks.items()},
        "ratios": {
            f"{a} to {b}": {"wall": _ratio(clocks, a, b, "wall"), "cpu": _ratio(clocks, a, b, "cpu")}
            for a, b in (("plain", "packed"), ("packed", "all"), ("plain", "all"))
        },
        "losses": {name: clock.losses for name, clock in clocks.items()},
        "utilisation": {},
    }
    work = sum(_flops(start, flatten([batch])) for batch in batches[1:]) / (count - 1)
    report["utilisation"]["384 x 8, these rows"] = _share(work, report["ways"]["all"], peak, options)
    if options.shapes:
        for shape in (Shape(768, 4, 2048), Shape(960, 3, 2560)):
            report["utilisation"][f"{shape.dim} x {shape.layers}, these rows"] = _wide(
                shape, tokenizer, batches, cache, options
            )
    return report


def _race(ways: dict[str, Way], batches: Sequence[Batch], options: argparse.Namespace) -> tuple[dict[str, Clock], list[Peak]]:
    """All ways in turns over the same batches; the first batch warms up."""
    clocks = {name: Clock() for name in ways}
    for name, way in ways.items():
        clocks[name].losses += way(batches[:1])
    peaks = []
    for round_ in range(options.rounds):
        some = batches[1 + round_ * options.steps :][: options.steps]
        peaks.append(_peak(options.threads))
        order = list(ways)
        for name in order[round_ % len(order) :] + order[: round_ % len(order)]:
            wall, cpu = time.perf_counter(), time.process_time()
            clocks[name].losses += ways[name](some)
            clocks[name].wall.append(time.perf_counter() - wall)
            clocks[name].cpu.append(time.process_time() - cpu)
    return clocks, peaks


def _plain(model: MultimodalLM, plan: Plan) -> Way:
    """What one writes first."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, RATE, BETAS, weight_decay=0.0)
    steps = itertools.count()

    def train(batches: Sequence[Batch]) -> list[float]:
        losses = []
        for batch in batches:
            for row in optimizer.param_groups:
                row["lr"] = RATE * plan.rate(next(steps), 0)
            hidden_BLD = model(batch).hidden_BLD
            logits_BLV = model.decoder.logits(hidden_BLD)
            labels_BL = batch.ids_BL.masked_fill(~batch.learn_BL, -100)
            loss = F.cross_entropy(logits_BLV[:, :-1].flatten(0, 1), labels_BL[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    return train


def _packed(model: MultimodalLM, plan: Plan) -> Way:
    """The plain loop with flat rows."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, RATE, BETAS, weight_decay=0.0)
    steps = itertools.count()

    def train(batches: Sequence[Batch]) -> list[float]:
        losses = []
        for batch in batches:
            for row in optimizer.param_groups:
                row["lr"] = RATE * plan.rate(next(steps), 0)
            flat = flatten([batch])
            everywhere_L = torch.arange(flat.ids_BL.shape[1])
            whole = flat.targets._replace(rows_T=torch.zeros_like(everywhere_L), places_T=everywhere_L)
            hidden_LD = NextToken(encoders=model.encoders).hidden(model, flat._replace(targets=whole))
            labels_L = torch.full_like(everywhere_L, -100)
            labels_L[flat.targets.places_T] = flat.targets.ids_T
            loss = F.cross_entropy(model.decoder.logits(hidden_LD), labels_L)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    return train


class _Given:
    """A feed of the batches of one turn."""

    def __init__(self) -> None:
        self.batches: Iterator[Batch] = iter(())

    def draw(self) -> list[Flat]:
        return [flatten([next(self.batches)])]

    def position(self) -> dict[str, Any]:
        return {}

    def seek(self, position: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


class _Turn:
    """The plan in turns: the loop is run anew for each."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.begin, self.stop = plan, 0, 0

    def progress(self, step: int, _minutes: float) -> float:
        return float(self.begin + step >= self.stop)

    def rate(self, step: int, _minutes: float) -> float:
        return self.plan.rate(self.begin + step, 0)

    def hear(self, loss: float) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


def _ours(model: MultimodalLM, cache: CachedEncoder, plan: Plan) -> Way:
    """The project's own loop."""
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    feed, turn, said = _Given(), _Turn(plan), list[Step]()
    objective = NextToken(encoders={Modality.IMAGE: cache})
    rig = Rig(clip=CLIP, betas=BETAS, tell=said.append)
    loop = Loop(model, [Task("captions", objective, feed)], [Group(parameters, RATE)], turn, rig)

    def train(batches: Sequence[Batch]) -> list[float]:
        feed.batches, turn.begin, turn.stop = iter(batches), turn.stop, turn.stop + len(batches)
        said.clear()
        loop.run()
        return [step.terms["loss"] for step in said]

    return train


def _wide(
    shape: Shape, tokenizer: Tokenizer, batches: Sequence[Batch], cache: CachedEncoder, options: argparse.Namespace
) -> dict[str, float]:
    """Utilisation of our loop with a wider decoder."""
    model = _model(shape, tokenizer)
    way = _ours(model, cache, Plan(steps=len(batches)))
    way(batches[:1])
    some = batches[1:][: 2 * options.steps]
    peaks, wall, cpu = [_peak(options.threads)], [], []
    for batch in some:
        began, spent = time.perf_counter(), time.process_time()
        way([batch])
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - spent)
        peaks.append(_peak(options.threads))
    work = sum(_flops(model, flatten([batch])) for batch in some) / len(some)
    row = {"wall_seconds": median(wall), "cpu_seconds": median(cpu)}
    return _share(work, row, _typical(peaks), options)


def _share(work: float, row: dict[str, float], peak: Peak, options: argparse.Namespace) -> dict[str, float]:
    """What a step reaches of the peak, by either clock."""
    return {
        "gflop_per_step": work / 1e9,
        "of_peak_by_wall": work / row["wall_seconds"] / peak.wall,
        "of_peak_by_cpu": work * options.threads / row["cpu_seconds"] / peak.cpu,
    }


def _flops(model: MultimodalLM, flat: Flat) -> float:
    """Of one learning step with cached features: 6 a weight and token of what learns, and causal attention."""
    config, length = model.decoder.config, flat.ids_BL.shape[1]
    weights = sum(p.numel() for layer in model.decoder.layers for p in layer.parameters() if p.dim() > 1)
    linear = 6.0 * weights * length
    attention = sum(12.0 * config.layers * config.heads * config.head_dim * n * (n + 1) / 2 for n in flat.lengths)
    head = 6.0 * config.vocab_size * config.dim * len(flat.targets.ids_T)
    link = model.connectors[Modality.IMAGE]
    shown = sum(spot.length for spot in flat.placements)
    projector = 6.0 * sum(p.numel() for p in link.parameters() if p.dim() > 1) * shown
    return linear + attention + head + projector


class Peak(NamedTuple):
    """fp32 FLOP a second of matrix products: by the wall, and by processor time (as if all threads had the machine)."""

    wall: float
    cpu: float


def _peak(threads: int, size: int = 1024) -> Peak:
    x = torch.randn(size, size)
    wall = cpu = math.inf
    for _ in range(4):
        began, spent = time.perf_counter(), time.process_time()
        for _ in range(4):
            x @ x
        wall, cpu = min(wall, time.perf_counter() - began), min(cpu, time.process_time() - spent)
    work = 4 * 2 * size**3
    return Peak(work / wall, work * threads / cpu)


def _typical(peaks: Sequence[Peak]) -> Peak:
    return Peak(median(peak.wall for peak in peaks), median(peak.cpu for peak in peaks))


def _model(shape: Shape, tokenizer: Tokenizer) -> MultimodalLM:
    """The same weights each time; the encoder is frozen."""
    torch.manual_seed(0)
    vision = ViTConfig("siglip", 192, 12, 3, 768, image_size=SIDE, patch=16, activation="gelu_tanh")
    language = DecoderConfig(
        family="llama",
        vocab_size=VOCABULARY,
        dim=shape.dim,
        layers=shape.layers,
        heads=shape.dim // 64,
        kv_heads=max(1, shape.dim // 192),
        head_dim=64,
        inner_dim=shape.inner,
        max_positions=1024,
        tie_embeddings=True,
    )
    link = ProjectorConfig(dim_in=192, dim_out=shape.dim, pool="shuffle", size=4)
    config = Config(
        language=language,
        encoders={Modality.IMAGE: ViTTower(config=vision)},
        connectors={Modality.IMAGE: Projector(config=link)},
        filler=0,
    )
    end = tokenizer.token_to_id("<end>")
    model = build(Blueprint(config, tokenizer, TEMPLATE, {}, (end,), ImageProcessing(size=(SIDE, SIDE))))
    for parameter in model.encoders.parameters():
        parameter.requires_grad_(False)
    model.encoders.eval()
    return model


def _batches(model: MultimodalLM, rows: Sequence[Row], options: argparse.Namespace) -> Iterator[Batch]:
    """Endless; decoded and laid out beforehand, since data loading is not what is measured."""
    chance = random.Random(1)
    pixels: dict[str | int, Tensor] = {}
    while True:
        samples, shown = [], []
        for row in chance.sample(rows, options.batch):
            if row.photo not in pixels:
                pixels[row.photo] = _pixels(model, row.photo)
            most = range(1, min(len(row.captions), options.captions) + 1)
            texts = chance.sample(row.captions, chance.choices(most, [1 / k for k in most])[0])
            turns = []
            for number, text in enumerate(texts):
                ask = (Image("photo"), Text("Describe the photo.")) if number == 0 else (Text("Say it in another way."),)
                turns += [Message("user", ask), Message("assistant", (Text(text),), learn=True)]
            samples.append(Sample(str(row.photo), tuple(turns)))
            piece = Piece(Modality.IMAGE, (0.0, 0.0, 1.0, 1.0), (SIDE // 64, SIDE // 64), tensor=pixels[row.photo])
            shown.append({(0, 0): Shown((piece,), Use(0, 0, "image", "photo"))})
        yield model.layout(samples, shown, reply=False)


def _pixels(model: MultimodalLM, photo: str | int) -> Tensor:
    if isinstance(photo, int):
        return F.interpolate(torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(photo)), SIDE)[0] * 2 - 1
    (piece,) = model.encoders[Modality.IMAGE].prepare(image.decode(photo))
    assert piece.tensor is not None
    return piece.tensor


def _rows(options: argparse.Namespace) -> list[Row]:
    """Real captions, or made-up ones whose lengths vary as theirs do."""
    if options.data is None:
        chance = random.Random(0)
        words = ["".join(chance.choices("abdegiklmnoprstu", k=chance.randint(2, 8))) for _ in range(3000)]
        weights = [1 / (place + 1) for place in range(len(words))]

        def caption() -> str:
            return " ".join(chance.choices(words, weights, k=max(3, round(chance.lognormvariate(2.44, 0.33))))) + " ."

        return [Row(number, tuple(caption() for _ in range(5))) for number in range(options.photos)]
    folder = options.data / "flickr8k"
    lines = (folder / "captions.jsonl").read_text("utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    train = [row for row in found if row["split"] == "train"][: options.photos]
    return [Row(str(folder / row["image"]), tuple(row["captions"])) for row in train]


def _tokenizer(rows: Sequence[Row]) -> Tokenizer:
    """Byte pairs of these captions."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [text for row in rows for text in row.captions]
    tokenizer.train_from_iterator([*texts, *["Describe the photo. Say it in another way."] * 3], trainer)
    return tokenizer


def _real(batches: Sequence[Batch]) -> int:
    return sum(flatten([batch]).ids_BL.numel() for batch in batches)


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _row(clock: Clock, options: argparse.Namespace) -> dict[str, float]:
    return {
        "wall_seconds": median(clock.wall) / options.steps,
        "cpu_seconds": median(clock.cpu) / options.steps,
        "rows_per_second": options.batch * options.steps / median(clock.wall),
        "rows_per_cpu_second": options.batch * options.steps / median(clock.cpu),
    }


def _ratio(clocks: dict[str, Clock], slow: str, fast: str, by: str) -> float:
    """Median over the turns, each of which had the same batches."""
    pairs = zip(getattr(clocks[slow], by), getattr(clocks[fast], by), strict=True)
    return median(a / b for a, b in pairs)


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").is_file() else ""
    model = info.split("model name")[1].split("\n")[0].strip("\t: ") if "model name" in info else platform.processor()
    return {
        "processor": model,
        "threads": options.threads,
        "load": [round(value, 1) for value in os.getloadavg()],
        "waiting": os.environ.get("OMP_WAIT_POLICY", "default"),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _show(report: dict[str, Any]) -> None:
    print(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    print(", ".join(f"{name} {value}" for name, value in report["rows"].items()))
    print(", ".join(f"{name} {value:,.4g}" if value < 2 else f"{name} {value:,}" for name, value in report["tokens"].items()))
    print(", ".join(f"{value / 1e6:.1f} M {name}" for name, value in report["parameters"].items()), end="; ")
    peak = report["peak_gflops"]
    print(f"matmul peak {peak['wall']:.0f} GFLOPS fp32 on all threads by the wall, {peak['cpu']:.0f} by CPU time")
    print(f"\n{'':8} {'wall s/step':>12} {'CPU s/step':>11} {'rows/s':>8} {'rows/CPU-s':>11}")
    for name, row in report["ways"].items():
        print(
            f"{name:8} {row['wall_seconds']:12.2f} {row['cpu_seconds']:11.2f} {row['rows_per_second']:8.1f} "
            f"{row['rows_per_cpu_second']:11.1f}"
        )
    print()
    for name, row in report["ratios"].items():
        print(f"{name:16} {row['wall']:.2f}x by the wall, {row['cpu']:.2f}x by CPU time")
    cache = report["cache"]
    each = 1000 * cache["cpu_seconds_to_fill"] / max(cache["photos"], 1)
    print(f"cached features: {cache['photos']} photos encoded once before, {each:.0f} CPU ms each")
    print("\nshare of the matmul peak")
    for name, row in report["utilisation"].items():
        shares = f"{row['of_peak_by_wall']:.0%} by the wall, {row['of_peak_by_cpu']:.0%} by CPU time"
        print(f"{name:24} {shares} ({row['gflop_per_step']:.0f} GFLOP a step)")
    losses = report["losses"]
    print("\nstep  " + "".join(f"{name:>9}" for name in losses))
    for step, values in enumerate(zip(*losses.values(), strict=True)):
        print(f"{step:4}  " + "".join(f"{value:9.4f}" for value in values))
    apart = max(abs(a - b) for a, b in zip(losses["plain"], losses["all"], strict=True))
    print(f"furthest apart, plain and all: {apart:.4f}")


if __name__ == "__main__":
    main()
