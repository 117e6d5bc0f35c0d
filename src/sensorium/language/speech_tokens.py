"""Whisper's tokens that are not words: where a text begins and ends, languages, tasks, times; and the prompt made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from sensorium.errors import CheckpointError, RequestError

SpeechTask = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True)
class SpeechTokens:
    """Tokens of Whisper that are not words.

    Args:
        start, end: of a text. no_timestamps: the one before the first timestamp.
        suppress: never said; suppress_first: not said first.
        languages: of a multilingual model, by code; empty otherwise. transcribe, translate: its tasks.
    """

    start: int
    end: int
    no_timestamps: int
    suppress: tuple[int, ...] = ()
    suppress_first: tuple[int, ...] = ()
    languages: Mapping[str, int] = field(default_factory=dict)
    transcribe: int | None = None
    translate: int | None = None

    @property
    def no_speech(self) -> int:
        """Its probability after `start` is that of there being no speech."""
        return self.no_timestamps - 1

    @property
    def first_time(self) -> int:
        """The timestamp 0.00 s."""
        return self.no_timestamps + 1

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """From `generation_config.json` of a Whisper checkpoint.

        Raises:
            CheckpointError: a field is missing.
        """
        fields = ("decoder_start_token_id", "eos_token_id", "no_timestamps_token_id")
        if lost := [name for name in fields if not isinstance(config.get(name), int)]:
            raise CheckpointError(
                "generation_config.json", f"lacks {lost[0]}", "Give the generation settings of a Whisper model"
            )
        tasks = config.get("task_to_id") or {}
        return cls(
            start=config[fields[0]],
            end=config[fields[1]],
            no_timestamps=config[fields[2]],
            suppress=tuple(token for token in config.get("suppress_tokens") or () if token >= 0),
            suppress_first=tuple(config.get("begin_suppress_tokens") or ()),
            languages={name.strip("<|>"): token for name, token in (config.get("lang_to_id") or {}).items()},
            transcribe=tasks.get("transcribe"),
            translate=tasks.get("translate"),
        )

    def to_hf(self) -> dict[str, Any]:
        """The fields of `generation_config.json`."""
        several = {
            "lang_to_id": {f"<|{name}|>": token for name, token in self.languages.items()},
            "task_to_id": {"transcribe": self.transcribe, "translate": self.translate},
        }
        return {
            "decoder_start_token_id": self.start,
            "eos_token_id": self.end,
            "no_timestamps_token_id": self.no_timestamps,
            "suppress_tokens": list(self.suppress),
            "begin_suppress_tokens": list(self.suppress_first),
            "is_multilingual": bool(self.languages),
        } | (several if self.languages else {})

    def prompt(self, language: str | None, task: SpeechTask, timestamps: bool) -> tuple[int, ...]:
        """What stands before the words: of a multilingual model the language and the task, and whether to tell the times.

        Raises:
            RequestError: the model does not know the language, or cannot translate.
        """
        last = () if timestamps else (self.no_timestamps,)
        if not self.languages:
            if task == "translate" or language not in (None, "en"):
                raise RequestError(
                    f"{task} of {language or 'speech'}", "is beyond this English-only model", "Use a multilingual Whisper model"
                )
            return (self.start, *last)
        if language is None or language not in self.languages:
            raise RequestError(
                f"language {language!r}", "is not known to this model", f"Use one of {', '.join(self.languages)}"
            )
        token = self.transcribe if task == "transcribe" else self.translate
        assert token is not None
        return (self.start, self.languages[language], token, *last)
