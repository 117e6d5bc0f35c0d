"""Whether the chat template is right: what a wrong one leaves behind in answers, and what it does to a probe conversation."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import NamedTuple

from sensorium.audit.exam import Exam, plain, share
from sensorium.errors import SensoriumError
from sensorium.evaluation.kept import Kept
from sensorium.evaluation.result import Finding
from sensorium.fusion.layout import Layout
from sensorium.parts import Message, Sample, Text

CHECK = "template"
FEWEST = 10
_MARK = re.compile(
    r"<\|[a-z0-9_▁｜ ]{2,30}\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>|<(?:unk|pad|bos|eos|image|audio|video)>"
    r"|<0x[0-9A-F]{2}>|[ĠĊ▁�]|\{\{|\}\}|\{%"
)
_ROLE = re.compile(
    r"\A\s*(?:assistant|user|system)\b\s*(?:\n|:)|\n\s*(?:#+ *)?(?:user|human|assistant|system|question|instruction) *(?:\n|:)",
    re.IGNORECASE,
)
_LOOP = re.compile(r"\b(\w+(?:\W+\w+){0,7}?)(?:\W+\1){4,}\b", re.IGNORECASE)
_ECHOED = 4


class Sign(NamedTuple):
    """Something that a broken template leaves in answers.

    Args:
        shows: whether it is in the answer kept for the item at a place. says: the sentence about a share of the answers.
        common, sure: it is found when this share of the answers shows it, and the interval begins above `sure`.
    """

    shows: Callable[[Exam, int, Kept], bool]
    says: str
    common: float
    sure: float


def _marked(exam: Exam, place: int, row: Kept) -> bool:
    return bool(set(_MARK.findall(row.reply.text)) - set(_MARK.findall(exam.right[place] or "")))


def _role(_: Exam, __: int, row: Kept) -> bool:
    return _ROLE.search(row.reply.text) is not None


def _echo(exam: Exam, place: int, row: Kept) -> bool:
    """The whole question in the answer, without being right there."""
    asked = plain(exam.questions[place])
    echoed = len(asked.split()) >= _ECHOED and f" {asked} " in f" {plain(row.reply.text)} "
    return echoed and asked not in plain(exam.right[place] or "")


def _cut(exam: Exam, place: int, row: Kept) -> bool:
    """At the token limit, with room for several times the right answer."""
    words = len((exam.right[place] or "").split())
    return row.reply.finish == "length" and exam.task.sampling.max_tokens >= 4 * max(words, 1)


def _empty(_: Exam, __: int, row: Kept) -> bool:
    return not row.reply.text.strip()


def _unread(_: Exam, __: int, row: Kept) -> bool:
    return row.scores is None


def _loops(_: Exam, __: int, row: Kept) -> bool:
    return _LOOP.search(row.reply.text) is not None


SIGNS = (
    Sign(_marked, "hold a template's marks or raw tokens", 0.02, 0.002),
    Sign(_role, "hold a turn's heading, such as 'assistant' or 'User:'", 0.02, 0.002),
    Sign(_echo, "say the question again", 0.05, 0.01),
    Sign(_cut, "were cut at the token limit: the model does not end its turn", 0.5, 0.4),
    Sign(_empty, "are empty", 0.1, 0.05),
    Sign(_unread, "hold no answer that the task could read", 0.3, 0.2),
    Sign(_loops, "say the same words over and over", 0.1, 0.05),
)


def check(exam: Exam) -> list[Finding]:
    """One finding for each sign that is found; or one that none is."""
    rows = [(place, row) for place, row in enumerate(exam.plain) if row.reply.finish not in ("refused", "choice")]
    if len(rows) < FEWEST or len({exam.clusters[place] for place, _ in rows}) < 2:
        return []
    findings = []
    for sign in SIGNS:
        shown = [sign.shows(exam, place, row) for place, row in rows]
        found = share([float(one) for one in shown], [exam.clusters[place] for place, _ in rows])
        if found.value >= sign.common and found.low >= sign.sure:
            ids = [exam.items[place].sample.id for (place, _), one in zip(rows, shown, strict=True) if one]
            claim = f"The prompt's template looks broken: {found.value:.0%} of {found.n} answers {sign.says}."
            findings.append(Finding(CHECK, exam.task.name, claim, False, found, tuple(ids[:10])))
    if not findings:
        claim = f"None of the signs of a broken template is in the {len(rows)} answers."
        findings.append(Finding(CHECK, exam.task.name, claim, True))
    return findings


FORMS = {
    "ChatML": ("<|im_start|>", "<|im_start|>{role}\n", "<|im_end|>"),
    "Llama 3": ("<|start_header_id|>", "<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>"),
    "Gemma": ("<start_of_turn>", "<start_of_turn>{role}\n", "<end_of_turn>"),
    "Mistral": ("[INST]", "[INST]", "[/INST]"),
}
"""By family: the token that tells it, how a person's turn begins, and what ends it."""
_ASKED, _SAID = "quarrel of magpies", "seven grey herons"


def probe(layout: Layout, known_sha256: str | None = None) -> list[Finding]:
    """What the template of a model of ours does to a conversation of three turns.

    Args:
        known_sha256: of the template that the weights were trained with.
    """
    faults = list(_faults(layout))
    digest = hashlib.sha256(layout.template.encode()).hexdigest()
    if known_sha256 is not None and digest != known_sha256:
        faults.append(
            f"is not the one that the weights were trained with (SHA-256 {digest[:12]}, known is {known_sha256[:12]})"
        )
    if faults:
        return [Finding(CHECK, "", f"The checkpoint's chat template {fault}.", False) for fault in faults]
    return [
        Finding(CHECK, "", f"The checkpoint's chat template (SHA-256 {digest[:12]}) asks for an answer as it should.", True)
    ]


def _faults(layout: Layout) -> list[str]:
    turns = (
        Message("user", (Text(_ASKED),)),
        Message("assistant", (Text(_SAID),), learn=True),
        Message("user", (Text("why"),)),
    )
    try:
        whole, open_, closed = (
            layout([Sample("probe", messages)], [{}], reply).ids_BL[0].tolist()
            for messages, reply in ((turns, True), (turns[:1], True), (turns[:2], False))
        )
        bare = layout([Sample("probe", turns[:1])], [{}], False).ids_BL[0].tolist()
        swapped = layout([Sample("probe", (Message("system", turns[0].parts),))], [{}], False).ids_BL[0].tolist()
    except SensoriumError as error:
        return [f"refuses a plain conversation ({error.problem})"]
    tokenizer = layout.tokenizer
    text = tokenizer.decode(whole, skip_special_tokens=False)
    faults = []
    if open_ == bare:
        faults.append("does not open the assistant's turn: the answer begins where the question ends")
    if swapped == bare:
        faults.append("does not say whose turn it is")
    begin = tokenizer.token_to_id(layout.special.get("bos_token", "")) if layout.special.get("bos_token") else None
    if begin is not None and len(whole) > 1 and whole[0] == whole[1] == begin:
        faults.append(f"begins the conversation twice, with two {layout.special['bos_token']}")
    said = max(place for place in range(len(closed)) if _SAID in tokenizer.decode(closed[place:], skip_special_tokens=False))
    if layout.ends and not layout.ends & set(closed[said + 1 :]):
        faults.append("ends the assistant's turn without any of the tokens that end an answer")
    for family, (token, begins, ends) in FORMS.items():
        told = tokenizer.token_to_id(token) is not None
        if told and (begins.format(role="user") not in text or ends not in text[text.find(_ASKED) :]):
            faults.append(f"does not write turns as {family} does, whose {token} the tokenizer has")
    return faults
