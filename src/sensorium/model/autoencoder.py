"""A cross-modal autoencoder: vectors of several modalities to one shared code and back (Ngiam et al. 2011, figure 3b)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from sensorium.batch import Modality
from sensorium.errors import RequestError
from sensorium.nn.closed import ClosedConfig


class AutoencoderConfig(ClosedConfig):
    """Shapes.

    Args:
        dims: width of each modality's vector. hidden: of each modality's own layer. code: of the shared one.
    """

    dims: dict[Modality, int]
    hidden: int = Field(gt=0)
    code: int = Field(gt=0)


class Autoencoder(nn.Module):
    """Whatever modalities are given, all are rebuilt. Vectors are standardised inside; a missing one is its mean, that is zero.

    Raises:
        RequestError: fewer than two modalities.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        if len(config.dims) < 2:
            raise RequestError("cross-modal autoencoder", f"has {len(config.dims)} modalities", "Give it at least two")
        self.config = config
        hidden, code = config.hidden, config.code
        self.encoders = nn.ModuleDict(
            {kind: nn.Sequential(nn.Linear(dim, hidden), nn.GELU()) for kind, dim in config.dims.items()}
        )
        self.join = nn.Sequential(nn.Linear(hidden * len(config.dims), code), nn.GELU())
        self.decoders = nn.ModuleDict(
            {
                kind: nn.Sequential(nn.Linear(code, hidden), nn.GELU(), nn.Linear(hidden, dim))
                for kind, dim in config.dims.items()
            }
        )
        for kind, dim in config.dims.items():
            self.register_buffer(f"mean_{kind}", torch.zeros(dim))
            self.register_buffer(f"scale_{kind}", torch.ones(dim))

    def fit_scale(self, vectors: Mapping[Modality, Tensor]) -> None:
        """Take mean and deviation of each number from training vectors `(N, dim)`; a constant number keeps the deviation 1."""
        for kind, x_ND in vectors.items():
            deviation_D = x_ND.std(0)
            self.get_buffer(f"mean_{kind}").copy_(x_ND.mean(0))
            self.get_buffer(f"scale_{kind}").copy_(torch.where(deviation_D > 1e-6, deviation_D, 1.0))

    def standard(self, kind: Modality, x_BD: Tensor) -> Tensor:
        """A modality's vectors in standard deviations from the mean."""
        return (x_BD - self.get_buffer(f"mean_{kind}")) / self.get_buffer(f"scale_{kind}")

    def encode(self, standard: Mapping[Modality, Tensor]) -> Tensor:
        """Standardised vectors, those of a modality that is not there left out, to codes `(B, code)`.

        Raises:
            RequestError: no modality, or one that the autoencoder does not know.
        """
        if not standard or standard.keys() - self.config.dims.keys():
            given, known = ", ".join(standard) or "nothing", ", ".join(self.config.dims)
            raise RequestError("cross-modal autoencoder", f"was given {given}", f"Give at least one of {known}")
        like_BD = next(iter(standard.values()))
        zeros = {kind: like_BD.new_zeros(len(like_BD), dim) for kind, dim in self.config.dims.items()}
        hidden_BE = torch.cat([self.encoders[kind](standard.get(kind, zeros[kind])) for kind in self.config.dims], 1)
        code_BE: Tensor = self.join(hidden_BE)
        return code_BE

    def decode(self, code_BE: Tensor) -> dict[Modality, Tensor]:
        """Codes to every modality, standardised."""
        return {kind: self.decoders[kind](code_BE) for kind in self.config.dims}

    def forward(self, vectors: Mapping[Modality, Tensor]) -> dict[Modality, Tensor]:
        """Vectors as they come, of some modalities, to vectors of all."""
        rebuilt = self.decode(self.encode({kind: self.standard(kind, x_BD) for kind, x_BD in vectors.items()}))
        return {
            kind: x_BD * self.get_buffer(f"scale_{kind}") + self.get_buffer(f"mean_{kind}") for kind, x_BD in rebuilt.items()
        }
