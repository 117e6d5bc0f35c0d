"""Licence, consent and language: what single rows say about themselves, against what the others say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from sensorium.data.checking.words import text_of
from sensorium.data.fault import Fault, RowError
from sensorium.parts import Sample

Identify = Callable[[str], tuple[str, float]]
"""A text's language as an ISO 639-1 code, and how sure that is, 0..1."""

_FORBIDDEN = ("", "all rights reserved*", "proprietary*", "unknown", "none", "no licen?e", "unlicensed", "forbidden")
_REFUSED = (False, 0, "false", "no", "denied", "refused", "revoked", "withdrawn")
_LETTERS, _SURE = 20, 0.9
_RARE, _COMMON = 0.1, 0.8
_KEPT = 1000
_FIELDS = ("licence", "consent")


@dataclass(slots=True)
class _Few:
    """Rows that lack something, the first of them by name."""

    count: int = 0
    first: list[tuple[str, int]] = field(default_factory=list)

    def add(self, file: str, row: int) -> None:
        self.count += 1
        if len(self.first) < _KEPT:
            self.first.append((file, row))


@dataclass(slots=True)
class Policy:
    """Watches the fields that say what may be done with a row, and the language of its words.

    Args:
        licences: patterns such as `CC-BY*`; where given, every row needs a licence that fits one, otherwise only those that
            say no are refused, and a row without a licence is one among rows that have it.
        identify: tells languages; None leaves them unchecked.
    """

    licences: Sequence[str] = ()
    identify: Identify | None = None
    _rows: int = 0
    _absent: dict[str, _Few] = field(default_factory=lambda: {name: _Few() for name in _FIELDS})
    _languages: Counter[str] = field(default_factory=Counter)
    _spoken: dict[str, _Few] = field(default_factory=dict)

    def __call__(self, sample: Sample, file: str, row: int) -> Iterator[RowError]:
        """One row by itself."""
        self._rows += 1
        for name in _FIELDS:
            if sample.meta.get(name) is None:
                self._absent[name].add(file, row)
        if (licence := sample.meta.get("licence")) is not None:
            yield from self._licence(str(licence).strip())
        elif self.licences:
            yield RowError("licence", "missing-licence", "is missing", "Say under which licence the row may be used")
        if (consent := sample.meta.get("consent")) is not None and _refused(consent):
            yield RowError("consent", "no-consent", f"is {consent!r}: whom the row shows did not agree", "Remove the row")
        yield from self._language(sample, file, row)

    def end(self) -> Iterator[Fault]:
        """What only shows against all other rows: a field that most have, a language that hardly any has."""
        for name in _FIELDS:
            absent = self._absent[name]
            if 0 < absent.count <= self._rows / 2 and not (name == "licence" and self.licences):
                reason = f"is missing, while {self._rows - absent.count:,} of {self._rows:,} rows have it"
                yield from (Fault(*place, name, f"missing-{name}", reason, "Fill it in") for place in absent.first)
        spoken = sum(self._languages.values())
        if not spoken or (common := self._languages.most_common(1)[0])[1] < _COMMON * spoken:
            return
        for language, few in self._spoken.items():
            if language != common[0] and few.count <= _RARE * spoken:
                reason = (
                    f"is in {language!r}, as are {few.count:,} of {spoken:,} rows, while {common[1]:,} are in {common[0]!r}"
                )
                fix = "Remove the row, or declare its language"
                yield from (Fault(*place, "messages", "odd-language", reason, fix) for place in few.first)

    def _licence(self, licence: str) -> Iterator[RowError]:
        name = licence.casefold()
        if self.licences and not any(fnmatchcase(name, pattern.casefold()) for pattern in self.licences):
            reason = f"is {licence!r}, none of {', '.join(self.licences)}"
            yield RowError("licence", "forbidden-licence", reason, "Remove the row, or allow it with --licence")
        elif not self.licences and any(fnmatchcase(name, pattern) for pattern in _FORBIDDEN):
            yield RowError("licence", "forbidden-licence", f"is {licence!r}, which allows no use", "Remove the row")

    def _language(self, sample: Sample, file: str, row: int) -> Iterator[RowError]:
        if self.identify is None:
            return
        learned = "\n".join(text_of(message) for message in sample.messages if message.learn)
        if sum(character.isalpha() for character in learned) < _LETTERS:
            return
        language, sure = self.identify(learned)
        if sure < _SURE:
            return
        declared = sample.meta.get("language")
        if isinstance(declared, str) and declared:
            if declared.casefold().replace("_", "-").partition("-")[0] != language:
                reason = f"is declared {declared!r}, but the answer reads as {language!r} ({sure:.0%} sure)"
                yield RowError("language", "wrong-language", reason, "Correct the field, or the answer")
            return
        self._languages[language] += 1
        self._spoken.setdefault(language, _Few()).add(file, row)


def _refused(consent: Any) -> bool:
    return (consent.strip().casefold() if isinstance(consent, str) else consent) in _REFUSED


def load_identifier() -> Identify | None:
    """py3langid's, which knows 97 languages offline; None where it is not installed."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        return None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def identify(text: str) -> tuple[str, float]:
        language, sure = identifier.classify(text)
        return str(language), float(sure)

    return identify
