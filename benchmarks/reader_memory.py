"""Memory and resuming of the data readers: python -m benchmarks.reader_memory [--rows 100000] [--decode 10].

For each way of keeping rows (JSON lines, one LLaVA JSON array, tar shards) a process of its own streams all rows, shuffled,
through a mixture and two threads that open every picture and decode every `--decode`-th; then it goes on from random places.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

WAYS = ("lines", "array", "shards")
PICTURES, SHARD, BATCH, SETTLED, LIMIT_MB = 2000, 5000, 20, 5000, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--decode", type=int, default=10, help="decode every n-th picture; all are opened")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.folder / args.way, args.rows, args.decode, args.seed)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, args.rows)
        print(f"{args.rows:,} rows | MB at {SETTLED:,} | highest after | growth | CPU s | resumed at, identical")
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.reader_memory", "--way", way, "--folder", name]
            command += ["--rows", str(args.rows), "--decode", str(args.decode), "--seed", str(args.seed)]
            environment = {**os.environ, "SENSORIUM_CACHE": str(folder / "cache")}
            run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            row = json.loads(run.stdout)
            assert row["rows"] == args.rows and row["growth"] <= LIMIT_MB and all(row["resumed"].values()), row
            shown = f"{row['settled']:.0f} | {row['highest']:.0f} | {row['growth']:.1f} | {row['cpu']:.0f} | {row['resumed']}"
            print(f"{way} | {shown}", flush=True)


def write(folder: Path, rows: int) -> None:
    """The same rows three times, pictures of 24 x 24 beside them or inside the shards."""
    for way in WAYS:
        (folder / way).mkdir()
    (folder / "pictures").mkdir()
    pixels = np.random.default_rng(0)
    contents = []
    for number in range(PICTURES):
        file = io.BytesIO()
        Image.fromarray(pixels.integers(0, 255, (24, 24, 3), np.uint8)).save(file, "JPEG")
        contents.append(file.getvalue())
        (folder / "pictures" / f"{number}.jpg").write_bytes(file.getvalue())
    with (folder / "lines" / "rows.jsonl").open("w") as lines, (folder / "array" / "rows.json").open("w") as whole:
        for row in range(rows):
            told = _row(row)
            lines.write(json.dumps(told) + "\n")
            whole.write(("[" if row == 0 else ",\n") + json.dumps(told, indent=1))
        whole.write("]")
    for first in range(0, rows, SHARD):
        with tarfile.open(folder / "shards" / f"{first // SHARD:06d}.tar", "w") as tar:
            for row in range(first, min(rows, first + SHARD)):
                told = {key: value for key, value in _row(row).items() if key != "image"}
                for kind, content in (("json", json.dumps(told).encode()), ("jpg", contents[row % PICTURES])):
                    info = tarfile.TarInfo(f"{row}.{kind}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))


def _row(row: int) -> dict[str, object]:
    asked, answered = f"<image>\nWhat is on picture {row}? " + "Look closely. " * 20, f"Noise, number {row}. " * 20
    talk = [{"from": "human", "value": asked}, {"from": "gpt", "value": answered}]
    return {"id": str(row), "image": f"../pictures/{row % PICTURES}.jpg", "conversations": talk}


def measure(folder: Path, rows: int, every: int, seed: int) -> dict[str, object]:
    """Stream everything once, then go on from three places."""
    from sensorium.data.mixture import Mixture
    from sensorium.data.reader import Row, open_source
    from sensorium.data.stream import Stream
    from sensorium.media import image, source
    from sensorium.parts import Image as Picture

    def prepare(row: Row) -> str:
        picture = row.sample.messages[0].parts[0]
        assert isinstance(picture, Picture)
        blob = source.load(picture.source)
        if int(row.sample.id) % every == 0:
            image.decode(blob)
        return row.sample.id

    def begin(position: dict[str, object] | None = None) -> tuple[Stream[str], Iterator[list[str]]]:
        path = folder if folder.name == "shards" else next(folder.iterdir())
        stream = Stream(Mixture([open_source(path)], seed=seed, epochs=1), BATCH, prepare, workers=2)
        if position is not None:
            stream.seek(json.loads(json.dumps(position)))
        return stream, iter(stream)

    began, ids, marks, sizes = time.process_time(), array("q"), {}, []
    stream, batches = begin()
    chance = random.Random(seed)
    places = {SETTLED, *(chance.randrange(1, rows // BATCH) * BATCH for _ in range(2))}
    for batch in batches:
        ids.extend(int(name) for name in batch)
        if len(ids) in places:
            marks[len(ids)] = stream.position()
        if len(ids) >= SETTLED and len(ids) % 1000 == 0:
            sizes.append(_resident())
    assert len(set(ids)) == len(ids)
    resumed = {}
    for place, position in sorted(marks.items()):
        _, later = begin(position)
        going_on = [int(name) for batch in islice(later, 100) for name in batch]
        resumed[str(place)] = array("q", going_on) == ids[place : place + len(going_on)] and len(going_on) > 0
    settled, highest = sizes[0], max(sizes)
    cpu = time.process_time() - began
    return {
        "rows": len(ids), "settled": settled, "highest": highest, "growth": highest - settled, "cpu": cpu, "resumed": resumed
    }  # fmt: skip


def _resident() -> float:
    """This process's resident memory in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
