"""Names of classes, and the way from what a person types to a class index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seewhy.errors import BadInput, UnknownName


class Labels(Sequence[str]):
    """Class names in order of their index.

    A name may hold synonyms separated by commas ("tabby, tabby cat"); each of them finds the class.

    Parameters
    ----------
    names
        One name a class.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._index: dict[str, int] = {}
        for i, name in enumerate(self.names):
            for synonym in (name, *name.split(",")):
                self._index.setdefault(_fold(synonym), i)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i):  # type: ignore[no-untyped-def]
        return self.names[i]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def index_of(self, text: str) -> int:
        """Return the class that `text` names.

        Raises
        ------
        UnknownName
            With the nearest labels.
        """
        found = self._index.get(_fold(text))
        if found is None:
            synonyms = (part.strip() for name in self.names for part in name.split(","))
            raise UnknownName("label", text, dict.fromkeys(synonyms))
        return found


def find_class(text: str, labels: Labels | None) -> int:
    """Return the class index for a label or a number written as text.

    Raises
    ------
    UnknownName, BadInput
        For a label not in the list, or any label where the model has none.
    """
    if text.strip().lstrip("-").isdigit():
        return int(text)
    if labels is None:
        raise BadInput(f"Asked for the label {text!r}", "This model has no labels",
                       "Give a class index, or Model(module, labels=[...])")
    return labels.index_of(text)


def _fold(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").split())
