"""Spec strings, `HEAD?key=value&key=value`: how models and data sets are named on one line."""

from __future__ import annotations

from typing import TypeVar

from seewhy.errors import BadInput, UnknownName

Value = bool | int | float | str
T = TypeVar("T", bound=bool | int | float | str)


def parse(spec: str, kind: str = "model") -> tuple[str, dict[str, Value]]:
    """Split a spec into what stands before the question mark and its options.

    Parameters
    ----------
    spec
        `HEAD` or `HEAD?key=value&key=value`; true, false and numbers become what they say.
    kind
        What the spec names, for messages.

    Raises
    ------
    BadInput
        For an option without a value.
    """
    head, _, tail = spec.strip().partition("?")
    values: dict[str, Value] = {}
    for option in filter(None, tail.split("&")):
        key, equals, text = option.partition("=")
        if not (key and equals and text):
            raise BadInput(
                f"Asked for the {kind} {spec!r}",
                f"The option {option!r} has no value",
                "Write ?key=value&key=value",
            )
        values[key.strip()] = _value(text.strip())
    return head, values


def _value(text: str) -> Value:
    if text.casefold() in ("true", "false"):
        return text.casefold() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


class Options:
    """The `?key=value&key=value` part of a spec: what is not taken by someone is refused in the end.

    Parameters
    ----------
    spec
        The whole spec, for messages.
    values
        The parsed options.
    kind
        What the spec names, for messages.
    """

    def __init__(self, spec: str, values: dict[str, Value], kind: str = "model") -> None:
        self.spec, self.values, self.kind = spec, dict(values), kind
        self._asked: list[str] = []

    def take(self, key: str, default: T) -> T:
        """Return the option `key`, of the type of `default`.

        Raises
        ------
        BadInput
            For a value of another type.
        """
        self._asked.append(key)
        value = self.values.pop(key, default)
        wanted = type(default)
        if wanted is str or (wanted is float and isinstance(value, int) and not isinstance(value, bool)):
            value = wanted(value)
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise BadInput(
                f"Asked for {self.spec}",
                f"The option {key!r} is {value!r}",
                f"Give {'true or false' if wanted is bool else f'a value of type {wanted.__name__}'}",
            )
        return value

    def rest(self) -> dict[str, Value]:
        """Take and return everything that is left."""
        values, self.values = self.values, {}
        return values

    def done(self) -> None:
        """Refuse what nobody took.

        Raises
        ------
        UnknownName
            With the options that there are.
        """
        for key in self.values:
            raise UnknownName(f"{self.kind} option", key, self._asked)
