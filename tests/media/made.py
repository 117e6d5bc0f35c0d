"""Small valid media files of every format, drawn and synthesised here."""

from __future__ import annotations

import io
from functools import cache

import av
import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 48, 32
_SAME = {"fflags": "+bitexact"}


def drawing(mode: str = "RGB", shift: int = 0) -> Image.Image:
    """A picture whose corners differ: red ground, a green square top left, a blue bar on the right."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (200, 30, 40))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, 11 + shift, 11), fill=(20, 180, 60))
    pen.rectangle((40, 0, 47, 31), fill=(30, 60, 210))
    return image if mode == "RGB" else image.convert(mode)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def moving(form: str, count: int = 6, durations: list[int] | int = 100, **options: object) -> bytes:
    """An animation whose frame k has the grey 20 k in the middle."""
    frames = [Image.new("RGB", (WIDTH, HEIGHT), (20 * k, 20 * k, 20 * k)) for k in range(count)]
    return saved(frames[0], form, save_all=True, append_images=frames[1:], duration=durations, **options)


def tone(seconds: float = 0.5, rate: int = 16_000, pitch: float = 440.0, channels: int = 1) -> NDArray[np.float32]:
    """A sine of amplitude one half; `(T,)`, or `(T, channels)` where each channel is half as loud as the one before."""
    wave = 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)
    if channels > 1:
        wave = np.stack([wave / 2**channel for channel in range(channels)], axis=1)
    return wave.astype(np.float32)


def recorded(form: str, subtype: str | None = None, seconds: float = 0.5, rate: int = 16_000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(seconds, rate, channels=channels), rate, format=form, subtype=subtype)
    data = file.getvalue()
    at = data.find(b"PEAK") + 12  # the chunk holds the time of writing
    return data if at < 12 else data[:at] + bytes(4) + data[at + 4 :]


def encoded(form: str, codec: str, seconds: float = 0.5, rate: int = 44_100) -> bytes:
    """Sound through FFmpeg."""
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=_SAME) as container:
        _mux_sound(container, codec, seconds, rate)
    return file.getvalue()


def filmed(
    form: str,
    codec: str,
    sound: str = "",
    count: int = 20,
    fps: int = 10,
    rotation: int = 0,
    options: dict[str, str] | None = None,
) -> bytes:
    """A video whose frame k is the grey 10 k, with a tone as its sound where `sound` names a codec."""
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=_SAME) as container:
        video = container.add_stream(codec, rate=fps, options=options or {})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        if rotation:
            video.set_display_rotation(rotation)
        audio = container.add_stream(sound, rate=48_000, layout="mono") if sound else None
        for k in range(count):
            picture = np.full((48, 64, 3), min(10 * k, 255), np.uint8)
            for packet in video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in video.encode():
            container.mux(packet)
        if audio is not None:
            _encode_sound(container, audio, count / fps, 48_000)
    return file.getvalue()


def _mux_sound(container: av.container.OutputContainer, codec: str, seconds: float, rate: int) -> None:
    _encode_sound(container, container.add_stream(codec, rate=rate, layout="mono"), seconds, rate)


def _encode_sound(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float, rate: int) -> None:
    samples = (tone(seconds, rate) * 32767).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate = rate
    for packet in [*stream.encode(frame), *stream.encode(None)]:
        if packet.size:
            container.mux(packet)


def pdf(pages: list[list[str]], box: str = "0 0 300 200", extra: str = "", rotate: int = 0, xref: bool = True) -> bytes:
    """A PDF written by hand: one list of lines a page, 24 points, the first line's base 160 points from the bottom."""
    bodies = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    bodies.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    kids = []
    for lines in pages:
        shown = " ".join(f"1 0 0 1 20 {160 - 40 * at} Tm ({line}) Tj" for at, line in enumerate(lines))
        stream = f"BT /F1 24 Tf {shown} ET {extra}"
        bodies.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        bodies.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] /Rotate {rotate} /Contents {len(bodies)} 0 R "
            f"/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        kids.append(f"{len(bodies)} 0 R")
    bodies[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(pages)} >>"
    return pdf_of(bodies, xref)


def pdf_of(bodies: list[str], xref: bool = True) -> bytes:
    """Objects, the first of them the catalog, as a PDF file."""
    out, offsets = b"%PDF-1.7\n", []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    start = len(out)
    if xref:
        rows = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
        out += f"xref\n0 {len(bodies) + 1}\n0000000000 65535 f \n{rows}".encode()
    return out + f"trailer << /Size {len(bodies) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()


@cache
def valid() -> dict[str, bytes]:
    """One small valid file of every format that is read, by a name with the right extension."""
    grey16 = Image.fromarray((np.arange(WIDTH * HEIGHT, dtype=np.uint16) * 40).reshape(HEIGHT, WIDTH))
    return {
        "plain.jpg": saved(drawing(), "JPEG", quality=90),
        "progressive.jpg": saved(drawing(), "JPEG", progressive=True),
        "cmyk.jpg": saved(drawing("CMYK"), "JPEG"),
        "plain.png": saved(drawing(), "PNG"),
        "grey16.png": saved(grey16, "PNG"),
        "palette.png": saved(drawing("P"), "PNG"),
        "alpha.png": saved(drawing("RGBA"), "PNG"),
        "moving.png": moving("PNG"),
        "plain.gif": saved(drawing("P"), "GIF"),
        "moving.gif": moving("GIF"),
        "plain.webp": saved(drawing(), "WEBP"),
        "lossless.webp": saved(drawing("RGBA"), "WEBP", lossless=True),
        "moving.webp": moving("WEBP"),
        "plain.bmp": saved(drawing(), "BMP"),
        "palette.bmp": saved(drawing("P"), "BMP"),
        "plain.tiff": saved(drawing(), "TIFF"),
        "lzw.tiff": saved(drawing(), "TIFF", compression="tiff_lzw"),
        "deflate16.tiff": saved(grey16, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tiff": saved(drawing(), "TIFF", compression="jpeg"),
        "pcm16.wav": recorded("WAV", "PCM_16"),
        "pcm24.wav": recorded("WAV", "PCM_24", channels=2),
        "float.wav": recorded("WAV", "FLOAT"),
        "ulaw.wav": recorded("WAV", "ULAW"),
        "adpcm.wav": recorded("WAV", "MS_ADPCM"),
        "plain.flac": recorded("FLAC", "PCM_16"),
        "plain.mp3": recorded("MP3"),
        "vorbis.ogg": recorded("OGG", "VORBIS"),
        "opus.ogg": recorded("OGG", "OPUS", rate=48_000),
        "aac.m4a": encoded("ipod", "aac"),
        "aac.aac": encoded("adts", "aac"),
        "mpeg4.mp4": filmed("mp4", "mpeg4", "aac"),
        "h264.mp4": filmed("mp4", "libx264", "aac"),
        "vp9.webm": filmed("webm", "libvpx-vp9", "libopus"),
        "h264.mov": filmed("mov", "libx264"),
        "mpeg4.mkv": filmed("matroska", "mpeg4", "libmp3lame"),
        "plain.pdf": pdf([["Hello page one", "second line"], ["Page two"]]),
    }
