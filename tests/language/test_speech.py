"""The speech decoder against transformers' own; its cache, its beams and its rules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration
from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor

from sensorium.batch import Features
from sensorium.errors import CheckpointError, RequestError
from sensorium.language.dictation import Rules, Search, _Hunt, dictate, spoken_language
from sensorium.language.speech import SpeechCache, SpeechConfig, SpeechDecoder, names_from_hf, names_to_hf
from sensorium.language.speech_tokens import SpeechTokens
from sensorium.nn.trace import Trace

TOY = SpeechConfig(vocab=90, dim=32, layers=2, heads=4, inner=48, positions=40)
TOKENS = SpeechTokens(
    start=60, end=59, no_timestamps=68, suppress=(5, 6), suppress_first=(7, 59),
    languages={"en": 61, "de": 62}, transcribe=63, translate=64,
)  # fmt: skip


def _theirs() -> WhisperForConditionalGeneration:
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(**_json())).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model


def _json() -> dict[str, Any]:
    encoder = {"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 8, "max_source_positions": 20}
    special = {"pad_token_id": 59, "bos_token_id": 59, "eos_token_id": 59, "decoder_start_token_id": 60}
    return TOY.to_hf() | encoder | special


@pytest.fixture(scope="module")
def theirs() -> WhisperForConditionalGeneration:
    return _theirs()


@pytest.fixture(scope="module")
def ours(theirs: WhisperForConditionalGeneration) -> SpeechDecoder:
    decoder = SpeechDecoder(TOY).eval()
    decoder.load_state_dict(names_from_hf(theirs.state_dict()))
    return decoder


def _features(seed: int = 1, pieces: int = 2, steps: int = 20) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return Features(torch.randn(pieces, steps, 32, generator=generator), torch.ones(pieces, steps, dtype=torch.bool))


def _ids(rows: int = 2, length: int = 9) -> torch.Tensor:
    return torch.randint(0, 90, (rows, length), generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def test_logits_equal_the_reference(ours: SpeechDecoder, theirs: WhisperForConditionalGeneration) -> None:
    features, ids = _features(), _ids()
    want = theirs(encoder_outputs=(features.x_BTD,), decoder_input_ids=ids).logits
    got = ours.logits(ours(ids, ours.memory(features)))
    assert (got - want).abs().max() <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("parts", [[1] * 9, [4, 1, 4], [2, 7]])
def test_the_cache_changes_nothing(ours: SpeechDecoder, parts: list[int]) -> None:
    memory, ids, cache = ours.memory(_features()), _ids(), SpeechCache()
    pieces = [ours(piece, memory, cache) for piece in ids.split(parts, dim=1)]
    assert (torch.cat(pieces, 1) - ours(ids, memory)).abs().max() <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 5, 30])
def test_a_few_rows_are_scored_as_many_are(ours: SpeechDecoder, rows: int) -> None:
    hidden = torch.randn(rows, 32)
    assert (ours.logits(hidden) - hidden @ ours.embed.weight.T).abs().max() <= 1e-5


@torch.no_grad()
def test_beams_share_their_sound_and_padding_is_not_heard(ours: SpeechDecoder) -> None:
    features = _features(pieces=3)
    valid = features.valid_BT.clone()
    valid[1, 12:] = False
    memory, ids = ours.memory(Features(features.x_BTD, valid)), _ids(rows=6)
    trace = Trace(("speech.1.cross_attention",))
    together = ours(ids, memory, trace=trace)
    for row in range(6):
        piece = row // 2
        one = features.x_BTD[piece : piece + 1, : 12 if piece == 1 else 20]
        alone = ours(ids[row : row + 1], ours.memory(Features(one, torch.ones(one.shape[:2], dtype=torch.bool))))
        assert (together[row] - alone[0]).abs().max() <= 1e-5
    weights = trace.result()["speech.1.cross_attention"]
    assert weights.shape == (6, 4, 9, 20)
    assert not weights[2:4, ..., 12:].any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(6, 4, 9))


@torch.no_grad()
def test_rows_of_the_cache_are_chosen(ours: SpeechDecoder) -> None:
    memory, ids, cache = ours.memory(_features()), _ids(), SpeechCache()
    ours(ids[:, :4], memory, cache)
    order = torch.tensor([1, 1, 0])
    cache.select(order)
    got = ours(ids[order, 4:], memory.select(order), cache)
    assert (got - ours(ids, memory)[order, 4:]).abs().max() <= 1e-5


def test_a_gradient_reaches_the_sound(ours: SpeechDecoder) -> None:
    features = _features()
    features.x_BTD.requires_grad_(True)
    ours.logits(ours(_ids(), ours.memory(features))[:, -1]).sum().backward()
    assert features.x_BTD.grad is not None
    assert features.x_BTD.grad.abs().sum() > 0


def test_too_many_tokens_are_refused(ours: SpeechDecoder) -> None:
    with pytest.raises(RequestError, match="text of 41 tokens: is longer than the 40 positions"):
        ours(_ids(length=41), ours.memory(_features()))


@pytest.mark.parametrize("pieces", [1, 3])
def test_greedy_equals_the_reference(ours: SpeechDecoder, theirs: WhisperForConditionalGeneration, pieces: int) -> None:
    features = _features(pieces=pieces)
    prompt = TOKENS.prompt("de", "transcribe", timestamps=False)
    found = dictate(ours, TOKENS, features, [prompt] * pieces, Search(beams=1, max_tokens=20))
    rules = Rules(TOKENS, 90, timestamps=False)
    for row in range(pieces):
        ids = list(prompt)
        for _ in range(20):
            with torch.no_grad():
                logits = theirs(encoder_outputs=(features.x_BTD[row : row + 1],), decoder_input_ids=torch.tensor([ids])).logits[
                    :, -1
                ]
            ids.append(int(rules(logits, [ids[4:]]).argmax()))
            if ids[-1] == TOKENS.end:
                break
        assert list(found[row].tokens) == [token for token in ids[4:] if token != TOKENS.end]
        assert found[row].ended == (ids[-1] == TOKENS.end)


def test_beam_search_finds_the_best_of_a_small_world(ours: SpeechDecoder) -> None:
    """With as many beams as there are texts it is exhaustive, and the answer can be had by trying all."""
    narrow = SpeechTokens(start=60, end=59, no_timestamps=68, suppress=tuple(range(3, 59)), suppress_first=(59,))
    features, rules = _features(pieces=1), Rules(narrow, 90, timestamps=False)
    found = dictate(ours, narrow, features, [(60, 68)], Search(beams=40, max_tokens=4))
    texts: dict[tuple[int, ...], float] = {}

    def grow(said: tuple[int, ...], total: float) -> None:
        logits = ours.logits(ours(torch.tensor([[60, 68, *said]]), ours.memory(features))[:, -1])
        logprob = rules(logits, [said]).log_softmax(-1)[0]
        if said:
            texts[said] = (total + float(logprob[59])) / (len(said) + 1)
        if len(said) < 3:
            for token in range(3):
                grow((*said, token), total + float(logprob[token]))

    with torch.no_grad():
        grow((), 0.0)
    best = max(texts, key=lambda said: texts[said])
    assert found[0].tokens == best
    assert found[0].logprob == pytest.approx(texts[best], abs=1e-4)


def test_texts_that_go_round_in_circles_are_not_waited_for() -> None:
    """Of two texts one has ended: the search goes on while the others may still end, and stops when they only repeat."""
    hunt = _Hunt(2, Search(beams=2), TOKENS.end, 0)
    hunt.said, hunt.found = [[1, 2] * 9, [3] * 19], [([1], -1.0)]
    assert not hunt.done
    hunt.said = [[1, 2] * 10, [4, 5, *[3] * 19]]
    assert hunt.done
    assert hunt.result(0.5).tokens == (1,)
    hunt.said[1] = [*range(6), *[3] * 14][:20]
    assert not hunt.done  # a text of seven different words
    hunt.said, hunt.found = [[3] * 20, [4] * 20], []
    assert not hunt.done  # none has ended


@pytest.mark.parametrize("search", [Search(beams=3, max_tokens=12), Search(temperature=0.7, draws=3, max_tokens=12)])
def test_a_piece_is_heard_as_if_alone(ours: SpeechDecoder, search: Search) -> None:
    features, prompt = _features(pieces=4), TOKENS.prompt("en", "translate", timestamps=True)
    together = dictate(ours, TOKENS, features, [prompt] * 4, search)
    first = dictate(ours, TOKENS, Features(features.x_BTD[:1], features.valid_BT[:1]), [prompt], search)
    assert together[0].tokens == first[0].tokens
    assert together[0].logprob == pytest.approx(first[0].logprob, abs=1e-4)
    assert 0 < together[0].no_speech < 1
    assert together == dictate(ours, TOKENS, features, [prompt] * 4, search)


@pytest.mark.parametrize("seed", range(4))
def test_timestamp_rules_equal_the_reference(seed: int) -> None:
    """Whisper's rules in transformers, on texts that grow by what the rules allow."""
    settings = GenerationConfig(eos_token_id=59, no_timestamps_token_id=68, max_initial_timestamp_index=50)
    reference = WhisperTimeStampLogitsProcessor(settings, begin_index=1)
    tokens = SpeechTokens(start=60, end=59, no_timestamps=68)
    rules, generator = Rules(tokens, 140, timestamps=True), torch.Generator().manual_seed(seed)
    said: list[int] = []
    for _ in range(14):
        logits = torch.randn(1, 140, generator=generator) * 3
        logits[:, 60:69] = -torch.inf
        ours, theirs = rules(logits.clone(), [said]), reference(torch.tensor([[60, *said]]), logits)
        torch.testing.assert_close(ours, theirs)
        weights = ours.softmax(-1)
        weights[0, 59] = 0
        if not weights.any():
            break
        said.append(int(torch.multinomial(weights, 1, generator=generator)))


