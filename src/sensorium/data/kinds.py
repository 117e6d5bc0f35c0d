"""Which kind of medium a file name promises, where nothing else says it."""

from __future__ import annotations

from sensorium.data.attached import Kind

_EXTENSIONS: dict[Kind, tuple[str, ...]] = {
    "image": ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"),
    "audio": ("wav", "flac", "mp3", "ogg", "opus", "m4a", "aac"),
    "video": ("mp4", "m4v", "mov", "avi", "mkv", "webm"),
}


def kind_of_name(name: str) -> Kind | None:
    """`image`, `audio`, `video`, or None for anything else."""
    extension = name.rpartition(".")[2].lower()
    return next((kind for kind, known in _EXTENSIONS.items() if extension in known), None)
