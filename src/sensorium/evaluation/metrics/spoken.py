"""English as recognisers of speech are compared: by the steps of Whisper's paper (Radford et al. 2022, appendix C).

Written from that list, not from its code, so a rate is that of *this* form: names it `spoken_english`. Numbers follow a grammar
of their own (`written_numbers`), and British spellings stay, for which the original takes a table of 1,700 words.
"""

from __future__ import annotations

import re
import unicodedata

_FILLERS = re.compile(r"\b(?:hmm|mm|mhm|mmm|uh|um)\b")
_WHOLE = {
    "won't": "will not",
    "can't": "can not",
    "let's": "let us",
    "ain't": "aint",
    "y'all": "you all",
    "wanna": "want to",
    "gotta": "got to",
    "gonna": "going to",
    "i'ma": "i am going to",
    "imma": "i am going to",
    "woulda": "would have",
    "coulda": "could have",
    "shoulda": "should have",
    "ma'am": "madam",
}
_DONE = {
    "'d been": " had been",
    "'s been": " has been",
    "'d gone": " had gone",
    "'s gone": " has gone",
    "'d done": " had done",
    "'s got": " has got",
}
_TITLES = {
    "mr": "mister",
    "mrs": "missus",
    "st": "saint",
    "dr": "doctor",
    "prof": "professor",
    "capt": "captain",
    "gov": "governor",
    "ald": "alderman",
    "gen": "general",
    "sen": "senator",
    "rep": "representative",
    "pres": "president",
    "rev": "reverend",
    "hon": "honorable",
    "asst": "assistant",
    "assoc": "associate",
    "lt": "lieutenant",
    "col": "colonel",
    "jr": "junior",
    "sr": "senior",
    "esq": "esquire",
}
_ENDINGS = {
    "n't": " not",
    "'re": " are",
    "'s": " is",
    "'d": " would",
    "'ll": " will",
    "'t": " not",
    "'ve": " have",
    "'m": " am",
}
_IN_FULL = [
    *((re.compile(rf"\b{short}\b"), full) for short, full in {**_WHOLE, **_TITLES}.items()),
    *((re.compile(rf"{short}\b"), full) for short, full in {**_DONE, **_ENDINGS}.items()),
]
_PARTED = str.maketrans({"œ": "oe", "ø": "o", "æ": "ae", "ß": "ss", "đ": "d", "ð": "d", "þ": "th", "ł": "l"})
_KEPT = ".%$¢€£"

