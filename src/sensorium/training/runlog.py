"""The folder of a run: what was asked, on what, by which code, and what came of it, line by line."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

import sensorium
from sensorium.errors import RequestError

CONFIG, FACTS, LOG = "config.json", "run.json", "log.jsonl"


class RunFolder:
    """A new folder, or one to go on in.

    Args:
        config: plain JSON. resume: the folder is there and its configuration is this one.
        writes: only one process of a run does, and checks that the folder is free.

    Raises:
        RequestError: the folder is not empty and is not to be gone on in, or it is of another configuration.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], *, resume: bool, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        there = (path / CONFIG).is_file()
        if resume and there:
            _same(path, json.loads((path / CONFIG).read_text("utf-8")), config)
        elif writes and path.is_dir() and any(path.iterdir()):
            problem = "holds a run already" if there else "is not empty"
            raise RequestError(str(path), problem, "Add --resume to go on with it, or name a new folder")
        elif writes:
            path.mkdir(parents=True, exist_ok=True)
            _write(path / CONFIG, config)
        self.facts: dict[str, Any] = (
            json.loads((path / FACTS).read_text("utf-8")) if (resume or writes) and (path / FACTS).is_file() else {}
        )

    def note(self, **facts: Any) -> None:
        """Facts about the whole run, in `run.json`."""
        self.facts |= facts
        if self.writes:
            _write(self.path / FACTS, self.facts)

    def log(self, row: Mapping[str, Any]) -> None:
        """One line of `log.jsonl`, on the disk when this returns."""
        if self.writes:
            with (self.path / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """What was logged so far; a last line cut short is left out."""
        text = (self.path / LOG).read_text("utf-8") if (self.path / LOG).is_file() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def circumstances(command: Sequence[str], seed: int) -> dict[str, Any]:
    """The exact command, seed, code and environment."""
    packages = {dist.metadata["Name"]: dist.version for dist in distributions() if dist.metadata["Name"]}
    return {
        "command": shlex.join(command),
        "seed": seed,
        "code": code_version(),
        "environment": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
        },
    }


def code_version() -> dict[str, Any]:
    """The version, a hash of the sources, and the commit where they are in a git tree (and whether they were changed since)."""
    root = Path(sensorium.__file__).parent
    sources = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sources.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    found: dict[str, Any] = {"version": sensorium.__version__, "sources": sources.hexdigest()}
    commit = _git(root, "rev-parse", "HEAD")
    return (
        found if commit is None else found | {"commit": commit, "changed": bool(_git(root, "status", "--porcelain", "--", "."))}
    )


def _git(folder: Path, *words: str) -> str | None:
    try:
        run = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None


def _same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = _flat(before), _flat(json.loads(json.dumps(now)))
    if changed := sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)):
        problem = f"is of another configuration: {changed[0]} was {old.get(changed[0])!r} and is {new.get(changed[0])!r}"
        raise RequestError(str(path), problem, "Resume with the settings it was begun with, or name a new folder")


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in row.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {prefix + key: value}
    return found


def _write(path: Path, value: Mapping[str, Any]) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
    fresh.replace(path)


def command_line() -> list[str]:
    """How this process was started."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
