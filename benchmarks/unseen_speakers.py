"""Spoken digits of a speaker who was left out of the training: five trainings, each measured on the fifth voice.

python -m benchmarks.unseen_speakers --data FOLDER --work build/nano

Uses the features and codes that `recipes.nano` keeps in --work, or makes them; half a minute of training a speaker, and more
to measure. Every recording of the speaker is asked about, by its features alone and with the words recognised beside them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from recipes import nano_codes, nano_data, nano_digits, nano_fresh, nano_model
from sensorium.estimate import Estimate
from sensorium.evaluation.run import Options, evaluate
from sensorium.evaluation.subject import wrap
from sensorium.evaluation.task import Item
from sensorium.evaluation.tasks.speech import fsdd
from sensorium.evaluation.variant import PLAIN
from sensorium.model.generate import Assistant
from sensorium.training.precision import fast_dtype


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/nano"))
    parser.add_argument("--every", type=int, default=1, help="one of so many recordings is asked about")
    parser.add_argument("--speakers", default="", help="only these, with commas between them")
    parser.add_argument("--out", type=Path, default=Path("build/scores/unseen-speakers.json"))
    args = parser.parse_args()
    digits, task = nano_data.digits(args.data), fsdd()
    asked = {item.sample.id: item for split in task.splits for item in task.items(args.data, split)}
    model = nano_model.start(args.work, nano_fresh.shapes(), nano_fresh.fresh)
    store = nano_digits.features(model, digits, args.work / "digits", print)
    model.decoder.to(fast_dtype())
    codes = nano_codes.learn(model, nano_digits.WORDS, args.work / "codes", print)
    fresh = {name: tensor.clone() for name, tensor in model.connectors["audio"].state_dict().items()}
    scores: dict[str, dict[str, Estimate]] = {}
    for speaker in args.speakers.split(",") if args.speakers else sorted({digit.speaker for digit in digits}):
        torch.manual_seed(0)
        model.connectors["audio"].load_state_dict(fresh)
        taught = [index for index, digit in enumerate(digits) if digit.speaker != speaker and digit.split == "train"]
        nano_digits.run(model, codes, digits, store, taught, None, print)
        held = [asked[Path(row.path).stem] for row in digits if row.speaker == speaker][:: args.every]
        scores[speaker] = measure(Assistant(model.eval(), "nano"), held)
        for name, value in scores[speaker].items():
            print(f"{speaker:10} {name:45} {value}", flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        rows = {name: {score: value._asdict() for score, value in found.items()} for name, found in scores.items()}
        args.out.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


def measure(model: Assistant, held: Sequence[Item]) -> dict[str, Estimate]:
    """Accuracy by the features alone, and with the words recognised beside them."""
    found, reader = {}, model.model.reader
    for name, heard in (("features alone", False), ("with the words heard", True)):
        model.model.reader = replace(reader, policy=replace(reader.policy, words_in_sound=heard))
        found[name] = _accuracy(model, held)
    model.model.reader = reader
    return found


def _accuracy(model: Assistant, held: Sequence[Item]) -> Estimate:
    task = replace(fsdd(), items=lambda *_: held, splits=("held",), answer=None)
    subject, options = wrap(model, "nano", "sensorium", "in training", {}), Options(Path(), size=24, variants=lambda _: ())
    with TemporaryDirectory() as folder:  # a journal tells no two trainings of one name apart
        (result,) = evaluate(subject, [task], options, Path(folder)).tasks
    return result.outcomes[PLAIN.name].scores[result.main]


if __name__ == "__main__":
    main()
