"""Typed, closed settings of a run: `--set key=value` by type, an unknown key or one that nothing reads is an error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from sensorium.errors import RequestError
from sensorium.nn.closed import ClosedConfig

SettingsT = TypeVar("SettingsT", bound="Settings")


class Settings(ClosedConfig):
    """A closed configuration that remembers which of its fields were read.

    A recipe's `Config` is one, and what it is made of as well. Reading is plain attribute access; writing the settings to
    JSON does not count as reading.
    """

    __slots__ = ("_given", "_seen")  # beside the fields: two settings are equal whoever has read them

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name in type(self).__pydantic_fields__:
            self._reads().add(name)
        return value

    def _reads(self) -> set[str]:
        try:
            seen: set[str] = object.__getattribute__(self, "_seen")
        except AttributeError:
            seen = set()
            object.__setattr__(self, "_seen", seen)
        return seen

    def unread(self) -> list[str]:
        """Keys that were given to `parse` and that nothing has read since: they had no effect."""
        try:
            given: tuple[str, ...] = object.__getattribute__(self, "_given")
        except AttributeError:
            return []
        return [key for key in given if not _was_read(self, key)]


def _was_read(settings: Settings, key: str) -> bool:
    """Whether every step of the way to a value was read."""
    at: Any = settings
    rest = key
    while rest:
        if isinstance(at, Mapping):
            name = next((name for name in at if rest == name or rest.startswith(f"{name}.")), rest)
            at, rest = at.get(name), rest[len(name) + 1 :]
        elif isinstance(at, Settings):
            name, _, rest = rest.partition(".")
            if name not in at._reads():
                return False
            at = vars(at)[name]
        else:
            return True
    return True


def parse(kind: type[SettingsT], sets: Sequence[str]) -> SettingsT:
    """Settings of a class with its defaults, and what `key=value` texts such as `training.schedule.floor=0.1` change.

    A value is read by the type of its field: JSON, a plain word, `none`, or words with commas between them for a tuple.

    Raises:
        RequestError: a text without `=`, an unknown key (with the nearest known one), or a value of the wrong type.
    """
    given: dict[str, Any] = {}
    for text in sets:
        key, equals, word = text.partition("=")
        if not equals or not key:
            raise RequestError(f"--set {text}", "is not of the form key=value", "Write for instance training.steps=100")
        _put(kind, given, key.strip(), word)
    made = build(kind, given)
    object.__setattr__(made, "_given", tuple(text.partition("=")[0].strip() for text in sets))
    return made


def build(kind: type[SettingsT], given: Mapping[str, Any]) -> SettingsT:
    """Settings from nested values; what is missing has its default.

    Raises:
        RequestError: see `parse`.
    """
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = _place(first["loc"], given)
        if first["type"] == "extra_forbidden":
            raise _unknown(kind, key) from error
        problem = f"is {first.get('input')!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise RequestError(f"setting {key}", problem, "Give a value of that kind") from error


def keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Every key of a settings class, nested ones with dots; `<name>` stands for the free key of a mapping."""
    found: list[str] = []
    for name, field in kind.model_fields.items():
        inner = _models(field.annotation)
        free = "<name>." if _is_mapping(field.annotation) else ""
        nested = sorted({key for model in inner for key in keys(model, f"{prefix}{name}.{free}")})
        found += nested or [prefix + name]
    return found


def _put(kind: type[Settings], given: dict[str, Any], key: str, word: str) -> None:
    """Write one value into the nested dictionary, with the defaults that stand beside it."""
    path = key.split(".")
    models: list[type[BaseModel]] = [kind]
    at = given
    defaults: Any = None
    for depth, name in enumerate(path):
        owners = [model for model in models if name in model.model_fields]
        if not owners:
            raise _unknown(kind, key)
        annotation, rest = _either([owner.model_fields[name].annotation for owner in owners]), path[depth + 1 :]
        defaults = _default(owners[0], name) if depth == 0 else (defaults or {}).get(name)
        if not rest:
            at[name] = _value(key, annotation, word)
            if name == "kind" and isinstance(at.get("kind"), str):
                _drop_other_kind(at, models)
            return
        if _is_mapping(annotation):
            at = _enter(at, name, defaults)
            inner = _either([get_args(item)[1] for item in _options(annotation) if get_origin(item) is dict])
            if len(rest) == 1 or word.strip().lower() in ("none", "null"):
                at[".".join(rest)] = _value(key, inner, word)
            else:
                _put_in_item(kind, at, key, (".".join(rest[:-1]), rest[-1]), inner, word)
            return
        models = _models(annotation)
        if not models:
            raise _unknown(kind, key)
        at = _enter(at, name, defaults)


