"""Building and loading the compiled code; its threads."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sensorium.cache import cache_folder
from sensorium.language import native as module
from sensorium.language.native import Native, NativeUnavailable, build, native
from sensorium.language.quantized import Bits, QuantizedLinear


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    native.cache_clear()
    yield
    native.cache_clear()


@pytest.fixture
def compiled() -> Native:
    """The library, where there is a compiler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NativeUnavailable)
        found = native()
    if found is None:
        pytest.skip("no C compiler here")
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small C file instead of the real one, which takes seconds."""
    path = tmp_path / "small.c"
    path.write_text("int answer(void) { return 42; }\n")
    return path


@pytest.mark.usefixtures("compiled")
def test_one_source_is_built_once(tmp_path: Path, source: Path) -> None:
    first = build(tmp_path / "cache", source)
    made = first.stat().st_mtime_ns
    assert build(tmp_path / "cache", source) == first
    assert first.stat().st_mtime_ns == made
    source.write_text("int answer(void) { return 43; }\n")
    assert build(tmp_path / "cache", source) != first
    assert len(list((tmp_path / "cache").iterdir())) == 2  # and nothing half made


@pytest.mark.usefixtures("compiled")
def test_another_processor_is_another_library(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = build(tmp_path, source)
    monkeypatch.setattr(module, "_processor", lambda: "flags: none of the good ones")
    assert build(tmp_path, source) != here


@pytest.mark.usefixtures("compiled")
def test_a_source_that_does_not_compile_says_why(tmp_path: Path, source: Path) -> None:
    source.write_text("int answer(void) { return }\n#error this is why\n")
    with pytest.raises(subprocess.SubprocessError, match=r"could not build small\.c: .+"):
        build(tmp_path / "cache", source)
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_compiler_there_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    with pytest.warns(NativeUnavailable, match=r"plain torch.*no C compiler on the path.*Install a C compiler"):
        assert native() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert native() is None
        layer = QuantizedLinear(torch.eye(3), None, 8)
        assert layer(torch.tensor([[1.0, 2.0, -3.0]])).sub(torch.tensor([[1.0, 2.0, -3.0]])).abs().max() < 0.02


def test_a_compiler_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-cc -O2")
    with pytest.raises(FileNotFoundError, match="CC names, no-such-cc, is not there"):
        build(tmp_path)


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "file"))
    with pytest.warns(NativeUnavailable, match="plain torch"):
        assert native() is None


def test_it_can_be_switched_off_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_NATIVE", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert native() is None


def test_the_cache_is_where_the_variables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "ours"))
    assert cache_folder() == tmp_path / "ours"


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x_BD = _layer(), torch.randn(300, 96)
    alone_BD = layer(x_BD)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for _ in range(20):
        assert layer(x_BD).equal(alone_BD)


@pytest.mark.usefixtures("compiled")
def test_callers_in_several_threads_wait_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    layer, inputs = _layer(), [torch.randn(rows, 96) for rows in (1, 7, 40, 100)]
    right, wrong = [layer(x_BD) for x_BD in inputs], []

    def call(x_BD: Tensor, expected_BD: Tensor) -> None:
        wrong.extend(i for i in range(30) if not layer(x_BD).equal(expected_BD))

    threads = [threading.Thread(target=call, args=pair) for pair in zip(inputs, right, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.usefixtures("compiled")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_makes_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    layer, x_BD = _layer(), torch.randn(40, 96)
    expected_BD = layer(x_BD)
    child = os.fork()
    if child == 0:
        os._exit(0 if layer(x_BD).equal(expected_BD) else 1)
    end = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.01)
    assert ended == (child, 0), "the child hangs or computes something else"


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are its instruction sets")
@pytest.mark.parametrize("machine", ["-march=x86-64", "-march=x86-64-v3", "-march=x86-64-v3 -mavxvnni", "-march=x86-64-v4"])
def test_every_instruction_set_gives_the_same(
    machine: str, compiled: Native, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    can = set(module._processor().replace("\t", " ").split(" "))
    if (
        not {"-march=x86-64-v3": {"avx2", "fma"}, "-mavxvnni": {"avx_vnni"}, "-march=x86-64-v4": {"avx512bw"}}.get(
            machine.split()[-1], set()
        )
        <= can
    ):
        pytest.skip("this processor cannot")
    layers = [_layer(8), _layer(4)]
    x_BD = torch.randn(21, 96)
    expected = [layer(x_BD) for layer in layers]
    monkeypatch.setattr(module, "_TUNING", (tuple(machine.split()),))
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path))
    native.cache_clear()
    for layer, right_BD in zip(layers, expected, strict=True):
        assert torch.allclose(layer(x_BD), right_BD, rtol=1e-4, atol=1e-4)
    now = native()
    assert now is not None
    assert now.path != compiled.path


def _layer(bits: Bits = 8) -> QuantizedLinear:
    torch.manual_seed(0)
    return QuantizedLinear(torch.randn(500, 96), None, bits)