def test_language_is_the_likeliest_of_those_known(ours: SpeechDecoder, theirs: WhisperForConditionalGeneration) -> None:
    features = _features(pieces=3)
    with torch.no_grad():
        logits = theirs(encoder_outputs=(features.x_BTD,), decoder_input_ids=torch.full((3, 1), 60)).logits[:, 0, 61:63]
    for (code, share), row in zip(spoken_language(ours, TOKENS, features), logits.softmax(-1), strict=True):
        assert code == ("en", "de")[int(row.argmax())]
        assert share == pytest.approx(float(row.max()), abs=1e-5)


def test_prompts() -> None:
    assert TOKENS.prompt("de", "translate", timestamps=False) == (60, 62, 64, 68)
    assert TOKENS.prompt("en", "transcribe", timestamps=True) == (60, 61, 63)
    english = SpeechTokens(start=50257, end=50256, no_timestamps=50362)
    assert english.prompt(None, "transcribe", timestamps=False) == (50257, 50362)
    with pytest.raises(RequestError, match="translate of speech: is beyond this English-only model"):
        english.prompt(None, "translate", timestamps=False)
    with pytest.raises(RequestError, match=r"language 'xx': is not known to this model\. Use one of en, de"):
        TOKENS.prompt("xx", "transcribe", timestamps=False)


def test_names_and_settings_there_and_back(theirs: WhisperForConditionalGeneration) -> None:
    state = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("model.encoder.")}
    back = names_to_hf(names_from_hf(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert SpeechConfig.from_hf(_json()) == TOY
    assert SpeechTokens.from_hf(TOKENS.to_hf()) == TOKENS
    with pytest.raises(CheckpointError, match=r"proj_out\.weight: differs from the embedding"):
        names_from_hf(state | {"proj_out.weight": torch.zeros(90, 32)})
    with pytest.raises(CheckpointError, match=r"encoder_attn\.q_proj\.weight: is missing"):
        names_from_hf({name: state[name] for name in state if "encoder_attn.q_proj" not in name})
    with pytest.raises(CheckpointError, match="has model type, activation and scaling"):
        SpeechConfig.from_hf(_json() | {"scale_embedding": True})
    with pytest.raises(CheckpointError, match="lacks the whole number decoder_layers"):
        SpeechConfig.from_hf({name: value for name, value in _json().items() if name != "decoder_layers"})
    with pytest.raises(CheckpointError, match="lacks no_timestamps_token_id"):
        SpeechTokens.from_hf({"decoder_start_token_id": 1, "eos_token_id": 2})
