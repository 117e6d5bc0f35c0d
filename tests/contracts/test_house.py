"""The house rules that a reader relies on, each failing when it is broken."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
HARD_LIMIT = 400
ALLOWED_LONG: dict[str, str] = {}
"""Files over the limit, each with its reason."""
EMPTY_NAMES = {"utils.py", "util.py", "common.py", "helpers.py", "helper.py", "base.py", "misc.py"}
PRINTERS = ("cli", "apps")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_is_one_idea_of_bounded_length_said_in_its_first_line(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= HARD_LIMIT or name_of(path) in ALLOWED_LONG
    if path.name != "__init__.py":
        assert ast.get_docstring(ast.parse(text)), f"{name_of(path)} does not say what it is"


def test_the_allow_list_names_only_long_files() -> None:
    assert all(len((ROOT / name).read_text("utf-8").splitlines()) > HARD_LIMIT for name in ALLOWED_LONG)


def test_every_file_has_a_name_that_says_something() -> None:
    assert not [name_of(path) for path in SOURCES if path.name in EMPTY_NAMES]


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name == "__init__.py" and path.parent.name != "sensorium"], ids=name_of
)
def test_a_folder_file_holds_reexports_only(path: Path) -> None:
    body = ast.parse(path.read_text("utf-8")).body
    kinds = (ast.ImportFrom, ast.Import, ast.Expr)
    assert all(
        isinstance(node, kinds) or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__") for node in body
    )


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.relative_to(ROOT / "src/sensorium").parts[0] not in PRINTERS], ids=name_of
)
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if ast.unparse(call.func) in ("print", "sys.stdout.write", "typer.echo")]


def test_imports_point_down() -> None:
    run = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout


def test_importing_the_package_or_asking_for_help_loads_no_torch() -> None:
    code = (
        "import sys, sensorium; assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "from typer.testing import CliRunner; from sensorium.cli.main import app\n"
        "run = CliRunner().invoke(app, ['--help']); assert run.exit_code == 0, run.output\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_values_know_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, sensorium.parts, sensorium.errors, sensorium.protocols; assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_companion_of_torch_that_breaks_its_cpu_build() -> None:
    from importlib.util import find_spec

    assert find_spec("torchvision") is None
