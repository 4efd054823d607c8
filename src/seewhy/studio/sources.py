"""Sources: the photos of a session. Files are read below the declared roots, and nowhere else."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seewhy.errors import BadInput, UnreadableInput
from seewhy.studio.refusals import Missing, Refused
from seewhy.studio.schema import Folder, ImageEntry

if TYPE_CHECKING:
    from PIL.Image import Image

Origin = Literal["demo", "folder", "upload", "run"]
MAX_UPLOAD = 40_000_000
"""Bytes of one uploaded photo."""
MAX_UPLOADS = 1_000_000_000
"""Bytes of all uploads of a session."""
LISTED = 500
"""Photos of a folder that are listed."""
SIDE = 2048
"""Longest side at which a photo is shown."""
THUMBNAIL, THUMBNAILS = 160, 2048
"""Longest side of a small picture, and how many of them are kept."""


@dataclass(frozen=True)
class _Known:
    entry: ImageEntry
    path: Path
    stamp: tuple[int, int]
    declared: bool
    """Named on the command line or put here by the studio: readable wherever it lies."""


class Sources:
    """The photos that can be explained.

    Parameters
    ----------
    roots
        Folders that may be read, with everything below them.
    uploads
        The session's own folder, for what is uploaded.
    """

    def __init__(self, roots: Iterable[Path], uploads: Path) -> None:
        self.roots = [(str(r), r.resolve()) for r in roots]
        self.uploads = uploads
        self._known: dict[str, _Known] = {}
        self._hashes: dict[tuple[str, int, int], ImageEntry] = {}
        self._lock = threading.Lock()
        self._decoding = threading.Semaphore(2)
        self._thumbnails: OrderedDict[str, bytes] = OrderedDict()
        self._uploaded = 0

    # -- what is in the session ------------------------------------------------------------------------------

    def entries(self) -> list[ImageEntry]:
        """Return the photos in the order in which they came."""
        with self._lock:
            return [k.entry for k in self._known.values()]

    def declare(self, path: Path, origin: Origin, name: str = "") -> ImageEntry:
        """Add a photo that the user named on the command line, or that the studio itself put somewhere."""
        return self._enter(path, self._read_entry(path, origin, name), declared=True)

    def open(self, text: str) -> list[ImageEntry]:
        """Add a photo, or all photos of a folder, below the roots."""
        path = self.inside(text)
        if path.is_dir():
            return [self._enter(p, e) for p, e in self._photos(path, LISTED)[0]]
        return [self._enter(path, self._read_entry(path, "folder"))]

    def path(self, name: str) -> Path:
        """Return where a photo lies, provided that it is still the one that was entered.

        Raises
        ------
        Missing, Refused
            For an unknown photo, or one that has changed since.
        """
        known = self._known.get(name)
        if known is None:
            raise Missing("photo", name, "Open it again")
        if not known.declared:
            self.inside(str(known.path))  # a folder on the way may have become a link
        if _stamp(known.path) != known.stamp and _hash(known.path) != name:
            raise Refused(
                409, f"Asked for {known.entry.name}", "Its file has changed or gone", "Open it again"
            )
        return known.path

    # -- below the roots -------------------------------------------------------------------------------------

    def inside(self, text: str) -> Path:
        """Return the real path that a text means, below a root.

        Raises
        ------
        Refused
            When it lies elsewhere; whether there is anything there is not said.
        Missing
            When there is nothing.
        """
        asked = f"Asked to read {text!r}"[:300]
        roots = ", ".join(name for name, _ in self.roots) or "there are none"
        outside = Refused(
            403,
            asked,
            "It is not below a folder that the studio may read",
            f"Start it with --root; now: {roots}",
        )
        if "\0" in text or not text:
            raise outside
        try:
            wanted = Path(text)
            options = [wanted] if wanted.is_absolute() else [Path(name) / wanted for name, _ in self.roots]
            real = next((p for o in options if self._below(p := o.resolve())), None)
            if real is None:
                raise outside
            if not real.exists():
                raise Missing("file or folder", text, "Check the path")
        except (OSError, RuntimeError, ValueError) as error:  # names too long, links in a circle
            raise outside from error
        return real

    def folder(self, text: str | None) -> Folder:
        """Return what lies in a folder below a root; without a text in the first root."""
        if not self.roots:
            raise Refused(
                403, "Asked for a folder", "The studio may read none", "Start it with --root FOLDER"
            )
        path = self.inside(text) if text else self.roots[0][1]
        if not path.is_dir():
            raise Refused(400, f"Asked for the folder {text!r}"[:300], "It is a file", "Open it instead")
        photos, more = self._photos(path, LISTED)
        inner = [p for p in _listed(path) if p.is_dir() and self._below(p.resolve())]
        return Folder(
            path=str(path),
            parent=str(path.parent) if self._below(path.parent) else None,
            folders=[p.name for p in inner if not (p / "plan.toml").is_file()],
            photos=[e for _, e in photos],
            runs=[p.name for p in inner if (p / "plan.toml").is_file()],
            concepts=[p.name for p in _listed(path) if p.name in CONCEPTS and self._below(p.resolve())],
            truncated=more,
        )

    def _below(self, real: Path) -> bool:
        return any(real.is_relative_to(root) for _, root in self.roots)

    def _photos(self, folder: Path, most: int) -> tuple[list[tuple[Path, ImageEntry]], bool]:
        """Return the photos of a folder with their entries, and whether there are more."""
        from seewhy.inputs.images import SUFFIXES

        found: list[tuple[Path, ImageEntry]] = []
        for path in _listed(folder):
            if path.suffix.lower() not in SUFFIXES or not self._below(path.resolve()):
                continue
            if len(found) == most:
                return found, True
            try:
                found.append((path.resolve(), self._read_entry(path, "folder")))
            except (BadInput, OSError):
                continue  # what is no photo is not listed
        return found, False

    # -- uploads --------------------------------------------------------------------------------

    def keep(self, file: Path, name: str) -> ImageEntry:
        """Take over an uploaded file, or remove it where it is no photo. Its content decides, not its name.

        Raises
        ------
        UnreadableInput
            For content that is no photo, is damaged or has too many pixels.
        """
        try:
            name = _plain(name)
            size = file.stat().st_size
            with self._decoding:
                _read(file, f"Asked to open {name}").close()
            digest = _hash(file)
            with self._lock:
                known = self._known.get(digest)
                if known is None and self._uploaded + size > MAX_UPLOADS:
                    raise Refused(
                        413, f"Asked to open {name}", "The uploads of this session fill its limit", ""
                    )
                if known is None:
                    self._uploaded += size
            if known is not None:
                return known.entry
            place = self.uploads / f"{digest[:8]}-{name}"
            file.replace(place)
            return self.declare(place, "upload", name)
        finally:
            file.unlink(missing_ok=True)

    # -- pictures --------------------------------------------------------------------------------

    def thumbnail(self, name: str) -> bytes:
        """Return a photo, small; made once."""
        self.path(name)
        made = self._thumbnails.get(name)
        if made is None:
            made = self.picture(name, THUMBNAIL, quality=80)
            with self._lock:
                self._thumbnails[name] = made
                while len(self._thumbnails) > THUMBNAILS:
                    self._thumbnails.popitem(last=False)
        return made

    def picture(self, name: str, side: int, quality: int = 90) -> bytes:
        """Return a photo, upright, as WebP, its longer side at most `side`."""
        path = self.path(name)
        with self._decoding:
            image = _read(path)
            image.thumbnail((side, side))
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=quality, method=2)
        return buffer.getvalue()

    # -- entering --------------------------------------------------------------------------------

    def _enter(self, path: Path, entry: ImageEntry, *, declared: bool = False) -> ImageEntry:
        with self._lock:
            known = self._known.get(entry.id)
            if known is not None and (known.declared or not declared):
                return known.entry
            self._known[entry.id] = _Known(entry, path, _stamp(path), declared)
        return entry

    def _read_entry(self, path: Path, origin: Origin, name: str = "") -> ImageEntry:
        """Return the entry of a file after a look at its header."""
        from seewhy.inputs.images import open_content

        stamp = _stamp(path)
        key = (str(path), *stamp)
        if key not in self._hashes:
            asked = f"Asked to open {name or path.name}"
            if not path.is_file():
                raise UnreadableInput(asked, "It is no regular file", "Give a photo")
            if stamp[0] > 20 * MAX_UPLOAD:
                raise UnreadableInput(asked, "It is far too large for a photo", "Make it smaller first")
            content = path.read_bytes()
            image = open_content(content, asked)
            width, height = image.size
            if image.getexif().get(0x0112) in (5, 6, 7, 8):  # on its side
                width, height = height, width
            digest = hashlib.sha256(content).hexdigest()[:32]
            self._hashes[key] = ImageEntry(
                id=digest, name=name or path.name, width=width, height=height, source=origin, path=str(path)
            )
        return self._hashes[key]


CONCEPTS = ("concepts.json", "gallery.json", "tcav.json", "visual-tcav.json", "cav.json")
"""Files that `seewhy concepts` writes."""


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted((p for p in folder.iterdir() if p.name[0] != "."), key=lambda p: p.name.casefold())
    except OSError as error:
        raise Refused(403, f"Asked for {folder}", f"It cannot be read: {error.strerror}") from error


def _read(path: Path, asked: str = "") -> Image:
    from seewhy.inputs.images import read_image

    try:
        return read_image(path).convert("RGB")
    except UnreadableInput as error:
        raise UnreadableInput(asked or error.asked, error.found, error.do) from error


def _stamp(path: Path) -> tuple[int, int]:
    try:
        at = path.stat()
    except OSError:
        return -1, -1
    return at.st_size, at.st_mtime_ns


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError:
        return ""


def _plain(name: str) -> str:
    """Return a file name without folders, control characters and whatever a shell might take ill."""
    last = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[^\w.\- ]+", "_", last).strip(". ")[-100:] or "photo"
