"""Tasks by the names that users type: ours, those of installed packages, and files of one's own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

from sensorium.data.synthetic.questions import KINDS
from sensorium.errors import DependencyError, RequestError
from sensorium.evaluation.task import Task
from sensorium.evaluation.tasks import captions, choices, grounding, missions, retrieval, short, speech, truth, world

GROUP = "sensorium.tasks"
"""The entry point group in which a package names its tasks: `my_exam = "my_package.exams:my_exam"`, a function or a Task."""

Maker = Callable[[], Task]

_OURS: Mapping[str, Maker] = {
    "flickr8k_captions": captions.flickr8k_captions,
    "flickr8k_text_to_image": retrieval.flickr8k_text_to_image,
    "flickr8k_image_to_text": retrieval.flickr8k_image_to_text,
    "flickr8k_pope": truth.flickr8k_pope,
    "daquar": short.daquar,
    "easy_vqa": short.easy_vqa,
    "nlvr": truth.nlvr,
    "fsdd": speech.fsdd,
    "ljspeech": speech.ljspeech,
    "grid_clips": speech.grid_clips,
    "babyai": missions.babyai,
    **{f"world_{kind}": partial(world.world, kind) for kind in (*KINDS, "composition")},
    "world_boxes": grounding.world_boxes,
    "vqav2_val": short.vqav2_val,
    "gqa": short.gqa,
    "textvqa_val": short.textvqa_val,
    "docvqa_val": short.docvqa_val,
    "chartqa": short.chartqa,
    "mmmu_val": choices.mmmu_val,
    "scienceqa_img": choices.scienceqa_img,
    "ai2d": choices.ai2d,
    "mmstar": choices.mmstar,
    "mmbench_en_dev": choices.mmbench_en_dev,
    "pope": truth.pope,
    "nlvr2": truth.nlvr2,
    "coco2017_cap_val": captions.coco2017_cap_val,
    "flickr30k": captions.flickr30k_captions,
    "nocaps_val": captions.nocaps_val,
    "refcoco_bbox_rec_val": grounding.refcoco_bbox_rec_val,
    "flickr30k_text_to_image": retrieval.flickr30k_text_to_image,
    "flickr30k_image_to_text": retrieval.flickr30k_image_to_text,
    "coco_text_to_image": retrieval.coco_text_to_image,
    "coco_image_to_text": retrieval.coco_image_to_text,
    "clotho_text_to_audio": retrieval.clotho_text_to_audio,
    "clotho_audio_to_text": retrieval.clotho_audio_to_text,
    "librispeech": speech.librispeech,
    "librispeech_other": speech.librispeech_other,
    "clotho_aqa_test": short.clotho_aqa_test,
    "nextqa_mc_test": choices.nextqa_mc_test,
}

GROUPS: Mapping[str, tuple[str, ...]] = {
    "world": tuple(f"world_{kind}" for kind in (*KINDS, "composition", "boxes")),
    "flickr8k_retrieval": ("flickr8k_text_to_image", "flickr8k_image_to_text"),
    "flickr30k_retrieval": ("flickr30k_text_to_image", "flickr30k_image_to_text"),
    "coco_retrieval": ("coco_text_to_image", "coco_image_to_text"),
    "clotho_retrieval": ("clotho_text_to_audio", "clotho_audio_to_text"),
}
"""Names that stand for several tasks."""


def names() -> list[str]:
    """All tasks that are known without a file: ours, then those of installed packages."""
    return [*_OURS, *sorted(point.name for point in entry_points(group=GROUP) if point.name not in _OURS)]


def find_tasks(wanted: Sequence[str], *, trust: bool = False) -> list[Task]:
    """Tasks in the order given, each once.

    Args:
        wanted: names of tasks or of `GROUPS`; `FILE.yaml` in the form of lmms-eval; `FILE.py`, for every Task that it names.
        trust: Python files beside a YAML may be run. A `.py` named as a task is run in any case: naming it asks for that.

    Raises:
        RequestError: no such task, or a file that makes none.
    """
    found: dict[str, Task] = {}
    for name in (one for group in wanted for one in GROUPS.get(group, (group,))):
        for task in _find(name, trust):
            found.setdefault(task.name, task)
    return list(found.values())


def _find(name: str, trust: bool) -> list[Task]:
    if name.endswith((".yaml", ".yml")):
        if importlib.util.find_spec("yaml") is None:
            raise DependencyError(name, "needs the package pyyaml", "Run: pip install 'sensorium[eval]'")
        from sensorium.evaluation.tasks.yaml_task import read_yaml

        return [read_yaml(Path(name), trust=trust)]
    if name.endswith(".py"):
        return _own(Path(name))
    if name in _OURS:
        return [_OURS[name]()]
    for point in entry_points(group=GROUP):
        if point.name == name:
            return [_made(point.load(), point.value)]
    known = [*names(), *GROUPS]
    near = get_close_matches(name, known, 3, 0.5)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    remedy = f"{meant}`sensorium evaluate --tasks list` shows all; files end in .yaml or .py"
    raise RequestError(f"task {name!r}", "is not known", remedy)


def _own(path: Path) -> list[Task]:
    """The Tasks to which a file of one's own gives names."""
    if not path.is_file():
        raise RequestError(str(path), "is not there", "Check the path of the task")
    label = f"sensorium_task_{path.stem}"
    spec = importlib.util.spec_from_file_location(label, path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[label] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    found = [value for value in vars(module).values() if isinstance(value, Task)]
    if not found:
        raise RequestError(str(path), "names no sensorium.evaluation.task.Task", "Write `task = Task(...)`")
    return found


def _made(value: object, place: str) -> Task:
    made = value() if callable(value) else value
    if not isinstance(made, Task):
        problem = f"gives {type(made).__name__}, not a sensorium.evaluation.task.Task"
        raise RequestError(place, problem, "Let the entry point name a Task, or a function that returns one")
    return made
