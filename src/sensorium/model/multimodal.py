"""The one model: embed, encode, connect, splice, decode. It returns hidden states, never a loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sensorium.batch import Batch, Features, Modality
from sensorium.fusion.cross_attention import GatedCrossAttention, Memory, remember
from sensorium.fusion.layout import Layout
from sensorium.fusion.splice import splice
from sensorium.language.cache import KVCache
from sensorium.language.decoder import Decoder
from sensorium.model.config import Blueprint
from sensorium.model.dual import DualEncoder
from sensorium.model.reading import Reader
from sensorium.model.transcribe import SpeechModel
from sensorium.nn.lora import Switch
from sensorium.nn.trace import Trace
from sensorium.parts import Sample


class Output(NamedTuple):
    """`hidden_BLD` after the last norm, and the intermediates asked for by name."""

    hidden_BLD: Tensor
    trace: Mapping[str, Tensor]


class Embedded(NamedTuple):
    """A batch before the decoder: `embeds_BLD` with its media spliced in, or the media apart as memory."""

    embeds_BLD: Tensor
    memory: Memory | None


class MultimodalLM(nn.Module):
    """A causal language model that takes in any medium it has an encoder and a connector for.

    Args:
        decoder: the language model.
        encoders, connectors: by modality; a connector takes its encoder's width to the decoder's.
        layout, reader: conversations to rows, and media to pieces; part of the checkpoint.
        crossings: gated cross-attention before these layers; when there are any, media are read as memory and not spliced.
        switch: of the decoder's low-rank adapter, if it has one; it is on for rows that hold pictures and off for
            the others, which the frozen language model answers as it always did.
        dual: the shared space of pictures and words, if the model has one.
        speech: its speech recognition, which `reader.listen` calls, if it has one.

    Traces: `embeds`, `encoder.<modality>`, `connector.<modality>`, and those of the encoders and the decoder.
    """

    def __init__(
        self,
        decoder: Decoder,
        encoders: Mapping[Modality, nn.Module],
        connectors: Mapping[Modality, nn.Module],
        layout: Layout,
        reader: Reader,
        *,
        crossings: Mapping[int, GatedCrossAttention] | None = None,
        switch: Switch | None = None,
        dual: DualEncoder | None = None,
        speech: SpeechModel | None = None,
    ) -> None:
        super().__init__()
        self.blueprint: Blueprint | None = None  # what it was built from; a checkpoint keeps it
        assert encoders.keys() == connectors.keys(), "every encoder needs a connector"
        self.decoder = decoder
        self.encoders = nn.ModuleDict({str(modality): encoder for modality, encoder in encoders.items()})
        self.connectors = nn.ModuleDict({str(modality): connector for modality, connector in connectors.items()})
        self.crossings = nn.ModuleDict({str(layer): crossing for layer, crossing in (crossings or {}).items()})
        self.dual, self.speech = dual, speech
        self.speech_decoder = None if speech is None else speech.decoder  # registered, so that a checkpoint holds it
        self.layout, self.reader, self.switch = layout, reader, switch

    def batch(self, samples: Sequence[Sample], reply: bool = False, room: int = 0) -> Batch:
        """Decode, prepare and lay out. `reply`: the rows end where an answer of up to `room` tokens is to begin.

        Raises:
            MediaError: a medium that cannot be read. RequestError: one that the model cannot take in, or a row too long.
        """
        return self.layout(samples, [self.reader(sample) for sample in samples], reply, room)

    def encode(self, batch: Batch, trace: Trace) -> dict[Modality, Features]:
        """Each modality's media through its encoder and connector: `(P, T, D)`, one row a placement."""
        connected: dict[Modality, Features] = {}
        for modality, media in batch.media.items():
            features = self.encoders[modality](media, trace=trace)
            trace(f"encoder.{modality}", features.x_BTD)
            connected[modality] = self.connectors[modality](features)
            trace(f"connector.{modality}", connected[modality].x_BTD)
        return connected

    def embed_batch(self, batch: Batch, trace: Trace, features: Mapping[Modality, Features] | None = None) -> Embedded:
        """Text embeddings with the media in place. `features`: already encoded and connected (training caches them)."""
        embeds_BLD = self.decoder.embed(batch.ids_BL)
        media = self.encode(batch, trace) if features is None else features
        memory = None
        if self.crossings:
            memory = remember(batch.placements, media, len(batch.samples)) if media else None
        else:
            embeds_BLD = splice(embeds_BLD, batch.placements, media)
        trace("embeds", embeds_BLD)
        return Embedded(embeds_BLD, memory)

    def forward(
        self, batch: Batch, *, features: Mapping[Modality, Features] | None = None, trace: Iterable[str] = ()
    ) -> Output:
        """Hidden states `(B, L, D)` of a whole batch, and the named intermediates asked for.

        Raises:
            RequestError: a trace name that no part of the model gives.
        """
        tracer = Trace(trace)
        embeds_BLD, memory = self.embed_batch(batch, tracer, features)
        with self.adapted(rows_with_pictures(batch)):
            hidden_BLD = self.decode(embeds_BLD, memory, valid_BL=batch.valid_BL, trace=tracer)
        return Output(hidden_BLD, tracer.result())

    def decode(
        self,
        embeds_BLD: Tensor,
        memory: Memory | None = None,
        *,
        valid_BL: Tensor | None = None,
        cache: KVCache | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The decoder with its crossings: `(B, L, D)` to `hidden_BLD`, reading and extending `cache` if there is one."""
        tracer = Trace() if trace is None else trace
        if memory is None:
            hidden_BLD: Tensor = self.decoder(embeds_BLD, valid_BL=valid_BL, cache=cache, trace=tracer)
            return hidden_BLD
        past = torch.tensor(cache.lengths if cache is not None else [0] * len(embeds_BLD))
        positions_BL = past[:, None] + torch.arange(embeds_BLD.shape[1])
        inserts = {int(layer): _Crossing(crossing, memory, positions_BL) for layer, crossing in self.crossings.items()}
        crossed_BLD: Tensor = self.decoder(embeds_BLD, valid_BL=valid_BL, cache=cache, inserts=inserts, trace=tracer)
        return crossed_BLD

    @contextmanager
    def adapted(self, rows_B: Tensor) -> Iterator[None]:
        """The adapter on for the rows marked in `rows_B` (bool), off for the others, until the block ends."""
        if self.switch is None:
            yield
            return
        with self.switch.rows(rows_B):
            yield


class _Crossing:
    """One gated cross-attention with its memory, as the decoder's insert."""

    def __init__(self, crossing: nn.Module, memory: Memory, positions_BL: Tensor) -> None:
        self.crossing, self.memory, self.positions_BL = crossing, memory, positions_BL

    def __call__(self, hidden_BLD: Tensor) -> Tensor:
        out: Tensor = self.crossing(hidden_BLD, self.memory, self.positions_BL)
        return out


def rows_with_pictures(batch: Batch) -> Tensor:
    """Bool `(B,)`: rows that hold features of pictures or clips."""
    rows = {placement.sample for placement in batch.placements if placement.modality in (Modality.IMAGE, Modality.VIDEO)}
    return torch.tensor([index in rows for index in range(len(batch.samples))])
