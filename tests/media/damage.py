"""A seeded generator of damaged and hostile media files, made from the small valid ones."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import soundfile
from PIL import Image

from .made import moving, pdf, pdf_of, saved, valid


class Damaged(NamedTuple):
    """One file: `name` says what was done and ends in the extension it is given."""

    name: str
    data: bytes


def damaged_files(seed: int = 7) -> list[Damaged]:
    """More than 600 files over all formats, the same for the same seed (the serial numbers of Ogg streams apart)."""
    draw = random.Random(seed)
    files = [file for name, data in valid().items() for file in spoiled(name, data, draw)]
    return [*files, *hostile()]


def spoiled(name: str, data: bytes, draw: random.Random) -> Iterator[Damaged]:
    """One good file broken in many ways."""
    size = len(data)
    for share in (0.04, 0.3, 0.65, 0.98):
        yield Damaged(f"cut at {share:.0%} {name}", data[: max(int(size * share), 1)])
    for count in (1, 4, 40):
        yield Damaged(f"{count} bits flipped {name}", _flipped(data, draw, count, size))
    for count in (1, 3):
        yield Damaged(f"{count} header bits flipped {name}", _flipped(data, draw, count, min(size, 120)))
    at = draw.randrange(size)
    yield Damaged(f"hole of zeros {name}", data[:at] + bytes(min(200, size - at)) + data[at + 200 :])
    yield Damaged(f"stuttering {name}", data[:at] + data[max(at - 300, 0) : at] + data[at:])
    yield Damaged(f"noise inside {name}", data[: size // 3] + draw.randbytes(size // 3) + data[size // 3 * 2 :])
    yield Damaged(f"header in ones {name}", data[:16] + b"\xff" * 12 + data[28:])
    stem, _, extension = name.rpartition(".")
    wrong = draw.choice([other for other in ("png", "wav", "mp4", "pdf", "txt", "gif") if other != extension])
    yield Damaged(f"wrong extension, {extension} {stem}.{wrong}", data)


def _flipped(data: bytes, draw: random.Random, count: int, within: int) -> bytes:
    out = bytearray(data)
    for _ in range(count):
        out[draw.randrange(4 if within > 8 else 0, within)] ^= 1 << draw.randrange(8)
    return bytes(out)


@cache
def hostile() -> tuple[Damaged, ...]:
    """Headers that lie, bombs, loops, and files that are none."""
    empty = [Damaged(f"no bytes.{extension}", b"") for extension in ("png", "jpg", "wav", "mp4", "pdf", "txt")]
    return (*empty, *_pictures(), *_sounds(), *_films(), *_documents(), *_strangers())


def png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    """A PNG with this header, extra chunks and compressed data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + more + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _pictures() -> Iterator[Damaged]:
    files = valid()
    yield Damaged("100000 x 100000.png", png(100_000, 100_000, zlib.compress(bytes(100))))
    yield Damaged("2147483647 wide.png", png(2**31 - 1, 1, zlib.compress(bytes(100))))
    yield Damaged("zero wide.png", png(0, 10, zlib.compress(bytes(100))))
    bomb = zlib.compressobj(9)
    rows = b"".join(bomb.compress(bytes(1 + 750)) for _ in range(6000)) + bomb.flush()
    yield Damaged("36 million pixels in 5 KB.png", png(6000, 6000, rows, depth=1, colour=0))
    yield Damaged("81 million pixels in 10 KB.png", png(9000, 9000, rows, depth=1, colour=0))
    flood = zlib.compress(bytes(40_000_000), 9)
    yield Damaged("text bomb.png", png(8, 8, zlib.compress(bytes(200)), more=png_chunk(b"zTXt", b"a\0\0" + flood) * 4))
    yield Damaged("profile bomb.png", png(8, 8, zlib.compress(bytes(200)), more=png_chunk(b"iCCP", b"a\0\0" + flood)))
    yield Damaged("data flood.png", png(8, 8, flood))
    yield Damaged("chunk of 4 GB.png", files["plain.png"][:33] + b"\xff\xff\xff\xffIDAT" + bytes(50))
    controls = png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    yield Damaged("two thousand million frames.png", png(8, 8, zlib.compress(bytes(200)), more=controls))
    gif = files["moving.gif"]
    yield Damaged("65535 x 65535.gif", gif[:6] + b"\xff\xff\xff\xff" + gif[10:])
    at = gif.index(b",", 13)
    yield Damaged("frame far outside.gif", gif[:at] + b",\xff\xff\xff\xff\xff\x00\xff\x00" + gif[at + 9 :])
    yield Damaged("5000 frames.gif", moving("GIF", 60)[:-1] + moving("GIF", 60)[13:-1] * 80 + b";")
    yield Damaged("endless block.gif", gif[:-1] + b"!\xfe" + b"\xff" * 20_000)
    yield Damaged("65535 x 65535.jpg", _jpeg_sized(files["plain.jpg"], 65535, 65535))
    yield Damaged("0 x 0.jpg", _jpeg_sized(files["plain.jpg"], 0, 0))
    scans = files["progressive.jpg"]
    scan = scans[scans.index(b"\xff\xda") : -2]
    yield Damaged("4000 scans.jpg", _jpeg_sized(scans, 4000, 4000)[:-2] + scan * 4000 + b"\xff\xd9")
    bmp = files["plain.bmp"]
    yield Damaged("2147483647 wide.bmp", bmp[:18] + struct.pack("<ii", 2**31 - 1, 1) + bmp[26:])
    yield Damaged("minus 2147483648 high.bmp", bmp[:18] + struct.pack("<ii", 10, -(2**31)) + bmp[26:])
    rle = bmp[:18] + struct.pack("<iiHHI", 4000, 4000, 1, 8, 1) + bmp[34:]
    yield Damaged("run lengths that end early.bmp", rle)
    yield from _tiffs(files["plain.tiff"])
    yield Damaged("16384 x 16384.webp", _webp_sized(16384, 16384, files["moving.webp"]))
    webp = files["moving.webp"]
    yield Damaged("4 GB.webp", webp[:4] + b"\xff\xff\xff\xff" + webp[8:])


