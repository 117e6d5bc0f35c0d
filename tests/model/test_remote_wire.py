"""What a server is sent of each medium, and what is said about it; nothing is dropped in silence."""

from __future__ import annotations

import base64
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image as Pictures

from sensorium.errors import MediaError, RequestError
from sensorium.media import audio, image
from sensorium.media.source import Access
from sensorium.model.remote_settings import read_settings
from sensorium.model.remote_wire import Sender
from sensorium.parts import Audio, Document, Image, Message, Part, Text, Use, Video


def sender(**args: Any) -> Sender:
    return Sender(read_settings("openai:http://127.0.0.1:1/v1#m", args))


def sent(part: Part, **args: Any) -> tuple[list[dict[str, Any]], Use]:
    """The blocks of one part behind a text, and the account of it."""
    (row,), (use,) = sender(**args)([Message("user", (Text("Look:"), part))])
    assert row["role"] == "user" and row["content"][0] == {"type": "text", "text": "Look:"}
    assert (use.message, use.part) == (0, 1)
    return row["content"][1:], use


def payload(url: str) -> tuple[str, bytes]:
    head, _, data = url.partition(";base64,")
    return head.removeprefix("data:"), base64.b64decode(data, validate=True)


def picture(form: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    drawn = Pictures.new("RGB", (6, 4), (255, 0, 0)).convert(mode)
    drawn.save(file, form, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of film with sound."""
    path = tmp_path_factory.mktemp("clip") / "film.mp4"
    with av.open(str(path), "w") as box:
        film, sound = box.add_stream("mpeg4", 10), box.add_stream("aac", 16_000)
        film.width, film.height, film.pix_fmt = 32, 32, "yuv420p"
        sound.layout = "mono"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number * 12, np.uint8), "rgb24")
            box.mux(film.encode(frame))
        for start in range(0, 32_000, 1024):
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            heard.sample_rate, heard.pts, heard.time_base = 16_000, start, Fraction(1, 16_000)
            box.mux(sound.encode(heard))
        box.mux(film.encode(None))
        box.mux(sound.encode(None))
    return path


def pdf(pages: int) -> bytes:
    """Pages that each say their number."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {pages} /Kids [{' '.join(f'{3 + 2 * n} 0 R' for n in range(pages))}] >>",
    ]
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    for number in range(pages):
        text = f"BT /F1 24 Tf 20 50 Td (Page number {number + 1}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents {4 + 2 * number} 0 R /Resources {font} >>",
            f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
        ]
    body, places = "%PDF-1.4\n", []
    for number, row in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{row}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size, start = len(objects) + 1, len(body)
    body += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF"
    return body.encode("latin-1")


def test_words_alone_are_a_string() -> None:
    rows, uses = sender()(
        [Message("system", (Text("Be "), Text("brief."))), Message("user", (Text("Hi"),)), Message("user", ())]
    )
    assert [row["content"] for row in rows] == ["Be brief.", "Hi", ""] and uses == ()