_UNITS = {"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
_TEENS = {
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
    "thirteen": 13,
    "fourteen": 14,
    "fifteen": 15,
    "sixteen": 16,
    "seventeen": 17,
    "eighteen": 18,
    "nineteen": 19,
}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_SMALL = {**_UNITS, **_TEENS, **_TENS}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ORDINALS = {f"{word}th": word for word in (*_SMALL, "hundred", *_SCALES)} | {f"{word[:-1]}ieth": word for word in _TENS}
_ORDINALS |= {"first": "one", "second": "two", "third": "three", "fifth": "five"}
_ORDINALS |= {"eighth": "eight", "ninth": "nine", "twelfth": "twelve"}
_MONEY = {"dollar": "$", "dollars": "$", "pound": "£", "pounds": "£", "euro": "€", "euros": "€", "cent": "¢", "cents": "¢"}


def spoken_english(text: str) -> str:
    """Lower case; without fillers, brackets and what they hold, marks, accents; short forms in full; numbers in figures."""
    text = re.sub(r"[<\[][^>\]]*[>\]]|\([^)]+\)", "", text.lower().replace("’", "'"))
    text = re.sub(r"\s+'", "'", _FILLERS.sub("", text))
    for short, full in _IN_FULL:
        text = short.sub(full, text)
    text = re.sub(r"(?<=\d),(?=\d)", "", text)
    text = re.sub(r"\.(?!\d)", " ", text)
    text = written_numbers(_bare(text))
    text = re.sub(r"[.$¢€£](?!\d)", " ", text)
    text = re.sub(r"(?<!\d)%", " ", text)
    return " ".join(text.split())


def _bare(text: str) -> str:
    """Letters, digits and the marks of numbers; accents go, all other marks and symbols leave a space."""
    kept = []
    for letter in unicodedata.normalize("NFKD", text.translate(_PARTED)):
        kind = unicodedata.category(letter)
        kept.append("" if kind == "Mn" and letter not in _KEPT else " " if kind[0] in "MSP" and letter not in _KEPT else letter)
    return "".join(kept)


def written_numbers(text: str) -> str:
    """Numbers in words as figures: `two hundred and five` 205, `nineteen eighty four` 1984, `twenty first` 21st, `three point
    one four` 3.14, `five percent` 5%, `ten dollars` $10. A one that stands alone stays a word, as in the original.
    """
    text = re.sub(r"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])(?!(?:st|nd|rd|th|s)\b)", " ", text)
    words, done, place = re.sub(r"\bper cent\b", "percent", text).split(), list[str](), 0
    while place < len(words):
        figure, after = _number(words, place)
        if after == place:
            done.append(words[place])
            place += 1
            continue
        place = after
        following = words[place] if place < len(words) else ""
        if following in ("percent", "%"):
            figure, place = f"{figure}%", place + 1
        elif following in _MONEY:
            figure, place = _MONEY[following] + figure, place + 1
        done.append("one" if figure == "1" else figure)
    return re.sub(r"([$€£]\d+) (?:and )?¢(\d\d?)\b", lambda found: f"{found[1]}.{int(found[2]):02d}", " ".join(done))


def _number(words: list[str], place: int) -> tuple[str, int]:
    """The figure that starts at a place, "" where none does, and the place behind it."""
    figure, spelt = "", True
    while place < len(words) and spelt:
        value, after, suffix = _amount(words, place)
        if after == place and figure and words[place] in ("oh", "o"):
            value, after = "0", place + 1
        spelt = not words[place].replace(".", "").isdecimal()  # what is in figures already does not join others
        if after == place or (figure and not spelt):
            break
        figure, place = figure + value + suffix, after
        if suffix:
            return figure, place
    if words[place : place + 3] == ["and", "a", "half"] and figure.isdecimal():
        return f"{figure}.5", place + 3
    if words[place : place + 1] == ["point"] and figure.isdecimal():
        digits, after = "", place + 1
        while after < len(words) and (words[after] in _UNITS or words[after] == "oh"):
            digits += str(_UNITS.get(words[after], 0))
            after += 1
        return (f"{figure}.{digits}", after) if digits else (figure, place)
    return figure, place


def _amount(words: list[str], start: int) -> tuple[str, int, str]:
    """One amount, as far as its words build on one another; the place behind it; and what its ordinal or plural ends in."""
    if re.fullmatch(r"\d+\.\d+", words[start] if start < len(words) else ""):
        return words[start], start + 1, ""
    total, part, scale, place, suffix = 0, 0, 10**15, start, ""
    before = "start"  # or "unit", "tens", "hundred": what the word before was decides what may follow
    while place < len(words) and not suffix:
        word = words[place]
        if word == "and" and before == "hundred" and _small(words, place + 1):
            place += 1
            continue
        singular, suffix = _singular(word)
        small = _SMALL.get(singular, int(singular) if singular.isdecimal() and before == "start" else None)
        if small is not None and _fits(small, singular, before):
            part, before = part + small, "tens" if singular in _TENS else "unit"
        elif singular == "hundred" and part < 100 and before in ("start", "unit"):
            part, before = (part or 1) * 100, "hundred"
        elif singular in _SCALES and _SCALES[singular] < scale:
            scale = _SCALES[singular]
            total, part, before = total + (part or 1) * scale, 0, "hundred"
        else:
            suffix = ""
            break
        suffix = _ordinal_ending(total + part) if suffix == "th" else suffix
        place += 1
    return (str(total + part) if place > start else ""), place, suffix


def _fits(small: int, word: str, before: str) -> bool:
    """Whether a number below a hundred, or one in figures, builds on what is before it."""
    if small == 0 or word.isdecimal():
        return before == "start"
    return before in ("start", "hundred") or (before == "tens" and small < 10)


def _small(words: list[str], place: int) -> bool:
    return place < len(words) and _singular(words[place])[0] in _SMALL


def _singular(word: str) -> tuple[str, str]:
    """A number without the ending of an ordinal or of tens in the plural, and that ending."""
    if word in _ORDINALS:
        return _ORDINALS[word], "th"
    return (word[:-3] + "y", "s") if word.endswith("ies") and word[:-3] + "y" in _TENS else (word, "")


def _ordinal_ending(value: int) -> str:
    return "th" if value % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
