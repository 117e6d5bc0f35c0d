"""Speech and digits: LibriSpeech, LJSpeech and GRID by their word error rate, and FSDD's spoken digits by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sensorium.data.sentences import as_sentence
from sensorium.estimate import Rows
from sensorium.evaluation.metrics.speech import error_rate, word_rows
from sensorium.evaluation.metrics.spoken import spoken_english
from sensorium.evaluation.task import Corpus, Item, Reply, Scores, Task
from sensorium.evaluation.tasks.asking import ask
from sensorium.evaluation.tasks.layout import Layout
from sensorium.evaluation.tasks.reading import PLAIN
from sensorium.evaluation.tasks.rows import field, rows
from sensorium.evaluation.tasks.short import exact_match
from sensorium.parts import Audio, Media, Video
from sensorium.protocols import Sampling

LIBRISPEECH = Layout("librispeech", "test-clean/1089/134686/1089-134686.trans.txt and 1089-134686-0000.flac beside it ...")
LJSPEECH = Layout("ljspeech_mini", "transcripts.jsonl with rows {audio, text}, and the recordings it names")
FSDD = Layout("fsdd", "labels.jsonl with rows {audio, split, text}, and the recordings it names")
GRID = Layout("grid_clips", "captions.jsonl with rows {clip, transcript}, and the clips it names")

WRITE = "Write down what is said, word for word."
HEARD = "the whole reply in Whisper's normal form of English; words in brackets stay"


def librispeech() -> Task:
    """Read books."""
    return _task("librispeech", "LibriSpeech: read books (Panayotov et al. 2015)", _librispeech, ("dev-clean", "test-clean"))


def librispeech_other() -> Task:
    """Read books, the harder recordings."""
    about = "LibriSpeech, the recordings that are harder to make out"
    return _task("librispeech_other", about, _librispeech, ("dev-other", "test-other"))


def ljspeech() -> Task:
    """One reader."""
    return _task("ljspeech", "LJSpeech: sentences read by one speaker", _ljspeech, ("test",))


def grid_clips() -> Task:
    """Talking faces."""
    return _task("grid_clips", "GRID: commands said in clips (Cooke et al. 2006)", _grid, ("test",), "video")


def fsdd() -> Task:
    """Spoken digits."""
    return Task(
        name="fsdd",
        about="The Free Spoken Digit Dataset: ten digits, speakers who are in its training split too",
        items=_fsdd,
        score=exact_match,
        main="exact_match",
        answer=lambda item: as_sentence(item.gold["answers"][0]),
        sampling=Sampling(max_tokens=6),
        splits=("train", "test"),
        needs=("audio",),
        extractor=PLAIN,
    )


def _task(
    name: str, about: str, items: Callable[[Path, str], Iterator[Item]], splits: tuple[str, ...], medium: str = "audio"
) -> Task:
    return Task(
        name=name,
        about=about,
        items=items,
        score=_right,
        main="WER",
        corpus={"WER": Corpus(_errors, error_rate)},
        answer=lambda item: str(item.gold["said"]),
        sampling=Sampling(max_tokens=256),
        splits=splits,
        needs=(medium,),
        extractor=HEARD,
        transcript=True,
    )


def spoken(text: str) -> str:
    """Whisper's normal form; what stands in brackets is read out by speakers, so it stays."""
    return spoken_english(text.replace("(", " ").replace(")", " "))


def _right(item: Item, reply: Reply) -> Scores | None:
    heard = spoken(reply.text)
    return {"sentences right": float(heard == spoken(item.gold["said"]))} if heard else None


def _errors(items: Sequence[Item], replies: Sequence[Reply]) -> Rows:
    """A recording without a reply has all its words missing."""
    return word_rows([reply.text for reply in replies], [item.gold["said"] for item in items], spoken)


def _written(identity: str, shown: Media, said: str, cluster: str = "") -> Item:
    return ask(identity, [shown], WRITE, {"said": said}, cluster)


def _librispeech(data: Path, split: str) -> Iterator[Item]:
    """Sentences of one chapter are drawn together."""
    for path in sorted(LIBRISPEECH.path(data, split).glob("*/*/*.trans.txt")):
        for line in path.read_text("utf-8").splitlines():
            name, _, said = line.partition(" ")
            yield _written(name, Audio(str(path.with_name(f"{name}.flac"))), said, path.name.partition(".")[0])


def _ljspeech(data: Path, _: str) -> Iterator[Item]:
    path = LJSPEECH.path(data, "transcripts.jsonl")
    for row in rows(path):
        name = field(row, "audio", path)
        yield _written(Path(name).stem, Audio(str(path.parent / name)), field(row, "text", path))


def _grid(data: Path, _: str) -> Iterator[Item]:
    path = GRID.path(data, "captions.jsonl")
    for row in rows(path):
        name = field(row, "clip", path)
        yield _written(Path(name).stem, Video(str(path.parent / name)), field(row, "transcript", path))


def _fsdd(data: Path, split: str) -> Iterator[Item]:
    path = FSDD.path(data, "labels.jsonl")
    for row in rows(path):
        if field(row, "split", path) == split:
            name, gold = field(row, "audio", path), {"answers": [field(row, "text", path)]}
            yield ask(Path(name).stem, [Audio(str(path.parent / name))], "Which digit is spoken?", gold)
