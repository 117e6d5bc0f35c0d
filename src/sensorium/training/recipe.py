"""Recipes: Python files with a `Config` and a `main(config, run)`, found by name or path, checked, and run.

They are no modules of the package: they stand above it, and a user's copy takes the same way as ours. In a source tree they
are `recipes/` at its root; an installed package carries them as data, in `share/sensorium/recipes` of the environment.
"""

from __future__ import annotations

import ast
import importlib.util
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import sensorium
from sensorium.errors import RequestError
from sensorium.training.config import parse
from sensorium.training.distributed import join, leave
from sensorium.training.run import Listener, Outcome, Recipe, Run

_HOMES = (
    Path(sensorium.__file__).parents[2] / "recipes",
    Path(sysconfig.get_path("data")) / "share" / "sensorium" / "recipes",
)


def names(homes: Iterable[Path] = _HOMES) -> list[str]:
    """The recipes that come with the package."""
    found = {path.stem for home in homes if home.is_dir() for path in home.glob("*.py") if _is_recipe(path)}
    return sorted(found)


def find(name: str, homes: Iterable[Path] = _HOMES) -> Path:
    """The file of a recipe: one of ours by name, or a path to anybody's.

    Raises:
        RequestError: there is none.
    """
    given = Path(name)
    if given.suffix == ".py":
        if not given.is_file():
            raise RequestError(name, "is not there", f"Give a file, or one of {', '.join(names(homes))}")
        return given
    for home in homes:
        if (home / f"{name}.py").is_file():
            return home / f"{name}.py"
    raise RequestError(
        f"recipe {name}", "is not known", f"Use one of {', '.join(names(homes))}, or a path to your own .py file"
    )


def load(path: Path) -> tuple[type[Recipe], Callable[[Any, Run], Any]]:
    """Its `Config` and its `main`.

    Raises:
        RequestError: it lacks one of them, or has a setting that it never mentions again.
    """
    module = _import(path)
    kind, main = getattr(module, "Config", None), getattr(module, "main", None)
    if not (isinstance(kind, type) and issubclass(kind, Recipe)) or not callable(main):
        problem = "has no `class Config(Recipe)` or no `main(config, run)`"
        raise RequestError(str(path), problem, "Copy one of ours: sensorium train NAME --copy FILE.py")
    tree = ast.parse(path.read_text("utf-8"))
    mentioned = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    own = set(kind.model_fields) - {"seed"}
    if idle := sorted(own - mentioned):
        raise RequestError(
            f"setting {idle[0]} of {path.name}", "is read nowhere in it", "Use config." + idle[0] + ", or delete it"
        )
    return kind, main


def execute(
    name: str,
    sets: Sequence[str],
    out: Path,
    *,
    resume: bool = False,
    command: Sequence[str] = (),
    listen: Listener | None = None,
) -> dict[str, Outcome]:
    """Run a recipe.

    Args:
        sets: `key=value`. out: the folder of the run. listen: told every line of its log.

    Returns:
        What came of each of its trainings.

    Raises:
        RequestError: see `find`, `load`, `config.parse` and `Run`; or a setting that nothing has read.
    """
    path = find(name)
    kind, main = load(path)
    config = parse(kind, sets)
    world = join()
    try:
        run = Run(out, config, command=command, resume=resume, listen=listen, world=world)
        run.files.note(recipe=path.stem)
        if world.first:
            shutil.copyfile(path, out / "recipe.py")
        main(config, run)
        run.close()
    finally:
        leave(world)
    return run.outcomes


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # annotations of its Config are looked up there
    spec.loader.exec_module(module)
    return module


def _is_recipe(path: Path) -> bool:
    tree = ast.parse(path.read_text("utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return {"Config", "main"} <= defined
