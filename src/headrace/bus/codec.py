"""Message ↔ bytes: JSON by msgspec; dataclasses, Structs, attrs and Pydantic models. Pure.

Types are strict both ways; what JSON cannot carry faithfully (NaN, lone surrogates) is refused.
"""

import contextlib
import datetime
import decimal
import inspect
import math
import typing
import uuid
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import Any

import msgspec

from headrace.errors import BadDefinition, DecodeError, Unencodable, WrongArguments


def _pydantic(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__")


def _to_builtin(value: Any) -> Any:
    if _pydantic(type(value)):
        return value.model_dump(mode="json", warnings=False)  # what is wrong is found by decoding it
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def _from_builtin(kind: Any, value: Any) -> Any:
    if _pydantic(kind):
        return value if isinstance(value, kind) else kind.model_validate(value)
    raise NotImplementedError(f"{kind!r} has no JSON form")


_encoder = msgspec.json.Encoder(enc_hook=_to_builtin)


def encode(value: object) -> bytes:
    """JSON of any supported value; Unencodable names what cannot be carried."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError as error:
        raise Unencodable(
            "text with a lone surrogate cannot be sent",
            why=str(error),
            hint="it is not valid Unicode; clean or escape it first",
        ) from error
    except (TypeError, NotImplementedError, RecursionError, OverflowError, ValueError) as error:
        raise Unencodable(f"{type(value).__name__} cannot be encoded as JSON", why=str(error)) from error


def _may_hold_float(kind: Any) -> bool:
    """Whether a value of this type may contain a float (when in doubt, yes)."""
    if kind in (str, int, bool, bytes, type(None)):
        return False
    parts = typing.get_args(kind)
    return not parts or any(_may_hold_float(part) for part in parts if part is not Ellipsis)


def _may_hold_model(kind: Any) -> bool:
    """Whether a value of this type may be an object with fields of its own (when in doubt, yes)."""
    if kind in _PLAIN:
        return False
    parts = typing.get_args(kind)
    return not parts or any(_may_hold_model(part) for part in parts if part is not Ellipsis)


_PLAIN = (
    *(str, int, float, bool, bytes, type(None), Any, list, dict, tuple, set, frozenset),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID, decimal.Decimal),
)


def encode_result(value: object) -> bytes:
    """JSON of what a handler returned; Unencodable also for NaN, which msgspec writes as null."""
    body = encode(value)
    if b"null" in body:
        _refuse_nan(value, "the result")
    return body


def _refuse_nan(value: Any, name: str) -> None:
    """Of what has been encoded: Unencodable when msgspec wrote null for a NaN or an infinity."""
    try:
        _walk(msgspec.to_builtins(value, enc_hook=_to_builtin), name)
    except RecursionError as error:
        raise Unencodable(f"{name} is nested too deep for JSON", why=str(error)) from error


def _walk(value: Any, path: str) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Unencodable(f"{path} is {value!r}, which JSON cannot carry", hint="send None or text instead")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _walk(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _walk(item, f"{path}[{index}]")


_MESSAGES = "use a dataclass, msgspec Struct, attrs class or Pydantic model with annotated fields"


def _has_fields(kind: Any) -> bool:
    marks = ("__dataclass_fields__", "__struct_fields__", "__attrs_attrs__")
    return _pydantic(kind) or (isinstance(kind, type) and any(hasattr(kind, mark) for mark in marks))


class MessageCodec:
    """Encodes and decodes the messages of one class."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        if not _has_fields(kind):
            raise BadDefinition(f"{kind!r} cannot be a message", hint=_MESSAGES)
        try:
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind, dec_hook=_from_builtin)
        except (TypeError, NotImplementedError) as error:
            raise BadDefinition(f"{kind.__name__} cannot be a message", why=str(error), hint=_MESSAGES) from error

    def encode(self, message: object) -> bytes:
        """JSON of a message whose fields have been checked against their annotations."""
        body = encode(message)
        _refuse_nan(message, self._kind.__name__)
        try:
            self._decoder.decode(body)
        except (msgspec.ValidationError, ValueError) as error:
            raise WrongArguments(
                f"{self._kind.__name__} has a field of the wrong type",
                why=str(error),
                hint="The message was not queued.",
            ) from error
        return body

    def decode(self, body: bytes) -> Any:
        """The message; DecodeError when the bytes do not fit."""
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError, NotImplementedError) as error:
            raise DecodeError(f"body does not fit {self._kind.__name__}: {error}") from error