def _tiffs(plain: bytes) -> Iterator[Damaged]:
    (at,) = struct.unpack_from("<I", plain, 4)
    (count,) = struct.unpack_from("<H", plain, at)
    end = at + 2 + 12 * count
    yield Damaged("circle of pages.tiff", plain[:end] + struct.pack("<I", at) + plain[end + 4 :])
    yield Damaged("65535 tags.tiff", plain[:at] + b"\xff\xff" + plain[at + 2 :])
    for tag, name in (
        (256, "width"),
        (257, "height"),
        (258, "bits"),
        (273, "strip places"),
        (277, "samples"),
        (279, "strip sizes"),
    ):
        for entry in range(at + 2, end, 12):
            if struct.unpack_from("<H", plain, entry)[0] == tag:
                yield Damaged(f"{name} of 4 billion.tiff", plain[: entry + 8] + b"\xff\xff\xff\xff" + plain[entry + 12 :])
                lie = struct.pack("<HI", 4, 2**32 - 1)
                yield Damaged(f"4 billion {name}.tiff", plain[: entry + 2] + lie + plain[entry + 8 :])
    pages = plain[:end] + struct.pack("<I", len(plain)) + plain[end + 4 :]
    for page in range(5000):
        pages += struct.pack("<HHHII", 1, 256, 3, 1, 4) + struct.pack("<I", len(pages) + 18 if page < 4999 else 0)
    yield Damaged("5000 pages.tiff", pages)


def _jpeg_sized(data: bytes, width: int, height: int) -> bytes:
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def _webp_sized(width: int, height: int, data: bytes) -> bytes:
    at = data.index(b"VP8X") + 12
    return data[:at] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[at + 6 :]


