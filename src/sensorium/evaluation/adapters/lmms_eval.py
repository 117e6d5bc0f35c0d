"""Our models inside lmms-eval, written to its documented interface: its model guide, its `lmms` class and its registry.

lmms-eval asks with a row of its own data set and with functions that make messages, or text and media, of it. `SensoriumLmms`
is the chat form, `SensoriumSimpleLmms` the older one. `manifest` is for the entry point group `lmms_eval.models`, by which
`lmms-eval --model sensorium` finds both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest

from sensorium.errors import RequestError
from sensorium.evaluation.adapters.docs import from_blocks, from_visuals, sampling_of
from sensorium.evaluation.subject import open_subject
from sensorium.parts import Answer, Message
from sensorium.protocols import Sampling

NAME = "sensorium"
_MODULE = "sensorium.evaluation.adapters.lmms_eval"
_LEAST = 8


def manifest() -> ModelManifest:
    """Both forms under one name; lmms-eval takes the chat form unless it is told `--force_simple`."""
    return ModelManifest(
        model_id=NAME, simple_class_path=f"{_MODULE}.SensoriumSimpleLmms", chat_class_path=f"{_MODULE}.SensoriumLmms"
    )


class SensoriumLmms(lmms):  # type: ignore[misc]
    """The chat form: a request holds `doc_to_messages`.

    Args:
        model: `nano`, a checkpoint folder, or a server (`openai:URL#MODEL`). batch_size: conversations at once.
        likelihood: `loss` gives the negative log-probability, since lmms-eval's multiple choice takes the smallest number (its
            guide says log-probability, by which the worst choice would win); `logprob` does as the guide says.
        device: must be the CPU; given by lmms-eval. max_batch_size: given by it too; there are no automatic sizes.
        options: further arguments of the model, see `subject.open_subject`.

    Raises:
        RequestError: another device, a batch size that is no number, or an unknown option.
    """

    is_simple = False

    def __init__(
        self,
        model: str = "nano",
        batch_size: int | str = 1,
        likelihood: Literal["loss", "logprob"] = "loss",
        device: str | None = None,
        max_batch_size: int | None = None,
        **options: object,
    ) -> None:
        self.model_name = model  # lmms-eval names its cache by it, in its constructor
        super().__init__()
        if device not in (None, "cpu"):
            raise RequestError("device", f"is {device!r}; models run on the CPU here", "Give --device cpu")
        if not str(batch_size).isdecimal() or not int(batch_size) or max_batch_size is not None:
            raise RequestError("batch_size", f"is {batch_size!r}, at most {max_batch_size}", "Give --batch_size a number")
        if likelihood not in ("loss", "logprob"):
            raise RequestError("likelihood", f"is {likelihood!r}", "Give loss or logprob")
        self.sign = -1.0 if likelihood == "loss" else 1.0
        self.size = int(batch_size)
        self.subject = open_subject(model, {name: str(value) for name, value in options.items()})

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """An answer to each request, with its tokens counted.

        Raises:
            SensoriumError: a request that the model cannot take, for lmms-eval has no place for a refused item.
        """
        asked = [self._asked(request) for request in requests]
        answers: dict[int, Answer] = {}
        for sampling in dict.fromkeys(sampling for _, sampling in asked):
            places = [place for place, (_, own) in enumerate(asked) if own == sampling]
            for start in range(0, len(places), self.size):
                few = places[start : start + self.size]
                answers |= zip(few, self.subject.generates.answer([asked[place][0] for place in few], sampling), strict=True)
        return [_result(answers[place]) for place in range(len(asked))]

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[list[str]]:
        """For each request the answers of its rounds; the task makes a round out of the answers before it, or ends."""
        return [self._converse(request) for request in requests]

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """How likely the given answer is, and whether it is what the model would say.

        Raises:
            RequestError: the model tells no likelihood, as some servers do not.
        """
        if self.subject.scores is None:
            problem = "tells no likelihood of given answers"
            raise RequestError(self.subject.name, problem, "Take a task that is answered in words (generate_until)")
        said: dict[tuple[Message, ...], str] = {}
        found = []
        for request in requests:
            context, target, visual, doc_id, task, split = request.args
            doc = self.task_dict[task][split][doc_id]
            answer = str(target(doc) if callable(target) else target).strip()
            messages = from_visuals(context, visual(doc) if callable(visual) else visual)
            (logprob,) = self.subject.scores.score(messages, [answer])
            if tuple(messages) not in said:
                (own,) = self.subject.generates.answer([messages], Sampling(max_tokens=_LEAST + len(answer)))
                said[tuple(messages)] = own.text.strip()
            found.append((self.sign * logprob, said[tuple(messages)] == answer))
        return found

    def _asked(self, request: Instance) -> tuple[list[Message], Sampling]:
        """The guide's form is without the context that lmms-eval's code puts first: both are read."""
        *front, doc_id, task, split = request.args
        (to_messages,) = (item for item in front if callable(item))
        (wanted,) = (item for item in front if isinstance(item, Mapping))
        return from_blocks(to_messages(self.task_dict[task][split][doc_id])), sampling_of(wanted)

    def _converse(self, request: Instance) -> list[str]:
        *front, doc_id, task, split = request.args
        (to_messages,) = (item for item in front if callable(item))
        doc = self.task_dict[task][split][doc_id]
        messages, sampling = self._asked(request)
        said, info = [self._say(messages, sampling)], None
        while True:
            row = to_messages(doc, round_idx=len(said), previous_output=list(said), previous_round_info=info)
            if not isinstance(row, tuple) or row[1]:
                return said
            turns, _, _, info = row
            said.append(self._say(from_blocks(turns), sampling))

    def _say(self, messages: list[Message], sampling: Sampling) -> str:
        (answer,) = self.subject.generates.answer([messages], sampling)
        return answer.text


class SensoriumSimpleLmms(SensoriumLmms):
    """The older form: a request holds a context and `doc_to_visual`."""

    is_simple = True

    def _asked(self, request: Instance) -> tuple[list[Message], Sampling]:
        context, wanted, visual, *_, doc_id, task, split = request.args
        return from_visuals(context, visual(self.task_dict[task][split][doc_id])), sampling_of(wanted)

    def _converse(self, request: Instance) -> list[str]:
        _, _, _, to_text, doc_id, task, split = request.args
        doc = self.task_dict[task][split][doc_id]
        messages, sampling = self._asked(request)
        said, info = [self._say(messages, sampling)], None
        while True:
            visuals, context, ended, _, info = to_text(
                doc, previous_output=list(said), round_idx=len(said), previous_round_info=info
            )
            if ended:
                return said
            said.append(self._say(from_visuals(context, visuals), sampling))


def _result(answer: Answer) -> GenerationResult:
    counts = TokenCounts(input_tokens=answer.usage.input_tokens, output_tokens=answer.usage.output_tokens)
    return GenerationResult(text=answer.text, token_counts=counts)
