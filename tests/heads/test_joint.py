"""Heads of joint models against BERT's, and region features back through their own projection."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLMPredictionHead

from sensorium.heads.joint import RegionHead, Verdict, WordHead


def test_the_word_head_is_berts() -> None:
    theirs = BertLMPredictionHead(BertConfig(vocab_size=11, hidden_size=8, layer_norm_eps=1e-12)).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours = WordHead(8, 11, 1e-12)
    ours.dense.load_state_dict(theirs.transform.dense.state_dict())
    ours.norm.load_state_dict(theirs.transform.LayerNorm.state_dict())
    ours.bias.data.copy_(theirs.decoder.bias.data)
    hidden_TD = torch.randn(5, 8)
    torch.testing.assert_close(ours(hidden_TD, theirs.decoder.weight), theirs(hidden_TD), atol=1e-5, rtol=1e-5)


def test_regions_go_back_through_the_transposed_projection() -> None:
    head, projection_DF = RegionHead(4, 6, 0, 1e-12), torch.randn(4, 6)
    head.bias.data.normal_()
    hidden_TD = torch.randn(3, 4)
    torch.testing.assert_close(head.rebuild(hidden_TD, projection_DF), head.features(hidden_TD) @ projection_DF + head.bias)
    assert head.classes is None
    named = RegionHead(4, 6, 9, 1e-12)
    assert named.classes is not None
    assert named.classes(hidden_TD).shape == (3, 9)


def test_a_verdict_is_one_hidden_layer() -> None:
    verdict, pooled_BD = Verdict(4, 5, 2, 1e-5), torch.randn(3, 4)
    hidden_BE = F.layer_norm(F.gelu(verdict.dense(pooled_BD)), (5,), verdict.norm.weight, verdict.norm.bias, 1e-5)
    torch.testing.assert_close(verdict(pooled_BD), verdict.out(hidden_BE))
