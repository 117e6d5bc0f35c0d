"""A task file in the form of lmms-eval: its keys, what it includes, and Python functions beside it, run only where allowed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sensorium.errors import DependencyError, RequestError

DATA = ("task", "dataset_path", "dataset_name", "dataset_kwargs")
SPLITS = ("fewshot_split", "training_split", "validation_split", "test_split")
ASKED = ("description", "doc_to_visual", "doc_to_text", "doc_to_target", "doc_to_messages", "doc_to_choice")
JUDGED = ("output_type", "generation_kwargs", "process_results", "metric_list", "lmms_eval_specific_kwargs", "metadata")
KEYS = frozenset((*DATA, *SPLITS, *ASKED, *JUDGED))
IDLE = frozenset(["task_alias", "group", "tag", "batch_size", "num_fewshot", "repeats", "should_decontaminate"])
"""Keys of lmms-eval that change nothing here; a result names those that a file has."""
_OLD = {"model_specific_prompt_kwargs": "lmms_eval_specific_kwargs"}


class Named(NamedTuple):
    """`!function module.name`, before it is loaded."""

    module: str
    name: str


@dataclass(frozen=True)
class TaskFile:
    """What a file says.

    Args:
        path: of the file. values: by key, `include` resolved, functions loaded. idle: keys that change nothing here.
    """

    path: Path
    values: Mapping[str, Any]
    idle: tuple[str, ...]

    def error(self, key: str, problem: str, remedy: str) -> RequestError:
        """One that names the file and the key."""
        return RequestError(f"{self.path}, {key}", problem, remedy)


def read_file(path: Path, *, trust: bool) -> TaskFile:
    """Read a file and those that it includes.

    Args:
        trust: whether the Python that it names may be run.

    Raises:
        RequestError: no such file, no YAML, an unknown key, or Python that may not be run or cannot be found.
    """
    said = {_OLD.get(key, key): value for key, value in _merged(path, ()).items()}
    if unknown := sorted(set(said) - KEYS - IDLE):
        remedy = f"Known keys: {', '.join(sorted(KEYS))}"
        raise RequestError(f"{path}, {unknown[0]}", "is a key that is not known here", remedy)
    idle = tuple(sorted(key for key in IDLE & set(said) if said[key] not in (None, 0, 1, False)))
    return TaskFile(path, {key: _loaded(value, path, trust) for key, value in said.items() if key in KEYS}, idle)


def _merged(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if not path.is_file():
        raise RequestError(str(path), "is not there", "Check the path of the task, and its `include`")
    if path in above:
        raise RequestError(str(path), "includes itself", "Take the `include` out")
    try:
        said = yaml.load(path.read_text("utf-8"), _LOADER)
    except yaml.YAMLError as error:
        raise RequestError(str(path), f"is not YAML ({str(error).splitlines()[0]})", "Correct it") from error
    if not isinstance(said, dict):
        raise RequestError(str(path), "holds no keys", "Write `task: NAME`, `dataset_path: FOLDER` and so on")
    base = said.pop("include", None)
    return said if base is None else _merged(path.parent / str(base), (*above, path)) | said


def _function(loader: Any, node: Any) -> Named:
    module, _, name = str(loader.construct_scalar(node)).rpartition(".")
    return Named(module, name)


_LOADER: Any = type("TaskLoader", (yaml.SafeLoader,), {})
"""YAML's safe loader, which also knows `!function`."""
_LOADER.add_constructor("!function", _function)


def _loaded(value: Any, path: Path, trust: bool) -> Any:
    if isinstance(value, Named):
        return _callable(value, path, trust)
    if isinstance(value, dict):
        return {key: _loaded(inner, path, trust) for key, inner in value.items()}
    return [_loaded(inner, path, trust) for inner in value] if isinstance(value, list) else value


def _callable(named: Named, path: Path, trust: bool) -> Callable[..., Any]:
    """Of a file beside the YAML, and of nowhere else."""
    place = path.parent.joinpath(*named.module.split(".")).with_suffix(".py")
    if not named.module or not place.is_file():
        remedy = "Write `!function FILE.NAME` with a Python file beside the YAML"
        raise RequestError(f"{path}, !function {named.module}.{named.name}", f"names {place.name}, which is not there", remedy)
    if not trust:
        problem = f"would run Python from {place}, which was not allowed"
        raise RequestError(f"{path}, !function {named.module}.{named.name}", problem, "Read that file, then give --trust")
    found = getattr(_module(place), named.name, None)
    if not callable(found):
        raise RequestError(f"{path}, !function {named.module}.{named.name}", f"is no function of {place}", "Correct the name")
    made: Callable[..., Any] = found
    return made


def _module(place: Path) -> Any:
    label = f"sensorium_yaml_{abs(hash(str(place.resolve()))):x}_{place.stem}"
    if label in sys.modules:
        return sys.modules[label]
    spec = importlib.util.spec_from_file_location(label, place)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[label] = module  # dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        del sys.modules[label]
        raise DependencyError(str(place), f"needs {error.name or error}", "Install it, or do without it") from error
    return module