@pytest.mark.parametrize(("form", "media_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_a_plain_picture_is_sent_as_it_is(form: str, media_type: str) -> None:
    data = picture(form)
    (block,), use = sent(Image(data))
    assert block["type"] == "image_url" and set(block["image_url"]) == {"url"}
    assert payload(block["image_url"]["url"]) == (media_type, data)
    assert (use.kind, use.tiles, use.notes) == ("image", 1, ())
    assert sent(Image(data), detail="low")[0][0]["image_url"]["detail"] == "low"


def turned() -> bytes:
    exif = Pictures.Exif()
    exif[0x0112] = 6
    return picture("JPEG", exif=exif)


@pytest.mark.parametrize("data", [picture("GIF", "P"), picture("BMP"), picture("PNG", "RGBA"), turned()])
def test_a_picture_that_needs_work_is_sent_upright_and_lossless(data: bytes) -> None:
    (block,), use = sent(Image(data))
    media_type, png = payload(block["image_url"]["url"])
    ours = image.decode(data)
    assert media_type == "image/png" and torch.equal(image.decode(png).pixels_CHW, ours.pixels_CHW)
    assert use.notes == ours.notes


def test_sound(tmp_path: Path) -> None:
    wave_T = torch.sin(torch.arange(16_000) * 0.1) * 0.5
    data = audio.encode_wav(wave_T, 16_000)
    (block,), use = sent(Audio(data))
    assert block == {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": "wav"}}
    assert (use.seconds, use.seconds_total, use.notes) == (1.0, 1.0, ())
    (block,), use = sent(Audio(data, 0.25, 0.75))
    part = audio.decode(base64.b64decode(block["input_audio"]["data"]))
    assert part.seconds == 0.5 and torch.allclose(part.wave_T, wave_T[4000:12000], atol=1e-3)
    assert (use.seconds, use.seconds_total) == (0.5, 1.0) and use.notes == ("sent as a mono WAV of 16000 samples a second",)


def test_a_clip_as_pictures(clip: Path) -> None:
    blocks, use = sent(Video(str(clip)), frames="4")
    assert [block["type"] for block in blocks] == ["image_url"] * 4 and use.tiles == 4 and len(use.frames) == 4
    shades = [image.decode(payload(block["image_url"]["url"])[1]).pixels_CHW.float().mean() for block in blocks]
    assert shades == sorted(shades) and shades[-1] - shades[0] > 100, "in the order of time"
    assert use.notes[-2:] == ("sent as 4 pictures of frames", "its sound was not sent")


def test_a_clip_whole(clip: Path) -> None:
    (block,), use = sent(Video(str(clip)), video="video_url")
    assert payload(block["video_url"]["url"]) == ("video/mp4", clip.read_bytes())
    assert use.notes == ("sent whole as video_url; the server chooses its frames and does not tell them",) and not use.frames
    (block,), _ = sent(Video(str(clip)), video="input_video")
    assert base64.b64decode(block["input_video"]["data"]) == clip.read_bytes()
    with pytest.raises(RequestError, match="is to be shown in part, and video_url sends it whole"):
        sent(Video(str(clip), 0.5, 1.0), video="video_url")


def test_a_document_as_text_and_pictures() -> None:
    blocks, use = sent(Document(pdf(3), 2, 3))
    assert [block["type"] for block in blocks] == ["text", "image_url"] * 2
    assert [block["text"] for block in blocks[::2]] == ["Page number 2\n", "Page number 3\n"]
    assert (use.pages, use.pages_total, use.tiles, use.words) == ((2, 3), 3, 2, 6)
    assert use.notes == ("sent as 2 pictures of pages with the words of their text layer",)


def test_a_document_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "paper.pdf"
    path.write_bytes(pdf(2))
    (block,), use = sent(Document(str(path)), documents="file")
    assert block["type"] == "file" and block["file"]["filename"] == "paper.pdf"
    assert payload(block["file"]["file_data"]) == ("application/pdf", path.read_bytes())
    assert use.pages == (1, 2) and use.notes == ("sent whole as a file",)
    with pytest.raises(RequestError, match=r"is to be shown in part \(1 of 2 pages\)"):
        sent(Document(str(path), 2), documents="file")


def test_several_media_keep_their_places() -> None:
    parts = (Image(picture("PNG")), Text("and"), Image(picture("JPEG")), Text(""))
    rows, uses = sender()([Message("user", (Text("One"),)), Message("assistant", (Text("Yes."),)), Message("user", parts)])
    assert [block["type"] for block in rows[2]["content"]] == ["image_url", "text", "image_url"]
    assert [(use.message, use.part) for use in uses] == [(2, 0), (2, 2)]


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(RequestError, match="conversation: has no messages"):
        sender()([])
    with pytest.raises(RequestError, match="message 0: is of the role tool"):
        sender()([Message("tool", (Text("42"),))])
    with pytest.raises(MediaError, match="cannot be read as a picture"):
        sent(Image(picture("JPEG")[:60]))
    with pytest.raises(MediaError, match="paths may not be read here"):
        Sender(sender().settings, access=Access(files=False))([Message("user", (Image("/etc/hostname"),))])
