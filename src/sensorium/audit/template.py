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
from sensorium.model.causal import PLAIN
from sensorium.parts import Message, Sample, Text

CHECK = "template"
FEWEST = 10
_MARK = re.compile(
    r"<\|[a-z0-9_▁｜ ]{2,30}\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>|<(?:unk|pad|bos|eos|image|audio|video)>"
    r"|<0x[0-9A-F]{2}>|[ĠĊ▁�]|\{\{|\}\}|\{%"
)
_ROLE = re.compile(
    r"\A\s*(?:assistant|user|system)\b\s*(?:\n|:)"
    r"|\n[ \t]*(?:#+ *)?(?:user|human|assistant|system|question|instruction) *(?:\n|:)",
    re.IGNORECASE,
)
_ECHOED = 4
_PHRASE, _AGAIN = 8, 4


class Sign(NamedTuple):
    """Something that a broken template leaves in answers.

    Args:
        shows: whether it is in the answer kept for the item at a place. says: the sentence about a share of the answers.
        common, sure: it is found when this share of the answers shows it, and the interval begins above `sure`.
        instead: what else it may be a sign of.
    """

    shows: Callable[[Exam, int, Kept], bool]
    says: str
    common: float
    sure: float
    instead: str = ""


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
    """A phrase of up to 8 words, five times running."""
    words = plain(row.reply.text).split()
    for size in range(1, _PHRASE + 1):
        run = 0
        for place in range(size, len(words)):
            run = run + 1 if words[place] == words[place - size] else 0
            if run >= _AGAIN * size:
                return True
    return False


SIGNS = (
    Sign(_marked, "hold a template's marks or raw tokens", 0.02, 0.002),
    Sign(_role, "hold a turn's heading, such as 'assistant' or 'User:'", 0.02, 0.002),
    Sign(_echo, "say the question again", 0.05, 0.01),
    Sign(_cut, "were cut at the token limit: the model does not end its turn", 0.5, 0.4),
    Sign(_empty, "are empty", 0.1, 0.05),
    Sign(_unread, "hold no answer that the task could read", 0.3, 0.2, ", or the model cannot answer in the form asked for"),
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
            claim = f"The prompt's template looks broken{sign.instead}: {found.value:.0%} of {found.n} answers {sign.says}."
            findings.append(Finding(CHECK, exam.task.name, claim, False, found, tuple(ids[:10])))
    if not findings:
        claim = f"None of the signs of a broken template is in the {len(rows)} answers."
        findings.append(Finding(CHECK, exam.task.name, claim, True))
    return findings


FORMS = {
    "ChatML": ("<|im_start|>", "<|im_start|>user\n", "<|im_end|>"),
    "Llama 3": ("<|start_header_id|>", "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
    "Gemma": ("<start_of_turn>", "<start_of_turn>user\n", "<end_of_turn>"),
    "Mistral": ("[INST]", "[INST]", "[/INST]"),
}
"""By family: the token that tells it, how a person's turn begins, and what ends it."""
_ASKED, _SAID, _MORE = "a quarrel of magpies", "seven grey herons", "three white swans"


def probe(layout: Layout, known_sha256: str | None = None) -> list[Finding]:
    """What the template of a model of ours does to a short conversation.

    Args:
        known_sha256: of the template that the weights were trained with.
    """
    digest = hashlib.sha256(layout.template.encode()).hexdigest()
    named = f"The checkpoint's chat template (SHA-256 {digest[:12]})"
    if layout.template == PLAIN:
        return [Finding(CHECK, "", f"{named} is the plain one, for weights that came without any.", True)]
    faults = _faults(layout)
    if known_sha256 is not None and digest != known_sha256:
        faults.append(f"is not the one that the weights were trained with ({known_sha256[:12]})")
    if faults:
        return [Finding(CHECK, "", f"{named} {fault}.", False) for fault in faults]
    return [Finding(CHECK, "", f"{named} opens and ends turns as it should.", True)]


def _faults(layout: Layout) -> list[str]:
    asked, more = Message("user", (Text(_ASKED),)), Message("user", (Text(_MORE),))
    said = Message("assistant", (Text(_SAID),), learn=True)
    try:
        prompt, row, whole = (
            layout([Sample("probe", tuple(messages))], [{}], reply)
            for messages, reply in (([asked], True), ([asked, said], False), ([asked, said, more], True))
        )
    except SensoriumError as error:
        return [f"refuses a plain conversation ({error.problem})"]
    before, told, text = (
        layout.tokenizer.decode(batch.ids_BL[0].tolist(), skip_special_tokens=False) for batch in (prompt, row, whole)
    )
    faults = []
    begin = layout.special.get("bos_token")
    if begin and text.replace(" ", "").startswith(2 * begin):
        faults.append(f"begins the conversation twice, with two {begin}")
    opened = told.partition(_SAID)[0]
    if opened.startswith(before) and opened[len(before) :].strip():
        faults.append(f"does not open the assistant's turn: the prompt lacks {opened[len(before) :].strip()!r}")
    if text.partition(_ASKED)[2].partition(_SAID)[0] == text.partition(_SAID)[2].partition(_MORE)[0]:
        faults.append("does not say whose turn it is")
    learned = row.ids_BL[0][row.learn_BL[0]].tolist()
    if layout.ends and (not learned or learned[-1] not in layout.ends):
        faults.append("ends the assistant's turn without a token that ends an answer")
    forms = {name: form for name, form in FORMS.items() if layout.tokenizer.token_to_id(form[0]) is not None}
    if forms and not any(
        begins + _ASKED in text.replace("[INST] ", "[INST]") and ends in text for _, begins, ends in forms.values()
    ):
        faults.append(f"does not write turns as {' or '.join(forms)} does, whose tokens the tokenizer has")
    return faults