class TaskCodec:
    """Checks, encodes and decodes the arguments of one function."""

    def __init__(self, name: str, function: Callable[..., Any], skip: str | None) -> None:
        self._name = name
        self._signature = inspect.signature(function)
        parameters = [p for p in self._signature.parameters.values() if p.name != skip]
        self._text = f"{name.rpartition('.')[2]}{self._signature.replace(parameters=parameters)}"
        fields, named = _fields(name, parameters, _hints(function))
        # a Struct wants fields without a default first; keyword-only parameters come in any order
        optional = [len(field) == 3 for field in fields]
        self._by_name = optional != sorted(optional)
        define = partial(msgspec.defstruct, "Arguments", fields, frozen=True, gc=False, kw_only=self._by_name)
        try:
            self._given = define()
            self._checked = define(forbid_unknown_fields=True)
            self._decoder = msgspec.json.Decoder(self._checked, dec_hook=_from_builtin)
        except (TypeError, NotImplementedError) as error:
            raise BadDefinition(f"task {name} has a parameter that JSON cannot carry", why=str(error)) from error
        self._positional = len(fields) - len(named)
        self._named = named
        self._floats = any(_may_hold_float(field[1]) for field in fields)
        self._models = any(_may_hold_model(field[1]) for field in fields)

    @property
    def signature(self) -> str:
        """As a person would write it, without the context."""
        return self._text

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """JSON of the arguments, checked against the signature: WrongArguments, Unencodable."""
        if len(args) > self._positional:
            raise self._wrong(f"takes {self._positional} positional arguments, got {len(args)}")
        try:
            given = self._given(**self._bound(args, kwargs)) if self._by_name else self._given(*args, **kwargs)
            checked = msgspec.convert(given, self._checked, from_attributes=True, dec_hook=_from_builtin)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise self._wrong(str(error).replace("$.", "")) from error
        body = encode(checked)
        if self._floats:
            _refuse_nan(checked, self._name)
        if self._models:
            self._check(body)
        return body

    def decode(self, body: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments for the call; DecodeError when the bytes do not fit."""
        try:
            values = msgspec.structs.astuple(self._decoder.decode(body))
        except (msgspec.DecodeError, ValueError, RecursionError, NotImplementedError) as error:
            raise DecodeError(f"body does not fit {self._text}: {error}") from error
        if not self._named:
            return values, {}
        return values[: self._positional], dict(zip(self._named, values[self._positional :], strict=True))

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        by_place = dict(zip(self._checked.__struct_fields__, args, strict=False))
        for name in by_place.keys() & kwargs.keys():
            raise TypeError(f"Argument {name!r} given by name and position")
        return by_place | kwargs

    def _check(self, body: bytes) -> None:
        """An object is converted as it is, whatever is in its fields: so they are looked at in the body."""
        try:
            self._decoder.decode(body)
        except (msgspec.DecodeError, ValueError) as error:
            raise self._wrong(str(error).replace("$.", "")) from error

    def _wrong(self, why: str) -> WrongArguments:
        return WrongArguments(
            f"{self._name}: wrong arguments", why=why, hint=f"The job was not queued. Signature: {self._text}"
        )


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise BadDefinition(
            f"an annotation of {function.__qualname__} cannot be resolved",
            why=str(error),
            hint="define or import the name before the task",
        ) from error


def _fields(name: str, parameters: list[inspect.Parameter], hints: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """Struct fields in order, and the names of the keyword-only ones (last)."""
    fields: list[Any] = []
    named: list[str] = []
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise BadDefinition(
                f"task {name}: parameter {parameter} has no name on the wire",
                hint="use named parameters, without *, ** or /",
            )
        if parameter.name.startswith("__"):
            raise BadDefinition(
                f"task {name}: parameter {parameter.name} cannot be sent", hint="choose a name without __"
            )
        if parameter.kind is parameter.KEYWORD_ONLY:
            named.append(parameter.name)
        kind = hints.get(parameter.name, Any)
        if parameter.default is parameter.empty:
            fields.append((parameter.name, kind))
        else:
            fields.append((parameter.name, kind, _default(parameter.default)))
    return fields, named


def _default(value: Any) -> Any:
    if isinstance(value, list | dict | set):
        return msgspec.field(default_factory=partial(copy, value))
    return msgspec.field(default=value)


class ResultCodec:
    """Decodes what a handler returned, into the type that it is annotated with."""

    def __init__(self, kind: Any) -> None:
        try:
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind, dec_hook=_from_builtin)
        except (TypeError, NotImplementedError):
            self._decoder = msgspec.json.Decoder()

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "ResultCodec":
        """For the return annotation of a function."""
        return cls(_hints(function).get("return", Any))

    def decode(self, result: str | None) -> Any:
        """The value; what does not fit the annotation comes as plain data."""
        if result is None:
            return None
        try:
            return self._decoder.decode(result)
        except (msgspec.DecodeError, ValueError, NotImplementedError):
            return msgspec.json.decode(result)


def from_text(text: str, kind: Any) -> Any:
    """The value of this type that a person typed: lax about scalars, JSON for the rest. ValueError."""
    if kind is Any:
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(text)
        return text
    try:
        return msgspec.convert(text, kind, strict=False, dec_hook=_from_builtin)
    except (ValueError, NotImplementedError) as error:
        try:
            plain = msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise ValueError(str(error)) from error
        return msgspec.convert(plain, kind, strict=False, dec_hook=_from_builtin)
