"""BERT against transformers, its windows, and its sentence vectors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from sensorium.batch import Modality
from sensorium.encoders.text import Bert, BertConfig, BertEncoder, names_from_hf, names_to_hf
from sensorium.errors import CheckpointError, RequestError
from sensorium.nn.trace import Trace

from .families import drawn

CONFIG = BertConfig(vocabulary=40, width=32, depth=2, heads=4, mlp_width=48, positions=24)
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "dog", "runs", "cat", "sits"]


def tokenizer() -> Tokenizer:
    found = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    found.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    found.enable_truncation(5)
    found.enable_padding(length=9)
    return found


def encoder(window: int = 8) -> BertEncoder:
    return BertEncoder(drawn(Bert(CONFIG)), tokenizer(), window)


def reference(pooler: bool = True) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(**CONFIG.to_hf(), attn_implementation="eager")
    return drawn(transformers.BertModel(config, add_pooling_layer=pooler))


def test_hidden_states_equal_the_reference() -> None:
    theirs = reference()
    config = BertConfig.from_hf(theirs.config.to_dict())
    assert config == CONFIG
    ours = Bert(config).eval()
    ours.load_state_dict(names_from_hf(theirs.state_dict(), config))
    ids = torch.randint(0, 40, (3, 11), generator=torch.Generator().manual_seed(1))
    valid = torch.arange(11) < torch.tensor([11, 4, 7])[:, None]
    with torch.no_grad():
        wanted = theirs(input_ids=ids, attention_mask=valid.long(), output_attentions=True)
        trace = Trace(["encoder.text.1.attention", "encoder.text.1.hidden"])
        hidden = ours(ids, valid, trace)
        torch.testing.assert_close(hidden[valid], wanted.last_hidden_state[valid], atol=1e-5, rtol=0)
        torch.testing.assert_close(ours.pooled(hidden), wanted.pooler_output, atol=1e-5, rtol=0)
        attention = trace.result()["encoder.text.1.attention"].transpose(1, 2)
        torch.testing.assert_close(attention[valid], wanted.attentions[1].transpose(1, 2)[valid], atol=1e-6, rtol=0)
        torch.testing.assert_close(trace.result()["encoder.text.1.hidden"], hidden)


def test_tracing_attention_changes_nothing() -> None:
    ids = torch.arange(10)[None]
    bert = drawn(Bert(CONFIG))
    with torch.no_grad():
        openly = bert(ids, None, Trace(["encoder.text.0.attention"]))
        torch.testing.assert_close(openly, bert(ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooler", [True, False])
def test_names_go_both_ways(pooler: bool) -> None:
    theirs = reference(pooler)
    config = BertConfig.from_hf(theirs.config.to_dict(), pooler=pooler)
    state = theirs.state_dict()
    ours = names_from_hf({f"bert.{name}": tensor for name, tensor in state.items()}, config)
    Bert(config).load_state_dict(ours)
    back = names_to_hf(ours, config)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    reference(pooler).load_state_dict(back)


def test_strange_checkpoints_are_refused() -> None:
    row = CONFIG.to_hf()
    with pytest.raises(CheckpointError, match="model_type is 'roberta', not 'bert'"):
        BertConfig.from_hf(row | {"model_type": "roberta"})
    with pytest.raises(CheckpointError, match="hidden_act is 'relu', not 'gelu'"):
        BertConfig.from_hf(row | {"hidden_act": "relu"})
    with pytest.raises(CheckpointError, match="lacks hidden_size"):
        BertConfig.from_hf({key: value for key, value in row.items() if key != "hidden_size"})
    with pytest.raises(CheckpointError, match=r"has hidden_size '384'\. Copy the file again"):
        BertConfig.from_hf(row | {"hidden_size": "384"})
    with pytest.raises(CheckpointError, match="has width 32 for 5 heads"):
        BertConfig.from_hf(row | {"num_attention_heads": 5})
    state = names_to_hf(Bert(CONFIG).state_dict(), CONFIG)
    del state["encoder.layer.1.output.dense.bias"]
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors: encoder.layer.1.output.dense.bias"):
        names_from_hf(state, CONFIG)


def test_a_text_becomes_windows_that_cover_it() -> None:
    text = " ".join(["a dog runs"] * 5)
    pieces = encoder(8).prepare(text)
    assert [piece.grid for piece in pieces] == [(8,), (8,), (5,)]
    assert [piece.extent for piece in pieces] == [(0.0, 21.0), (22.0, 43.0), (44.0, 54.0)]
    assert all(piece.modality is Modality.TEXT for piece in pieces)
    words = [token for piece in pieces if piece.tensor is not None for token in piece.tensor.tolist() if token > 2]
    assert words == [4, 5, 6] * 5


def test_the_empty_text_is_one_window() -> None:
    (piece,) = encoder().prepare("")
    assert piece.tensor is not None
    assert piece.tensor.tolist() == [1, 2]
    assert piece.extent == (0.0, 0.0)


def test_padding_does_not_change_features() -> None:
    read = encoder()
    media = [torch.tensor([1, 4, 5, 2]), torch.tensor([1, 4, 5, 6, 4, 2])]
    with torch.no_grad():
        features = read(media)
        assert features.valid_BT.sum(1).tolist() == [read.grid(ids)[0] for ids in media]
        torch.testing.assert_close(features.x_BTD[0, :4], read(media[:1]).x_BTD[0], atol=1e-5, rtol=0)


def test_vectors_are_means_over_all_windows() -> None:
    read = encoder(8)
    texts = [" ".join(["a dog runs"] * 5), "cat sits", ""]
    vectors = read.vectors(texts, batch=2)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    with torch.no_grad():
        windows = [read([piece.tensor]).x_BTD[0] for piece in read.prepare(texts[0]) if piece.tensor is not None]
    mean = torch.cat(windows).mean(0)
    torch.testing.assert_close(vectors[0], mean / mean.norm(), atol=1e-5, rtol=0)
    assert (read.vectors([texts[0] + " cat sits"])[0] - vectors[0]).abs().max() > 1e-4


def test_windows_out_of_range_are_refused() -> None:
    with pytest.raises(RequestError, match=r"cannot read windows of 25 tokens\. Choose a window between 3 and 24"):
        encoder(25)
    with pytest.raises(RequestError, match="cannot read windows of 2 tokens"):
        encoder(2)
    with pytest.raises(RequestError, match=r"got 30 tokens, over its 24 positions. Cut it with prepare\(\)"):
        encoder()([torch.ones(30, dtype=torch.long)])
    with pytest.raises(RequestError, match=r"has no pooler. Use vectors\(\)"):
        Bert(BertConfig(vocabulary=4, width=4, depth=0, heads=1, pooler=False)).pooled(torch.zeros(1, 1, 4))
