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

import torch

from benchmarks.digits import right
from recipes import nano_codes, nano_data, nano_digits, nano_fresh, nano_model
from sensorium.estimate import Estimate, estimate
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
    digits = nano_data.digits(args.data)
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
        held = [row for row in digits if row.speaker == speaker][:: args.every]
        scores[speaker] = measure(Assistant(model.eval(), "nano"), held)
        for name, value in scores[speaker].items():
            print(f"{speaker:10} {name:45} {value}", flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        rows = {name: {score: value._asdict() for score, value in found.items()} for name, found in scores.items()}
        args.out.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


def measure(model: Assistant, rows: Sequence[nano_data.Digit]) -> dict[str, Estimate]:
    """Accuracy by the features alone, and with the words recognised beside them."""
    reader = model.model.reader
    model.model.reader = replace(reader, policy=replace(reader.policy, words_in_sound=False))
    found = {"features alone": estimate(right(model, rows, rows))}
    model.model.reader = reader
    return found | {"with the words heard": estimate(right(model, rows, rows))}


if __name__ == "__main__":
    main()
