"""Features kept on disk are those the encoder gives, made once, bounded in bytes and shared by processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sensorium.batch import Features
from sensorium.errors import RequestError
from sensorium.training.cached import CachedEncoder, fingerprint, remembered


class Patches(nn.Module):
    """Cells of four numbers through a matrix; counts what it is shown."""

    def __init__(self, layer: int = -1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.seen, self.map = layer, [0], nn.Linear(4, 6)
        self.eval().requires_grad_(False)

    def forward(self, media: Sequence[Tensor]) -> Features:
        self.seen[0] += len(media)
        steps = torch.tensor([len(tensor) // 4 for tensor in media])
        cells = [self.map(tensor[: len(tensor) // 4 * 4].view(-1, 4)) for tensor in media]
        x_PTD = nn.utils.rnn.pad_sequence(cells, batch_first=True)
        return Features(x_PTD, torch.arange(x_PTD.shape[1]) < steps[:, None])


def media(*lengths: int) -> list[Tensor]:
    return [torch.randn(length, generator=torch.Generator().manual_seed(length)) for length in lengths]


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("??/*"))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.float32, 0.0)])
def test_features_are_made_once_and_come_back_in_order(tmp_path: Path, dtype: torch.dtype, tolerance: float) -> None:
    encoder = Patches()
    cached = CachedEncoder(encoder, tmp_path, dtype=dtype)
    wanted = encoder(media(16, 8, 40))
    encoder.seen[0] = 0
    for some in (media(16, 8), media(40, 16, 8), media(8, 40, 16)):
        given, plain = cached(some), Patches()(some)
        assert given.x_BTD.dtype == torch.float32
        assert given.valid_BT.equal(plain.valid_BT)
        apart = (given.x_BTD - plain.x_BTD)[plain.valid_BT].abs().max()
        assert float(apart) <= tolerance * float(wanted.x_BTD.abs().max())
    assert encoder.seen[0] == 3
    assert (cached.hits, cached.misses) == (5, 3)
    again = CachedEncoder(Patches(), tmp_path, dtype=dtype)
    again(media(8, 16, 40))
    assert again.misses == 0, "another process with the same encoder finds them"


def test_another_encoder_setting_or_medium_has_other_features(tmp_path: Path) -> None:
    CachedEncoder(Patches(), tmp_path)(media(16))
    other = Patches()
    other.map.weight.mul_(1.01)
    shaped = [media(16)[0].view(4, 4).t().contiguous().view(-1)]
    for encoder, some in ((other, media(16)), (Patches(layer=-2), media(16)), (Patches(), shaped)):
        cached = CachedEncoder(encoder, tmp_path)
        cached(some)
        assert cached.misses == 1
    assert fingerprint(Patches()) == fingerprint(Patches())
    assert fingerprint(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) != fingerprint(nn.Sequential(nn.Linear(2, 2), nn.Tanh()))


def test_bytes_are_bounded_and_the_least_used_go_first(tmp_path: Path) -> None:
    cached = CachedEncoder(Patches(), tmp_path, limit=60_000)
    favourite = media(400)
    cached(favourite)
    for turn in range(200):
        cached([torch.full((400,), float(turn))])
        if turn % 5 == 0:
            os.utime(cached._path(favourite[0]), (2e9, 2e9))  # used last, however coarse the clock
        assert size(tmp_path) <= 60_000
    assert size(tmp_path) > 30_000
    missed = cached.misses
    cached(favourite)
    assert cached.misses == missed
    cached([torch.full((400,), 0.0)])
    assert cached.misses == missed + 1


def test_what_a_crash_left_is_counted_and_goes_first(tmp_path: Path) -> None:
    cached = CachedEncoder(Patches(), tmp_path, limit=20_000)
    cached(media(400))
    kept = cached._path(media(400)[0])
    (kept.parent / "half.partial").write_bytes(bytes(18_000))
    (tmp_path / "held").write_text("")
    cached([torch.ones(400)])
    assert size(tmp_path) < 4_000
    assert kept.exists()
    assert int((tmp_path / "held").read_text()) == size(tmp_path)
    cached([torch.ones(40_000)])
    assert size(tmp_path) < 4_000, "features larger than the limit push nothing out"


def test_a_file_cut_short_is_made_again(tmp_path: Path) -> None:
    cached = CachedEncoder(Patches(), tmp_path)
    wanted = cached(media(16)).x_BTD
    path = cached._path(media(16)[0])
    for damage in (path.read_bytes()[:-3], b"", b"no features"):
        path.write_bytes(damage)
        assert cached(media(16)).x_BTD.equal(wanted)
    assert cached.misses == 4


def test_an_encoder_that_learns_is_refused(tmp_path: Path) -> None:
    encoder = Patches()
    encoder.map.weight.requires_grad_(True)
    with pytest.raises(RequestError, match="is being trained; its features would be out of date"):
        CachedEncoder(encoder, tmp_path)
    encoder.requires_grad_(False)
    cached = CachedEncoder(encoder, tmp_path)
    encoder.map.weight.mul_(2)
    with pytest.raises(RequestError, match="has changed since its features were first kept"):
        cached(media(16))
    encoder.train()
    with pytest.raises(RequestError, match="is being trained"):
        cached(media(16))


def test_encoders_remember_only_while_they_are_frozen(tmp_path: Path) -> None:
    encoder = Patches()
    seen = remembered({"image": encoder}, tmp_path)["image"]
    for _ in range(2):
        assert not seen(media(16)).x_BTD.requires_grad
    assert encoder.seen[0] == 1
    encoder.requires_grad_(True)
    assert seen(media(16)).x_BTD.requires_grad
    encoder.map.weight.data.mul_(2)
    encoder.requires_grad_(False)
    assert (seen(media(16)).x_BTD - encoder(media(16)).x_BTD).abs().max() < 1e-2, "what it learned counts"


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    code = (
        "import fcntl, sys, torch; from pathlib import Path\n"
        "from tests.training.test_cached import CachedEncoder, Patches, size\n"
        "folder, chance = Path(sys.argv[1]), torch.Generator().manual_seed(int(sys.argv[2]))\n"
        "cached, plain = CachedEncoder(Patches(), folder, limit=40_000, dtype=torch.float32), Patches()\n"
        "for _ in range(150):\n"
        "    some = [torch.full((400,), float(n)) for n in torch.randint(0, 60, (3,), generator=chance)]\n"
        "    assert torch.equal(cached(some).x_BTD, plain(some).x_BTD)\n"
        "    with (folder / 'held').open() as ledger:\n"  # else the sum is of files that were never there together
        "        fcntl.flock(ledger, fcntl.LOCK_EX)\n"
        "        assert size(folder) <= 40_000\n"
    )
    root = Path(__file__).parents[2]
    where = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)], env=where, cwd=root) for number in range(4)
    ]
    assert [process.wait() for process in running] == [0] * 4
    assert not list(tmp_path.glob("??/*.partial"))
