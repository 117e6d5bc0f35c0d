from __future__ import annotations

import pytest
import torch

from sensorium.batch import Features
from sensorium.errors import CheckpointError, RequestError
from sensorium.heads.embedding import EmbeddingConfig, EmbeddingHead, ResidualMap, mean_pool

CONFIG = EmbeddingConfig(dim_in=6, dim_out=5, queries=3, dim=4, hidden=8)


def head(config: EmbeddingConfig = CONFIG) -> EmbeddingHead:
    torch.manual_seed(0)
    return EmbeddingHead(config).eval()


def test_vectors_have_length_one_and_padding_changes_nothing() -> None:
    model, x = head(), torch.randn(2, 7, 6)
    valid = torch.arange(7)[None] < torch.tensor([[3], [7]])
    out = model(Features(x, valid))
    torch.testing.assert_close(out.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(out[0], model(Features(x[:1, :3], valid[:1, :3]))[0])
    weights = model.weights(Features(x, valid))
    assert weights[0, 3:].abs().max() == 0
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 3))


def test_padding_that_is_not_a_number_changes_nothing() -> None:
    x = torch.randn(1, 4, 6)
    x[0, 3] = torch.nan
    assert mean_pool(Features(x, torch.tensor([[True, True, True, False]]))).isfinite().all()


def test_mean_pool_is_the_average_of_valid_places() -> None:
    x = torch.tensor([[[1.0], [3.0], [50.0]], [[2.0], [4.0], [6.0]]])
    valid = torch.tensor([[True, True, False], [True, True, True]])
    assert mean_pool(Features(x, valid)).tolist() == [[2.0], [4.0]]
    with pytest.raises(RequestError, match="features of row 1: have no valid place"):
        mean_pool(Features(x, valid & torch.tensor([[True], [False]])))


def test_every_setting_changes_the_head() -> None:
    features = Features(torch.randn(2, 7, 6), torch.ones(2, 7, dtype=torch.bool))
    without = head(CONFIG.model_copy(update={"mean": False}))
    assert without.mean is None
    assert without(features).shape == (2, 5)
    dropping = head(CONFIG.model_copy(update={"dropout": 0.5})).train()
    assert not torch.equal(dropping(features), dropping(features))
    head()(features).sum().backward()


def test_residual_map_begins_as_the_identity() -> None:
    x = torch.nn.functional.normalize(torch.randn(3, 6), dim=-1)
    bend = ResidualMap(6, 12)
    torch.testing.assert_close(bend(x), x)
    bend.down.bias.data += 1.0
    assert (bend(x) - x).abs().max() > 0.1


def test_config_goes_through_json_and_refuses_unknown_keys() -> None:
    assert EmbeddingConfig.from_json(CONFIG.to_json()) == CONFIG
    with pytest.raises(CheckpointError, match="field 'heads'"):
        EmbeddingConfig.from_json({"dim_in": 1, "dim_out": 1, "heads": 3})
