"""A picture file to RGB pixels and back: one decoding for training, evaluation and serving."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from PIL import Image, ImageDraw
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Resampling
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor

from sensorium.errors import LimitError, MediaError
from sensorium.media.animation import Animation, animation, broken_chunk
from sensorium.media.colour import to_rgb
from sensorium.media.source import Access, Blob, Limits, load
from sensorium.parts import Source

Extent = tuple[float, float, float, float]
"""`(y0, x0, y1, x1)` in 0..1."""

PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    MemoryError,
    struct.error,
    Warning,
    Image.DecompressionBombError,
)
"""What Pillow's readers raise on damaged files: its documented errors and those that its own `open` catches."""

_PLUGINS: Mapping[str, type[ImageFile]] = {
    "image/jpeg": JpegImageFile,
    "image/png": PngImageFile,
    "image/gif": GifImageFile,
    "image/webp": WebPImageFile,
    "image/bmp": BmpImageFile,
    "image/tiff": TiffImageFile,
}
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SCANS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A still picture, upright, RGB.

    Args:
        pixels_CHW: uint8 `(3, H, W)`.
        width, height: as stored in the file, before its orientation was obeyed.
        notes: what was done to the picture that a person should know.
        turned: whether its orientation asked for a turn or a mirroring.
    """

    pixels_CHW: Tensor
    name: str
    width: int
    height: int
    notes: tuple[str, ...] = ()
    turned: bool = False


def decode(source: Source | Blob, limits: Limits | None = None, access: Access | None = None) -> Picture:
    """Read a JPEG, PNG, WebP, GIF, BMP or TIFF; the pixel limit is checked before any pixel is decoded.

    EXIF orientation is obeyed, alpha composed on white, 16-bit, float, CMYK and palette pictures brought to 8-bit RGB, and a
    colour profile converted to sRGB; `notes` says which of these happened. Of an animation the first frame is read.

    Raises:
        MediaError: not a picture, or damaged. LimitError: too many bytes or pixels. AccessError: see `source.load`.
    """
    limits = limits or Limits()
    blob = load(source, limits, access)
    try:
        with blob.open() as stream:
            file = open_picture(blob, limits, stream)
            width, height = file.size
            notes = [*blob.notes, *_pieces(blob, file)]
            image = to_rgb(file, notes)
            turn = 1 if blob.media_type == "image/tiff" else _orientation(file)
    except PILLOW_ERRORS as error:
        raise blob.damaged("a picture", error) from error
    if turn in _TRANSPOSE:
        image = image.transpose(_TRANSPOSE[turn])
    return Picture(to_tensor(image), blob.name, width, height, tuple(notes), turn in _TRANSPOSE)


def is_animated(source: Source | Blob, limits: Limits | None = None, access: Access | None = None) -> bool:
    """Whether a picture file holds more than one frame, to be read as a video.

    Raises:
        MediaError, LimitError, AccessError: see `source.load`.
    """
    blob = load(source, limits, access)
    return blob.media_type in ("image/gif", "image/png", "image/webp") and len(frames_of(blob).durations) > 1


def frames_of(blob: Blob) -> Animation:
    """The frames that a picture file's headers promise."""
    return animation(blob.data, blob.media_type)


def open_picture(blob: Blob, limits: Limits, stream: object) -> ImageFile:
    """Pillow's reader for what the content is, its size checked, nothing decoded yet.

    The reader is called by name: Pillow's own `open` would try every format it knows and warn by global settings.

    Raises:
        MediaError: not a picture that is read here. LimitError: over the pixel limit. Errors of `PILLOW_ERRORS`.
    """
    plugin = _PLUGINS.get(blob.media_type)
    if plugin is None:
        problem = f"is {blob.media_type}, not a picture that can be read"
        raise MediaError(blob.name, problem, "Give a JPEG, PNG, WebP, GIF, BMP or TIFF")
    promised = frames_of(blob)
    if promised.width and promised.height:
        limits.check_pixels(blob.name, promised.width, promised.height)
    file = plugin(cast("io.BytesIO", stream), blob.name)
    limits.check_pixels(blob.name, *file.size)
    if blob.media_type == "image/jpeg":
        _check_scans(blob, file, limits)
    if blob.media_type == "image/png" and (at := broken_chunk(blob.data)) is not None:
        raise blob.damaged("a picture", f"the checksum at byte {at} is wrong")
    return file


def _check_scans(blob: Blob, file: ImageFile, limits: Limits) -> None:
    scans = blob.data.count(b"\xff\xda")
    cost, limit = scans * file.width * file.height, max(_SCANS * 1_000_000, 10 * limits.pixels)
    if scans > _SCANS and cost > limit:
        problem = f"repeats its picture in {scans} scans, over the limit of {_SCANS}"
        raise LimitError(blob.name, problem, "Save it again as JPEG")


def _pieces(blob: Blob, file: ImageFile) -> list[str]:
    if blob.media_type == "image/tiff":
        pages = cast("TiffImageFile", file).n_frames
        return [f"the first of {pages} pages was read"] if pages > 1 else []
    count = len(frames_of(blob).durations)
    return [f"the first of {count} frames was read; give it as a video to read more"] if count > 1 else []


