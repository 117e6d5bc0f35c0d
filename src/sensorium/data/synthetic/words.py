"""How the synthetic world's things are called in English and German, with the cases that German needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from sensorium.data.synthetic.thing import Thing

Language = Literal["en", "de"]
LANGUAGES: tuple[Language, ...] = ("en", "de")

Case = Literal["nominative", "accusative", "dative"]


class Noun(NamedTuple):
    """A German noun: `m`, `f` or `n`."""

    one: str
    many: str
    gender: Literal["m", "f", "n"]


NOUNS: Mapping[str, Noun] = {
    "circle": Noun("Kreis", "Kreise", "m"),
    "square": Noun("Quadrat", "Quadrate", "n"),
    "triangle": Noun("Dreieck", "Dreiecke", "n"),
    "star": Noun("Stern", "Sterne", "m"),
    "diamond": Noun("Raute", "Rauten", "f"),
    "cross": Noun("Kreuz", "Kreuze", "n"),
    "ring": Noun("Ring", "Ringe", "m"),
    "heart": Noun("Herz", "Herzen", "n"),
    "moon": Noun("Mond", "Monde", "m"),
    "arrow": Noun("Pfeil", "Pfeile", "m"),
    "thing": Noun("Ding", "Dinge", "n"),
}
ADJECTIVES: Mapping[str, str] = {
    "red": "rot",
    "green": "grün",
    "blue": "blau",
    "yellow": "gelb",
    "white": "weiß",
    "orange": "orangefarben",
    "purple": "violett",
    "pink": "rosafarben",
    "cyan": "türkisfarben",
    "brown": "braun",
    "small": "klein",
    "large": "groß",
}
PLACES: Mapping[Language, tuple[tuple[str, str, str], ...]] = {
    "en": (
        ("in the top left", "at the top", "in the top right"),
        ("on the left", "in the middle", "on the right"),
        ("in the bottom left", "at the bottom", "in the bottom right"),
    ),
    "de": (
        ("oben links", "oben", "oben rechts"),
        ("links", "in der Mitte", "rechts"),
        ("unten links", "unten", "unten rechts"),
    ),
}
SIDES: Mapping[Language, Mapping[str, str]] = {
    "en": {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"},
    "de": {"left": "links von", "right": "rechts von", "above": "über", "below": "unter"},
}
NUMBERS: Mapping[Language, tuple[str, ...]] = {
    "en": ("no", "one", "two", "three", "four"),
    "de": ("kein", "ein", "zwei", "drei", "vier"),
}
_ARTICLES = {
    "nominative": {"m": ("ein", "der"), "f": ("eine", "die"), "n": ("ein", "das")},
    "accusative": {"m": ("einen", "den"), "f": ("eine", "die"), "n": ("ein", "das")},
    "dative": {"m": ("einem", "dem"), "f": ("einer", "der"), "n": ("einem", "dem")},
}
_ENDINGS = {"nominative": {"m": "er", "f": "e", "n": "es"}, "accusative": {"m": "en", "f": "e", "n": "es"}}


class Phrase(NamedTuple):
    """A thing as a noun phrase, before a language and a case are chosen; `shape` may be `thing`."""

    shape: str
    adjectives: Sequence[str] = ()
    text: str = ""

    def a(self, language: Language, case: Case = "nominative") -> str:
        """With the indefinite article: `a large red circle`, `einen großen roten Kreis`."""
        if language == "en":
            bare = self.bare(language)
            return f"{'an' if bare[0] in 'aeiou' else 'a'} {bare}"
        gender = NOUNS[self.shape].gender
        ending = _ENDINGS[case][gender] if case in _ENDINGS else "en"
        return f"{_ARTICLES[case][gender][0]} {self._german(ending)}"

    def the(self, language: Language, case: Case = "nominative") -> str:
        """With the definite article: `the red circle`, `dem roten Kreis`."""
        if language == "en":
            return f"the {self.bare(language)}"
        gender = NOUNS[self.shape].gender
        ending = "en" if case == "dative" or (case == "accusative" and gender == "m") else "e"
        return f"{_ARTICLES[case][gender][1]} {self._german(ending)}"

    def bare(self, language: Language) -> str:
        """Without an article, as an answer: `red circle`, `roter Kreis`."""
        if language == "en":
            return " ".join((*self.adjectives, self.shape)) + (f' with "{self.text}" on it' if self.text else "")
        return self._german(_ENDINGS["nominative"][NOUNS[self.shape].gender])

    def many(self, language: Language) -> str:
        """In the plural: `red circles`, `rote Kreise`."""
        if language == "en":
            return " ".join((*self.adjectives, plural(self.shape)))
        return " ".join((*(inflected(word, "e") for word in self.adjectives), NOUNS[self.shape].many))

    def _german(self, ending: str) -> str:
        words = (*(inflected(word, ending) for word in self.adjectives), NOUNS[self.shape].one)
        return " ".join(words) + (f' mit der Aufschrift "{self.text}"' if self.text else "")


def phrase(thing: Thing, full: bool = False) -> Phrase:
    """`red circle`; with its size and what is written on it where `full`."""
    return Phrase(thing.shape, (thing.size, thing.colour), thing.text) if full else Phrase(thing.shape, (thing.colour,))


def plural(shape: str) -> str:
    """Of an English noun of this world."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def inflected(adjective: str, ending: str) -> str:
    """The German adjective of an English one, with its ending."""
    return ADJECTIVES[adjective] + ending


def place(thing: Thing, language: Language) -> str:
    """Where in the picture, by thirds."""
    y, x = thing.centre
    return PLACES[language][min(2, int(y * 3))][min(2, int(x * 3))]


def listed(phrases: Sequence[str], language: Language) -> str:
    """`a, b and c`."""
    joint = " and " if language == "en" else " und "
    return joint.join((", ".join(phrases[:-1]), phrases[-1])) if len(phrases) > 1 else phrases[0]


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return text[0].upper() + text[1:] + "."
