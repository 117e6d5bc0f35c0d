"""How a server that speaks OpenAI's chat wire is asked: its address, its dialect, and what it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sensorium.errors import RequestError

PREFIX = "openai:"
"""What a model's name begins with when it is a server: `openai:http://127.0.0.1:8000/v1#model-name`."""

OPENAI_HOST, OPENAI_KEY, OTHER_KEY = "api.openai.com", "OPENAI_API_KEY", "SENSORIUM_API_KEY"
_HOW = "Write openai:http://host:port/v1#model-name, or --model openai --model_args base_url=http://host:port/v1,model=name"


class Dialect(NamedTuple):
    """What a family of servers takes beyond OpenAI's own fields; "" is what it has no field for.

    Args:
        top_k, min_p, repetition_penalty: names of the fields. no_top_k: the value that turns top_k off.
        prompt_logprobs: it tells the log-probability of each token of a chat prompt.
    """

    name: str
    top_k: str = ""
    min_p: str = ""
    repetition_penalty: str = ""
    no_top_k: int = 0
    prompt_logprobs: bool = False


DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "openai": Dialect("openai"),
        "vllm": Dialect("vllm", "top_k", "min_p", "repetition_penalty", -1, True),
        "sglang": Dialect("sglang", "top_k", "min_p", "repetition_penalty", -1),
        "llama.cpp": Dialect("llama.cpp", "top_k", "min_p", "repeat_penalty"),
    }
)
OWNERS: Mapping[str, str] = MappingProxyType({"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp"})
"""What a server's list of models names as owner, and the dialect it then speaks; any other speaks OpenAI's."""


class Settings(BaseModel):
    """All of them may be given as `--model_args name=value,...`.

    Args:
        base_url: up to and including `/v1`. model: its name there; "" is the only one that the server lists.
        key_env: the environment variable that holds the key; "" is OPENAI_API_KEY for api.openai.com, SENSORIUM_API_KEY else.
        dialect: `auto` goes by the owner in the server's list of models.
        scoring: how given answers are scored (see `remote_score`); `auto` takes the best that the server offers.
        video: clips as pictures of frames, or whole as `video_url` or `input_video`. frames: pictures of one clip.
        documents: as text and pictures of pages, or whole as a file. dpi: at which pages are drawn.
        detail: OpenAI's word for how closely a picture is looked at; "" leaves it out.
        limit_field: what the server calls the limit of an answer.
        concurrency: requests at once. timeout: seconds for one request, the answer included.
        retries: further attempts where the server is busy or the connection breaks. patience: seconds waited for one at most.
        max_bytes: of one answer of the server at most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    model: str = ""
    key_env: str = ""
    dialect: Literal["auto", "openai", "vllm", "sglang", "llama.cpp"] = "auto"
    scoring: Literal["auto", "prompt", "echo", "top", "none"] = "auto"
    video: Literal["frames", "video_url", "input_video"] = "frames"
    documents: Literal["pages", "file"] = "pages"
    frames: int = Field(default=8, ge=1)
    dpi: float = Field(default=144.0, ge=1, le=1200)
    detail: Literal["", "auto", "low", "high", "original"] = ""
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    concurrency: int = Field(default=4, ge=1, le=256)
    timeout: float = Field(default=300.0, gt=0)
    retries: int = Field(default=4, ge=0, le=100)
    patience: float = Field(default=60.0, gt=0)
    max_bytes: int = Field(default=1 << 26, ge=1024)

    @property
    def key_variable(self) -> str:
        """Where the key is looked for. One that was made for OpenAI is sent to OpenAI alone unless somebody says so."""
        return self.key_env or (OPENAI_KEY if urlsplit(self.base_url).hostname == OPENAI_HOST else OTHER_KEY)

    def about(self) -> dict[str, object]:
        """What of it an answer depends on, as plain JSON."""
        return self.model_dump(exclude={"key_env", "concurrency", "timeout", "retries", "patience", "max_bytes"})


def is_remote(name: str) -> bool:
    """Whether a model's name means a server."""
    return name == PREFIX[:-1] or name.startswith(PREFIX)


def read_settings(name: str, args: Mapping[str, object]) -> Settings:
    """Settings of `openai` or `openai:URL#model`, and of further arguments by name, which may be strings.

    Raises:
        RequestError: an unknown argument, one out of range or given twice, or an address that cannot be used.
    """
    url, _, model = name.removeprefix(PREFIX).partition("#") if name.startswith(PREFIX) else ("", "", "")
    given = {key: value for key, value in (("base_url", url), ("model", model)) if value}
    if twice := sorted(set(given) & set(args)):
        raise RequestError(f"model argument {twice[0]}", "is given twice", _HOW)
    try:
        settings = Settings.model_validate({**given, **args})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(place) for place in first["loc"])
        known = ", ".join(Settings.model_fields)
        raise RequestError(f"model argument {field}", f"is wrong: {first['msg']}", f"{_HOW}; known are {known}") from error
    return settings.model_copy(update={"base_url": _checked(settings.base_url)})


def _checked(url: str) -> str:
    """An address without a trailing slash. It never holds a secret, so that it may be shown."""
    shown = url.partition("?")[0].partition("#")[0]
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RequestError("base_url", f"is no address ({error})", _HOW) from error
    if parts.username is not None or parts.password is not None:
        remedy = f"Put the key into the environment variable {OTHER_KEY}, or name another with key_env"
        raise RequestError("base_url", "holds a user name or password", remedy)
    if parts.query or parts.fragment:
        raise RequestError(shown[:200], "has something behind its path", _HOW)
    if parts.scheme not in ("http", "https") or not host:
        raise RequestError(shown[:200], "is no http address", _HOW)
    path = parts.path.rstrip("/")
    for ending in ("/chat/completions", "/completions", "/models"):
        if path.endswith(ending):
            raise RequestError(shown[:200], f"ends in {ending}", f"Leave {ending} out")
    return f"{parts.scheme}://{parts.netloc}{path}"