def _put_in_item(
    kind: type[Settings], at: dict[str, Any], key: str, place: tuple[str, str], annotation: Any, word: str
) -> None:
    """A field of one entry of a mapping."""
    free, name = place
    owners = [model for model in _models(annotation) if name in model.model_fields]
    if not owners:
        raise _unknown(kind, key)
    entry = at.get(free)
    at[free] = {**entry} if isinstance(entry, dict) else {}
    at[free][name] = _value(key, owners[0].model_fields[name].annotation, word)


def _enter(at: dict[str, Any], name: str, defaults: Any) -> dict[str, Any]:
    if not isinstance(at.get(name), dict):
        at[name] = json.loads(json.dumps(defaults)) if isinstance(defaults, Mapping) else {}
    inner: dict[str, Any] = at[name]
    return inner


def _default(owner: type[BaseModel], name: str) -> Any:
    """What a field is by default, as far as it was given: plain values."""
    value = owner.model_fields[name].get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return _plain(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) if isinstance(item, BaseModel) else item for key, item in value.items()}
    return value


def _plain(value: BaseModel) -> dict[str, Any]:
    kind = {"kind": vars(value)["kind"]} if "kind" in type(value).model_fields else {}
    row: dict[str, Any] = value.model_dump(mode="json", exclude_unset=True)
    for name, inner in vars(value).items():
        if isinstance(inner, BaseModel) and (name in row or "kind" in type(inner).model_fields):
            row[name] = _plain(inner)
    return kind | row


def _drop_other_kind(at: dict[str, Any], models: Sequence[type[BaseModel]]) -> None:
    """Another kind was chosen: what the default of the first kind said does not fit it."""
    for model in models:
        field = model.model_fields.get("kind")
        if field is not None and at["kind"] in get_args(field.annotation):
            for name in [name for name in at if name not in model.model_fields]:
                del at[name]


def _value(key: str, annotation: Any, word: str) -> Any:
    """A word as a field's type reads it; plain values, since the whole is validated afterwards."""
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    tries: list[Any] = []
    with suppress(ValueError):
        tries.append(json.loads(word))
    if word.lower() == "none":
        tries.append(None)
    tries.append(word)
    if any(get_origin(item) in (tuple, list) for item in _options(annotation)):
        tries.append([item.strip() for item in word.split(",") if item.strip()])
    last: ValidationError | None = None
    for given in tries:
        try:
            adapter.validate_python(given)
            return given
        except ValidationError as error:
            last = last or error
    assert last is not None
    first = last.errors(include_url=False)[0]
    raise RequestError(f"setting {key}", f"is {word!r}: {first['msg'][:1].lower()}{first['msg'][1:]}", "Give such a value")


def _unknown(kind: type[BaseModel], key: str) -> RequestError:
    known = keys(kind)
    if key in known:
        front = key.rpartition(".")[0]
        return RequestError(f"setting {key}", "is of another kind than the one chosen", f"Set {front}.kind to one that has it")
    last = key.rpartition(".")[2]
    near = get_close_matches(key, known, n=1, cutoff=0.5) or [name for name in known if name.rpartition(".")[2] == last][:1]
    remedy = f"The nearest setting is {near[0]}" if near else f"The settings are {', '.join(known)}"
    return RequestError(f"setting {key}", "is not known", remedy)


def _place(found: Sequence[int | str], given: Mapping[str, Any]) -> str:
    """Where pydantic found an error, without the kinds that it names on the way."""
    place: list[str] = []
    at: Any = given
    for number, item in enumerate(found):
        inside = isinstance(at, Mapping) and item in at
        if not inside and number < len(found) - 1 and isinstance(at, Mapping) and isinstance(item, str) and place:
            continue
        place.append(str(item))
        at = at[item] if inside else None
    return ".".join(place)


def _either(annotations: Sequence[Any]) -> Any:
    joined = annotations[0]
    for other in annotations[1:]:
        joined = joined | other
    return joined


def _options(annotation: Any) -> list[Any]:
    """The members of a union, `Annotated` taken off."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    arguments = get_args(annotation)
    if arguments and get_origin(annotation) not in (dict, tuple, list, set, Mapping) and _is_union(annotation):
        return [option for item in arguments for option in _options(item)]
    return [annotation]


def _is_union(annotation: Any) -> bool:
    return type(annotation).__name__ in ("Union", "UnionType", "_UnionGenericAlias")


def _is_mapping(annotation: Any) -> bool:
    return any(get_origin(item) is dict for item in _options(annotation))


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes that a field may hold."""
    found: list[type[BaseModel]] = []
    for item in _options(annotation):
        if get_origin(item) is dict:
            found += _models(get_args(item)[1])
        elif item is not NoneType and isinstance(item, type) and issubclass(item, BaseModel):
            found.append(item)
    return found
