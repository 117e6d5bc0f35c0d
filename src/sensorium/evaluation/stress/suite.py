"""All kinds of harm by name, and the variants of a task that they make."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from sensorium.errors import RequestError
from sensorium.evaluation.stress import audio, conflict, image, missing, text, video
from sensorium.evaluation.stress.kind import Kind
from sensorium.evaluation.task import Task
from sensorium.evaluation.variant import Variant

GROUPS: Mapping[str, tuple[Kind, ...]] = {
    "image": image.KINDS,
    "audio": audio.KINDS,
    "video": video.KINDS,
    "text": text.KINDS,
    "conflict": conflict.KINDS,
    "missing": missing.KINDS,
}
LYING = "lying-caption"
"""Of the group `conflict`; made for one task, from its right answers."""


def stress(kinds: Collection[str] = ("all",), task: Task | None = None) -> tuple[Variant, ...]:
    """The variants of the kinds named, each kind's in order of level.

    Args:
        kinds: names of kinds (`fog`), of groups (`image`, `audio`, `video`, `text`, `conflict`, `missing`), or `all`.
        task: what they are for: kinds for media that it does not need are then left out, unless named themselves, and
            `lying-caption` is made of its answers, if it has any; without a task there is none.

    Raises:
        RequestError: a kind of no known name.
    """
    named = set(kinds)
    known = known_kinds(task)
    names = {kind.name for group in known.values() for kind in group} | {LYING}
    for name in sorted(named - names - set(known) - {"all"}):
        near = difflib.get_close_matches(name, [*names, *known], 1)
        remedy = f"The nearest is {near[0]}" if near else f"Use all, {', '.join(known)}, or a kind such as fog"
        raise RequestError(f"stress {name!r}", "is of no known kind", remedy)
    chosen = [
        kind
        for group, members in known.items()
        for kind in members
        if kind.name in named or (named & {group, "all"} and _fits(kind, task))
    ]
    return tuple(variant for kind in chosen for variant in kind.variants())


def known_kinds(task: Task | None = None) -> Mapping[str, tuple[Kind, ...]]:
    """By group; with a task whose answers can be written, `lying-caption` among them."""
    if task is None or task.answer is None:
        return GROUPS
    return {**GROUPS, "conflict": (conflict.lying(task), *conflict.KINDS)}


def amounts(task: Task | None = None) -> Mapping[str, str]:
    """How much each variant harms, in words, by its name."""
    kinds = [kind for group in known_kinds(task).values() for kind in group]
    return {variant.name: amount for kind in kinds for variant, amount in zip(kind.variants(), kind.amounts, strict=True)}


def _fits(kind: Kind, task: Task | None) -> bool:
    """Whether the task has what the kind is laid on; what is laid on any medium needs one."""
    if task is None or kind.medium == "text":
        return True
    return bool(task.needs) if kind.medium == "any" else kind.medium in task.needs
