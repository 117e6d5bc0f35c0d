"""Export: a checkpoint is written, read back and compared with the model that was trained; one that differs is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sensorium.errors import CheckpointError
from sensorium.model import checkpoint
from sensorium.model.multimodal import MultimodalLM
from sensorium.parts import Message, Sample, Text

_ASK = Sample("text", (Message("user", (Text("What do you see?"),)),))


def export(model: MultimodalLM, folder: Path, card: str, samples: Sequence[Sample] = ()) -> Path:
    """Write the one folder that a trained model is, if what is read back from it is the same model.

    Args:
        card: of the checkpoint. samples: conversations to compare by, beside one of text alone.

    Raises:
        CheckpointError: what is read back differs in template, token ids or logits; it is then left as `<folder>.refused`.
    """
    assert model.blueprint is not None
    model.blueprint = replace(model.blueprint, card=card)
    model.eval()
    checkpoint.save(model, folder)
    again = checkpoint.load(folder)
    again.reader = replace(again.reader, access=model.reader.access, limits=model.reader.limits)
    try:
        compare(model, again, [_ASK, *samples])
    except CheckpointError:
        refused = folder.with_name(f"{folder.name}.refused")
        shutil.rmtree(refused, ignore_errors=True)
        folder.rename(refused)
        raise
    return folder


@torch.no_grad()
def compare(model: MultimodalLM, again: MultimodalLM, samples: Sequence[Sample]) -> None:
    """Both models' templates, token ids and logits.

    Raises:
        CheckpointError: names the first thing that differs, and by how much.
    """
    if model.layout.template != again.layout.template or model.layout.special != again.layout.special:
        raise _differs("its chat template")
    for sample in samples:
        ask = Sample(sample.id, tuple(message for message in sample.messages if message.role != "assistant"))
        batches = [each.batch([ask], reply=True) for each in (model, again)]
        if not torch.equal(batches[0].ids_BL, batches[1].ids_BL):
            raise _differs(f"the token ids of conversation {sample.id}")
        logits, others = (
            each.decoder.logits(each(batch).hidden_BLD) for each, batch in zip((model, again), batches, strict=True)
        )
        worst = float((logits - others).abs().max())
        if not worst <= 1e-4 * max(1.0, float(logits.abs().max())):
            raise _differs(f"the logits of conversation {sample.id}, by {worst:.2g}")


def card_of(base: str, title: str, facts: Mapping[str, Any], before: str) -> str:
    """A card of measured facts, to be completed by a person; the card of the model it began from is kept below."""
    rows = "\n".join(f"| {name} | {value if isinstance(value, str) else json.dumps(value)} |" for name, value in facts.items())
    head = "---\nlibrary_name: sensorium\npipeline_tag: image-text-to-text\ntags: [sensorium]\n---\n"
    told = f"\n## Begun from: {base}\n\n{before.strip()}\n" if before.strip() else ""
    limits = "Licence, intended use and limits: to be written by whoever publishes it; they depend on the data."
    return f"{head}# {title}\n\n| measured | |\n|---|---|\n{rows}\n\n{limits}\n{told}"


def _differs(what: str) -> CheckpointError:
    return CheckpointError("exported model", f"differs from the trained one in {what}", "Report it: it must not be used")
