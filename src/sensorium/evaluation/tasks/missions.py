"""BabyAI: a clip of a mission carried out in a grid world; which of four missions was it? (Chevalier-Boisvert et al. 2018)"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from functools import partial
from itertools import count, permutations
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from sensorium.data.sentences import as_sentence
from sensorium.errors import DependencyError
from sensorium.evaluation.metrics.answers import plain
from sensorium.evaluation.task import Item, Reply, Scores, Task
from sensorium.evaluation.tasks.asking import ask
from sensorium.parts import Video

QUESTION = "Which mission is carried out?"
LEVELS = ("BabyAI-GoToLocal-v0", "BabyAI-PutNextLocal-v0", "BabyAI-OpenDoorColor-v0")
"""Going to a thing, putting one beside another, opening a door; seen from above."""
EPISODES = {"train": 30, "test": 300}
"""Missions of each split; their seeds do not meet."""
TWINS = 1_000_000_000
"""From this seed on lie missions that are in no split."""
FPS, TILE, STEPS, WAYS = 4, 16, 100, 4


class Episode(NamedTuple):
    """A mission as the package's own bot carries it out.

    Args:
        others: what else could be done with the things that are there. frames: uint8 `(frames, H, W, 3)`.
    """

    mission: str
    others: tuple[str, ...]
    frames: NDArray[np.uint8]


def babyai() -> Task:
    """The task."""
    return Task(
        name="babyai",
        about="Which of four missions the agent of a clip carries out (BabyAI, made by the package minigrid); the likeliest",
        items=partial(_items, 0),
        score=_right,
        main="accuracy",
        answer=lambda item: item.choices[item.gold["right"]],
        twins=partial(_items, TWINS),
        splits=tuple(EPISODES),
        needs=("video",),
        extractor="the likeliest of the four missions; of a model that tells no likelihoods: the one that it says in full",
    )


def play(level: str, seed: int) -> Episode:
    """One episode, the same each time.

    Raises:
        DependencyError: minigrid is not installed.
    """
    try:
        import gymnasium
        from minigrid.utils.baby_ai_bot import BabyAIBot
    except ImportError as error:
        raise DependencyError("the task babyai", "needs the package minigrid", "Run: pip install 'sensorium[eval]'") from error
    env = gymnasium.make(level, disable_env_checker=True)
    with redirect_stdout(io.StringIO()):  # minigrid prints the rooms that it tries in vain
        env.reset(seed=seed)
    room: Any = env.unwrapped
    things = {(thing.color, thing.type) for thing in room.grid.grid if thing is not None and thing.type != "wall"}
    mission = room.mission.replace(" a ", " the ")  # an article tells whether there are two of a kind
    others = tuple(other for other in _possible(mission, sorted(things)) if other != mission)
    solver: Any = BabyAIBot
    bot, action, frames = solver(room), None, [_seen(room)]
    for _ in range(STEPS):
        action = bot.replan(action)
        _, _, ended, cut, _ = env.step(action)
        frames.append(_seen(room))
        if ended or cut:
            break
    return Episode(mission, others, np.stack(frames))


def _seen(room: Any) -> NDArray[np.uint8]:
    frame: NDArray[np.uint8] = room.get_frame(highlight=False, tile_size=TILE)
    return frame


def _possible(mission: str, things: Sequence[tuple[str, str]]) -> list[str]:
    """Missions of the same kind, with the things that are there."""
    named = [f"the {colour} {kind}" for colour, kind in things]
    if mission.startswith("put"):
        return [f"put {one} next to {other}" for one, other in permutations(named, 2)]
    verb = "open" if mission.startswith("open") else "go to"
    return [f"{verb} {one}" for one in named if verb != "open" or one.endswith("door")]


def _right(item: Item, reply: Reply) -> Scores | None:
    said = [place for place, choice in enumerate(item.choices) if plain(choice) == plain(reply.text)]
    return {"accuracy": float(said[0] == item.gold["right"])} if said else None


def _items(first: int, _: Path, split: str) -> Iterator[Item]:
    """Episodes with too few other missions are passed over."""
    made = 0
    for seed in count(first + 1_000_000 * (split == "test")):
        episode = play(LEVELS[seed % len(LEVELS)], seed)
        if len(episode.others) < WAYS - 1:
            continue
        chance = random.Random(seed)
        options = [episode.mission, *chance.sample(episode.others, WAYS - 1)]
        chance.shuffle(options)
        gold = {"right": options.index(episode.mission)}
        choices = tuple(map(as_sentence, options))
        question = "\n".join([QUESTION, *choices])
        yield ask(f"{split}-{seed}", [Video(film(episode.frames))], question, gold, "", choices)
        made += 1
        if made == EPISODES[split]:
            return


def film(frames: NDArray[np.uint8]) -> bytes:
    """A Matroska file without sound and without loss (FFV1), the same bytes each time."""
    target = io.BytesIO()
    with av.open(target, "w", format="matroska", options={"fflags": "bitexact"}) as file:
        stream = file.add_stream("ffv1", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "bgr0"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))
    return target.getvalue()
