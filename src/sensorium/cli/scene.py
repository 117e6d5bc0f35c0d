"""The demonstration's media: a photo and two recordings that come with the package, a clip and a PDF page made from them."""

from __future__ import annotations

from fractions import Fraction
from importlib.resources import files
from pathlib import Path

PAGE = (
    "City Library, opening hours",
    "",
    "Monday to Friday the library is open from 9 am to 7 pm.",
    "On Saturday it is open from 10 am to 4 pm.",
    "On Sunday the library is closed.",
    "Books may be kept for four weeks.",
    "The reading room has 48 seats.",
)


def lay_out(folder: Path) -> dict[str, Path]:
    """Writes `photo`, `note`, `question`, `clip` and `page` into a folder and returns their paths."""
    media = files("sensorium.cli") / "media"
    paths = {}
    for name, file in (("photo", "astronaut.jpg"), ("note", "note.ogg"), ("question", "question.ogg")):
        paths[name] = folder / file
        paths[name].write_bytes((media / file).read_bytes())
    paths["clip"] = folder / "clip.webm"
    film(paths["photo"], paths["note"], paths["clip"])
    paths["page"] = folder / "hours.pdf"
    paths["page"].write_bytes(pdf(PAGE))
    return paths


def film(photo: Path, sound: Path, clip: Path, seconds: float = 6.0, rate: int = 12) -> None:
    """A slow pan over the photo with the recording as its sound, VP9 and Opus in WebM."""
    import av
    import numpy as np
    from PIL import Image

    picture = Image.open(photo).convert("RGB")
    width, height = (side * 3 // 4 // 2 * 2 for side in picture.size)
    with av.open(str(clip), "w") as out:
        video = out.add_stream("libvpx-vp9", rate=rate, options={"cpu-used": "8", "deadline": "realtime"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = out.add_stream("libopus", rate=48_000)
        frames = int(seconds * rate)
        for number in range(frames):
            left = (picture.width - width) * number // frames
            view = np.asarray(picture.crop((left, 0, left + width, height)))
            frame = av.VideoFrame.from_ndarray(view, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        with av.open(str(sound)) as voice:
            for block in voice.decode(audio=0):
                block.pts = None
                out.mux(audio.encode(block))
        out.mux(audio.encode(None))


def pdf(lines: tuple[str, ...]) -> bytes:
    """One page with a text layer, as small as the format allows."""
    text = "".join(f"({line}) Tj T*\n" for line in lines)
    stream = f"BT /F1 14 Tf 72 760 Td 22 TL\n{text}ET".encode("ascii")
    bodies = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(out)
    size = len(bodies) + 1
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        size, table, size, start,
    )  # fmt: skip
