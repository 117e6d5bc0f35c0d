"""Documents that fail when they lie: the README's tree, its help and its commands, and the surface people rely on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import typer

import sensorium
from sensorium.cli.main import app
from tests.contracts.readme import README, ROOT, rendered


def test_the_readme_shows_the_tree_and_the_help_as_they_are() -> None:
    text = README.read_text("utf-8")
    assert text == rendered(text), "run `make readme`"


def test_every_make_target_that_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    documents = [README, *(ROOT / "docs").rglob("*.md")]
    named = {name for path in documents for name in re.findall(r"`make ([a-z-]+)", path.read_text("utf-8"))}
    assert named <= targets


def test_every_local_link_leads_somewhere() -> None:
    broken = []
    for path in [README, *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8")):
            if "://" not in link and not (path.parent / link).exists():
                broken.append(f"{path.name}: {link}")
    assert not broken


def test_the_continuous_integration_runs_the_readme_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "make test" in script
    assert "make test" in README.read_text("utf-8")


def test_no_document_or_source_names_a_machine() -> None:
    words = re.compile(r"/(?:w[o]rk|r[o]ot|home/\w+)/|(?:extra-)?index-ur[l]")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    texts = [ROOT / name for name in listed if Path(name).suffix in {".py", ".md", ".toml", ".txt", ".c", ""}]
    own = Path(__file__).name
    assert not [
        path.name for path in texts if path.is_file() and path.name != own and words.search(path.read_text("utf-8", "replace"))
    ]


def test_public_names() -> None:
    assert sorted(sensorium.__all__) == [
        "Answer", "Audio", "Document", "Image", "Message", "MultimodalLM", "Sample", "Sampling", "SensoriumError", "Text",
        "Usage", "Video", "load",
    ]  # fmt: skip
    assert all(hasattr(sensorium, name) for name in sensorium.__all__)


def surface(command: Any, name: str = "sensorium") -> dict[str, list[str]]:
    """Each command's options and arguments."""
    words = [item.opts if item.param_type_name == "option" else [item.name] for item in command.params]
    own = {name: sorted(word for group in words for word in group)}
    for child_name, child in getattr(command, "commands", {}).items():
        own |= surface(child, f"{name} {child_name}")
    return own


def test_commands_and_options() -> None:
    sampling = ["--beams", "--length-penalty", "--max-tokens"]
    batch = ["--allow-url", "--batch", "--batch-size", "--json", "--model", "--output", "--quantize", "-m", "-o"]
    assert surface(typer.main.get_command(app)) == {
        "sensorium": ["--install-completion", "--show-completion", "--version"],
        "sensorium ask": sorted(
            [
                *batch,
                *sampling,
                "--chat",
                "--choice",
                "--each",
                "--missing",
                "--seed",
                "--temperature",
                "--top-p",
                "--words",
                "arguments",
            ]
        ),
        "sensorium caption": sorted([*batch, *sampling, "media"]),
        "sensorium transcribe": sorted(
            [
                "--allow-url",
                "--careful",
                "--format",
                "--json",
                "--language",
                "--model",
                "--output",
                "--start",
                "--stop",
                "-f",
                "-m",
                "-o",
                "media",
            ]
        ),
        "sensorium read": ["--allow-url", "--boxes", "--json", "media"],
        "sensorium embed": sorted(["--allow-url", "--model", "--text", "--texts", "-m", "-t", "media"]),
        "sensorium models": [],
        "sensorium models list": [],
        "sensorium models info": ["model"],
        "sensorium models convert": ["destination", "source"],
        "sensorium models merge": ["adapter", "destination", "model"],
        "sensorium models assemble": [],
        "sensorium data": [],
        "sensorium data check": sorted(
            [
                "--against",
                "--dialect",
                "--fix",
                "--ignore",
                "--json",
                "--licence",
                "--limit",
                "--longest",
                "--media",
                "--model",
                "--words",
                "-m",
                "path",
            ]
        ),
        "sensorium data show": sorted(["--dialect", "--json", "--media", "--model", "--row", "--words", "-m", "-n", "path"]),
        "sensorium train": sorted(
            ["--copy", "--keys", "--out", "--resume", "--search", "--set", "--trials", "-o", "more", "recipe"]
        ),
        "sensorium lab": sorted(
            [
                "--dev",
                "--dim",
                "--exam",
                "--eyes",
                "--eyes-layer",
                "--eyes-side",
                "--families",
                "--halvings",
                "--out",
                "--rows",
                "--seeds",
                "--steps",
                "--workers",
                "-o",
            ]
        ),
        "sensorium evaluate": sorted(
            [
                "--batch-size",
                "--data",
                "--json",
                "--limit",
                "--log-samples",
                "--model-args",
                "--model-index",
                "--num-fewshot",
                "--output-path",
                "--seed",
                "--shots-curve",
                "--split",
                "--stress",
                "--tasks",
                "--train",
                "--trust",
                "--twins",
                "-o",
                "-t",
                "model",
            ]
        ),
        "sensorium compare": sorted(["--data", "--json", "--output-path", "--seed", "--tasks", "-o", "a", "b"]),
        "sensorium rate": sorted(
            ["--data", "--json", "--limit", "--port", "--results", "--seed", "--tasks", "--votes", "runs"]
        ),
        "sensorium demo": ["--json", "--keep", "--model", "-m"],
    }
