"""Questions with slips of the hand, in other letters, another English, other words, or after a sentence that does not matter.

The rules are few and English only: `dialect` and `paraphrase` leave a question as it is where none of them fits, and the curve
says how many were touched. A task gives wordings of its own as a list under `wordings` in a sample's `meta`, and, where they do
not replace the whole text, what they replace under `question`; `paraphrase` then uses those.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from sensorium.evaluation.stress.kind import Kind
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import Change, chance
from sensorium.parts import Text

RATES = (0.02, 0.05, 0.1, 0.2, 0.3)
"""Of the letters in words of three letters and more."""
CASES = ("all small", "ALL CAPITALS", "eAcH aT rAnDOm")
DIALECTS = ("across the Atlantic", "colloquial", "no inversion")
PARAPHRASES = ("other nouns", "another form", "in a frame")
SENTENCES = (1, 2, 4)

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORD = re.compile(r"[A-Za-z]{3,}")
_BRITISH: Mapping[str, str] = {
    "aeroplane": "airplane", "aubergine": "eggplant", "biscuit": "cookie", "centre": "center", "colour": "color",
    "coloured": "colored", "colours": "colors", "cosy": "cozy", "football": "soccer", "grey": "gray", "jewellery": "jewelry",
    "mobile phone": "cell phone", "motorbike": "motorcycle", "mum": "mom", "neighbour": "neighbor",
    "pavement": "sidewalk", "pyjamas": "pajamas", "rubbish": "trash", "sofa": "couch", "theatre": "theater",
    "trousers": "pants", "tyre": "tire", "wardrobe": "closet",
}  # fmt: skip
_ACROSS = {**_BRITISH, **{american: british for british, american in _BRITISH.items()}}
_NOT_VERBS = "(?:any|every|no|some)thing|building|ceiling|clothing|evening|morning|painting|railing|spring|string|wedding"
_COLLOQUIAL: Sequence[tuple[str, str]] = (
    (r"\b(?:is|are|am) not\b|\b(?:is|are)n't\b", "ain't"),
    (r"\b([Gg])oing to\b", r"\1onna"),
    (r"\b([Ww])ant to\b", r"\1anna"),
    (r"\b([Kk])ind of\b", r"\1inda"),
    (r"\b([Ww]hat|[Ww]here|[Ww]ho|[Hh]ow|[Tt]here) is\b", r"\1's"),
    (r"\b([Dd])o you\b", r"\1'you"),
    (rf"((?:\b(?:is|are|was|were)|'s)\b[^.?!\n]*?\b(?!(?:{_NOT_VERBS})\b)[a-z]{{3,}})ing\b", r"\1in'"),
)
_SUBJECT = r"(?:the|this|that|these|those|he|she|it|they|there)\b[^?\n]*?"
_ASKED = r"\b((?:What|Which|Where|Who|How)(?: \w+){0,2}?) (is|are|was|were)"
_INVERTED: Sequence[tuple[str, str]] = (
    (rf"{_ASKED} ({_SUBJECT}) (\w{{3,}}ing\b[^?\n]*)\?", r"\1 \3 \2 \4?"),
    (rf"{_ASKED} ({_SUBJECT})\?", r"\1 \3 \2?"),
    (r"\b(Is|Are|Was|Were) (there|it|this|that|he|she|they)\b", r"\2 \1"),
)
_NOUNS: Mapping[str, str] = {
    "picture": "image", "image": "photo", "photo": "picture", "recording": "audio clip", "sound": "recording",
    "clip": "video", "video": "clip", "person": "individual", "big": "large", "large": "big", "small": "little",
    "shown": "visible", "visible": "shown",
}  # fmt: skip
_FORMS: Sequence[tuple[str, str]] = (
    (r"\bHow many ([^?\n]+?) are there\b", r"What is the number of \1"),
    (r"\bHow many ([^?\n]+?) (?:do you see|can you see|are visible)\b", r"What number of \1 can be seen"),
    (r"\b(?:Is|Are) there ((?:an?|any) [^?\n]+)", r"Can you see \1"),
    (r"\bWhat colou?r is ([^?\n]+)\?", r"Which color does \1 have?"),
    (r"\bWhat shape is ([^?\n]+)\?", r"Which shape does \1 have?"),
    (r"\bWhat is ((?![^?\n]*\w{3}ing\b)[^?\n]+)\?", r"Tell me what \1 is."),
    (r"\bWhere is ([^?\n]+)\?", r"In which place is \1?"),
    (r"\bDescribe (the|this) (\w+)", r"Say what can be seen in \1 \2"),
)
_FRAMES = ("Can you tell me: {}", "I would like to know: {}", "Please answer this: {}", "Here is my question. {}")
_ASIDES = (
    "My train was late this morning.",
    "The library closes at eight on Thursdays.",
    "A friend of mine collects old stamps.",
    "It rained for most of last week.",
    "The kettle is on.",
    "My cousin has moved to Lisbon.",
    "The next meeting is in March.",
    "Our neighbours are building a shed.",
    "I had soup for lunch.",
    "The score was three to one in the end.",
    "There is a new bakery round the corner.",
    "The post came early today.",
)
Rewrite = Callable[[str, int], str]
"""`(text, seed)` to the text as it is put now."""


def typos(text: str, seed: int, rate: float) -> str:
    """Letters struck beside, left out, doubled or exchanged with the next, each with the chance `rate`."""
    dice = random.Random(seed)

    def slip(found: re.Match[str]) -> str:
        letters = list(found[0])
        for place, letter in enumerate(letters):
            if dice.random() < rate:
                way = dice.randrange(4)
                if way == 0:
                    letters[place] = _beside(letter, dice)
                elif way == 1:
                    letters[place] = ""
                elif way == 2 or place + 1 == len(letters):
                    letters[place] = letter * 2
                else:
                    letters[place : place + 2] = letters[place + 1], letter
        return "".join(letters)

    return _WORD.sub(slip, text)


def casing(text: str, seed: int, form: str) -> str:
    """The letters in one of `CASES`."""
    if form == CASES[0]:
        return text.lower()
    if form == CASES[1]:
        return text.upper()
    dice = random.Random(seed)
    return "".join(letter.upper() if dice.random() < 0.5 else letter.lower() for letter in text)


def dialect(text: str, form: str) -> str:
    """In one of `DIALECTS`: spelling and words of the other side; contractions, ain't and -in'; questions in the order of a
    statement, as many Englishes of the world have them (Kortmann & Lunkenheimer, eWAVE)."""
    if form == DIALECTS[0]:
        return _exchanged(text, _ACROSS)
    if form == DIALECTS[1]:
        return _first(text, _COLLOQUIAL, all_of_them=True)
    turned = _first(text, _INVERTED)
    return re.sub(r"\b(there|it|this|that|he|she|they) (Is|Are|Was|Were)\b", _as_statement, turned)


def paraphrase(text: str, seed: int, form: str) -> str:
    """In one of `PARAPHRASES`."""
    if form == PARAPHRASES[0]:
        return _exchanged(text, _NOUNS)
    return _first(text, _FORMS) if form == PARAPHRASES[1] else random.Random(seed).choice(_FRAMES).format(text)


def distracted(text: str, seed: int, sentences: int) -> str:
    """After so many sentences that have nothing to do with it."""
    return " ".join([*random.Random(seed).sample(_ASIDES, sentences), text])


def rewritten(item: Item, rewrite: Rewrite, seed: int, last: bool = False) -> Item:
    """The item with the text of its last user message put otherwise, or with `last` only its last piece of text."""
    number = max(place for place, message in enumerate(item.sample.messages) if message.role == "user")
    message = item.sample.messages[number]
    places = [place for place, part in enumerate(message.parts) if isinstance(part, Text)][-1 if last else 0 :]
    parts = tuple(
        Text(rewrite(part.text, seed + place)) if place in places and isinstance(part, Text) else part
        for place, part in enumerate(message.parts)
    )
    messages = list(item.sample.messages)
    messages[number] = replace(message, parts=parts)
    return replace(item, sample=replace(item.sample, messages=tuple(messages)))


def _beside(letter: str, dice: random.Random) -> str:
    for keys in _KEYS:
        place = keys.find(letter.lower())
        if place >= 0:
            key = dice.choice(keys[max(place - 1, 0) : place] + keys[place + 1 : place + 2])
            return key.upper() if letter.isupper() else key
    return letter


def _exchanged(text: str, words: Mapping[str, str]) -> str:
    """Each word for its counterpart, all at once, plurals with an s too."""
    known = "|".join(sorted(words, key=len, reverse=True))

    def other(found: re.Match[str]) -> str:
        word = words[found[1].lower()]
        return (word.capitalize() if found[1][0].isupper() else word) + found[2]

    return re.sub(rf"\b({known})(s?)\b", other, text, flags=re.IGNORECASE)


def _first(text: str, rules: Sequence[tuple[str, str]], all_of_them: bool = False) -> str:
    """The text after the first rule that fits it, or after every one."""
    for pattern, put in rules:
        changed = re.sub(pattern, put, text)
        if changed != text:
            text = changed
            if not all_of_them:
                break
    return text


def _as_statement(found: re.Match[str]) -> str:
    return f"{found[1].capitalize()} {found[2].lower()}"


def _paraphrase_at(level: int) -> Change:
    def change(items: Sequence[Item], place: int) -> Item:
        item, seed = items[place], chance(items[place], "paraphrase")
        wordings, asked = item.sample.meta.get("wordings"), item.sample.meta.get("question")
        if not wordings:
            form = PARAPHRASES[level - 1]
            return rewritten(item, lambda text, own: paraphrase(text, own, form), seed, last=level == len(PARAPHRASES))
        other = str(wordings[(level - 1) % len(wordings)])
        return rewritten(item, lambda text, _: text.replace(str(asked), other) if asked else other, seed, last=True)

    return change


def _change(salt: str, rewrite: Rewrite, last: bool = False) -> Change:
    return lambda items, place: rewritten(items[place], rewrite, chance(items[place], salt), last)


def _typos_at(level: int) -> Change:
    return _change("typos", partial(typos, rate=RATES[level - 1]))


def _casing_at(level: int) -> Change:
    return _change("casing", partial(casing, form=CASES[level - 1]))


def _dialect_at(level: int) -> Change:
    return _change("dialect", lambda text, _: dialect(text, DIALECTS[level - 1]))


def _distractor_at(level: int) -> Change:
    return _change("distractor", partial(distracted, sentences=SENTENCES[level - 1]), last=True)


KINDS: tuple[Kind, ...] = (
    Kind("typos", "text", tuple(f"{rate:.0%} of the letters" for rate in RATES), _typos_at),
    Kind("casing", "text", CASES, _casing_at),
    Kind("dialect", "text", DIALECTS, _dialect_at),
    Kind("paraphrase", "text", PARAPHRASES, _paraphrase_at),
    Kind(
        "distractor", "text", tuple(f"{count} sentences" if count > 1 else "1 sentence" for count in SENTENCES), _distractor_at
    ),
)
