"""A mixture of real files, decoded in threads, goes on exactly after an interruption anywhere."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.data.mixture import Mixture
from sensorium.data.reader import Row, open_source
from sensorium.data.row import Source
from sensorium.data.stream import Stream
from sensorium.media import image
from sensorium.parts import Image
from tests.data import dialects


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    folder = tmp_path_factory.mktemp("files")
    dialects.pictures(folder)
    members = []
    for number in range(23):
        members += [(f"{number}.png", (folder / "cat.png").read_bytes()), (f"{number}.txt", f"Cat {number}.".encode())]
    shards = [str(dialects.tar(folder / "a-0.tar", members[:20])), str(dialects.tar(folder / "a-1.tar", members[20:]))]
    assert len(shards) == 2
    (folder / "side").mkdir()
    dialects.sheet(folder / "side" / "metadata.csv", [{"file_name": "../left.png", "text": f"Left {n}."} for n in range(5)])
    paths = [dialects.llava(folder), dialects.alpaca(folder), folder / "a-{0..1}.tar", folder / "side"]
    return [open_source(path) for path in paths]


def prepare(row: Row) -> str:
    """The row, its pictures decoded."""
    parts = [part for said in row.sample.messages for part in said.parts if isinstance(part, Image)]
    sizes = [(image.decode(part.source).width, image.decode(part.source).height) for part in parts]
    return f"{row.file} {row.row} {row.sample.id} {sizes}"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chosen=st.sets(st.integers(0, 3), min_size=1),
    seed=st.integers(0, 2**31),
    size=st.integers(1, 5),
    before=st.integers(0, 8),
    workers=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    ahead=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_a_stream_of_real_files_goes_on_where_it_was_left(
    files: list[Source], chosen: set[int], seed: int, size: int, before: int, workers: tuple[int, int], ahead: tuple[int, int]
) -> None:
    def begin(which: int) -> Stream[str]:
        mixture = Mixture([files[number] for number in sorted(chosen)], seed=seed)
        return Stream(mixture, size, prepare, workers=workers[which], ahead=ahead[which])

    first = begin(0)
    run = iter(first)
    for _ in range(before):
        next(run)
    position = json.loads(json.dumps(first.position()))
    expected = list(islice(run, 4))
    second = begin(1)
    second.seek(position)
    assert list(islice(iter(second), 4)) == expected and all(len(batch) == size for batch in expected)
