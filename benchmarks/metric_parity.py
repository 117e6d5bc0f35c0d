"""Whether the metrics give the numbers of the reference programs, on a thousand photos' captions and on the edges.

    python -m benchmarks.metric_parity --data FOLDER [--rows 1000]

FOLDER holds `flickr8k/captions.jsonl` as for the other benchmarks. The first caption of each photo is judged by its other four,
once as it is and once exchanged with another photo's; the edges are empty, of one word, not Latin, and repeated. What needs
Java says so where there is none. Ends with 1 when a difference exceeds 1e-6.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jiwer
import numpy as np
import torch
from anls import anls_score
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from sklearn.metrics import average_precision_score, brier_score_loss, ndcg_score, roc_auc_score
from torchmetrics.functional.classification import binary_calibration_error

from sensorium.estimate import NotMeasured
from sensorium.evaluation.metrics import answers, confidence, meteor, ngram, ranking, speech, tokens, vqa
from sensorium.evaluation.metrics import boxes as detection
from tests.evaluation.metrics import test_boxes

LIMIT = 1e-6
OFFICIAL_VQA = Path(__file__).parents[1] / "tests" / "evaluation" / "metrics" / "vqa_official.json"
EDGES = [
    ("", ["a dog runs"]),
    ("a dog runs", [""]),
    ("", [""]),
    ("dog", ["dog"]),
    ("dog", ["a cat sits on a mat"]),
    ("the the the the the the", ["the cat is on the mat", "there is a cat on the mat"]),
    ("собака бежит по траве", ["собака бежит", "пёс бежит по траве"]),
    ("犬 が 走る", ["犬 が 走る", "猫 が 走る"]),
    ("a man a man a man", ["a man rides a bike", "a man rides a bike"]),
]


class Report:
    """Prints one line a comparison and remembers whether all agreed."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, object]] = {}

    def add(self, name: str, ours: Sequence[float], theirs: Sequence[float], unit: str) -> None:
        """The greatest difference among so many numbers."""
        assert len(ours) == len(theirs) > 0
        worst = float(np.max(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))))
        self.rows[name] = {"n": len(ours), "unit": unit, "greatest difference": worst, "equal": worst <= LIMIT}
        print(f"{name:58} {worst:9.1e}  over {len(ours):5} {unit}  {'' if worst <= LIMIT else 'DIFFERS'}", flush=True)

    def say(self, name: str, text: str) -> None:
        """A line without a comparison."""
        self.rows[name] = {"note": text}
        print(f"{name:58} {text}", flush=True)

    @property
    def equal(self) -> bool:
        """Whether every comparison held."""
        return all(row.get("equal", True) for row in self.rows.values())


def captions(report: Report, name: str, said: Sequence[Sequence[str]], right: Sequence[Sequence[Sequence[str]]]) -> None:
    """BLEU, ROUGE-L and CIDEr-D of words, each and all."""
    gold = {place: [" ".join(words) for words in own] for place, own in enumerate(right)}
    given = {place: [" ".join(words)] for place, words in enumerate(said)}
    bleus, each = Bleu(4).compute_score(gold, given, verbose=0)
    rows = ngram.bleu_rows(said, right)
    report.add(f"{name}: BLEU-1..4 of the corpus", [ngram.bleu(n)(rows) for n in (1, 2, 3, 4)], bleus, "orders")
    own = [ngram.bleu(n)(row[None]) for n in (1, 2, 3, 4) for row in rows]
    report.add(f"{name}: BLEU-1..4 of each caption", own, [value for order in each for value in order], "scores")
    rouges = Rouge().compute_score(gold, given)[1]
    report.add(f"{name}: ROUGE-L", [ngram.rouge_l(*pair) for pair in zip(said, right, strict=True)], list(rouges), "captions")
    ciders = Cider().compute_score(gold, given)[1]
    report.add(f"{name}: CIDEr-D", ngram.cider_d(said, right), list(ciders), "captions")


def words(report: Report, texts: Sequence[str]) -> None:
    """How often the tokeniser without Java cuts as Stanford's does."""
    theirs = tokens.stanford_words(texts)
    if isinstance(theirs, NotMeasured):
        report.say("words: as Stanford's tokeniser", str(theirs))
        return
    same = sum(tokens.treebank_words(text) == other for text, other in zip(texts, theirs, strict=True))
    report.say("words: as Stanford's tokeniser", f"{same} of {len(texts)} captions cut alike")


def reference_meteor(report: Report, said: Sequence[str], right: Sequence[Sequence[str]]) -> None:
    """METEOR as pycocoevalcap asks for it, against the formula on the same program's counts."""
    rows = meteor.meteor_rows(said, right)
    if isinstance(rows, NotMeasured):
        report.say("METEOR", str(rows))
        return
    from pycocoevalcap.meteor.meteor import Meteor

    gold = {place: list(own) for place, own in enumerate(right)}
    whole, each = Meteor().compute_score(gold, {place: [text] for place, text in enumerate(said)})
    report.add("METEOR of the corpus", [meteor.meteor(rows)], [whole], "corpus")
    report.add("METEOR of each caption", [meteor.meteor(row[None]) for row in rows], each, "captions")


