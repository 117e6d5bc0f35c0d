"""METEOR and SPICE by their own programs, as pycocoevalcap brings them; without those, or without Java, they are not measured.

Neither is approximated: whatever is called METEOR here has been aligned by METEOR 1.5, whatever is called SPICE scored by it.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium.errors import RequestError
from sensorium.estimate import NotMeasured, Rows
from sensorium.evaluation.metrics.tokens import missing_program

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])
_COLUMNS = 23
_METEOR = ("java", "-Xmx1g", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-jar")
_SPICE = ("java", "-Xmx8g", "-Dfile.encoding=UTF-8", "-jar")


def meteor_rows(said: Sequence[str], references: Sequence[Sequence[str]]) -> Rows | NotMeasured:
    """What METEOR 1.5 counts of each answer aligned with its best reference, `(n, 23)`: lengths and function words of both;
    for exact, stem, synonym and paraphrase matches the content and function words of both; chunks and words matched of both.

    English, its own normalisation on, as pycocoevalcap calls it. Takes about ten seconds of processor time to start.

    Raises:
        RequestError: an answer has no reference, or the two are not equally many.
    """
    _paired(said, references)
    program = missing_program("meteor/meteor-1.5.jar")
    if isinstance(program, NotMeasured):
        return program
    rows: list[list[float]] = []
    with subprocess.Popen(
        [*_METEOR, str(program), "-", "-", "-stdio", "-l", "en", "-norm"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=program.parent,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for answer, right in zip(said, references, strict=True):
            process.stdin.write(" ||| ".join(["SCORE", *map(_line, right), _line(answer)]) + "\n")
            process.stdin.flush()
            counts = process.stdout.readline().split()
            if len(counts) != _COLUMNS:
                process.kill()
                return NotMeasured(f"METEOR gave {len(counts)} numbers, not {_COLUMNS}, for answer {len(rows)}")
            rows.append([float(count) for count in counts])
        process.stdin.close()
    return np.array(rows).reshape(-1, _COLUMNS)


def meteor(rows: Rows) -> float:
    """METEOR of such rows, with the weights tuned for English (Denkowski and Lavie 2014): a harmonic mean of precision and
    recall, less a penalty for a broken order. The score of one answer is that of its row; that of many is of their sums.
    """
    length, wanted, function, wanted_function, *counts = rows.sum(0).tolist()
    matches = _WEIGHTS @ np.reshape(counts[:16], (4, 4))
    found = _DELTA * matches[:2] + (1 - _DELTA) * matches[2:]
    totals = [_DELTA * (all_ - some) + (1 - _DELTA) * some for all_, some in ((length, function), (wanted, wanted_function))]
    if not min(totals) or not min(found):
        return 0.0
    precision, recall = found / totals
    whole = (
        (rows[:, 20] == 1) & (rows[:, 21] == rows[:, 0]) & (rows[:, 22] == rows[:, 1])
    )  # all words in order: no chunk counts
    broken = (rows[~whole, 20].sum() / ((counts[17] + counts[18]) / 2)) ** _BETA
    return float(precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall) * (1 - _GAMMA * broken))


def spice(said: Sequence[str], references: Sequence[Sequence[str]], timeout: float = 3600) -> list[float] | NotMeasured:
    """SPICE's F of each answer (Anderson et al. 2016, arXiv:1607.08822).

    Its program needs Stanford's parser models, which pycocoevalcap downloads on its first use, and 8 GB of memory.

    Raises:
        RequestError: an answer has no reference, or the two are not equally many.
    """
    _paired(said, references)
    program = missing_program("spice/spice-1.0.jar")
    if isinstance(program, NotMeasured):
        return program
    if not (program.parent / "lib" / "stanford-corenlp-3.6.0-models.jar").is_file():
        return NotMeasured(
            "SPICE lacks Stanford's parser models (python -m pycocoevalcap.spice.get_stanford_models loads them)"
        )
    rows = [
        {"image_id": place, "test": _line(answer), "refs": [_line(text) for text in right]}
        for place, (answer, right) in enumerate(zip(said, references, strict=True))
    ]
    with tempfile.TemporaryDirectory() as folder:
        asked, told, cache = Path(folder, "asked.json"), Path(folder, "told.json"), Path(folder, "cache")
        cache.mkdir()
        asked.write_text(json.dumps(rows), "utf-8")
        command = [*_SPICE, str(program), str(asked), "-cache", str(cache), "-out", str(told), "-subset", "-silent"]
        run = subprocess.run(command, cwd=program.parent, capture_output=True, check=False, timeout=timeout)
        if run.returncode or not told.is_file():
            return NotMeasured(f"SPICE's program ended with {run.returncode}")
        found = {row["image_id"]: row["scores"]["All"]["f"] for row in json.loads(told.read_text("utf-8"))}
    return [float(found[place]) for place in range(len(rows))]


def _line(text: str) -> str:
    return " ".join(text.replace("|||", " ").split())


def _paired(said: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(said) != len(references):
        problem = f"are {len(said)}, and their lists of references {len(references)}"
        raise RequestError("answers", problem, "Give a list of references for each answer")
    for place, own in enumerate(references):
        if not own:
            raise RequestError(f"answer {place}", "has no reference; at least 1 is needed", "Give one, or leave the answer out")
