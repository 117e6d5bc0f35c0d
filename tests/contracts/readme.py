"""The parts of the README that are made from the code: run this file to write them anew (`make readme`)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from typer.testing import CliRunner

from sensorium.cli.main import app

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def tree() -> str:
    """Every source file with the first line of its docstring."""
    package = ROOT / "src" / "sensorium"
    lines = ["src/sensorium/"]
    for folder in [package, *sorted(path for path in package.rglob("*") if path.is_dir() and path.name != "__pycache__")]:
        files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py" or folder == package)
        if not files:
            continue
        if folder != package:
            lines.append(f"  {folder.relative_to(package)}/")
        indent = "  " if folder == package else "    "
        for path in files:
            said = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()[0]
            lines.append(f"{indent}{path.name:<22} {said}")
    return "\n".join(lines)


def usage() -> str:
    """What `sensorium --help` prints, 100 columns wide."""
    result = CliRunner().invoke(app, ["--help"], prog_name="sensorium", env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines())


def rendered(text: str) -> str:
    """The README with its made parts replaced."""
    for name, made in (("tree", tree()), ("help", usage())):
        block = f"<!-- {name}: made by `make readme` -->\n```text\n{made}\n```\n<!-- end -->"
        text, count = re.subn(rf"<!-- {name}: .*?<!-- end -->", lambda _, block=block: block, text, count=1, flags=re.DOTALL)
        assert count == 1, f"README has no place for {name}"
    return text


if __name__ == "__main__":
    README.write_text(rendered(README.read_text("utf-8")), "utf-8")