def texts(report: Report, said: Sequence[str], right: Sequence[Sequence[str]]) -> None:
    """ANLS, error rates and VQA accuracy."""
    official = json.loads(OFFICIAL_VQA.read_text("utf-8"))
    own = [vqa.vqa_accuracy(answer, people) for answer, people, _ in official["accuracy"]]
    report.add(
        "VQA accuracy (recorded from the official program)", own, [wanted for *_, wanted in official["accuracy"]], "questions"
    )
    alike = [float(vqa.official(text) == wanted) for text, wanted in official["normal"].items()]
    report.add("VQA normal form (recorded from the official program)", alike, [1.0] * len(alike), "answers")
    pairs = list(zip(said, right, strict=True))
    report.add(
        "ANLS (anls)", [answers.anls(*pair) for pair in pairs], [anls_score(one, list(two)) for one, two in pairs], "answers"
    )
    first = [own[0] for own in right]
    ours = [speech.error_rate(speech.word_rows([one], [two])) for one, two in zip(said, first, strict=True)]
    report.add("WER of each (jiwer)", ours, [jiwer.wer(two, one) for one, two in zip(said, first, strict=True)], "transcripts")
    ours = [speech.error_rate(speech.character_rows([one], [two])) for one, two in zip(said, first, strict=True)]
    report.add("CER of each (jiwer)", ours, [jiwer.cer(two, one) for one, two in zip(said, first, strict=True)], "transcripts")
    both: list[tuple[str, Callable[..., np.ndarray], Callable[..., float]]] = [
        ("WER", speech.word_rows, jiwer.wer),
        ("CER", speech.character_rows, jiwer.cer),
    ]
    for name, rows, theirs in both:
        report.add(f"{name} of all (jiwer)", [speech.error_rate(rows(said, first))], [theirs(first, list(said))], "corpus")


def numbers(report: Report, count: int = 1000) -> None:
    """Rankings and confidences made by chance, a third of them with equal scores."""
    chance = np.random.default_rng(0)
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ("mAP", "nDCG", "nDCG@10")}
    for number in range(count):
        size = int(chance.integers(2, 60))
        scores = chance.normal(size=size) if number % 3 else chance.integers(0, 5, size).astype(float)
        right = chance.random(size) < 0.2
        right[chance.integers(size)] = True
        gains = right * chance.integers(1, 4, size)
        own = [ranking.average_precision(ranking.places(scores, np.flatnonzero(right).tolist()))]
        own += [ranking.ndcg(gains, scores), ranking.ndcg(gains, scores, 10)]
        theirs = [average_precision_score(right, scores), ndcg_score([gains], [scores]), ndcg_score([gains], [scores], k=10)]
        for pair, one, two in zip(found.values(), own, theirs, strict=True):
            pair[0].append(one)
            pair[1].append(float(two))
    for name, pair in found.items():
        report.add(f"{name} (scikit-learn)", *pair, "queries")
    ours, wanted = [], []
    for number in range(100):
        sure = chance.random(300).round(2 if number % 2 else 8).astype(np.float32).clip(0, 0.999)
        rows = confidence.confidence_rows(sure.tolist(), (chance.random(300) < sure).astype(float).tolist())
        target = torch.tensor(rows[:, 1]).int()
        ours += [confidence.calibration_error()(rows), confidence.brier(rows), confidence.auroc(rows)]
        wanted += [float(binary_calibration_error(torch.tensor(rows[:, 0]), target, n_bins=confidence.BINS))]
        wanted += [brier_score_loss(rows[:, 1], rows[:, 0]), roc_auc_score(rows[:, 1], rows[:, 0])]
    for place, name in enumerate(("ECE (torchmetrics)", "Brier score (scikit-learn)", "AUROC (scikit-learn)")):
        report.add(name, ours[place::3], wanted[place::3], "sets")


def boxes(report: Report) -> None:
    """Detection scenes made by chance, with crowds and equal scores."""
    ours, wanted = [], []
    for seed in range(20):
        found, right = test_boxes.made(seed, crowds=seed % 2 == 0, ties=seed % 3 == 0)
        rows = detection.detection_rows(found, right)
        ours += [detection.mean_average_precision(rows), detection.average_precision_50(rows)]
        wanted += test_boxes.theirs(found, right)
    report.add("box mAP and AP50 (pycocotools)", ours, wanted, "scores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--no-java", action="store_true", help="leave out what needs Java")
    parser.add_argument("--out", type=Path, default=Path("build/scores/metric_parity.json"))
    args = parser.parse_args()
    lines = (args.data / "flickr8k" / "captions.jsonl").read_text("utf-8").splitlines()[: args.rows]
    photos = [json.loads(line)["captions"] for line in lines]
    said, right = [own[0] for own in photos], [own[1:] for own in photos]
    half = len(said) // 2
    exchanged = [*said[half:], *said[:half]]
    report = Report()
    cut = [[tokens.treebank_words(text) for text in own] for own in right]
    captions(report, f"{len(said)} photos", [tokens.treebank_words(text) for text in said], cut)
    captions(report, f"{len(said)} photos exchanged", [tokens.treebank_words(text) for text in exchanged], cut)
    captions(report, "edges", [text.split() for text, _ in EDGES], [[one.split() for one in own] for _, own in EDGES])
    texts(report, [*said, *(text for text, _ in EDGES)], [*right, *(own for _, own in EDGES)])
    numbers(report)
    boxes(report)
    if not args.no_java:
        words(report, [text for own in photos for text in own])
        plain = [" ".join(tokens.treebank_words(text)) for text in said[:100]]
        reference_meteor(report, plain, [[" ".join(words) for words in own] for own in cut[:100]])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report.rows, indent=2, ensure_ascii=False) + "\n", "utf-8")
    print("all equal" if report.equal else "NOT all equal")
    sys.exit(0 if report.equal else 1)


if __name__ == "__main__":
    main()
