"""Reads files in a process of its own, so that a crash or a hang is a result and not the end of the tests."""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

HANGS_AFTER = 60.0


class Fate(NamedTuple):
    """What became of one file: `read`, `refused` (a SensoriumError), `crashed`, `hung` or `escaped` (any other error)."""

    name: str
    end: str
    words: str
    seconds: float
    megabytes: float = 0.0


def ordeal(files: Iterable[tuple[str, bytes]], folder: Path) -> Iterator[Fate]:
    """The fate of each file, in order; a worker that dies is replaced. Seconds are processor time, of it and what it starts."""
    context = multiprocessing.get_context("spawn")
    worker, pipe = None, None
    for name, data in files:
        path = folder / name.replace("/", "_")
        path.write_bytes(data)
        if worker is None or pipe is None:
            pipe, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs,), daemon=True)
            worker.start()
            theirs.close()
            pipe.recv()
        pipe.send(str(path))
        try:
            fate = Fate(name, *pipe.recv()) if pipe.poll(HANGS_AFTER) else Fate(name, "hung", "", HANGS_AFTER)
        except (EOFError, ConnectionError):
            worker.join()
            fate = Fate(name, "crashed", f"exit code {worker.exitcode}", 0.0)
        if fate.end in ("hung", "crashed"):
            worker.kill()
            worker.join()
            worker = None
        path.unlink()
        yield fate
    if worker is not None and pipe is not None:
        pipe.send(None)
        worker.join()


def _work(pipe: Connection) -> None:
    import torch

    torch.set_num_threads(1)
    from sensorium.media import image  # noqa: F401 (loaded before the clock runs)

    pipe.send("ready")
    while (path := pipe.recv()) is not None:
        begin = _spent()
        end, words = _read(path)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        pipe.send((end, words, _spent() - begin, peak))


def _spent() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _read(path: str) -> tuple[str, str]:
    from sensorium.errors import SensoriumError

    try:
        return "read", read_whole(path)
    except SensoriumError as error:
        named = all((error.thing, error.problem, error.remedy))
        return ("refused" if named else "escaped"), str(error)
    except BaseException as error:  # noqa: BLE001 (whatever escapes is what this looks for)
        return "escaped", f"{type(error).__module__}.{type(error).__name__}: {error}"


def read_whole(path: str) -> str:
    """Decode a file as what it is and check that the result is sound; what was read, in words."""
    import torch

    from sensorium.media import audio, document, image, text, video
    from sensorium.media.source import Limits, load

    limits = Limits(timeout=4)
    blob = load(path, limits)
    match text.kind_of_file(blob, limits):
        case "image":
            picture = image.decode(blob, limits)
            assert picture.pixels_CHW.dtype == torch.uint8
            assert picture.pixels_CHW.shape[0] == 3
            return f"{tuple(picture.pixels_CHW.shape)} {picture.notes}"
        case "audio":
            sound = audio.decode(blob, limits=limits)
            assert bool(sound.wave_T.isfinite().all())
            assert abs(sound.seconds - (sound.stop - sound.start)) < 1e-6
            return f"{sound.seconds:.2f} s of {sound.seconds_total:.2f} {sound.notes}"
        case "video":
            clip = video.decode(blob, limits=limits)
            assert list(clip.times_F) == sorted(set(clip.times_F))
            assert len(clip.times_F) == len(clip.frames_FCHW) > 0
            return f"{tuple(clip.frames_FCHW.shape)} {clip.seconds:.2f} s {clip.notes}"
        case "document":
            pages = document.decode(blob, limits=limits)
            found = [(page.number, len(page.readings)) for page in pages]
            return f"{found} of {pages.total}"
        case "text":
            return repr(text.decode(blob, limits)[:40])
