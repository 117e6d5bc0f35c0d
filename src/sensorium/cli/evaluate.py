"""`sensorium evaluate`: exams put to a model, with floors, intervals and checks beside every score."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from sensorium.cli.answers import progress, waiting
from sensorium.errors import RequestError

if TYPE_CHECKING:
    from sensorium.evaluation.result import Result
    from sensorium.evaluation.run import Listener, Options
    from sensorium.evaluation.subject import Subject
    from sensorium.evaluation.task import Task


def run(
    model: Annotated[str, typer.Argument(help="nano, a checkpoint folder (ours or a transformers one), or openai:URL#NAME.")],
    tasks: Annotated[
        str, typer.Option("--tasks", "-t", metavar="A,B", help="Names, groups, FILE.py or FILE.yaml; `list` shows all.")
    ],
    data: Annotated[Path, typer.Option("--data", metavar="FOLDER", help="Where the tasks' data lies.")] = Path("data"),
    out: Annotated[
        Path | None, typer.Option("--output-path", "-o", metavar="FOLDER", help="Results; a second run goes on from them.")
    ] = None,
    model_args: Annotated[str, typer.Option("--model-args", metavar="K=V,...", help="quantize=int8; base_url=...")] = "",
    split: Annotated[str, typer.Option("--split", help="Of each task; its last by default.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=0, help="So many items of each task only; 0 is all.")] = 0,
    shots: Annotated[int, typer.Option("--num-fewshot", min=0, help="Solved examples before each question.")] = 0,
    curve: Annotated[bool, typer.Option("--shots-curve", help="Ask with 0, 1, 2 and 4 examples too.")] = False,
    stress: Annotated[
        str,
        typer.Option("--stress", metavar="A,B", help="Harm media and words too: all, image, audio, fog, typos, ..."),
    ] = "",
    size: Annotated[int, typer.Option("--batch-size", min=1, help="Items answered together.")] = 8,
    seed: Annotated[int, typer.Option("--seed", help="Of examples and intervals.")] = 0,
    train: Annotated[
        Path | None, typer.Option("--train", metavar="PATH", help="What the model was trained on: no item may be in it.")
    ] = None,
    twins: Annotated[
        str, typer.Option("--twins", metavar="SPLIT", help="Drawn alike and never trained on; tasks that make items need none.")
    ] = "",
    samples: Annotated[bool, typer.Option("--log-samples/--no-log-samples", help="Keep every answer and show some.")] = True,
    card: Annotated[
        bool, typer.Option("--model-index", help="Write model-index.yaml too: the scores as a card on the Hub holds them.")
    ] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Run Python files that a task's YAML names.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the report.")] = False,
) -> None:
    """Judge a model: scores with intervals, floors beside them, what is wrong with it, and every raw answer."""
    from sensorium.evaluation.run import Options, evaluate, floor_variants
    from sensorium.evaluation.stress.suite import stress as harm
    from sensorium.evaluation.subject import open_subject
    from sensorium.evaluation.tasks import registry
    from sensorium.training.runlog import command_line

    if tasks == "list":
        typer.echo("\n".join([*registry.names(), *registry.GROUPS]))
        return
    chosen = registry.find_tasks(tasks.split(","), trust=trust)
    folder = out or Path("evaluations") / Path(model).name
    with waiting(f"opening {model}"):
        subject = open_subject(model, _pairs(model_args))
    kinds = tuple(stress.split(",")) if stress else ()
    options = Options(
        data.absolute(),
        split,
        limit,
        shots,
        size,
        seed,
        lambda task: (*floor_variants(task), *(harm(kinds, task) if kinds else ())),
        curve,
    )
    began = time.monotonic()
    with _told() as listen:
        result = evaluate(subject, chosen, options, folder, listen)
        result = _finish(folder, result, chosen, subject, options, Known(train, twins), listen)
    if card:
        from sensorium.evaluation.adapters.model_index import hub_kinds, to_yaml

        (folder / "model-index.yaml").write_text(to_yaml(result, tasks=hub_kinds(chosen)), "utf-8")
    told = {
        "command": command_line(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "data": str(options.data),
        "seconds": round(time.monotonic() - began, 1),
    }
    (folder / "run.json").write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    if not samples:
        shutil.rmtree(folder / "answers")
        shutil.rmtree(folder / "media", ignore_errors=True)
    typer.echo((folder / ("results.json" if as_json else "report.md")).read_text("utf-8"))


class Known(NamedTuple):
    """What is known of a model's training: what was in it, and a split of the exams that was not."""

    train: Path | None
    twins: str


def _finish(
    folder: Path, result: Result, tasks: Sequence[Task], subject: Subject, options: Options, known: Known, listen: Listener
) -> Result:
    """What the checks say goes into the results; then the report is written."""
    from sensorium.audit.checks import findings
    from sensorium.audit.contamination import MOST
    from sensorium.audit.exam import open_exams
    from sensorium.data.reader import open_source
    from sensorium.evaluation.kept import write_results
    from sensorium.evaluation.report.write import write_report
    from sensorium.evaluation.sureness import fresh_items, recorded
    from sensorium.model.generate import Assistant

    layout = subject.generates.model.layout if isinstance(subject.generates, Assistant) else None
    source = None if known.train is None else open_source(known.train)
    fresh = {} if subject.scores is None else fresh_items(tasks, options, known.twins, MOST)
    exams = open_exams(folder, result, tasks, options.data)
    with recorded(subject, folder, str(result.code["source_sha256"]), options.size, listen) as sure:
        found = findings(exams, source, layout, sure, fresh)
    result = replace(result, findings=found)
    write_results(folder, result)
    write_report(folder, (options.data,))
    return result


def _pairs(text: str) -> dict[str, str]:
    """`a=1,b=2` as a mapping."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    if broken := next((name for name, sign, _ in pairs if not sign or not name), None):
        raise RequestError("--model-args", f"holds {broken!r}, which is no name=value", "Write name=value,name=value")
    return {name.strip(): value.strip() for name, _, value in pairs}


@contextmanager
def _told() -> Iterator[Listener]:
    """A progress bar for each variant of each task."""
    from sensorium.evaluation.run import Listener

    with ExitStack() as bars:
        advance: list[Callable[[], None]] = [lambda: None]

        def begin(task: str, variant: str, items: int) -> None:
            bars.close()
            advance[0] = bars.enter_context(progress(f"{task}, {variant}", items))

        def done(count: int) -> None:
            for _ in range(count):
                advance[0]()

        yield Listener(begin, done)
