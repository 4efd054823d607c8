"""Hatchling's hook: puts the built page into wheels and editable installs; `web/build.py` does the building.

A wheel without its page is an error. An editable install goes on without it, and the studio then says how to
build it. `SEEWHY_WEB=skip` leaves the page out of both.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def page() -> ModuleType:
    """Import `web/build.py`, which is no part of a package."""
    name, path = "seewhy_web_build", Path(__file__).resolve().parent / "web" / "build.py"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} cannot be imported")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


class PageHook(BuildHookInterface):  # type: ignore[misc,type-arg]
    """Builds the page before its files are collected."""

    def wanted(self) -> bool:
        """Whether this build takes the page along."""
        return self.target_name == "wheel" and os.environ.get("SEEWHY_WEB") != "skip"

    def dependencies(self) -> list[str]:
        """Ask for a Node only where one is needed and the machine has none."""
        web = page()
        return [web.NODE] if self.wanted() and not web.current() and web.npm_on_path() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build; `version` is "standard" for a wheel and "editable" for an editable install."""
        if not self.wanted():
            return
        web = page()
        try:
            web.build()
        except web.BuildFailed as failure:
            if version != "editable":
                self.app.abort(str(failure))
            self.app.display_warning(
                f"{failure}\nSeeWhy is installed without its page; `make web` builds it later."
            )
            return
        # Git ignores the bundle, and Hatchling what git ignores.
        build_data["artifacts"].append("src/seewhy/studio/bundle/**")
