"""Measures what joint objectives teach on the synthetic world: python -m benchmarks.objectives_joint [--only words,regions].

Every number is of scenes that were not trained on: `--on dev` are those that settings are chosen by, the test scenes of another
world what is reported. Figures depend on the steps given; processor time is printed beside them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import get_args

import torch

from benchmarks.joint_autoencoding import autoencoding
from benchmarks.joint_questions import FAMILIES, questions
from benchmarks.joint_world import (
    WORDINGS,
    Result,
    Shown,
    Splits,
    build,
    captioned,
    captions,
    draw,
    fall,
    named,
    read,
    splits,
    train,
)
from benchmarks.judged import On
from sensorium.batch import Features
from sensorium.data.synthetic import Scene
from sensorium.estimate import Estimate, estimate
from sensorium.fusion.pairs import Pairs
from sensorium.model.joint import Joint
from sensorium.model.joint_config import SingleStream
from sensorium.nn.trace import Trace
from sensorium.objectives.loss import Loss
from sensorium.objectives.masked_language import Hidden, guess
from sensorium.objectives.masked_region import restore
from sensorium.objectives.matching import mine
from sensorium.objectives.pretraining import Pretraining, Weights
from sensorium.objectives.word_region import Aligner, WordRegion, transport

ALONE = {
    "matching": Weights(masked_language=0, masked_region=0),
    "words": Weights(masked_region=0, matching=0, word_region=0, contrast=0),
    "regions": Weights(masked_language=0, matching=0, word_region=0, contrast=0),
}
"""Terms that are learned together. Matching finds its wrong partners by the contrast and carries the transport."""
TOGETHER = Weights(matching=3.0)
"""All four at once."""
TERMS = ("contrast", "masked_language", "masked_region_classes", "matching", "word_region")
"""What should fall; the other figures of a training are shares and distances that should not."""
STEPS = {"all": 1500, "matching": 700, "words": 700, "regions": 800}


def pretraining(
    data: Splits, steps: int, weights: Weights, *, wordings: int = WORDINGS, share: float = 0.3, rate: float = 3e-3
) -> Result:
    """One stream learns the terms that have a weight, from captions of so many wordings; then it is asked about each alone."""
    torch.manual_seed(0)
    texts = [text for shown in data for scene in shown.scenes for text in scene.captions()]
    model = build(texts, SingleStream(depth=2), 64, 128)
    objective = Pretraining(64, weights, "classes", share)
    said, begun = captions(model, data.train), time.process_time()

    def loss(step: int) -> Loss:
        which = draw(step, len(data.train), 32)
        pairs = captioned(said, data.train, which, step, wordings)
        return objective.terms(model, pairs, [str(row) for row in which], step)

    curves = train(torch.nn.ModuleList([model, objective]), loss, steps, rate)
    spent = time.process_time() - begun
    with torch.no_grad():
        scores = judged(model.eval(), data.test, objective, wordings)
    return Result(scores, {name: fall(curves[name]) for name in TERMS if name in curves}, spent)


def judged(model: Joint, shown: Shown, objective: Pretraining, wordings: int = WORDINGS) -> dict[str, Estimate]:
    """A pretrained model's scores, for the terms that have a weight, on scenes that it has not seen."""
    weights, rows, scores = objective.weights, list(range(len(shown))), dict[str, Estimate]()
    pairs = captioned(captions(model, shown), shown, rows, 0, wordings)
    if weights.matching:
        scores["matching AUC, another scene's caption"] = auc(model, pairs, pairs.take(rows[1:] + rows[:1], rows))
        scores["matching AUC, one thing wrong"] = auc(model, *minimal(model, shown))
    if objective.align is not None:
        scores["word-region pairs from the plan"] = aligned(model, pairs, shown.scenes, objective.align)
    if weights.masked_language:
        scores |= words(model, pairs, shown.scenes)
    if weights.masked_region:
        scores |= regions(model, pairs, shown.scenes)
    return scores


def auc(model: Joint, right: Pairs, wrong: Pairs) -> Estimate:
    """The chance that a matched pair scores above a mismatched one, with the interval of its matched pairs."""
    good_B, bad_B = (model.match(model(pairs).pooled_BD)[:, 0] for pairs in (right, wrong))
    wins_BB = (good_B[:, None] > bad_B).float() + 0.5 * (good_B[:, None] == bad_B).float()
    return estimate(wins_BB.mean(1).tolist())


def minimal(model: Joint, shown: Shown) -> tuple[Pairs, Pairs]:
    """Captions, and the same with one thing of another colour or shape, which the edited scene would have."""
    edits = [(row, scene.edit()[0]) for row, scene in enumerate(shown.scenes)]
    kept = [(row, other) for row, other in edits if len(other.things) == len(shown.scenes[row].things)]
    true = read(model, [shown.scenes[row].captions()[1] for row, _ in kept])
    false = read(model, [other.captions()[1] for _, other in kept])
    seen = shown.regions.take([row for row, _ in kept])
    return Pairs(true, seen), Pairs(false, seen)


def words(model: Joint, pairs: Pairs, scenes: Sequence[Scene]) -> dict[str, Estimate]:
    """Colour and shape words hidden one a caption, with the picture and without."""
    chosen_BL = torch.zeros_like(pairs.words.valid_BL)
    for row, scene in enumerate(scenes):
        told = sorted(named(pairs, row, scene, model))
        chosen_BL[row, told[row % len(told)]] = True
    hidden = Hidden(pairs.words.with_ids(pairs.words.ids_BL.masked_fill(chosen_BL, model.reader.mask)), chosen_BL)
    blind = Pairs(pairs.words, pairs.regions.blind())
    return {
        "masked colours and shapes": share(*guess(model, pairs, hidden).terms["words_right"]),
        "masked colours and shapes, blind": share(*guess(model, blind, hidden).terms["words_right"]),
    }


