"""What other commands wrote below the roots: folders of benchmark runs, files about concepts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from seewhy.studio.schema_concepts import Kind

if TYPE_CHECKING:
    from seewhy.types import Json

Below: TypeAlias = Callable[[str], Path]
"""Returns the real path of one that may be read; raises `Refused` for every other: `Sources.inside`."""
DEPTH, FOLDERS = 4, 2000
"""How deep below a root, and how many folders, are looked into."""
SKIPPED = ("node_modules", "__pycache__", "maps")
"""Folders that hold nothing of the kind."""
CONCEPTS = ("cav.json", "tcav.json", "visual-tcav.json", "gallery.json", "concepts.json")
"""What `seewhy concepts` calls its files."""


def folders(roots: Sequence[Path]) -> Iterator[tuple[Path, frozenset[str]]]:
    """Yield the folders at and below some roots, nearest first, with the names in them; follow no links."""
    waiting, seen = [(root, 0) for root in roots], 0
    while waiting and seen < FOLDERS:
        folder, depth = waiting.pop(0)
        seen += 1
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda e: e.name)
        except OSError:
            continue
        yield folder, frozenset(e.name for e in inside)
        if depth < DEPTH:
            waiting += [(Path(e.path), depth + 1) for e in inside if _worth(e)]


def runs_below(roots: Sequence[Path]) -> list[Path]:
    """Return the folders of benchmark runs, the newest first."""
    found = {folder for folder, names in folders(roots) if {"run.json", "plan.toml"} <= names}
    return sorted(found, key=_age)


def concepts_below(roots: Sequence[Path]) -> list[Path]:
    """Return the files about concepts, the newest first."""
    found = {folder / name for folder, names in folders(roots) for name in CONCEPTS if name in names}
    return sorted((p for p in found if not p.is_symlink() and kind_of(p)), key=_age)


def content_of(path: Path) -> Json:
    """Return the content of a JSON file; {} where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def kind_of_content(content: Json) -> Kind | None:
    """Return what kind of concept file has this content."""
    saved: tuple[Kind, ...] = ("cav", "tcav", "visual_tcav")
    for known in saved:
        if content.get("kind") == known:
            return known
    if isinstance(content.get("channels"), list) and isinstance(content.get("about"), dict):
        return "gallery"
    return "discovery" if isinstance(content.get("concepts"), list) and "layer" in content else None


def kind_of(path: Path) -> Kind | None:
    """Return what kind of concept file this is; None for none."""
    return kind_of_content(content_of(path))


def _worth(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or entry.name in SKIPPED:
        return False
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0
