"""One voice for everything that goes wrong: what was asked, what was found, what to do.

`SeeWhyError` is the root. Its `exit_code` is what the command line ends with: 2 when the input is at
fault (`BadInput` and below), 1 when the work failed, 130 when the user stopped it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SeeWhyError(Exception):
    """Root of every error that SeeWhy raises on purpose."""

    exit_code = 1


class BadInput(SeeWhyError, ValueError):
    """The request cannot be carried out as it stands.

    Parameters
    ----------
    asked
        What was asked for, as a sentence without its full stop.
    found
        What was found instead.
    do
        What to do now; may be empty where nothing sensible can be said.
    """

    exit_code = 2

    def __init__(self, asked: str, found: str, do: str = "") -> None:
        self.asked, self.found, self.do = asked, found, do
        super().__init__(
            " ".join(
                f"{part.rstrip('.?')}{part[-1] if part[-1] in '?' else '.'}"
                for part in (asked, found, do)
                if part
            )
        )


class UnknownName(BadInput):
    """A name that is in no list: a model, method, metric, layer or label."""

    def __init__(self, kind: str, name: str, known: Iterable[str], do: str = "") -> None:
        known = list(known)
        self.kind, self.name, self.suggestions = kind, name, nearest(name, known)
        super().__init__(
            f"Asked for the {kind} {name!r}",
            f"There is no such {kind}",
            do or did_you_mean(self.suggestions) or listing(known),
        )


class UnreadableInput(BadInput):
    """A file that is missing, empty, damaged, too large or not what its name says."""


class NotFinite(BadInput):
    """Weights, inputs or outputs hold NaN or infinity."""


class DoesNotFit(BadInput):
    """A method, metric, target or layer that cannot work on this model, and why."""


class MissingExtra(BadInput):
    """An optional package that this request needs is not installed."""

    def __init__(self, asked: str, package: str, install: str) -> None:
        super().__init__(asked, f"The package {package!r} is not installed", f"Install it: {install}")


class Cancelled(SeeWhyError):
    """The caller asked to stop; whatever was finished before has been kept."""

    exit_code = 130


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return up to `n` names of `known` that look like `name`, best first."""
    folded = {k.casefold(): k for k in known}
    hits = difflib.get_close_matches(name.casefold(), folded, n=n, cutoff=0.6)
    hits += [k for k in folded if name and name.casefold() in k and k not in hits]
    return [folded[h] for h in hits[:n]]


def did_you_mean(suggestions: list[str]) -> str:
    """Return "Did you mean 'a', 'b' or 'c'?", or "" for no suggestions."""
    if not suggestions:
        return ""
    quoted = [repr(s) for s in suggestions]
    return f"Did you mean {quoted[0] if len(quoted) == 1 else ', '.join(quoted[:-1]) + ' or ' + quoted[-1]}?"


def listing(names: Iterable[str], most: int = 12) -> str:
    """Return "Known: a, b, c and 4 more", or "" for an empty list."""
    names = list(names)
    if not names:
        return ""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"Known: {', '.join(names[:most])}{rest}"
