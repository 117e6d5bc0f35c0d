"""COCO, VQAv2, tar shards, folders, registries and tables, as the tools of each write them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from sensorium.data import hub
from sensorium.data.fault import Fault
from sensorium.data.hub import from_table, open_hub
from sensorium.data.mixture import Mixture
from sensorium.data.reader import Indexed, Row, Source, Streamed, open_source
from sensorium.data.record import Found
from sensorium.data.told import Tell
from sensorium.errors import DataError, DependencyError
from sensorium.parts import Audio, Image, Message, Part, Sample, Text, Video
from tests.data import dialects

CAPTIONS = (("cat.png", "A cat."), ("left.png", "A left thing."), ("right.png", "A right thing."))


def told(folder: Path, ids: tuple[str, ...] = ("1", "2", "3")) -> list[Sample]:
    """Captions as samples."""
    return [
        Sample(number, (Message("user", (Image(str(folder / name)),)), Message("assistant", (Text(words),), learn=True)))
        for number, (name, words) in zip(ids, CAPTIONS, strict=True)
    ]


def good(source: Source) -> list[Sample]:
    rows = list(source.rows())
    if isinstance(source, Indexed):
        assert [source.row(index) for index in range(len(source))] == rows
        assert [list(source.rows(start)) for start in range(len(rows) + 1)] == [rows[start:] for start in range(len(rows) + 1)]
    assert not [row for row in rows if isinstance(row, Fault)], rows
    return [row.sample for row in rows if isinstance(row, Row)]


def plain(samples: list[Sample]) -> list[Sample]:
    """Without what only some dialects keep beside the messages."""
    return [replace(sample, meta={}) for sample in samples]


def by_content(samples: list[Sample]) -> list[Sample]:
    """Media as their bytes, wherever those are kept."""

    def part(item: Part) -> Part:
        if isinstance(item, Text) or isinstance(item.source, bytes):
            return item
        return replace(item, source=Path(item.source).read_bytes())

    return [
        replace(sample, messages=tuple(replace(said, parts=tuple(map(part, said.parts))) for said in sample.messages))
        for sample in samples
    ]


def coco(folder: Path) -> Path:
    content = {
        "info": {"year": 2014, "description": "a [test] of {brackets}"},
        "images": [
            {"id": 10 + number, "file_name": name, "height": 3, "width": 4, "license": 2}
            for number, (name, _) in enumerate(CAPTIONS)
        ],
        "licenses": [{"id": 1, "name": "no"}, {"id": 2, "name": "CC BY"}],
        "annotations": [
            {"id": 1 + number, "image_id": 10 + number, "caption": words} for number, (_, words) in enumerate(CAPTIONS)
        ],
    }
    path = folder / "captions_train2014.json"
    path.write_text(json.dumps(content))
    return path


def test_coco_captions(folder: Path) -> None:
    source = open_source(coco(folder))
    samples = good(source)
    assert plain(samples) == told(folder)
    assert [dict(sample.meta) for sample in samples] == [{"licence": "CC BY", "image_id": 10 + number} for number in range(3)]
    assert not source.remarks.ignored


def test_a_caption_without_its_picture_is_a_fault(folder: Path) -> None:
    path = coco(folder)
    content = json.loads(path.read_text())
    content["annotations"][1]["image_id"] = 99
    del content["annotations"][2]["caption"]
    path.write_text(json.dumps(content))
    _, second, third = open_source(path).rows()
    assert isinstance(second, Fault) and isinstance(third, Fault)
    assert second[1:4] == (2, "image_id", "missing-image") and "is 99, and no entry of images" in second.reason
    assert third[1:4] == (3, "caption", "missing-field")


def vqa(folder: Path, names: tuple[str, ...] = ("COCO_train2014_000000000007.jpg",), subset: str = "train2014") -> Path:
    for name in names:
        (folder / name).write_bytes(b"x")
    questions = [{"image_id": 7, "question": f"What {number}?", "question_id": 70 + number} for number in range(3)]
    answers = [
        {
            "question_id": 70 + number,
            "image_id": 7,
            "question_type": "what",
            "answer_type": "other",
            "multiple_choice_answer": f"a{number}",
            "answers": [{"answer": f"a{number}", "answer_confidence": "yes", "answer_id": 1}],
        }
        for number in (2, 0, 1)
    ]
    path = folder / f"v2_OpenEnded_mscoco_{subset}_questions.json"
    path.write_text(json.dumps({"info": {}, "questions": questions, "data_subtype": subset}))
    (folder / f"v2_mscoco_{subset}_annotations.json").write_text(json.dumps({"annotations": answers, "data_subtype": subset}))
    return path


def test_vqa(folder: Path) -> None:
    samples = good(open_source(vqa(folder)))
    image = Image(str(folder / "COCO_train2014_000000000007.jpg"))
    for number, sample in enumerate(samples):
        user = Message("user", (image, Text(f"What {number}?")))
        assert (sample.id, sample.messages) == (
            str(70 + number),
            (user, Message("assistant", (Text(f"a{number}"),), learn=True)),
        )
        assert set(sample.meta) == {"image_id", "question_type", "answer_type", "answers"}


def test_vqa_pictures_under_other_names_and_what_is_missing(folder: Path) -> None:
    path = vqa(folder, ("000000000007.jpg",), "val2017")
    row = next(iter(open_source(path).rows()))
    assert isinstance(row, Row) and row.sample.messages[0].parts[0] == Image(str(folder / "000000000007.jpg"))
    answers = folder / "v2_mscoco_val2017_annotations.json"
    content = json.loads(answers.read_text())
    answers.write_text(json.dumps({"annotations": content["annotations"][:2]}))
    fault = list(open_source(path).rows())[1]
    assert isinstance(fault, Fault) and fault[1:4] == (2, "question_id", "missing-answer")
    answers.unlink()
    with pytest.raises(DataError, match=r"has no answers beside it \(.*v2_mscoco_val2017_annotations\.json"):
        open_source(path)


def test_shards_of_conversations_written_by_webdataset(folder: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    for shard, talks in enumerate((dialects.TALKS[:2], dialects.TALKS[2:])):
        with webdataset.TarWriter(str(folder / f"talks-{shard:06d}.tar")) as writer:
            for talk in talks:
                pictures = {f"{number}.png": (folder / name).read_bytes() for number, name in enumerate(talk["images"])}
                row = {"conversations": dialects.turns(talk, "from", "value", "human", "gpt"), "system": talk.get("system")}
                writer.write({"__key__": talk["id"], "json": row, **pictures})
    expected = by_content(dialects.expected(folder))
    for pattern in (folder, folder / "talks-{000000..000001}.tar", folder / "talks-*.tar"):
        source = open_source(pattern)
        assert good(source) == expected
        places = [(Path(row.file).name, row.row) for row in source.rows()]
        assert places == [("talks-000000.tar", 1), ("talks-000000.tar", 2), ("talks-000001.tar", 1)]


def test_shards_of_captions(folder: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(folder / "a.tar")) as writer:
        for number, (name, words) in enumerate(CAPTIONS, 1):
            more = {"txt": words} if number < 3 else {"json": {"caption": words, "width": 4}}
            writer.write({"__key__": f"x/{number}", "png": (folder / name).read_bytes(), **more})
        writer.write({"__key__": "x/4", "flac": b"fLaC", "txt": "Rain.", "cls": 3, "npy": b"\x93NUMPY"})
        writer.write({"__key__": "x/5", "mp4": b"....ftyp", "txt": "A walk."})
    source = open_source(folder / "a.tar")
    samples = good(source)
    assert samples[:3] == by_content(told(folder, ("x/1", "x/2", "x/3")))
    assert samples[3].messages[0].parts == (Audio(b"fLaC"),) and samples[3].meta == {"label": "3"}
    assert samples[4].messages[0].parts == (Video(b"....ftyp"),)
    assert source.remarks.ignored == {"width", ".npy"}


def test_damaged_shards(folder: Path) -> None:
    members = [(f"{number}.{kind}", b"x" * 700) for number in range(4) for kind in ("png", "txt")]
    whole = dialects.tar(folder / "whole.tar", members)
    content = whole.read_bytes()
    (folder / "cut.tar").write_bytes(content[:5000])
    rows = list(open_source(folder / "cut.tar").rows())
    assert [isinstance(row, Fault) and row.kind for row in rows] == [False, "truncated"]
    (folder / "unended.tar").write_bytes(content[: 8 * 1536])
    rows = list(open_source(folder / "unended.tar").rows())
    assert [isinstance(row, Fault) and row.kind for row in rows] == [False] * 3 + ["truncated"]
    (folder / "no.tar").write_bytes(b"<html>not found</html>" * 100)
    (fault,) = open_source(folder / "no.tar").rows()
    assert isinstance(fault, Fault) and (fault.kind, fault.row) == ("truncated", 1)
    twice = dialects.tar(folder / "twice.tar", [("a.png", b"1"), ("a.png", b"2"), ("b.png", b"3"), ("b.txt", b"words")])
    first, second = open_source(twice).rows()
    assert isinstance(first, Fault) and first[2:4] == ("png", "duplicate-member") and isinstance(second, Row)
    with pytest.raises(DataError, match=r"gone-0002\.tar: is no tar file that is there"):
        open_source(folder / "gone-{0002..0003}.tar")
    (folder / "small.tar").write_bytes(b"\x1f\x8b" + bytes(40))
    with pytest.raises(DataError, match="is compressed.*Unpack it with gunzip"):
        open_source(folder / "small.tar")


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_folder_with_metadata(kind: str, folder: Path) -> None:
    rows = [{"id": str(number), "file_name": name, "text": words} for number, (name, words) in enumerate(CAPTIONS, 1)]
    path = folder / f"metadata.{kind}"
    dialects.sheet(path, rows) if kind == "csv" else dialects.lines(path, rows)
    assert good(open_source(folder)) == told(folder)


def test_metadata_with_line_feeds_quotes_and_too_many_cells(folder: Path) -> None:
    words = 'Two\nlines, "quoted"'
    path = dialects.sheet(
        folder / "metadata.csv", [{"file_name": "cat.png", "text": words}, {"file_name": "left.png", "text": "ü"}]
    )
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"right.png,a,b\r\n\r\n,nothing\r\nx.txt,words\r\n")
    first, second, third, fourth, fifth = open_source(folder).rows()
    assert isinstance(first, Row) and first.sample.messages[1].parts == (Text(words),)
    assert isinstance(second, Row) and second.row == 2
    assert isinstance(third, Fault) and third[1:4] == (3, "row", "bad-csv")
    assert isinstance(fourth, Fault) and fourth[1:4] == (4, "file_name", "missing-field")
    assert isinstance(fifth, Fault) and fifth[2:4] == ("file_name", "wrong-type")


def test_a_folder_with_conversations(folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": talk["id"],
            "file_names": talk["images"],
            "messages": dialects.turns(talk, "role", "content", "user", "assistant", "system"),
        }
        for talk in dialects.TALKS[:2]
    ]
    rows.append({"audio_file_name": "a.wav", "question": "What is heard?", "answer": "Rain.", "extra": 1})
    dialects.lines(folder / "metadata.jsonl", rows)
    source = open_source(folder)
    samples = good(source)
    assert samples[:2] == dialects.expected(folder)[:2]
    assert samples[2].messages[0].parts == (Audio(str(folder / "a.wav")), Text("What is heard?"))
    assert source.remarks.ignored == {"extra"}


def test_a_folder_of_classes(folder: Path) -> None:
    for name, label in (("cat.png", "cat"), ("left.png", "side"), ("right.png", "side")):
        (folder / "all" / label).mkdir(parents=True, exist_ok=True)
        (folder / name).rename(folder / "all" / label / name)
    (folder / "all" / "side" / "notes.txt").write_text("no medium")
    samples = good(open_source(folder / "all"))
    assert [sample.messages[1].parts[0] for sample in samples] == [Text("cat"), Text("side"), Text("side")]
    assert samples[2].messages[0].parts == (Image(str(folder / "all/side/right.png")),)
    assert [sample.meta["label"] for sample in samples] == ["cat", "side", "side"]


def test_a_folder_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no metadata\.jsonl or metadata\.csv and no folders of media\. Write one"):
        open_source(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metadata.jsonl").write_text("{}")
    with pytest.raises(DataError, match="but its folders do: train. Open one of them"):
        open_source(tmp_path)


def test_a_registry_is_closed(folder: Path) -> None:
    path = folder / "dataset_info.json"
    path.write_text(json.dumps({"a": {"file_name": "a.json", "columns": {"image": "pics"}}}))
    with pytest.raises(DataError, match=r"a, columns\.image: Extra inputs are not permitted"):
        open_source(path)
    path.write_text(json.dumps({"a": {"file_name": "a.json"}, "b": {"hf_hub_url": "x/y"}}))
    with pytest.raises(DataError, match=r"has 2 data sets\. Choose one as dataset_info\.json#NAME of a, b"):
        open_source(path)
    with pytest.raises(DataError, match="has no data set 'c'"):
        open_source(f"{path}#c")
    with pytest.raises(DataError, match=r"a\.json: is not there, although 'a' of"):
        open_source(f"{path}#a")
    with pytest.raises(DataError, match=r"b: is not a local file \(file_name\)"):
        open_source(f"{path}#b")


def test_a_column_the_registry_does_not_name_is_not_used(folder: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "Yes."}], "images": ["cat.png"]}
    dialects.array(folder / "rows.json", [row, row])
    path = folder / "dataset_info.json"
    entry = {"file_name": "rows.json", "formatting": "sharegpt", "num_samples": 1}
    path.write_text(json.dumps({"a": entry}))
    (fault,) = open_source(path).rows()
    assert (
        isinstance(fault, Fault) and fault[2:4] == ("images", "placeholder-count") and "Name the image in a column" in fault.fix
    )
    path.write_text(json.dumps({"a": entry | {"columns": {"messages": "conversations", "images": "images"}}}))
    assert len(good(open_source(path))) == 1


def table(folder: Path) -> Any:
    """Conversations with real pictures in a `datasets` table, as vision trainers store them."""
    datasets = pytest.importorskip("datasets")
    rows = []
    for talk in dialects.TALKS:
        messages = dialects.turns(talk, "role", "content", "user", "assistant", "system")
        for said in messages:
            said["content"] = [
                {"type": part["type"], "text": part.get("text")} for part in dialects.typed(said["content"], [{}] * 9)
            ]
        rows.append({"id": talk["id"], "messages": messages, "images": [str(folder / name) for name in talk["images"]]})
    text = {"type": datasets.Value("string"), "text": datasets.Value("string")}
    message = {"role": datasets.Value("string"), "content": datasets.List(text)}
    features = datasets.Features(
        {"id": datasets.Value("string"), "messages": datasets.List(message), "images": datasets.List(datasets.Image())}
    )
    return datasets.Dataset.from_list(rows, features=features)


def test_a_table_saved_to_disk_typed_as_trl_has_it(folder: Path) -> None:
    table(folder).save_to_disk(str(folder / "saved"))
    samples = good(open_source(folder / "saved"))
    assert by_content(samples) == by_content(dialects.expected(folder))


def test_a_table_with_splits_and_a_parquet_file(folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"train": table(folder), "test": table(folder)}).save_to_disk(str(folder / "splits"))
    expected = by_content(dialects.expected(folder))
    assert by_content(good(open_source(f"{folder / 'splits'}#test"))) == expected
    with pytest.raises(DataError, match=r"has no split 'dev'\. Use one of train, test"):
        open_hub(str(folder / "splits"), split="dev")
    table(folder).to_parquet(str(folder / "rows.parquet"))
    source = open_source(folder / "rows.parquet")
    assert isinstance(source, Streamed) and by_content(good(source)) == expected


def test_sounds_and_captions_of_a_table_are_not_decoded(folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    (folder / "a.wav").write_bytes(b"RIFF....WAVE")
    rows = datasets.Dataset.from_list([{"audio": str(folder / "a.wav"), "text": "one", "speaker": 3}])
    rows = rows.cast_column("audio", datasets.Audio())
    source = from_table(rows, "speech")
    (sample,) = good(source)
    assert sample.messages[0].parts == (Audio(str(folder / "a.wav")),) and sample.messages[1].parts == (Text("one"),)
    assert source.remarks.ignored == {"speaker"}


def test_a_stream_goes_on_from_its_own_state(folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list([{"instruction": f"Say {number}.", "output": str(number)} for number in range(50)])
    source = from_table(rows.to_iterable_dataset(num_shards=3), "numbers")
    assert isinstance(source, Streamed)
    whole = list(source.rows())
    assert [row.row for row in whole] == list(range(1, 51)) and list(source.rows(20)) == whole[20:]
    for before in (0, 1, 17, 49, 50):
        walk = source.walk()
        begun = [next(walk) for _ in range(before)]
        assert [unread() for unread in (*begun, *source.walk(json.loads(json.dumps(walk.bookmark()))))] == whole
    mixture = Mixture([source], seed=3, block=8)
    run = iter(mixture)
    for _ in range(61):
        next(run)
    position = json.loads(json.dumps(mixture.position()))
    expected = [next(run) for _ in range(60)]
    other = Mixture([from_table(rows.to_iterable_dataset(num_shards=3), "numbers")], seed=3, block=8)
    other.seek(position)
    later = iter(other)
    assert [next(later) for _ in range(60)] == expected


def test_a_process_tells_only_its_own_rows_of_a_stream(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`told` makes the samples; two processes make each sample once between them, in the order of one."""
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list([{"instruction": f"Say {number}.", "output": str(number)} for number in range(50)])
    made, original = list[int](), hub.told

    def counted(found: Found, tell: Tell) -> Row | Fault:
        made.append(found.row)
        return original(found, tell)

    monkeypatch.setattr(hub, "told", counted)

    def sequence(rank: int, world: int, count: int) -> list[Row]:
        source = from_table(rows.to_iterable_dataset(num_shards=3), "numbers")
        return list(islice(iter(Mixture([source], seed=3, block=8, epochs=1).shard(rank, world)), count))

    alone = sequence(0, 1, 50)
    made.clear()
    halves = [sequence(rank, 2, 25) for rank in (0, 1)]
    assert [row for pair in zip(*halves, strict=True) for row in pair] == alone
    assert sorted(made) == list(range(1, 51))


def test_without_the_library_the_remedy_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(
        DependencyError, match=r"datasets: is needed to read x/y, and is not installed\. pip install datasets\."
    ):
        open_hub("x/y")


def test_pictures_in_this_folder_are_real(folder: Path) -> None:
    assert Pillow.open(io.BytesIO((folder / "cat.png").read_bytes())).size == (4, 3)
