"""Finds a C compiler, builds native.c once for this machine, and loads it; where that fails, one warning and plain torch."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from sensorium.cache import cache_folder

SWITCH = "SENSORIUM_NATIVE"
"""Set this variable to 0 to do without compiled code."""

_SOURCE = Path(__file__).with_name("native.c")
_OPTIONS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-pthread", "-fno-math-errno", "-Wno-psabi")
_TUNING = (("-march=native",), ("-mcpu=native",), ())
"""Tried in this order: x86, then ARM's spelling, then any machine of the kind."""

_SECONDS = 300


class NativeUnavailable(RuntimeWarning):
    """Compiled code cannot be used; says why and what it costs."""


class CAdapter(ctypes.Structure):
    """`Adapter` of native.c."""

    _fields_ = (
        ("rank", ctypes.c_int32),
        ("which", ctypes.c_int32),
        ("strength", ctypes.c_float),
        ("down", ctypes.c_void_p),
        ("up", ctypes.c_void_p),
    )


class CLinear(ctypes.Structure):
    """`Linear` of native.c."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("kind", "inputs", "outputs", "adapters")),
        *((name, ctypes.c_void_p) for name in ("weight", "scale", "bias")),
        ("adapter", ctypes.POINTER(CAdapter)),
    )


class CLayer(ctypes.Structure):
    """`Layer` of native.c."""

    _fields_ = (
        *((name, CLinear) for name in ("q", "k", "v", "o", "gate", "up", "down")),
        *(
            (name, ctypes.c_void_p)
            for name in ("before_attention", "after_attention", "before_mlp", "after_mlp", "q_norm", "k_norm")
        ),
        ("table", ctypes.c_int32),
        ("window", ctypes.c_int32),
    )


class CModel(ctypes.Structure):
    """`Model` of native.c."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("layers", "dim", "heads", "kv_heads", "head_dim", "inner", "activation")),
        *((name, ctypes.c_float) for name in ("eps", "offset", "scale", "softcap")),
        ("norm", ctypes.c_void_p),
        ("layer", ctypes.POINTER(CLayer)),
    )


class CCall(ctypes.Structure):
    """`Call` of native.c."""

    _fields_ = (
        ("rows", ctypes.c_int32),
        ("capacity", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("embeds", "hidden", "cache", "lengths", "positions")),
        ("cosines", ctypes.c_void_p * 2),
        ("sines", ctypes.c_void_p * 2),
        ("on", ctypes.c_void_p),
    )


class Native:
    """The loaded library.

    Args:
        path: of the shared object that `build` made.

    Raises:
        OSError: it cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        self.path, code = path, ctypes.CDLL(str(path))
        self._linear, self._step = code.sensorium_linear, code.sensorium_step
        self._linear.argtypes = (
            ctypes.POINTER(CLinear),
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_int64,
            ctypes.c_int,
        )
        self._step.argtypes = (ctypes.POINTER(CModel), ctypes.POINTER(CCall), ctypes.c_int)

    def linear(self, layer: CLinear, x_BD: Tensor) -> Tensor:
        """One layer for `(B, in)` fp32 rows on the CPU: `(B, out)`. The tensors that `layer` points to must be alive."""
        x_BD = x_BD.contiguous()
        out_BD = torch.empty(x_BD.shape[0], layer.outputs)
        _check(self._linear(ctypes.byref(layer), x_BD.data_ptr(), out_BD.data_ptr(), x_BD.shape[0], torch.get_num_threads()))
        return out_BD

    def step(self, model: CModel, call: CCall) -> None:
        """One decoding step; see `sensorium_step`."""
        _check(self._step(ctypes.byref(model), ctypes.byref(call), torch.get_num_threads()))


@lru_cache(maxsize=1)
def native() -> Native | None:
    """The library for this machine, built at the first call (seconds, once); None, with a warning, where there is none."""
    if os.environ.get(SWITCH, "1") == "0":
        return None
    try:
        return Native(build(cache_folder() / "native"))
    except (OSError, subprocess.SubprocessError) as reason:
        warnings.warn(
            f"quantised decoding runs in plain torch, several times slower: {reason}. "
            f"Install a C compiler (gcc or clang), or set {SWITCH}=0 to silence this.",
            NativeUnavailable,
            stacklevel=2,
        )
        return None


def build(folder: Path, source: Path = _SOURCE) -> Path:
    """Compile `source` into `folder`, unless that was done for this source, compiler and processor; the shared object.

    Raises:
        OSError: no compiler, or a folder that cannot be written.
        subprocess.SubprocessError: the compiler failed or took too long; the message ends with its last words.
    """
    command = compiler()
    code = source.read_bytes()
    about = (code, _version(command).encode(), _processor().encode(), repr((_OPTIONS, _TUNING, platform.platform())).encode())
    path = folder / f"decoder-{hashlib.sha256(b'|'.join(about)).hexdigest()[:16]}.so"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    said = ""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        made = Path(work) / path.name
        for tuning in _TUNING:
            arguments = [*command, *_OPTIONS, *tuning, str(source), "-o", str(made), "-lm"]
            run = subprocess.run(arguments, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
            if run.returncode == 0:
                made.replace(path)  # whole or not at all, when several processes build at once
                return path
            said = said or (run.stderr.strip().splitlines() or ["no message"])[-1]
    raise subprocess.SubprocessError(f"{shlex.join(command)} could not build {source.name}: {said}")


def compiler() -> Sequence[str]:
    """The C compiler as a command: `CC`, or the first of cc, gcc and clang.

    Raises:
        OSError: there is none.
    """
    if given := shlex.split(os.environ.get("CC", "")):
        if shutil.which(given[0]):
            return given
        raise FileNotFoundError(f"the compiler that CC names, {given[0]}, is not there")
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise FileNotFoundError("no C compiler on the path (cc, gcc, clang)")


def _version(command: Sequence[str]) -> str:
    return subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True).stdout


def _processor() -> str:
    """What the machine's processor can do: a library built for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


def _check(code: int) -> None:
    if code:
        raise MemoryError("no memory for a decoding step")
