from __future__ import annotations

import pytest
import torch
from transformers import Blip2Config, Blip2QFormerConfig, Blip2QFormerModel, Blip2VisionConfig, OPTConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2ForConditionalGeneration

from sensorium.batch import Features
from sensorium.errors import CheckpointError, RequestError
from sensorium.fusion.qformer import QFormer, QFormerConfig, from_blip2

SHAPES = {"dim_in": 6, "dim_out": 10, "dim": 8, "queries": 3, "layers": 3, "heads": 2, "hidden": 16, "every": 2}


def theirs() -> Blip2QFormerConfig:
    return Blip2QFormerConfig(
        hidden_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        encoder_hidden_size=6,
        cross_attention_frequency=2,
        vocab_size=12,
    )


def test_equals_transformers_with_padding() -> None:
    torch.manual_seed(0)
    reference = Blip2QFormerModel(theirs()).eval()
    for weight in reference.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    state = {f"qformer.{name}": tensor for name, tensor in reference.state_dict().items()}
    queries = torch.randn(1, 3, 8)
    outward = torch.nn.Linear(8, 10)
    state |= {"query_tokens": queries, "language_projection.weight": outward.weight, "language_projection.bias": outward.bias}
    model = QFormer(QFormerConfig.from_json(SHAPES)).eval()
    model.load_state_dict(from_blip2(state), strict=True)
    x, valid = torch.randn(2, 5, 6), torch.arange(5)[None] < torch.tensor([[3], [5]])
    expected = reference(
        query_embeds=queries.expand(2, -1, -1), encoder_hidden_states=x, encoder_attention_mask=valid.long()
    ).last_hidden_state
    torch.testing.assert_close(model.read(Features(x, valid)), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(model(Features(x, valid)).x_BTD, outward(expected), rtol=0, atol=1e-5)


def test_reads_the_tensors_of_a_whole_blip2() -> None:
    vision = Blip2VisionConfig(
        hidden_size=6, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=4, patch_size=2
    )
    text = OPTConfig(
        vocab_size=12,
        hidden_size=10,
        ffn_dim=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        word_embed_proj_dim=10,
        max_position_embeddings=16,
    )
    whole = Blip2ForConditionalGeneration(
        Blip2Config(vision_config=vision, qformer_config=theirs(), text_config=text, num_query_tokens=3)
    )
    model = QFormer(QFormerConfig.from_json(SHAPES))
    model.load_state_dict(from_blip2(whole.state_dict()), strict=True)
    whole.eval()
    x = torch.randn(2, 5, 6)
    queries = whole.query_tokens.expand(2, -1, -1)
    with torch.no_grad():
        expected = whole.language_projection(whole.qformer(query_embeds=queries, encoder_hidden_states=x).last_hidden_state)
        ours = model.eval()(Features(x, torch.ones(2, 5, dtype=torch.bool))).x_BTD
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_text_side_of_a_qformer_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match=r"qformer\.embeddings\.word_embeddings\.weight.*image side"):
        from_blip2({"qformer.embeddings.word_embeddings.weight": torch.zeros(1)})


def test_empty_piece_is_refused() -> None:
    model = QFormer(QFormerConfig.from_json(SHAPES))
    with pytest.raises(RequestError, match="without a valid feature"):
        model(Features(torch.zeros(1, 2, 6), torch.zeros(1, 2, dtype=torch.bool)))
    assert model.grid((7, 7)) == (3,)
    assert model.grid((7,)) == (1, 3)
