from __future__ import annotations

import functools
import io
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image as Pillow

from sensorium.errors import CheckpointError, RequestError
from sensorium.media.audio import encode_wav
from sensorium.model.foreign import ForeignModel
from sensorium.parts import Answer, Audio, Document, Image, Message, Part, Text, Video
from sensorium.protocols import Generates, Sampling, Scores
from tests.model.foreign_checkpoints import FAMILIES

CHAT = [name for name in FAMILIES if name != "whisper"]
PICTURES = ["llava_onevision", "idefics3", "smolvlm", "qwen2_5_vl", "qwen3_vl", "gemma3"]
QUESTION = "What is the dog?"
PLAIN = {"do_sample": False, "repetition_penalty": 1.0, "temperature": None}


def noise(seed: int, width: int = 50, height: int = 40) -> Pillow.Image:
    return Pillow.fromarray((np.random.RandomState(seed).rand(height, width, 3) * 255).astype("uint8"))


def png(picture: Pillow.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def wave(seed: int, seconds: float = 1.0) -> torch.Tensor:
    return torch.randn(round(seconds * 16000), generator=torch.Generator().manual_seed(seed)).clamp(-3, 3) / 4


def user(*parts: Part) -> list[Message]:
    return [Message("user", parts)]


def asked(model: ForeignModel, seed: int = 0, blank: bool = False) -> list[Message]:
    """A question about a picture or a sound, or about nothing."""
    words = () if model.prompter.speech else (Text(QUESTION),)
    if "image" in model.senses.kinds:
        return user(Image(png(Pillow.new("RGB", (50, 40)) if blank else noise(seed))), *words)
    if "audio" in model.senses.kinds:
        return user(Audio(encode_wav(torch.zeros(16000) if blank else wave(seed), 16000)), *words)
    return user(*words)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root, made = tmp_path_factory.mktemp("foreign"), {}

    def get(name: str) -> Path:
        if name not in made:
            if name == "smolvlm":
                pytest.importorskip("num2words")
            made[name] = root / name
            made[name].mkdir()
            FAMILIES[name](made[name])
        return made[name]

    return get


@pytest.fixture(scope="session")
def load(folder: Callable[[str], Path]) -> Callable[[str], ForeignModel]:
    return functools.cache(lambda name: ForeignModel.load(folder(name)))


def theirs(folder: Path, name: str, messages: list[Message]) -> tuple[Any, dict[str, Any]]:
    """The library's own model and its own inputs for the same question, without our adapter."""
    if name == "whisper":
        model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(folder).eval()
        reader = transformers.WhisperFeatureExtractor.from_pretrained(folder)
        sound = np.frombuffer(messages[0].parts[0].source[44:], "<i2").astype("float32") / 32768
        features = reader(sound, sampling_rate=16000, return_tensors="pt")
        language = int(model.detect_language(features["input_features"]))
        words = ["<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>"]
        start, task, plain = transformers.AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(words)
        return model, {**features, "decoder_input_ids": torch.tensor([[start, language, task, plain]])}
    if name == "smollm":
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        turns = [{"role": "user", "content": QUESTION}]
        return model, dict(
            tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        )
    model = transformers.AutoModelForMultimodalLM.from_pretrained(folder).eval()
    processor = ForeignModel.load(folder).processor
    blocks = []
    for part in messages[0].parts:
        if isinstance(part, Image):
            blocks.append({"type": "image", "image": Pillow.open(io.BytesIO(part.source))})
        elif isinstance(part, Audio):
            sound = np.frombuffer(part.source[44:], "<i2").astype("float32") / 32768
            blocks.append({"type": "audio", "audio": sound})
        else:
            blocks.append({"type": "text", "text": part.text})
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    return model, dict(processor.apply_chat_template([{"role": "user", "content": blocks}], **options))


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_logits_and_greedy_answer_equal_the_librarys_own(name: str, folder: Any, load: Any) -> None:
    ours = load(name)
    messages = asked(ours)
    model, inputs = theirs(folder(name), name, messages)
    prompt = ours.prompt([messages])
    assert torch.equal(ours.logits(prompt), model(**inputs).logits[0])
    answer = ours.answer([messages], Sampling(max_tokens=6, top_logprobs=3))[0]
    bans = {"suppress_tokens": [3, 5], "begin_suppress_tokens": ours.told.begin_suppress_tokens} if name == "whisper" else {}
    settings = transformers.GenerationConfig(
        **PLAIN, **bans, max_new_tokens=6, eos_token_id=sorted(ours.ends), pad_token_id=0, decoder_start_token_id=0
    )
    model.generation_config = transformers.GenerationConfig()
    begin = inputs["decoder_input_ids" if name == "whisper" else "input_ids"].shape[1]
    said = transformers.GenerationMixin.generate(model, **inputs, generation_config=settings)[0, begin:].tolist()
    assert answer.text == ours.tokenizer.decode(said, skip_special_tokens=True)
    assert answer.usage.output_tokens == len(answer.tokens) == len(said)
    assert answer.usage.input_tokens == begin
    plain = ours.logits(prompt, said)[-len(said) - 1 : -1].log_softmax(-1)
    for score, token, row in zip(answer.tokens, said, plain, strict=True):
        assert score.logprob == pytest.approx(row[token].item(), abs=1e-4)
        assert [value for _, value in score.top] == pytest.approx(row.topk(3).values.tolist(), abs=1e-4)
    assert answer.confidence == pytest.approx(float(np.exp(np.mean([score.logprob for score in answer.tokens]))))


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_scores_are_sums_of_log_probabilities_and_rest_on_the_medium(name: str, folder: Any, load: Any) -> None:
    ours = load(name)
    messages = asked(ours)
    model, inputs = theirs(folder(name), name, messages)
    key = "decoder_input_ids" if name == "whisper" else "input_ids"
    said = " Yes the" if name == "whisper" else "Yes the"
    ids = ours.tokenizer(said, add_special_tokens=False)["input_ids"]
    total = 0.0
    for token in [*ids, None]:
        row = model(**inputs).logits[0, -1].log_softmax(-1)
        total += row[token].item() if token is not None else row[sorted(ours.ends)].logsumexp(0).item()
        shape = inputs[key].shape
        for field in [field for field, value in inputs.items() if isinstance(value, torch.Tensor) and value.shape == shape]:
            fill = {"attention_mask": 1, key: token or 0}.get(field, 0)
            inputs[field] = torch.cat([inputs[field], torch.full((1, 1), fill)], 1)
    scores = ours.score(messages, ["Yes the", "No"])
    assert scores[0] == pytest.approx(total, abs=1e-4)
    if ours.senses.kinds:
        assert abs(ours.score(asked(ours, blank=True), ["Yes the"])[0] - scores[0]) > 1e-3


@pytest.mark.parametrize("name", ["llava_onevision", "idefics3", "qwen2_5_vl", "gemma3", "qwen2_audio", "smollm", "whisper"])
def test_a_batch_answers_as_one_by_one(name: str, load: Any) -> None:
    ours = load(name)
    rows = [asked(ours, seed) for seed in range(3)]
    if not ours.prompter.speech:
        rows[1] = [Message("user", (*rows[1][0].parts, Text(" And then, at length, what?")))]
        rows.insert(1, user(Text("Hello the")))
    sampling = Sampling(max_tokens=5, temperature=0.8, top_k=20, seed=4, repetition_penalty=1.1)
    together = ours.answer(rows, sampling)
    for row, answer in zip(rows, together, strict=True):
        (alone,) = ours.answer([row], sampling)
        assert answer.text == alone.text
        assert answer.usage == alone.usage
    assert ours.prompter.speech or len({answer.text for answer in together}) > 1


def test_a_stream_is_the_answer_in_pieces_and_ends_when_it_is_left(load: Any) -> None:
    ours = load("qwen2_5_vl")
    sampling = Sampling(max_tokens=12, temperature=1.0, seed=2)
    pieces = list(ours.stream(asked(ours), sampling))
    assert isinstance(pieces[-1], Answer)
    assert pieces[-1] == ours.answer([asked(ours)], sampling)[0]
    assert "".join(pieces[:-1]) == pieces[-1].text
    assert len(pieces) > 3
    threads = threading.active_count()
    stream = ours.stream(asked(ours), replace(sampling, max_tokens=200))
    next(stream)
    stream.close()
    assert threading.active_count() == threads


def test_an_error_inside_the_stream_reaches_the_caller(load: Any) -> None:
    with pytest.raises(RequestError, match="takes only image, text"):
        list(load("gemma3").stream(user(Audio(encode_wav(wave(0), 16000))), Sampling()))


def test_stop_strings_end_the_answer_before_them(load: Any) -> None:
    ours = load("smollm")
    whole = ours.answer([asked(ours)], Sampling(max_tokens=8))[0].text
    stop = whole[3:5]
    answer = ours.answer([asked(ours)], Sampling(max_tokens=8, stop=(stop,)))[0]
    assert answer.text == whole[: whole.find(stop)]
    assert answer.finish == "stop"
    pieces = [piece for piece in ours.stream(asked(ours), Sampling(max_tokens=8, stop=(stop,))) if isinstance(piece, str)]
    assert "".join(pieces) == answer.text


def test_a_choice_is_the_likeliest_and_its_confidence_a_share(load: Any) -> None:
    ours = load("llava_onevision")
    choices = ("Yes", "No", "the dog")
    scores = torch.tensor(ours.score(asked(ours), choices), dtype=torch.float64)
    answer = ours.answer([asked(ours)], Sampling(choices=choices))[0]
    assert answer.finish == "choice"
    assert answer.text == choices[int(scores.argmax())]
    assert answer.confidence == pytest.approx(scores.softmax(0).max().item())
    assert list(ours.stream(asked(ours), Sampling(choices=choices))) == [answer.text, answer]


@pytest.mark.parametrize("name", ["idefics3", "whisper"])
def test_beams_equal_the_librarys(name: str, folder: Any, load: Any) -> None:
    ours = load(name)
    model, inputs = theirs(folder(name), name, asked(ours))
    bans = {"suppress_tokens": [3, 5], "begin_suppress_tokens": ours.told.begin_suppress_tokens} if name == "whisper" else {}
    begin = inputs["decoder_input_ids" if name == "whisper" else "input_ids"].shape[1]
    model.generation_config = transformers.GenerationConfig()
    settings = transformers.GenerationConfig(
        **PLAIN, **bans, num_beams=3, length_penalty=0.5, max_new_tokens=5, eos_token_id=sorted(ours.ends), pad_token_id=0,
        decoder_start_token_id=0,
    )  # fmt: skip
    said = transformers.GenerationMixin.generate(model, **inputs, generation_config=settings)[0, begin:].tolist()
    answer = ours.answer([asked(ours), asked(ours, 1)], Sampling(max_tokens=5, beams=3, length_penalty=0.5))[0]
    assert answer.text == ours.tokenizer.decode(said, skip_special_tokens=True)
    with pytest.raises(RequestError, match="stop: cannot be combined with beams"):
        ours.answer([asked(ours)], Sampling(beams=2, max_tokens=5, stop=("x",)))


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_charged_its_own_tokens(name: str, load: Any) -> None:
    ours = load(name)
    small, large = Image(png(noise(0, 28, 28))), Image(png(noise(1, 84, 56)))
    uses = {
        parts: [use.tokens for use in ours.answer([user(*parts, Text("?"))], Sampling(max_tokens=1))[0].usage.media]
        for parts in ((small,), (large,), (small, large), (large, small))
    }
    a, b = uses[(small,)][0], uses[(large,)][0]
    assert min(a, b) > 0
    if name != "llava_onevision":  # which shows several pictures without tiles
        assert uses[(small, large)] == [a, b]
        assert uses[(large, small)] == [b, a]
    token = getattr(ours.processor, "image_token_id", None)
    if name.startswith(("qwen", "llava")):
        prompt = ours.prompt([user(small, large, Text("?"))])
        assert sum(uses[(small, large)]) == int((prompt.inputs["input_ids"] == token).sum())


def test_pages_of_a_document_are_pictures(load: Any) -> None:
    ours, file = load("gemma3"), io.BytesIO()
    noise(0).save(file, "PDF", save_all=True, append_images=[noise(1), noise(2)])
    answer = ours.answer([user(Document(file.getvalue(), 2, 3), Text("?"))], Sampling(max_tokens=2))[0]
    (use,) = answer.usage.media
    assert (use.kind, use.pages, use.pages_total, use.tiles) == ("document", (2, 3), 3, 2)
    assert use.tokens == 16


@pytest.mark.parametrize("name", ["llava_onevision", "idefics3", "qwen2_5_vl", "gemma3", "smollm"])
def test_control_tokens_that_a_person_types_stay_words(name: str, load: Any) -> None:
    ours = load(name)
    spelt = "<|im_end|><|image_pad|><end_of_utterance><end_of_turn> hi" + "<image>" * (name != "idefics3")
    ids = ours.prompt([user(Text(spelt))]).inputs["input_ids"][0].tolist()
    plain = ours.prompt([user(Text("hi"))]).inputs["input_ids"][0].tolist()
    special = set(ours.tokenizer.get_added_vocab().values())
    assert [token for token in ids if token in special] == [token for token in plain if token in special]
    assert spelt in ours.tokenizer.decode(ids)


def test_a_placeholder_that_a_processor_would_take_for_a_picture_is_refused(load: Any) -> None:
    with pytest.raises(RequestError, match="Found 1 <image> tokens in the text but no images"):
        load("idefics3").answer([user(Text("<image> hi"))], Sampling())


def test_whisper_hears_a_language_and_says_which(load: Any) -> None:
    ours = load("whisper")
    answer = ours.answer([asked(ours)], Sampling(max_tokens=3))[0]
    (use,) = answer.usage.media
    assert use.notes[-1] in ("heard as <|en|>", "heard as <|de|>")
    assert (use.seconds, use.tokens) == (1.0, 100)
    banned = {*ours.told.suppress_tokens}
    assert not banned & set(ours.answer([asked(ours)], Sampling(max_tokens=20, temperature=5.0, seed=0))[0].text.encode())


def test_what_a_model_cannot_take_in_is_refused(load: Any) -> None:
    sound, picture = Audio(encode_wav(wave(0), 16000)), Image(png(noise(0)))
    for name, part, words in (
        ("llava_onevision", sound, r"is a recording, and llava_onevision takes only image, text.*--model"),
        ("qwen2_audio", picture, r"is a picture, and qwen2_audio takes only audio, text"),
        ("smollm", picture, r"is a picture, and smollm takes only text"),
        ("smollm", Document(b"%PDF"), r"is a document, shown as pictures of its pages, and smollm takes only text"),
        ("gemma3", Video("clip.mp4"), r"clip.mp4: is a clip, and gemma3 takes only image, text"),
        ("whisper", picture, r"is a picture, and whisper takes only audio, text"),
    ):
        with pytest.raises(RequestError, match=words):
            load(name).answer([user(part, Text("?"))], Sampling())


def test_nothing_is_cut_off(load: Any) -> None:
    with pytest.raises(RequestError, match=r"takes 6\d\d tokens and 20 for the answer; smollm holds 512"):
        load("smollm").answer([user(Text("x" * 600))], Sampling(max_tokens=20))
    long = Audio(encode_wav(wave(0, 2.5), 16000))
    for name, words in (("whisper", ()), ("qwen2_audio", (Text("?"),))):
        with pytest.raises(RequestError, match=rf"lasts 2.50 s, and {name} hears 2 s at most.*start and stop"):
            load(name).answer([user(long, *words)], Sampling())
        load(name).answer([user(replace(long, stop=2.0), *words)], Sampling(max_tokens=1))
    with pytest.raises(RequestError, match="asks for 61 tokens; whisper writes 60 at most"):
        load("whisper").answer([asked(load("whisper"))], Sampling(max_tokens=61))


def test_a_speech_recogniser_is_not_asked(load: Any) -> None:
    with pytest.raises(RequestError, match="gives 1 recordings and some words to whisper"):
        load("whisper").answer([user(Audio(encode_wav(wave(0), 16000)), Text("Who speaks?"))], Sampling())
    with pytest.raises(RequestError, match="gives 0 recordings and no words"):
        load("whisper").answer([user(Text(""))], Sampling())


def test_a_template_may_refuse_a_conversation(load: Any) -> None:
    with pytest.raises(RequestError, match="refused by the processor of gemma3: no system turn"):
        load("gemma3").answer([[Message("system", (Text("Be kind."),)), *user(Text("hi"))]], Sampling())
    with pytest.raises(RequestError, match="conversation: has no messages"):
        load("gemma3").answer([[]], Sampling())


def test_a_folder_that_does_not_hold_what_it_says_is_refused(folder: Any, tmp_path: Path) -> None:
    def broken(name: str, change: Callable[[Path], object], family: str = "smollm") -> Path:
        shutil.copytree(folder(family), tmp_path / name)
        change(tmp_path / name)
        return tmp_path / name

    def edit(path: Path, **fields: Any) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    def pickle(path: Path) -> None:
        (path / "model.safetensors").rename(path / "pytorch_model.bin")

    cases = [
        (tmp_path / "nowhere", "holds no config.json"),
        (broken("pickled", pickle), r"weights pickled \(pytorch_model.bin\).*never read"),
        (broken("bare", lambda path: (path / "model.safetensors").unlink()), "holds no weights"),
        (broken("alien", lambda path: edit(path / "config.json", model_type="alien")), "is of type 'alien'"),
        (broken("deep", lambda path: edit(path / "config.json", num_hidden_layers=3)), r"deep: lacks 9 tensors"),
        (
            broken("wide", lambda path: edit(path / "config.json", intermediate_size=50)),
            r"wide: .*(lacks|size mismatch|cannot)",
        ),
        (broken("mute", lambda path: (path / "chat_template.jinja").unlink()), "has no chat template"),
        (broken("cut", lambda path: (path / "model.safetensors").write_bytes(b"\0" * 40)), "cannot be loaded"),
    ]
    for path, words in cases:
        with pytest.raises(CheckpointError, match=words):
            ForeignModel.load(path)


def test_tensors_that_the_model_does_not_use_are_told(folder: Any, tmp_path: Path) -> None:
    shutil.copytree(folder("smollm"), tmp_path / "shallow")
    config = tmp_path / "shallow" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 1}))
    settings = tmp_path / "shallow" / "generation_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"bad_words_ids": [[5]]}))
    notes = ForeignModel.load(tmp_path / "shallow").notes
    assert "9 tensors of the checkpoint are not used" in notes[0]
    assert notes[1:] == ("its generation setting bad_words_ids is not used",)


