"""Hidden states to what comes out: tokens and vectors."""

from sensorium.heads.beam import BeamState, Fork, Hypothesis
from sensorium.heads.embedding import EmbeddingConfig, EmbeddingHead, ResidualMap, mean_pool
from sensorium.heads.text import Drawn, check_sampling, draw, generator, report

__all__ = [
    "BeamState",
    "Drawn",
    "EmbeddingConfig",
    "EmbeddingHead",
    "Fork",
    "Hypothesis",
    "ResidualMap",
    "check_sampling",
    "draw",
    "generator",
    "mean_pool",
    "report",
]
