"""Sensorium: one open multimodal language-model system. The public names, imported on first use; importing costs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sensorium.errors import SensoriumError
from sensorium.parts import Answer, Audio, Document, Image, Message, Sample, Text, Usage, Video

if TYPE_CHECKING:
    from sensorium.model.load import load
    from sensorium.model.multimodal import MultimodalLM
    from sensorium.protocols import Sampling

__version__ = "0.1.0"
__all__ = [
    "Answer", "Audio", "Document", "Image", "Message", "MultimodalLM", "Sample", "Sampling", "SensoriumError", "Text", "Usage",
    "Video", "load",
]  # fmt: skip

_LAZY = {
    "MultimodalLM": "sensorium.model.multimodal",
    "Sampling": "sensorium.protocols",
    "load": "sensorium.model.load",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
