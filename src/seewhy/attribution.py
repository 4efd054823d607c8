"""Attribution: the result. Metrics, reports and pictures read this and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seewhy.errors import BadInput, UnreadableInput
from seewhy.files import write_atomically
from seewhy.types import Cells, Json, Maps

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Attribution:
    """Values that say how much each place of the input mattered to a score.

    Parameters
    ----------
    values
        `(n, h, w)` or `(n, t, h, w)` float32 on the CPU, at input resolution, not normalised, clipped or rectified
        beyond the method's definition.
    native
        `(n, *cells)` float32: the method's own grid, before resizing.
    pixels
        `(n, c, *size)` uint8: the inputs as the model saw them, for display.
    provenance
        JSON-serialisable: method and parameters, model and weights' hash, targets and scores, seed, versions,
        seconds, passes a sample.
    """

    values: Maps
    native: Cells
    pixels: Tensor
    provenance: Json

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, i: int) -> Attribution:
        """Return sample `i` as an attribution of one."""
        i = range(len(self))[i]
        notes = {**self.provenance, "inputs": [self.provenance["inputs"][i]]}
        return Attribution(self.values[i : i + 1], self.native[i : i + 1], self.pixels[i : i + 1], notes)

    def __iter__(self) -> Iterator[Attribution]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        p = self.provenance
        return f"Attribution({p['method']} of {p['model']}, values {tuple(self.values.shape)}, {p['seconds']:.2f} s)"

    @property
    def signed(self) -> bool:
        """Whether negative values mean evidence against."""
        return bool(self.provenance["signed"])

    # -- files ---------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write `path.safetensors` and `path.json`, each whole or not at all; return both paths.

        Raises
        ------
        BadInput
            When the folder cannot be written.
        """
        from safetensors.torch import save

        base = _base(path)
        arrays = {"values": self.values, "native": self.native, "pixels": self.pixels}
        tensors, notes = base.with_name(f"{base.name}.safetensors"), base.with_name(f"{base.name}.json")
        same = torch.equal(self.values, self.native) if self.values.shape == self.native.shape else False
        if same:
            del arrays["native"]
        write_atomically(tensors, save({k: t.contiguous() for k, t in arrays.items()}))
        notes_json = json.dumps({"format": FORMAT, **self.provenance}, indent=2, ensure_ascii=False)
        write_atomically(notes, notes_json.encode())
        return tensors, notes

    @classmethod
    def open(cls, path: str | Path) -> Attribution:
        """Read what `save` wrote, bit for bit.

        Raises
        ------
        UnreadableInput
            For missing or damaged files.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        base = _base(path)
        tensors, notes = base.with_name(f"{base.name}.safetensors"), base.with_name(f"{base.name}.json")
        for file in (tensors, notes):
            if not file.is_file():
                raise UnreadableInput(f"Asked to open {path}", f"{file} does not exist",
                                      "An attribution is a .safetensors and a .json of one name")
        try:
            arrays, provenance = load(tensors.read_bytes()), json.loads(notes.read_text(encoding="utf-8"))
            if provenance.pop("format") != FORMAT:
                raise UnreadableInput(f"Asked to open {path}", "It was written by another version of the format")
            values = arrays["values"]
            return cls(values, arrays.get("native", values), arrays["pixels"], provenance)
        except (SafetensorError, json.JSONDecodeError, KeyError, UnicodeDecodeError) as error:
            raise UnreadableInput(f"Asked to open {path}", f"It is damaged: {error}") from error

    # -- pictures ------------------------------------------------------------------------------------------

    def overlay(self, sample: int = 0, **look: Any) -> Any:
        """Return a PIL image: the input with the map over it and a colour bar; see `seewhy.show.overlay`."""
        raise BadInput("Asked for a picture", "Drawing is not there yet")


def _base(path: str | Path) -> Path:
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