def _orientation(file: ImageFile) -> int:
    try:
        turn = file.getexif().get(0x0112, 1)
    except PILLOW_ERRORS:
        return 1
    return turn if isinstance(turn, int) else 1


def to_tensor(image: Image.Image) -> Tensor:
    """A Pillow RGB picture as uint8 `(3, H, W)`; in memory the channels stay together, as Pillow has and wants them."""
    return torch.from_numpy(np.array(image if image.mode == "RGB" else image.convert("RGB"))).permute(2, 0, 1)


def to_pillow(pixels_CHW: Tensor) -> Image.Image:
    """uint8 `(3, H, W)` or `(1, H, W)` as a Pillow picture."""
    if pixels_CHW.dtype != torch.uint8 or pixels_CHW.ndim != 3 or pixels_CHW.shape[0] not in (1, 3):
        raise MediaError("pixels", f"are {pixels_CHW.dtype} {tuple(pixels_CHW.shape)}", "Give uint8 (3, H, W) or (1, H, W)")
    array = pixels_CHW.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def resize(pixels_CHW: Tensor, height: int, width: int, resample: Resampling | int = Resampling.BICUBIC) -> Tensor:
    """Pillow's resize, bit for bit: uint8 `(C, H, W)` to `(C, height, width)`."""
    if tuple(pixels_CHW.shape[1:]) == (height, width):
        return pixels_CHW
    array = np.array(to_pillow(pixels_CHW).resize((width, height), Resampling(resample)))
    return torch.from_numpy(array.reshape(height, width, -1)).permute(2, 0, 1).contiguous()


def crop(pixels_CHW: Tensor, extent: Sequence[float]) -> Tensor:
    """The box `(y0, x0, y1, x1)` in 0..1 of a picture, rounded to whole pixels, at least one."""
    _, height, width = pixels_CHW.shape
    y0, x0 = (min(round(low * size), size - 1) for low, size in zip(extent[:2], (height, width), strict=True))
    y1, x1 = (round(high * size) for high, size in zip(extent[2:], (height, width), strict=True))
    return pixels_CHW[:, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def tiles(
    picture: Picture, size: int, max_tiles: int, resample: Resampling | int = Resampling.BICUBIC
) -> list[tuple[Tensor, Extent]]:
    """Dynamic resolution (InternVL 1.5, Chen et al. 2024, section 3.3; LLaVA-NeXT): the whole picture, then its crops.

    The grid of at most `max_tiles` cells whose shape is nearest to the picture's is chosen; no cell is enlarged beyond what
    one more row or column would need. A picture not larger than `size` gives the whole alone.

    Returns:
        Pairs of uint8 `(3, size, size)` and what it shows, `(y0, x0, y1, x1)` in 0..1; row by row.
    """
    _, height, width = picture.pixels_CHW.shape
    shown: list[tuple[Tensor, Extent]] = [(resize(picture.pixels_CHW, size, size, resample), (0.0, 0.0, 1.0, 1.0))]
    rows, cols = tile_grid(height, width, size, max_tiles)
    if rows * cols == 1:
        return shown
    large_CHW = resize(picture.pixels_CHW, rows * size, cols * size, resample)
    for row in range(rows):
        for col in range(cols):
            piece_CHW = large_CHW[:, row * size : (row + 1) * size, col * size : (col + 1) * size].contiguous()
            shown.append((piece_CHW, (row / rows, col / cols, (row + 1) / rows, (col + 1) / cols)))
    return shown


def tile_grid(height: int, width: int, size: int, max_tiles: int) -> tuple[int, int]:
    """Rows and columns for a picture; see `tiles`. Of grids equally near the larger wins where the picture fills half of it."""
    best, nearest = (1, 1), float("inf")
    most_rows, most_cols = -(-height // size), -(-width // size)
    grids = [(r, c) for r in range(1, max_tiles + 1) for c in range(1, max_tiles // r + 1) if r <= most_rows and c <= most_cols]
    for rows, cols in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        distance = abs(width / height - cols / rows)
        if distance < nearest or (distance == nearest and height * width > 0.5 * size * size * rows * cols):
            best, nearest = (rows, cols), distance
    return best


def encode_png(pixels_CHW: Tensor, effort: int = 6) -> bytes:
    """uint8 `(3, H, W)` as a PNG file; decoding it gives the same pixels. An `effort` of 1 is quick, 9 makes it smallest."""
    file = io.BytesIO()
    to_pillow(pixels_CHW).save(file, "PNG", compress_level=effort)
    return file.getvalue()


def draw_boxes(pixels_CHW: Tensor, boxes: Sequence[tuple[Sequence[float], str]]) -> Tensor:
    """A copy of the picture with labelled boxes `(y0, x0, y1, x1)` in 0..1 drawn on it, for showing."""
    image = to_pillow(pixels_CHW).convert("RGB")
    pen = ImageDraw.Draw(image)
    for (y0, x0, y1, x1), label in boxes:
        corner = (x0 * image.width, y0 * image.height)
        pen.rectangle((*corner, max(x1, x0) * image.width, max(y1, y0) * image.height), outline=(230, 40, 40), width=2)
        if label:
            pen.text((corner[0] + 3, corner[1] + 2), label, fill=(230, 40, 40))
    return to_tensor(image)