def regions(model: Joint, pairs: Pairs, scenes: Sequence[Scene]) -> dict[str, Estimate]:
    """Regions hidden one a picture and named by the truth, with the caption and without its words."""
    masked_BG = torch.zeros_like(pairs.regions.valid_BG)
    for row, scene in enumerate(scenes):
        masked_BG[row, row % len(scene.things)] = True
    mute_BL = torch.where(model.reader.content(pairs.words), model.reader.mask, pairs.words.ids_BL)
    mute = Pairs(pairs.words.with_ids(mute_BL), pairs.regions)
    return {
        "masked regions named": share(*restore(model, pairs, masked_BG, "classes").terms["regions_right"]),
        "masked regions named, no words": share(*restore(model, mute, masked_BG, "classes").terms["regions_right"]),
    }


def aligned(model: Joint, pairs: Pairs, scenes: Sequence[Scene], align: Aligner | None) -> Estimate:
    """Colour and shape words whose largest share of the plan goes to their own thing; in scenes of several things.

    Without `align` the embeddings themselves are compared.
    """
    trace = Trace(("joint.words.embedding", "joint.regions.embedding"))
    output = model(pairs, trace=trace)
    found = trace.result()
    said = Features(found["joint.words.embedding"], model.reader.content(pairs.words))
    regions = Features(found["joint.regions.embedding"], output.regions.valid_BT)
    best_BL = transport(*(align(said, regions) if align else (said, regions))).plan_BLG.argmax(-1)
    told = [(row, place, thing) for row, scene in enumerate(scenes) for place, thing in named(pairs, row, scene, model).items()]
    return estimate([float(int(best_BL[row, place]) == thing) for row, place, thing in told if len(scenes[row].things) > 1])


def share(right: float, count: float) -> Estimate:
    """A share with its interval."""
    return estimate([1.0] * int(right) + [0.0] * int(count - right))


def alignment(data: Splits, steps: int, *, beside: bool = True, rate: float = 3e-3) -> Result:
    """Word-region transport by itself, of matched and of evenly mismatched pairs.

    Args:
        beside: words are compared with those beside them (see `Aligner`); otherwise the embeddings are. Then words that are of
            several things ("red", of two red ones) are shared out by chance.
    """
    torch.manual_seed(0)
    texts = [text for shown in data for scene in shown.scenes for text in scene.captions()]
    model, objective, rows = build(texts, SingleStream(depth=1), 64, 64), WordRegion(rounds=20), list(range(32))
    said, align, begun = captions(model, data.train), Aligner(64) if beside else None, time.process_time()

    def loss(step: int) -> Loss:
        pairs = captioned(said, data.train, draw(step, len(data.train), len(rows)), step)
        partners = mine(torch.zeros(len(rows), len(rows)), torch.eye(len(rows), dtype=torch.bool), step)
        shown = pairs.take([*rows, *partners.texts], [*rows, *rows])
        said_BLD, regions = model.embedding.say(shown.words).x_BTD, model.embedding.see(shown.regions, None)
        matched_B = torch.arange(2 * len(rows)) < len(rows)
        words = Features(said_BLD, model.reader.content(shown.words))
        if align is not None:
            words, regions = align(words, regions)
        return objective(words, regions, matched_B)

    curves = train(torch.nn.ModuleList([model, align] if align else [model]), loss, steps, rate)
    spent = time.process_time() - begun
    with torch.no_grad():
        pairs = captioned(captions(model, data.test), data.test, list(range(len(data.test))), 0)
        scores = {"word-region pairs from the plan": aligned(model, pairs, data.test.scenes, align)}
    return Result(scores, {"word_region": fall(curves["word_region"])}, spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="all,matching,words,regions,alignment,questions,autoencoding")
    parser.add_argument("--on", choices=get_args(On), default="test", help="dev: scenes to choose settings by")
    parser.add_argument("--scenes", type=int, default=3000)
    parser.add_argument("--held", type=int, default=500)
    parser.add_argument("--steps", type=int, default=0, help="0: each run's own")
    parser.add_argument("--wordings", type=int, default=WORDINGS, help="of captions, in pretraining and in its measures")
    parser.add_argument("--families", default=",".join(FAMILIES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = splits(args.scenes, args.held, on=args.on)
    runs: dict[str, Callable[[], Result]] = {}
    for name, weights in {"all": TOGETHER, **ALONE}.items():
        if name in args.only.split(","):
            steps = args.steps or STEPS[name]
            runs[f"pretraining, {name}"] = partial(pretraining, data, steps, weights, wordings=args.wordings)
    if "alignment" in args.only:
        runs["alignment"] = lambda: alignment(data, args.steps or 500)
        runs["alignment, words by themselves"] = lambda: alignment(data, args.steps or 500, beside=False)
    if "questions" in args.only:
        for name in args.families.split(","):
            runs[f"questions, {name}"] = partial(questions, data, name, args.steps or 2000)
    if "autoencoding" in args.only:
        runs["autoencoding"] = lambda: autoencoding(data, args.steps or 600)
    for name, run in runs.items():
        result = run()
        print(f"\n{name}: {result.seconds:.0f} s of processor time", flush=True)
        for score, value in result.scores.items():
            print(f"  {score:45} {value if value.n > 1 else f'{value.value:.0f}'}")
        for term, gone in result.falls.items():
            print(f"  {term + ' fell by':45} {gone:.0%}", flush=True)


if __name__ == "__main__":
    main()
