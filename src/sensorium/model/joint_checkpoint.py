"""A joint model's checkpoint: one folder, written at once or not at all, read strictly (see `checkpoint` for the files)."""

from __future__ import annotations

from pathlib import Path

from sensorium.encoders.processing import FILE as PROCESSING
from sensorium.encoders.processing import ImageProcessing
from sensorium.model.build import Unfilled
from sensorium.model.checkpoint import CARD, CONFIG, TOKENIZER, read_text, read_tokenizer, refuse_other
from sensorium.model.joint import Joint
from sensorium.model.joint_config import JointBlueprint, JointConfig
from sensorium.model.tensors import assign, own_tensors, read_json, read_tensors, recover, replacing, write_json, write_tensors


def save(model: Joint, folder: Path | str) -> None:
    """Write `folder` anew; an interrupted write leaves what was there before.

    Raises:
        CheckpointError: `folder` holds something that is not a checkpoint.
    """
    folder = Path(folder).expanduser().resolve()
    refuse_other(folder)
    blueprint = model.blueprint
    with replacing(folder) as fresh:
        write_json(fresh / CONFIG, blueprint.config.to_json())
        (fresh / TOKENIZER).write_text(blueprint.tokenizer.to_str(), encoding="utf-8")
        (fresh / CARD).write_text(blueprint.card, encoding="utf-8")
        if blueprint.processing is not None:
            blueprint.processing.write(fresh)
        write_tensors(fresh, own_tensors(model))


def load(folder: Path | str) -> Joint:
    """The model of a folder, in evaluation mode, its weights mapped from the file.

    Raises:
        CheckpointError: a file that is missing or damaged, a configuration that does not fit together, or tensors that are
            missing, unexpected or of another shape, each by name.
    """
    folder = Path(folder).expanduser()
    recover(folder)
    blueprint = JointBlueprint(
        JointConfig.from_json(read_json(folder / CONFIG)),
        read_tokenizer(folder / TOKENIZER),
        ImageProcessing.read(folder) if (folder / PROCESSING).is_file() else None,
        read_text(folder / CARD) if (folder / CARD).is_file() else "",
    )
    with Unfilled():
        model = Joint(blueprint)
    assign(model, read_tensors(folder), str(folder))
    return model.eval()
