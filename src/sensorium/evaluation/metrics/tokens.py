"""Text cut into the words that caption metrics count: as the Penn treebank cuts English, lower case, without punctuation.

The reference (pycocoevalcap) asks Stanford's PTBTokenizer 3.4.1, a Java program. `stanford_words` runs that very program where
it is installed; `treebank_words` needs no Java and is another program, which agrees with it on 99.9 % of Flickr8k's captions
(`benchmarks/metric_parity.py` counts). Scores are equal only between the same words: say which were used.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from sensorium.estimate import NotMeasured

_DROPPED = frozenset(("''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"))
"""pycocoevalcap's list, as far as words in lower case can meet it: brackets stay, as `-lrb-` and the like."""
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "--", "—": "--", "…": "...", "\u00a0": " "}
    | {"€": "$", "£": "#", "½": "1/2", "¼": "1/4", "¾": "3/4"}
)
_LETTER = r"(?:[^\W_]|(?![\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965])[\u0300-\u036f\u0591-\u06ed\u0900-\u0e4e])"
"""A letter or digit; also the marks that Arabic, Hindi, Thai and their like write letters with, which `re` takes for none."""
_TITLES = "mr|mrs|ms|dr|prof|st|jr|sr|vs|no|etc|mt|inc|co|corp|ltd|gen|col|sgt|capt|rev|ave|blvd|rd"
_CUT = re.compile(
    rf"""
    (?:https?://|www\.)[^\s"']+ | [\w.+-]+@[\w-]+(?:\.[\w-]+)+  # addresses
    | (?:[^\W\d_]\.){{2,}}                                      # u.s., p.m.
    | (?:{_TITLES})\.(?![^\W_])                                 # mr., vs.
    | \d+(?:,\d{{3}})+(?:\.\d+)?                                # 1,000
    | '\d\ds?\b | \d+(?::\d\d)+ | [$]                         # '90s, 5:30
    | can(?=not\b) | gon(?=na\b) | wan(?=na\b) | got(?=ta\b) | gim(?=me\b) | lem(?=me\b)
    | 't(?=is\b|was\b) | y'(?=all\b) | (?:o|d|l)'(?=[^\W\d_]{{2}})[^\W\d_]+ | ma'am | 'n'
    | 's\b | 'm\b | 're\b | 've\b | 'll\b | 'd\b | n't\b
    | [^\W\d_]+(?=n't\b)
    | {_LETTER}+(?:[-/.](?=[^\W_]){_LETTER}+)*                  # tri-colored, a/b, 3.50
    | [(){{}}\[\]] | \.\.\. | -- | [!?]{{2,}} | [^\w\s]
    """,
    re.VERBOSE,
)


def treebank_words(text: str) -> list[str]:
    """English words as the Penn treebank cuts them, by this module's own rules; other scripts are cut at spaces and marks."""
    found = (match.group() for match in _CUT.finditer(text.lower().translate(_PLAIN)))
    return [_BRACKETS.get(word, word) for word in found if word not in _DROPPED and word != '"']


def stanford_words(texts: Sequence[str], timeout: float = 600) -> list[list[str]] | NotMeasured:
    """The same by pycocoevalcap's own program, one text a line; or why that cannot be run here."""
    missing = missing_program("tokenizer/stanford-corenlp-3.4.1.jar")
    if isinstance(missing, NotMeasured):
        return missing
    if not texts:
        return []
    command = ["java", "-Xmx400m", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-cp", str(missing)]
    command += ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", "-encoding", "utf-8"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "texts")
        path.write_text("".join(" ".join(text.splitlines()) + "\n" for text in texts), "utf-8")
        run = subprocess.run([*command, str(path)], capture_output=True, check=False, timeout=timeout)
    lines = run.stdout.decode("utf-8").split("\n")[: len(texts)]
    if run.returncode or len(lines) < len(texts):
        return NotMeasured(f"Stanford's tokeniser ended with {run.returncode} after {len(lines)} of {len(texts)} texts")
    return [[word for word in line.split() if word not in _DROPPED] for line in lines]


def missing_program(name: str) -> Path | NotMeasured:
    """The path of one of pycocoevalcap's Java programs, or why there is none."""
    package = find_spec("pycocoevalcap")
    if package is None or not package.submodule_search_locations:
        return NotMeasured("pycocoevalcap, which brings the program, is not installed (pip install 'sensorium[eval]')")
    path = Path(package.submodule_search_locations[0], name)
    if not path.is_file():
        return NotMeasured(f"pycocoevalcap is installed without {name}")
    if which("java") is None:
        return NotMeasured("Java, which the reference program needs, is not installed")
    return path
