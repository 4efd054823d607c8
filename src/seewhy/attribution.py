"""Attribution: the result. Metrics, reports and pictures read this and nothing else."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seewhy import captions
from seewhy.agreement import Agreement
from seewhy.errors import BadInput, UnknownName, UnreadableInput
from seewhy.files import write_atomically
from seewhy.resize import resize
from seewhy.types import Cells, Json, Maps

if TYPE_CHECKING:
    from PIL.Image import Image

    from seewhy.show.exhibit import Exhibit

FORMAT = 1
SHOWN = 8
"""Samples that a notebook shows of a batch."""


class Attribution:
    """Values that say how much each place of the input mattered to a score.

    Parameters
    ----------
    values
        `(n, h, w)` or `(n, t, h, w)` float32 at input resolution, not normalised, clipped or rectified beyond
        the method's definition; None: `native`, enlarged linearly when somebody asks.
    native
        `(n, *cells)` float32: the method's own grid, before resizing.
    pixels
        `(n, c, *size)` uint8: the inputs as the model saw them, for display; fetched from the device when
        somebody asks.
    provenance
        JSON-serialisable: method and parameters, model and weights' hash, targets and scores, seed, versions,
        seconds, passes a sample.
    """

    def __init__(self, values: Maps | None, native: Cells, pixels: Tensor, provenance: Json) -> None:
        self.native, self.provenance = native, provenance
        self._values, self._pixels = values, pixels

    @property
    def values(self) -> Maps:
        """`(n, *size)` float32 on the CPU, at input resolution."""
        if self._values is None:
            self._values = resize(self.native, self._pixels.shape[2:])
        return self._values

    @property
    def pixels(self) -> Tensor:
        """`(n, c, *size)` uint8 on the CPU: the inputs as the model saw them, for display."""
        if self._pixels.device.type != "cpu":
            self._pixels = self._pixels.cpu()
        return self._pixels

    def __len__(self) -> int:
        return len(self.native)

    def __getitem__(self, i: int) -> Attribution:
        """Return sample `i` as an attribution of one."""
        i = range(len(self))[i]
        notes = {**self.provenance, "inputs": [self.provenance["inputs"][i]]}
        values = None if self._values is None else self._values[i : i + 1]
        return Attribution(values, self.native[i : i + 1], self._pixels[i : i + 1], notes)

    def __iter__(self) -> Iterator[Attribution]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        p = self.provenance
        shape = (len(self), *self._pixels.shape[2:])
        return f"Attribution({p['method']} of {p['model']}, values {shape}, {p['seconds']:.2f} s)"

    @property
    def signed(self) -> bool:
        """Whether negative values mean evidence against."""
        return bool(self.provenance["signed"])

    def noting(self, **facts: Any) -> Attribution:
        """Return the same maps with other facts in their provenance (another name of the method ...)."""
        return Attribution(self._values, self.native, self._pixels, {**self.provenance, **facts})

    # -- files ---------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write `path.safetensors` and `path.json`, each whole or not at all; return both paths.

        Raises
        ------
        BadInput
            When the folder cannot be written.
        """
        from safetensors.torch import save

        tensors, notes = _files(path)
        arrays = {"values": self.values, "pixels": self.pixels}
        if not _same_bits(self.values, self.native):
            arrays["native"] = self.native
        # Copies, because tensors that share memory cannot be stored; `clone` keeps the bits of NaN too.
        content = save({k: t.detach().cpu().contiguous().clone() for k, t in arrays.items()})
        marks = {"format": FORMAT, "tensors_sha256": hashlib.sha256(content).hexdigest()}
        text = json.dumps({**marks, **self.provenance}, indent=2, ensure_ascii=False)
        new = not tensors.exists()
        try:
            write_atomically(tensors, content)
            try:
                write_atomically(notes, text.encode())
            except BaseException:
                if new:  # one file without the other is no attribution
                    tensors.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise BadInput(
                f"Asked to save an attribution as {path}",
                f"It cannot be written: {error.strerror or error}",
                "Choose another place",
            ) from error
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

        tensors, notes = _files(path)
        for file in (tensors, notes):
            if not file.is_file():
                raise UnreadableInput(
                    f"Asked to open {path}",
                    f"{file} does not exist",
                    "An attribution is a .safetensors and a .json of one name",
                )
        try:
            content, provenance = tensors.read_bytes(), json.loads(notes.read_text(encoding="utf-8"))
            if provenance.pop("format") != FORMAT:
                raise UnreadableInput(
                    f"Asked to open {path}", "It was written by another version of the format"
                )
            if provenance.pop("tensors_sha256") != hashlib.sha256(content).hexdigest():
                raise UnreadableInput(
                    f"Asked to open {path}",
                    f"{tensors.name} and {notes.name} do not belong together",
                    "Saving was interrupted, or one of them was changed; make the map again",
                )
            arrays = load(content)
            values = arrays["values"]
            return cls(values, arrays.get("native", values), arrays["pixels"], provenance)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            if isinstance(error, UnreadableInput):
                raise
            raise UnreadableInput(f"Asked to open {path}", f"It is damaged: {error}") from error

    # -- other forms -----------------------------------------------------------------------------------------

    def resize(self, size: Sequence[int]) -> Attribution:
        """Return the same attribution at another resolution, values and pixels interpolated linearly.

        Parameters
        ----------
        size
            `(height, width)` of images, `(frames, height, width)` of clips; each at least 1.
        """
        size = tuple(size)
        if len(size) != self.values.ndim - 1 or min(size) < 1:
            raise BadInput(
                f"Asked to resize maps of {tuple(self.values.shape[1:])}",
                f"Found the size {size}",
                f"Give {self.values.ndim - 1} whole numbers of at least 1",
            )
        n, c = self.pixels.shape[:2]
        pixels = resize(self.pixels.flatten(0, 1).float(), size).reshape(n, c, *size)
        notes = {**self.provenance, "resized_from": list(self.values.shape[1:])}
        return Attribution(resize(self.values, size), self.native, pixels.round().to(torch.uint8), notes)

    def compare(self, other: Attribution) -> Agreement:
        """Return how much another attribution of the same inputs agrees, sample by sample.

        A map of another resolution is resized to this one's first.

        Raises
        ------
        BadInput
            When the other holds another number of samples, or clips against images.
        """
        if len(self) != len(other) or self.values.ndim != other.values.ndim:
            raise BadInput(
                "Asked to compare two attributions",
                f"Found maps of shape {tuple(self.values.shape)} and {tuple(other.values.shape)}",
                "Compare explanations of the same inputs",
            )
        return Agreement.of(self.values, resize(other.values, self.values.shape[1:]))

    # -- pictures ------------------------------------------------------------------------------------------

    def overlay(self, sample: int = 0, *, bar: bool = True, caption: bool = False, **look: Any) -> Image:
        """Return a picture of one sample: the input, the map over it, a colour bar with its numbers.

        Parameters
        ----------
        sample
            Which one; negative counts from the end.
        bar
            Whether to draw the colour bar.
        caption
            Whether to write the provenance below.
        **look
            Fields of `seewhy.show.Look`: mode ("alpha", "map", "mask", "contour"), opacity, cmap, grey,
            upscale, smooth, fade.

        Returns
        -------
        PIL.Image.Image
            RGB; a clip becomes a strip of frames.

        Raises
        ------
        BadInput
            For a sample that is not there, or a look that does not exist.
        """
        from seewhy.show.drawing import Look
        from seewhy.show.drawing import overlay as draw

        if not -len(self) <= sample < len(self):
            raise BadInput(
                f"Asked for a picture of sample {sample}", f"There are {len(self)}", "Samples count from 0"
            )
        known = [f.name for f in fields(Look)]
        for key in look:
            if key not in known:
                raise UnknownName("way to draw", key, known)
        sample = range(len(self))[sample]
        words = captions.caption(self.provenance, sample) if caption else ""
        return draw(
            self.photo(sample),
            self.values[sample].numpy(),
            self.signed,
            look=Look(**look),
            bar=bar,
            unit=captions.unit(self.provenance, sample),
            caption=words,
        )

    def widget(self, **look: Any) -> Any:
        """Return an interactive view for notebooks (Jupyter, VS Code, marimo): opacity, colours, probe, zoom.

        Needs the extra `notebook`. The page paints: after it is shown no change of the look asks the kernel.

        Parameters
        ----------
        **look
            mode ("alpha", "mask", "contour", "map", "photo"), opacity, cmap, grey, fade, smooth; sign
            ("both", "for", "against", "size"); clip, the quantile at which the scale ends, 0.5 to 1.

        Returns
        -------
        anywidget.AnyWidget
            With the traits of `seewhy.show.widget.widget`.

        Raises
        ------
        MissingExtra
            Without anywidget.
        BadInput
            For a clip, a look that does not exist, or where the front end was not built.
        """
        from seewhy.show.widget import widget

        return widget([self.exhibit(i) for i in range(len(self))], look)

    def exhibit(self, sample: int = 0) -> Exhibit:
        """Return one sample as pages show it: photo, numbers, and what is to be said of them.

        Raises
        ------
        BadInput
            For a clip, which has frames.
        """
        from seewhy.show.exhibit import Exhibit

        notes = self[sample].provenance
        native = self.native[sample].numpy()
        values = self.values[sample].numpy()
        return Exhibit(
            name=Path(str(notes["inputs"][0].get("path", f"input {sample}"))).name,
            title=str(notes["method"]).replace("_", " "),
            photo=self.photo(sample),
            values=values,
            native=native if native.ndim == 2 and native.shape != values.shape else None,
            signed=self.signed,
            unit=captions.unit(notes),
            text=self.text_twin(sample),
            caption=[captions.caption(notes)],
        )

    def photo(self, sample: int = 0) -> NDArray[np.uint8]:
        """Return the pixels of one input, channels last: `(h, w, c)` or `(t, h, w, c)` uint8."""
        return np.moveaxis(self.pixels[sample].numpy(), 0, -1)

    def text_twin(self, sample: int = 0) -> str:
        """Return one sentence that says what the map shows, for those who cannot see it."""
        from seewhy.show.words import text_twin

        return text_twin(self.values[sample].numpy(), self.signed)

    def _repr_png_(self) -> bytes:
        from seewhy.show.lettering import beside, stack

        shown = [self._small(i) for i in range(min(len(self), SHOWN))]
        lines = [beside(shown[i : i + 4], 0) for i in range(0, len(shown), 4)]
        return _png(stack(lines, 0) if len(lines) > 1 else lines[0])

    def _repr_html_(self) -> str:
        """Return static HTML without scripts, so that it survives wherever notebooks are shown."""
        figures = []
        for i in range(min(len(self), SHOWN)):
            picture = self._small(i)
            data = base64.b64encode(_png(picture)).decode()
            name = escape(str(self.provenance["inputs"][i].get("path", f"input {i}")))
            figures.append(
                f'<figure style="margin:0;max-width:{max(picture.width, 320)}px">'
                f'<img alt="{name}: {escape(self.text_twin(i))}" src="data:image/png;base64,{data}" '
                f'style="max-width:100%"/><figcaption style="font-size:90%"><b>{name}</b><br/>'
                f"{escape(captions.caption(self.provenance, i))}</figcaption></figure>"
            )
        rest = f"<p>and {len(self) - SHOWN} more</p>" if len(self) > SHOWN else ""
        return f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(figures)}</div>{rest}'

    def _small(self, sample: int) -> Image:
        """Return the overlay at the input's own size, enlarged only where that could not be read."""
        return self.overlay(sample, upscale=max(1, -(-224 // max(self.values.shape[-2:]))))


def _png(picture: Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors hold the same bytes: -0.0 is not 0.0, and a NaN equals its own payload."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(*(t.detach().cpu().contiguous().flatten().view(torch.uint8) for t in (a, b)))


def _files(path: str | Path) -> tuple[Path, Path]:
    base = _base(path)
    if base.name in ("", ".."):
        raise BadInput(
            "Asked for an attribution's files", f"Found {str(path)!r}", "Give a file name without its ending"
        )
    return base.with_name(f"{base.name}.safetensors"), base.with_name(f"{base.name}.json")


def _base(path: str | Path) -> Path:
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