def _sounds() -> Iterator[Damaged]:
    wav, flac, ogg = valid()["pcm16.wav"], valid()["plain.flac"], valid()["vorbis.ogg"]
    at = wav.index(b"data") + 4
    yield Damaged("data of 4 GB.wav", wav[:at] + b"\xff\xff\xff\xff" + wav[at + 4 :])
    yield Damaged("data of 2 GB.wav", wav[:at] + b"\xff\xff\xff\x7f" + wav[at + 4 :])
    yield Damaged("no data.wav", wav[:at] + bytes(4))
    for channels, rate, bits in (
        (65535, 16000, 16),
        (0, 16000, 16),
        (1, 0, 16),
        (1, 2**32 - 1, 16),
        (1, 1, 16),
        (1, 16000, 0),
        (1, 16000, 65535),
    ):
        block = max(channels * bits // 8, 1) & 0xFFFF
        form = struct.pack("<HHIIHH", 1, channels, rate, rate * block & 0xFFFFFFFF, block, bits)
        yield Damaged(f"{channels} channels, {rate} Hz, {bits} bits.wav", wav[:20] + form + wav[36:])
    yield Damaged("format of 4 GB.wav", wav[:16] + b"\xff\xff\xff\xff" + wav[20:])
    yield Damaged("unknown codec.wav", wav[:20] + b"\x77\x77" + wav[22:])
    yield Damaged("chunks in chunks.wav", wav[:12] + (b"LIST\x04\0\0\0INFO" * 20_000) + wav[12:])
    yield Damaged("not numbers.wav", valid()["float.wav"][:80] + b"\xff\xff\xff\x7f" * 2000)
    yield Damaged("2^36 samples.flac", flac[:21] + b"\x0f\xff\xff\xff\xff" + flac[26:])
    yield Damaged("picture of 16 MB.flac", flac[:4] + b"\x06\xff\xff\xff" + flac[8:])
    yield Damaged("lying granules.ogg", ogg[:6] + b"\xff" * 8 + ogg[14:])
    yield Damaged("no end.ogg", ogg[: len(ogg) // 2] * 3)
    yield Damaged("tag of 256 MB.mp3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + valid()["plain.mp3"])
    yield Damaged("sync words only.mp3", b"\xff\xfb\x90\x64" * 30_000)
    yield Damaged("sync words only.aac", b"\xff\xf1\x50\x80\x02\x1f\xfc" * 20_000)
    yield Damaged("an hour of silence.flac", _long_flac())


def _long_flac() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(3 * 3600 * 1000, np.int16), 1000, format="FLAC")
    return file.getvalue()


def atom(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    return struct.pack(">I", len(body) + 8 if size is None else size) + kind + body


def _films() -> Iterator[Damaged]:
    mp4, mkv = valid()["h264.mp4"], valid()["mpeg4.mkv"]
    start = mp4[: mp4.index(b"ftyp") - 4 + struct.unpack_from(">I", mp4, 0)[0]]
    yield Damaged("atom of 4 GB.mp4", start + atom(b"moov", bytes(50), 2**32 - 1))
    yield Damaged("atom of 2^63.mp4", start + struct.pack(">I4sQ", 1, b"moov", 2**63 - 1) + bytes(50))
    yield Damaged("atom of 0.mp4", start + atom(b"moov", bytes(50), 0))
    yield Damaged("atom of 7.mp4", start + atom(b"moov", bytes(50), 7) * 2000)
    nest = b""
    for _ in range(3000):
        nest = atom(b"moov", nest)
    yield Damaged("nested moov.mp4", start + nest)
    nest = b""
    for _ in range(3000):
        nest = atom(b"trak", atom(b"mdia", nest))
    yield Damaged("nested trak.mp4", start + atom(b"moov", nest))
    for kind in (b"stsz", b"stts", b"stsc", b"stco", b"ctts", b"stss", b"elst", b"stsd"):
        if (at := mp4.find(kind)) > 0:
            yield Damaged(f"4 billion {kind.decode()}.mp4", mp4[: at + 8] + b"\xff\xff\xff\xff" + mp4[at + 12 :])
            yield Damaged(f"{kind.decode()} in ones.mp4", mp4[: at + 12] + b"\xff" * 16 + mp4[at + 28 :])
    for kind, place in ((b"mvhd", 16), (b"mdhd", 16), (b"tkhd", 80)):
        at = mp4.find(kind) + place
        yield Damaged(f"{kind.decode()} in ones.mp4", mp4[:at] + b"\xff" * 8 + mp4[at + 8 :])
        yield Damaged(f"{kind.decode()} in zeros.mp4", mp4[:at] + bytes(8) + mp4[at + 8 :])
    at = mp4.find(b"avc1") + 28
    yield Damaged("65535 x 65535.mp4", mp4[:at] + b"\xff\xff\xff\xff" + mp4[at + 4 :])
    yield Damaged("two hundred tracks.mp4", start + atom(b"moov", atom(b"trak", bytes(80)) * 200))
    at = mkv.find(b"\x16\x54\xae\x6b")
    yield Damaged("unknown size.mkv", mkv[: at + 4] + b"\x01\xff\xff\xff\xff\xff\xff\xff" + mkv[at + 5 :])
    yield Damaged("nested elements.mkv", mkv[:at] + b"\x16\x54\xae\x6b\x01\xff\xff\xff\xff\xff\xff\xff" * 3000)
    yield Damaged("header only.mkv", mkv[:40])


def _documents() -> Iterator[Damaged]:
    page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R /Resources << /XObject << /X 5 0 R >> >> >>"
    stream = "<< /Length 5 >>\nstream\n/X Do\nendstream"
    catalog, pages = "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    whole = pdf([["Hello"], ["there"]])
    yield Damaged("no xref.pdf", pdf([["Hello"]], xref=False))
    yield Damaged("xref in zeros.pdf", whole[: whole.index(b"xref\n")] + bytes(60) + whole[whole.index(b"trailer") :])
    yield Damaged("startxref far away.pdf", whole.replace(b"startxref\n", b"startxref\n9999999"))
    yield Damaged("previous xref is itself.pdf", whole.replace(b"/Root 1 0 R", b"/Root 1 0 R /Prev " + whole.split()[-2]))
    yield Damaged("pages within themselves.pdf", pdf_of([catalog, "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 4 >>"]))
    ring = [
        "<< /Type /Pages /Kids [3 0 R] /Count 9 /Parent 3 0 R >>",
        "<< /Type /Pages /Kids [2 0 R] /Count 9 /Parent 2 0 R >>",
    ]
    yield Damaged("pages in a ring.pdf", pdf_of([catalog, *ring]))
    for count in ("1000000000", "-1", "99999999999999", "0"):
        yield Damaged(f"count of {count}.pdf", whole.replace(b"/Count 2", f"/Count {count}".encode()))
    for box in ("0 0 1000000 1000000", "0 0 0 0", "0 0 -5 -5", "0 0 1e30 1e30", "nan nan 1 1", "0 0 0.0001 14400"):
        yield Damaged(f"box {box}.pdf", pdf([["Hello"]], box=box))
    itself = "<< /Type /XObject /Subtype /Form /BBox [0 0 200 200] /Resources << /XObject << /X 5 0 R >> >> /Length 11 >>"
    yield Damaged("form within itself.pdf", pdf_of([catalog, pages, page, stream, f"{itself}\nstream\n/X Do /X Do\nendstream"]))
    yield Damaged("forms to the power.pdf", pdf_of([catalog, pages, page, stream, *_laughs(12, 10)]))
    yield Damaged("arrays in arrays.pdf", pdf_of([catalog, pages, page, "[" * 50_000 + "]" * 50_000]))
    yield Damaged("a million operators.pdf", pdf([["Hello"]], extra="q " * 500_000 + "Q " * 500_000))
    yield Damaged("many lines.pdf", pdf([["Hello"]], extra="0 0 m 300 200 l S " * 60_000))
    flood = zlib.compress(zlib.compress(bytes(200_000_000), 9), 9).decode("latin-1")
    bomb = f"<< /Length {len(flood)} /Filter [/FlateDecode /FlateDecode] >>\nstream\n{flood}\nendstream"
    yield Damaged("stream bomb.pdf", pdf_of([catalog, pages, page, bomb]))
    locked = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O (" + b"x" * 32 + b") /U (" + b"y" * 32 + b") /P -4 >> /Root 1 0 R"
    yield Damaged("locked.pdf", whole.replace(b"/Root 1 0 R", locked))
    huge = "/Subtype /Image /Width 60000 /Height 60000 /BitsPerComponent 8 /ColorSpace /DeviceRGB"
    image = f"<< {huge} /Length 5 >>\nstream\nabcde\nendstream"
    yield Damaged("picture of 60000 x 60000.pdf", pdf_of([catalog, pages, page, stream, image]))
    yield Damaged("header only.pdf", b"%PDF-1.7\n")
    yield Damaged("header and noise.pdf", b"%PDF-1.7\n" + random.Random(3).randbytes(5000))


def _laughs(depth: int, wide: int) -> list[str]:
    forms = []
    for level in range(depth):
        body = "/X Do " * wide if level < depth - 1 else "0 0 10 10 re f"
        head = f"/Type /XObject /Subtype /Form /BBox [0 0 200 200] /Resources << /XObject << /X {6 + level} 0 R >> >>"
        forms.append(f"<< {head} /Length {len(body)} >>\nstream\n{body}\nendstream")
    return forms


def _strangers() -> Iterator[Damaged]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("word/document.xml", bytes(20_000_000))
    yield Damaged("zip bomb.docx", archive.getvalue())
    yield Damaged("gzip bomb.pdf", gzip.compress(bytes(20_000_000)))
    yield Damaged("playlist.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    yield Damaged("concat.mkv", b"ffconcat version 1.0\nfile /etc/passwd\n")
    yield Damaged("script.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>")
    yield Damaged("program.png", b"\x7fELF" + bytes(300))
    yield Damaged("latin.txt", "Grüße aus Köln".encode("latin-1"))
    yield Damaged("odd.txt", "text".encode("utf-16") + b"\0")
    yield Damaged("nul.txt", b"text\0text")
    yield Damaged("surrogates.txt", b"\xff\xfe\x00\xd8\x00\xd8")
    for size in (1, 3, 7, 64, 4096):
        yield Damaged(f"noise of {size}.jpg", random.Random(size).randbytes(size))
        yield Damaged(f"zeros of {size}.mp4", bytes(size))
    for name in ("plain.png", "plain.flac", "h264.mp4", "plain.pdf"):
        other = {"plain.png": "plain.jpg", "plain.flac": "pcm16.wav", "h264.mp4": "vp9.webm", "plain.pdf": "plain.png"}[name]
        yield Damaged(f"two in one {name}", valid()[name] + valid()[other])
        yield Damaged(f"the head of another {name}", valid()[other][:40] + valid()[name][40:])
    yield Damaged("one pixel.gif", saved(Image.new("P", (1, 1)), "GIF"))
