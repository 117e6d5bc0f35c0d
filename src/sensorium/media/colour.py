"""Any of Pillow's pixel modes to 8-bit RGB, scaled rightly, with a note for everything that changes how it looks."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_LARGEST_PROFILE = 4 * 1024 * 1024
_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")


def to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """Decode and convert; what was done is appended to `notes`.

    Raises:
        ValueError: a mode that Pillow cannot convert. Errors of Pillow's readers, since the pixels are decoded here.
    """
    deep = _is_deep(image)
    bits, inverted = _tiff_samples(image)
    image.load()
    mode = image.mode
    if mode.startswith("I;16"):
        notes.append(f"{bits or 16}-bit grey read as 8-bit")
        return _from_integers(np.asarray(image), 2 ** (bits or 16) - 1, inverted)
    if mode in ("I", "F"):
        return _stretched(np.asarray(image, dtype=np.float64), mode, inverted, notes)
    if deep:
        notes.append("16-bit channels read as 8-bit")
    image = _to_srgb(image, notes)
    if mode in _WITH_ALPHA or "transparency" in image.info:
        return _on_white(image, notes)
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_deep(image: Image.Image) -> bool:
    tiles = list(getattr(image, "tile", []))
    return bool(tiles) and ";16" in str(tiles[0][3]) and not image.mode.startswith("I")


def _tiff_samples(image: Image.Image) -> tuple[int, bool]:
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return 0, False
    bits = tags.get(258, (0,))
    return (bits[0] if bits and isinstance(bits[0], int) and 8 < bits[0] <= 16 else 0), tags.get(262) == 0


def _from_integers(values: NDArray[np.uint16], top: int, inverted: bool) -> Image.Image:
    grey = (np.minimum(values.astype(np.uint32), top) * 255 + top // 2) // top
    return Image.fromarray((255 - grey if inverted else grey).astype(np.uint8)).convert("RGB")


def _stretched(values: NDArray[np.float64], mode: str, inverted: bool, notes: list[str]) -> Image.Image:
    finite = np.isfinite(values)
    if not finite.all():
        notes.append(f"{int((~finite).sum())} pixels are not numbers and read as black")
    low, high = (float(values[finite].min()), float(values[finite].max())) if finite.any() else (0.0, 0.0)
    kind = "float" if mode == "F" else "32-bit integer"
    tops = (1.0, 255.0) if mode == "F" else (65535.0,)
    top = next((top for top in tops if low >= 0 and high <= top), None)
    if top is not None:
        low, high = 0.0, top
        notes.append(f"{kind} pixels in 0..{top:g} read as 8-bit")
    else:
        notes.append(f"{kind} pixels stretched from {low:g}..{high:g} to 0..255")
    scaled = (np.where(finite, values, low) - low) / ((high - low) or 1.0) * 255
    grey = np.rint(255 - scaled if inverted else scaled).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _to_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    if not isinstance(profile, bytes) or len(profile) < 128:
        if image.mode == "CMYK":
            notes.append("CMYK without a colour profile read as RGB")
        return image
    if len(profile) > _LARGEST_PROFILE:
        notes.append("its colour profile is too large and was ignored")
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower():
            return image
        target = "RGBA" if image.mode == "RGBA" else "RGB"
        moved = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=target)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append("its colour profile cannot be read and was ignored")
        return image
    assert moved is not None
    notes.append(f"colours converted from the profile {name[:60]!r} to sRGB")
    moved.info.pop("icc_profile", None)
    return moved


def _on_white(image: Image.Image, notes: list[str]) -> Image.Image:
    image = image.convert("RGBA")
    low, _ = image.getchannel("A").getextrema()
    if low == 255:
        return image.convert("RGB")
    notes.append("transparent parts are shown on white")
    canvas = Image.new("RGBA", image.size, (255, 255, 255, 255))
    canvas.alpha_composite(image)
    return canvas.convert("RGB")