def test_it_satisfies_the_protocols(load: Any) -> None:
    assert isinstance(load("smollm"), Generates)
    assert isinstance(load("smollm"), Scores)


def gif(*pictures: Pillow.Image) -> bytes:
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=500, loop=0)
    return file.getvalue()


def test_a_clip_is_shown_to_qwen_as_its_frames(load: Any) -> None:
    ours = load("qwen2_5_vl")
    colours = [Pillow.new("RGB", (56, 56), colour) for colour in ("red", "green", "blue", "white")]
    messages = user(Video(gif(*colours)), Text(QUESTION))
    prompt = ours.prompt([messages])
    pictures = ours.prompt([user(*(Image(png(colour)) for colour in colours))])
    patches = prompt.inputs["pixel_values_videos"].view(2, 16, 3, 2, -1)
    stills = pictures.inputs["pixel_values"].view(4, 16, 3, 2, -1)
    assert prompt.inputs["video_grid_thw"].tolist() == [[2, 4, 4]]
    for frame in range(4):
        torch.testing.assert_close(patches[frame // 2, :, :, frame % 2], stills[frame, :, :, 0], rtol=0, atol=0.02)
    assert prompt.inputs["second_per_grid_ts"].tolist() == [pytest.approx(1.0, abs=0.01)]
    assert torch.equal(ours.logits(prompt), ours.model(**prompt.inputs).logits[0])
    answer = ours.answer([messages, messages], Sampling(max_tokens=4))[1]
    (use,) = answer.usage.media
    assert (use.kind, use.tokens, len(use.frames), use.frames_total) == ("video", 8, 4, 4)
    swapped = user(Video(gif(*colours[::-1])), Text(QUESTION))
    assert abs(ours.score(messages, ["Yes"])[0] - ours.score(swapped, ["Yes"])[0]) > 1e-4


def test_patches_of_a_clip_follow_the_librarys_layout(load: Any) -> None:
    """As `Qwen2VLVideoProcessor.patchify` orders them: time, rows, columns, cells of a merge, colour, time, rows, columns."""
    processor = load("qwen2_5_vl").processor
    frames = np.stack([np.asarray(noise(seed, 56, 84)) for seed in range(3)])
    made = processor.video_processor([frames], video_metadata=[{"fps": 2.0}])
    images = processor.image_processor
    mean, std = np.array(images.image_mean)[:, None, None], np.array(images.image_std)[:, None, None]
    padded = np.concatenate([frames, frames[-1:]]).transpose(0, 3, 1, 2) / 255
    scaled = torch.tensor((padded - mean) / std, dtype=torch.float32)
    cells = scaled.view(2, 2, 3, 3, 2, 14, 2, 2, 14).permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(2 * 6 * 4, 3 * 2 * 14 * 14)
    assert made["video_grid_thw"].tolist() == [[2, 6, 4]]
    torch.testing.assert_close(torch.tensor(made["pixel_values_videos"]), cells, rtol=0, atol=1e-5)


def test_video_settings_of_the_folder_are_obeyed(folder: Any, tmp_path: Path) -> None:
    shutil.copytree(folder("qwen2_5_vl"), tmp_path / "small")
    (tmp_path / "small" / "video_preprocessor_config.json").write_text('{"size": {"shortest_edge": 784, "longest_edge": 784}}')
    made = ForeignModel.load(tmp_path / "small").processor.video_processor(
        [np.zeros((2, 56, 56, 3), "uint8")], video_metadata=[{"fps": 1}]
    )
    assert made["video_grid_thw"].tolist() == [[1, 2, 2]]
    (tmp_path / "small" / "video_preprocessor_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is not JSON"):
        ForeignModel.load(tmp_path / "small")
