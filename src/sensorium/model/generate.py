"""What people ask of a model of ours: answers as they come or in batches, scores of given answers, vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from tokenizers import Tokenizer
from torch import Tensor

from sensorium.batch import Batch, Modality
from sensorium.errors import RequestError
from sensorium.heads.beam import BeamState
from sensorium.heads.text import Drawn, check_sampling, draw, generator, penalise_repetition
from sensorium.model.dual import DualEncoder
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.scoring import likelihoods
from sensorium.model.seen import Prompt, Seen
from sensorium.model.session import Session
from sensorium.parts import Answer, Finish, Message, Sample, Text, TokenScore, Usage
from sensorium.protocols import Sampling

UNCALIBRATED = "geometric mean of the answer's token probabilities, not calibrated"
AMONG_CHOICES = "share of the probability of the given choices, not calibrated"


@dataclass(slots=True)
class _Reply:
    """One answer while it grows: `shown` characters of `text` have been handed out."""

    ids: list[int] = field(default_factory=list)
    tokens: list[TokenScore] = field(default_factory=list)
    text: str = ""
    shown: int = 0
    finish: Finish | None = None


class Assistant:
    """A `MultimodalLM` as `Generates`, `Scores` and `Embeds`.

    Args:
        model: in evaluation mode.
        name: what people call it.
        seen: keeps what media show, for a caller who asks much of the same ones and does not change the model.
    """

    def __init__(self, model: MultimodalLM, name: str, seen: Seen | None = None) -> None:
        self.model, self.name, self.seen = model, name, seen

    @property
    def defaults(self) -> Sampling:
        """How the checkpoint wants to be asked."""
        return self.model.blueprint.sampling if self.model.blueprint is not None else Sampling()

    @property
    def tokenizer(self) -> Tokenizer:
        """Of the language model."""
        return self.model.layout.tokenizer

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        """One conversation: text as it comes, then the Answer. Beams and choices come in one piece.

        Raises:
            RequestError: options that mean nothing, a medium the model cannot take in, a conversation too long.
            MediaError: a medium that cannot be read.
        """
        if sampling.choices or sampling.beams > 1:
            (answer,) = self.answer([messages], sampling)
            yield answer.text
            yield answer
            return
        check_sampling(sampling)
        prompt = self._prompt([messages], sampling.max_tokens)
        replies = [_Reply()]
        for _ in self._grow(prompt, replies, sampling):
            if fresh := self._fresh(replies[0], sampling.stop):
                yield fresh
        yield self._answer(replies[0], prompt.batch, 0)

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:
        """Many conversations as one batch; each answer is the one it would get alone. Raises what `stream` raises."""
        check_sampling(sampling)
        if not conversations:
            return []
        if sampling.choices:
            return self._choose(conversations, sampling)
        prompt = self._prompt(conversations, sampling.max_tokens)
        if sampling.beams > 1:
            return self._beams(prompt, sampling)
        replies = [_Reply() for _ in conversations]
        for _ in self._grow(prompt, replies, sampling):
            pass
        return [self._answer(reply, prompt.batch, row) for row, reply in enumerate(replies)]

    def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        """The log-probability of each answer and of its end, media read once."""
        return self.score_many([messages], [answers])[0]

    def score_many(self, conversations: Sequence[Sequence[Message]], answers: Sequence[Sequence[str]]) -> list[list[float]]:
        """`score` of many conversations as one batch. Raises what `answer` raises."""
        return likelihoods(self.model, self._prompt(conversations), answers)

    def embed(self, messages: Sequence[Message]) -> Tensor:
        """Unit vectors `(len(messages), dim)` of the shared space."""
        model = self.model
        return DualEncoder.require(model.dual).embed(messages, model.reader, dict(model.encoders.items()))

    # One token after the other

    def _prompt(self, conversations: Sequence[Sequence[Message]], room: int = 0) -> Prompt:
        samples = [Sample(str(number), tuple(messages)) for number, messages in enumerate(conversations)]
        if self.seen is not None:
            return self.seen.prompt(samples, room)
        shown = [self.model.reader(sample) for sample in samples]
        return Prompt(self.model.layout(samples, shown, True, room), shown)

    @torch.inference_mode()
    def _grow(self, prompt: Prompt, replies: Sequence[_Reply], sampling: Sampling) -> Iterator[None]:
        """Adds a token to every open reply at each step; rows that have ended leave the batch."""
        session = Session(self.model, prompt.batch, sampling.max_tokens, prompt.features)
        chances = [generator(sampling) for _ in replies]
        prompts = [_words_of(prompt.batch, row) for row in range(len(replies))]
        alive = list(range(len(replies)))
        logits_BV = session.logits()
        while True:
            said = [prompts[row] + replies[row].ids for row in alive]
            drawn = self._draw(logits_BV, sampling, said, [chances[row] for row in alive])
            for place, row in enumerate(alive):
                self._take(replies[row], drawn, place, sampling)
            yield
            open_rows = [place for place, row in enumerate(alive) if replies[row].finish is None]
            if not open_rows:
                return
            if len(open_rows) < len(alive):
                session.fork(open_rows)
                alive = [alive[place] for place in open_rows]
            logits_BV = session.step([replies[row].ids[-1] for row in alive])

    def _draw(
        self,
        logits_BV: Tensor,
        sampling: Sampling,
        said: Sequence[Sequence[int]],
        chances: Sequence[torch.Generator | None],
    ) -> Drawn:
        """Row by row where chance or a penalty is in play, so that a row's answer does not depend on its neighbours."""
        if sampling.temperature == 0 and sampling.repetition_penalty == 1:
            return draw(logits_BV, sampling)
        rows = [
            draw(logits_BV[place : place + 1], sampling, torch.tensor([ids]), chance=chance)
            for place, (ids, chance) in enumerate(zip(said, chances, strict=True))
        ]
        return Drawn(*(torch.cat(column) for column in zip(*rows, strict=True)))

    def _take(self, reply: _Reply, drawn: Drawn, place: int, sampling: Sampling) -> None:
        token = int(drawn.ids_B[place])
        ended = token in self.model.layout.ends
        reply.ids.append(token)
        top = zip(drawn.top_ids_BN[place].tolist(), drawn.top_logprobs_BN[place].tolist(), strict=True)
        runners_up = tuple((self._word(index), logprob) for index, logprob in top)
        reply.tokens.append(TokenScore("" if ended else self._word(token), float(drawn.logprobs_B[place]), runners_up))
        if not ended:
            reply.text = self.tokenizer.decode(reply.ids, skip_special_tokens=True)
        cut = min((place for stop in sampling.stop if (place := reply.text.find(stop)) >= 0), default=-1)
        if cut >= 0:
            reply.text = reply.text[:cut]
        if ended or cut >= 0:
            reply.finish = "stop"
        elif len(reply.ids) >= sampling.max_tokens:
            reply.finish = "length"

    def _word(self, token: int) -> str:
        return self.tokenizer.decode([token], skip_special_tokens=False)

    def _fresh(self, reply: _Reply, stops: Sequence[str]) -> str:
        """Text not handed out yet, less an unfinished character and what may still become a stop string."""
        text = reply.text
        if reply.finish is None:
            text = text.rstrip("\ufffd")
            held = (size for stop in stops for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size]))
            text = text[: len(text) - max(held, default=0)]
        fresh, reply.shown = text[reply.shown :], max(reply.shown, len(text))
        return fresh

    def _answer(self, reply: _Reply, batch: Batch, row: int) -> Answer:
        assert reply.finish is not None
        mean = math.fsum(token.logprob for token in reply.tokens) / len(reply.tokens)
        usage = Usage(int(batch.valid_BL[row].sum()), len(reply.ids), batch.uses[row])
        message = Message("assistant", (Text(reply.text),))
        return Answer(message, usage, reply.finish, math.exp(mean), UNCALIBRATED, tuple(reply.tokens))

    # Whole answers at once

    @torch.inference_mode()
    def _beams(self, prompt: Prompt, sampling: Sampling) -> list[Answer]:
        for name, given in (("stop", sampling.stop), ("top_logprobs", sampling.top_logprobs)):
            if given:
                raise RequestError(name, "cannot be combined with beams", f"Set beams to 1, or leave {name} out")
        batch = prompt.batch
        rows = len(batch.samples)
        session = Session(self.model, batch, sampling.max_tokens, prompt.features)
        ends = tuple(self.model.layout.ends)
        state = BeamState(rows, sampling.beams, ends, sampling.max_tokens, sampling.length_penalty)
        prompts = [_words_of(batch, row) for row in range(rows)]
        logits_BV = session.logits()
        while True:
            logprobs_BV = logits_BV.log_softmax(-1)
            fork = state.step(logprobs_BV, self._ranking(logprobs_BV, sampling, prompts, state))
            if state.done:
                break
            session.fork(fork.parents_B.tolist())
            logits_BV = session.step(fork.ids_B)
        answers = []
        for row, (best,) in enumerate(state.best()):
            text = self.tokenizer.decode(list(best.ids), skip_special_tokens=True)
            tokens = [TokenScore(self._word(index), logprob) for index, logprob in zip(best.ids, best.logprobs, strict=True)]
            if best.ended:
                tokens[-1] = replace(tokens[-1], text="")
            reply = _Reply(list(best.ids), tokens, text, 0, "stop" if best.ended else "length")
            answers.append(self._answer(reply, batch, row))
        return answers

    def _ranking(
        self, logprobs_BV: Tensor, sampling: Sampling, prompts: Sequence[list[int]], state: BeamState
    ) -> Tensor | None:
        """What beams are ranked by where a repetition penalty is asked for."""
        if sampling.repetition_penalty == 1:
            return None
        said = state.said().tolist() if state.length else [[] for _ in prompts]
        width = len(logprobs_BV) // len(prompts)
        rows = [
            penalise_repetition(
                logprobs_BV[row : row + 1], torch.tensor([prompts[row // width] + said[row]]), sampling.repetition_penalty
            )
            for row in range(len(logprobs_BV))
        ]
        return torch.cat(rows)

    def _choose(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:
        prompt = self._prompt(conversations)
        scores = likelihoods(self.model, prompt, [sampling.choices] * len(conversations))
        return [self._chosen(row, prompt.batch, sampling, totals) for row, totals in enumerate(scores)]

    def _chosen(self, row: int, batch: Batch, sampling: Sampling, scores: Sequence[float]) -> Answer:
        """The choice with the largest probability, or one drawn by probability when the temperature is above 0."""
        totals = torch.tensor(scores, dtype=torch.float64)
        picked = int(totals.argmax())
        if sampling.temperature > 0:
            weights = (totals / sampling.temperature).softmax(0)
            picked = int(torch.multinomial(weights, 1, generator=generator(sampling)))
        text = sampling.choices[picked]
        said = len(self.tokenizer.encode(text, add_special_tokens=False).ids)
        usage = Usage(int(batch.valid_BL[row].sum()), said, batch.uses[row])
        confidence = float(totals.softmax(0)[picked])
        tokens = (TokenScore(text, float(totals[picked])),)
        return Answer(Message("assistant", (Text(text),)), usage, "choice", confidence, AMONG_CHOICES, tokens)


def _words_of(batch: Batch, row: int) -> list[int]:
    """The token ids of a row that are words, not places kept for media."""
    valid_L = batch.valid_BL[row].clone()
    for place in batch.placements:
        if place.sample == row and place.modality is not Modality.TEXT:
            valid_L[place.start : place.stop] = False
    ids: list[int] = batch.ids_BL[row][valid_L].tolist()
    return ids
