"""Our language models inside lm-eval, EleutherAI's harness of language models.

lm-eval 0.4 knows a model of another package only once it has been imported, so this module is also lm-eval's own command with
the model in it: `python -m sensorium.evaluation.adapters.lm_eval run --model sensorium --model_args model=nano --tasks ...`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval.models  # noqa: F401 - it lists its own models only while no other is registered
from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from sensorium.errors import RequestError
from sensorium.evaluation.adapters.continuation import go_on, likelihoods
from sensorium.evaluation.adapters.text_model import Continues, open_text
from sensorium.protocols import Sampling

NAME = "sensorium"
_LOG = logging.getLogger(__name__)
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


@register_model(NAME)
class SensoriumLM(TemplateLM):  # type: ignore[misc]
    """A text model for lm-eval: what a text goes on with, and how likely given continuations are.

    Args:
        model: `nano`, a checkpoint folder of ours, or one of `transformers`. quantize: `int8` or `int4`, for ours.
        batch_size: rows at once. max_length: positions used, if fewer than the model holds.
        device: lm-eval's command names `cuda:0` unasked; models run on the CPU whatever it says, which the log tells.
        max_batch_size: given by lm-eval, for automatic sizes, which there are none of.

    Raises:
        RequestError: a server (lm-eval has its own client), or a batch size that is no number.
    """

    def __init__(
        self,
        model: str = "nano",
        batch_size: int | str = 8,
        max_length: int | None = None,
        quantize: str | None = None,
        device: str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if device not in (None, "cpu"):
            _LOG.warning("models run on the CPU here; the device %s is not used", device)
        if not str(batch_size).isdecimal() or not int(batch_size):
            raise RequestError("batch_size", f"is {batch_size!r}", "Give a number of at least 1")
        if max_batch_size is not None:
            raise RequestError("max_batch_size", f"is {max_batch_size}, for automatic sizes", "Give --batch_size alone")
        self.continues: Continues = open_text(model, quantize)
        self.batch_size = int(batch_size)
        self.max_length = min(max_length or self.continues.positions, self.continues.positions)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.continues.end

    @property
    def prefix_token_id(self) -> int:
        """The token before a text that has nothing before it."""
        return self.continues.start

    @property
    def max_gen_toks(self) -> int:
        """Tokens of an answer at most where a task names no limit."""
        return 256

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's cache of requests."""
        return Path(self.continues.name).name

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The checkpoint's own template, which is the only one; None where lm-eval asks for none."""
        return self.continues.template if chat_template else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The conversation as text, up to where an answer begins or its last message goes on."""
        return self.continues.chat(chat_history, add_generation_prompt)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_options: object) -> list[int]:
        """Token ids; special tokens are put around a text as the tokenizer does it, unless the text has its first already."""
        start = self.continues.decode([self.prefix_token_id], False)
        special = not (start and string.startswith(start)) if add_special_tokens is None else add_special_tokens
        return self.continues.encode(string, special)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str] | None, list[int], list[int]]], **_options: object
    ) -> list[tuple[float, bool]]:
        pairs = [(context, continuation) for _, context, continuation in requests]
        found = [(row.logprob, row.greedy) for row in likelihoods(self.continues, pairs, self.batch_size, self.max_length)]
        for (text, _, _), answer in zip(requests, found, strict=True):
            if text is not None:
                self.cache_hook.add_partial("loglikelihood", text, answer)
        return found

    def loglikelihood_rolling(self, requests: Sequence[Instance], **_options: object) -> list[float]:
        """The log-probability of whole texts; one longer than the model is read in windows, as lm-eval cuts them."""
        totals = []
        for (text,) in (request.args for request in requests):
            windows = utils.get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            pairs = [utils.make_disjoint_window(window) for window in windows]
            rows = likelihoods(self.continues, pairs, self.batch_size, self.max_length)
            totals.append(sum(row.logprob for row in rows))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), totals[-1])
        return totals

    def generate_until(self, requests: Sequence[Instance], **_options: object) -> list[str]:
        """What each context goes on with, up to one of its stop strings, the end of text or the limit."""
        asked = [request.args for request in requests]
        samplings = [_sampling(wanted, self.max_gen_toks) for _, wanted in asked]
        texts: dict[int, str] = {}
        for sampling in dict.fromkeys(samplings):
            places = [place for place, own in enumerate(samplings) if own == sampling]
            contexts = [self.tok_encode(asked[place][0]) or [self.prefix_token_id] for place in places]
            texts |= zip(places, go_on(self.continues, contexts, sampling, self.batch_size, self.max_length), strict=True)
        for place, request in enumerate(asked):
            self.cache_hook.add_partial("generate_until", request, texts[place])
        return [texts[place] for place in range(len(asked))]


def _sampling(wanted: Mapping[str, Any], limit: int) -> Sampling:
    """lm-eval's `generation_kwargs`; it draws only where `do_sample` is true or a temperature is given.

    Raises:
        RequestError: a setting that is not followed here.
    """
    given = dict(wanted)
    lengths = [given.pop(name) for name in _LENGTHS if name in given]
    until = given.pop("until", None) or []
    drawn = given.pop("do_sample", None)
    temperature = float(given.pop("temperature", 1.0 if drawn else 0.0) or 0.0)
    filters = {name: given.pop(name) for name in ("top_k", "top_p", "min_p", "repetition_penalty") if name in given}
    if given.pop("num_beams", 1) != 1 or given:
        names = ", ".join(sorted(given)) or "num_beams"
        raise RequestError("generation_kwargs", f"has {names}, which is not followed here", "Leave it out of the task")
    stops = tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop)
    greedy = drawn is False or temperature == 0
    if greedy:  # filters of a draw that is not made
        filters = {name: value for name, value in filters.items() if name == "repetition_penalty"}
    return Sampling(
        max_tokens=int(lengths[0]) if lengths else limit, temperature=0.0 if greedy else temperature, stop=stops, **filters
    )


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
