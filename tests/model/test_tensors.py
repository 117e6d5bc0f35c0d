from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from sensorium.errors import CheckpointError
from sensorium.model.tensors import assign, own_tensors, read_file, read_tensors, recover, replacing, write_tensors


class Net(nn.Module):
    """Two tied embeddings, a buffer that is kept and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("table", torch.arange(3.0), persistent=False)


def header_only(path: Path, header: bytes, length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header)
    return path


def test_shards_hold_what_one_file_holds(tmp_path: Path) -> None:
    tensors = {f"t{index}": torch.randn(10, 10) for index in range(5)}
    write_tensors(tmp_path, tensors, shard_bytes=900)
    assert len(list(tmp_path.glob("model-*-of-00003.safetensors"))) == 3
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 2000
    read = read_tensors(tmp_path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_tied_tensors_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    one, other = Net(), Net()
    write_tensors(tmp_path, own_tensors(one))
    stored = read_tensors(tmp_path)
    assert "embed.weight" in stored
    assert "head.weight" not in stored
    assign(other, stored, "net")
    assert other.head.weight is other.embed.weight
    assert torch.equal(other.embed.weight, one.embed.weight)
    assert isinstance(other.norm.running_mean, torch.Tensor)
    assert isinstance(other.embed.weight, nn.Parameter)


def test_half_precision_on_disk_becomes_the_type_of_the_model() -> None:
    net = Net()
    assign(
        net, {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in own_tensors(net).items()}, "net"
    )
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


def test_missing_and_unexpected_tensors_are_named_with_the_nearest_name() -> None:
    tensors = own_tensors(Net())
    tensors["norm.wieght"] = tensors.pop("norm.weight")
    with pytest.raises(CheckpointError) as error:
        assign(Net(), tensors, "net")
    assert "lacks 1 tensors ('norm.weight', did you mean 'norm.wieght'?)" in str(error.value)
    assert "holds 1 that the model has no place for ('norm.wieght', did you mean 'norm.weight'?)" in str(error.value)


def test_a_wrong_shape_is_named_and_nothing_is_assigned() -> None:
    net = Net()
    before = net.embed.weight.clone()
    tensors = {name: tensor + 1 for name, tensor in own_tensors(net).items()} | {"norm.bias": torch.zeros(7)}
    with pytest.raises(CheckpointError, match=r"'norm.bias' is \(7,\) and must be \(4,\)"):
        assign(net, tensors, "net")
    assert torch.equal(net.embed.weight, before)


def test_pickled_weights_are_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"only pickled weights \(pytorch_model.bin\).*save_pretrained"):
        read_tensors(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds neither model.safetensors nor"):
        read_tensors(tmp_path)
    with pytest.raises(CheckpointError, match="is not a folder"):
        read_tensors(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (b"{}", 1 << 62),
        (b"{}", 200),
        (b"not json", None),
        (b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,999999999]}}', None),
        (b'{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}', None),
        (b'{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]}}', None),
        (b'{"a":{"dtype":"PICKLE","shape":[1],"data_offsets":[0,4]}}', None),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', None),
        (b"[" * 5000, None),
    ],
)
def test_hostile_headers_are_refused(tmp_path: Path, header: bytes, length: int | None) -> None:
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        read_file(header_only(tmp_path / "model.safetensors", header, length))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), flips=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), max_size=4))
def test_damaged_files_are_refused_or_read_whole(tmp_path: Path, cut: int, flips: list[tuple[int, int]]) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.arange(12.0).reshape(3, 4), "bias": torch.ones(4)}, path)
    data = bytearray(path.read_bytes())
    for place, mask in flips:
        data[place % len(data)] ^= mask
    path.write_bytes(bytes(data[: len(data) - cut] if cut < len(data) else b""))
    try:
        tensors = read_file(path)
    except CheckpointError:
        return
    assert cut == 0
    assert all(tensor.numel() * tensor.element_size() <= len(data) for tensor in tensors.values())


def test_an_index_may_not_point_outside_its_folder(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "../outside.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"names the shard '../outside.safetensors'"):
        read_tensors(tmp_path)


def test_an_index_that_its_shards_belie_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "model-1.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    with pytest.raises(CheckpointError, match="disagree on 1 tensors, first 'b'"):
        read_tensors(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": ["a"]}))
    with pytest.raises(CheckpointError, match="has no weight_map"):
        read_tensors(tmp_path)


def _interrupted(folder: Path) -> None:
    with replacing(folder) as fresh:
        (fresh / "a").write_text("half of the new")
        raise KeyboardInterrupt


def test_an_interrupted_replacement_leaves_the_old_folder_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with replacing(folder) as fresh:
        (fresh / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(folder)
    assert (folder / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    with replacing(folder) as fresh:
        (fresh / "b").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_kill_between_the_two_renames_is_undone(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    folder.rename(tmp_path / ".model.previous")
    recover(folder)
    assert folder.is_dir()
    assert not (tmp_path / ".model.previous").exists()
