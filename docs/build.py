"""Write the generated pages, and check the documents: `python docs/build.py [--check]`.

Generated: docs/methods.md and docs/metrics.md from the registries, docs/concepts.md from its modules, the
table of keys in docs/studio.md from the page's own list. With `--check` nothing is written; it fails when a
page is out of date, a doctest in the package fails, a Python block of the README raises, or a local link
leads nowhere.
"""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import shutil
import sys
import tempfile
from pathlib import Path

import seewhy
from seewhy.concepts import CAV, MACO, TCAV, FeatureVisualisation, VisualTCAV
from seewhy.inputs.photos import demo_photos
from seewhy.methods.base import METHODS
from seewhy.metrics.base import METRICS

DOCS = Path(__file__).parent
ROOT = DOCS.parent
META = {
    "metric_reliability": "reliability",
    "paired tests": "paired",
    "krippendorff_alpha": "krippendorff",
    "friedman": "friedman",
}
"""Heading to module of `seewhy.metrics.meta`."""
ABOUT = "[what they found on photos](reliability.md). `Table.reliability()` gives all of them."
NOTE = "<!-- Generated from the registry by `make docs-write`; edit the module's docstring instead. -->\n"


def _passes(count: int) -> str:
    """Return the count; a question mark where it depends on the model."""
    return "?" if count < 0 else f"{count:,}"


def methods_page() -> str:
    """Return docs/methods.md: a table to choose from, then every method's page."""
    lines = [
        NOTE,
        "# Methods\n",
        "Costs are model inputs for one 224 x 224 photo: forward / backward. `seewhy methods --model SPEC`",
        "says which fit a model, and why not.\n",
        "| name | needs | works on | signed | cost | paper |",
        "|---|---|---|---|---|---|",
    ]
    for cls in METHODS:
        method, cost = cls(), cls().cost((224, 224))
        needs = ", ".join(sorted(cls.needs)) or "scores only"
        paper = f"[{cls.paper.authors.split(',')[0]} {cls.paper.year}]({cls.paper.url})"
        signed = "yes" if method.signed else "no"
        link, passes = f"[`{cls.name}`](#{cls.name})", f"{_passes(cost.forward)} / {_passes(cost.backward)}"
        lines.append(f"| {link} | {needs} | {cls.native} | {signed} | {passes} | {paper} |")
    for cls in METHODS:
        lines += [f"\n## {cls.name}\n", as_markdown(cls.page()), parameters(cls)]
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """Return docs/metrics.md."""
    lines = [NOTE, "# Metrics\n", "| name | better | bounds | paper |", "|---|---|---|---|"]
    for cls in METRICS:
        better = "higher" if cls.higher_is_better else "lower"
        paper = f"[{cls.paper.authors.split(',')[0]} {cls.paper.year}]({cls.paper.url})"
        lines.append(
            f"| [`{cls.name}`](#{cls.name}) | {better} | {cls.bounds[0]:g} to {cls.bounds[1]:g} | {paper} |"
        )
    for cls in METRICS:
        page = importlib.import_module(cls.__module__).__doc__ or ""
        lines += [f"\n## {cls.name}\n", as_markdown(page.strip()), parameters(cls)]
    lines += [
        "\n# Metrics of metrics\n",
        "Whether the numbers above can be believed, from a table of them: see",
        ABOUT,
    ]
    for name, module in META.items():
        page = importlib.import_module(f"seewhy.metrics.meta.{module}").__doc__ or ""
        lines += [f"\n## {name}\n", as_markdown(page.strip())]
    return "\n".join(lines) + "\n"


def concepts_page() -> str:
    """Return docs/concepts.md: what the network saw."""
    lines = [
        NOTE.replace("the registry", "its modules"),
        "# Concepts\n",
        "A concept may be a folder of example images. The first three are frozen dataclasses, called on a",
        "model, concepts, random images and, but for vectors alone, images to explain; on the command line",
        "`seewhy concepts cav`, `tcav` and `visual-tcav`. [What they are worth](concept-truth.md) where a",
        "network's reliance on something is known. The first two take [texts](#concepts-from-texts), too.",
        "Or concepts are what a network has already: channels",
        "([galleries](galleries.md)) and directions that nobody named; images can be made that any of them,",
        "or a class, answers to.",
    ]
    for cls, name in ((VisualTCAV, "VisualTCAV"), (TCAV, "TCAV"), (CAV, "CAV")):
        page = importlib.import_module(cls.__module__).__doc__ or ""
        lines += [f"\n## {name}\n", as_markdown(page.strip()), parameters(cls)]
    for module, name in (
        ("texts", "Concepts from texts"),
        ("alignment", "Alignment"),
        ("collecting", "Galleries"),
        ("graph", "Attribution graphs"),
        ("discovery", "Discovery"),
        ("sparse_autoencoder", "Sparse autoencoders"),
        ("dissection", "Dissection"),
        ("naming", "Naming"),
    ):
        page = importlib.import_module(f"seewhy.concepts.{module}").__doc__ or ""
        lines += [f"\n## {name}\n", as_markdown(page.strip())]
    for shown in (FeatureVisualisation, MACO):
        page = importlib.import_module(shown.__module__).__doc__ or ""
        lines += [f"\n## {shown.__name__}\n", as_markdown(page.strip()), parameters(shown)]
    page = importlib.import_module("seewhy.concepts.projections").__doc__ or ""
    lines += ["\n## Projections\n", as_markdown(page.strip())]
    return "\n".join(lines) + "\n"


def studio_page() -> str:
    """Return docs/studio.md with the keys that the page has now."""
    listed = (ROOT / "web" / "src" / "studio" / "keys.ts").read_text(encoding="utf-8")
    found = re.findall(r"cap: '([^']+)',.*?what: '([^']+)'", listed, flags=re.S)
    panels = [("1 to 6", "Panel 1 to 6")] if "[1, 2, 3, 4, 5, 6].map(slot)" in listed else []
    rows = [f"| {cap} | {what} |" for cap, what in [*found, *panels]]
    table = "\n".join(["<!-- keys -->", "| key | what it does |", "|---|---|", *rows, "<!-- /keys -->"])
    text = (DOCS / "studio.md").read_text(encoding="utf-8")
    return re.sub(r"<!-- keys -->.*<!-- /keys -->", lambda _: table, text, flags=re.S)


def as_markdown(page: str) -> str:
    """Turn a page's headed, indented paragraphs into markdown ones."""
    lines = []
    for line in page.splitlines():
        if re.fullmatch(r"[A-Z][A-Za-z ]+", line):
            lines.append(f"\n**{line}**: ")
        elif line.startswith("    "):
            lines.append(line.strip())
        else:
            lines.append(line)
    return "\n".join(lines).strip()


def parameters(cls: type) -> str:
    """Return the class docstring's parameters as a block."""
    doc = re.sub(r"\n    ", "\n", cls.__doc__ or "")
    _, _, listed = doc.partition("Parameters\n----------\n")
    return f"\n```text\n{listed.strip()}\n```" if listed else ""


def doctests() -> int:
    """Run the doctests of every module; return the number of failures."""
    failed = 0
    for module in pkgutil.walk_packages(seewhy.__path__, "seewhy."):
        if module.name.endswith("__main__"):
            continue
        result = doctest.testmod(importlib.import_module(module.name))
        failed += result.failed
    return failed


def examples(document: Path) -> int:
    """Run a document's Python blocks in a folder with the demo photos; return the number of failures."""
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.S)
    home, failed = Path.cwd(), 0
    with tempfile.TemporaryDirectory() as folder:
        for name, photo in demo_photos().items():
            shutil.copy(photo, Path(folder) / f"{name}{photo.suffix}")
        os.chdir(folder)
        try:
            for block in blocks:
                if "# not run" in block:
                    continue
                try:
                    exec(compile(block, str(document), "exec"), {})
                except Exception as error:
                    print(f"{document.name}: a block fails: {error!r}\n{block}", file=sys.stderr)
                    failed += 1
        finally:
            os.chdir(home)
    return failed


def dead_links(document: Path) -> list[str]:
    """Return the local links of a document that lead nowhere."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    return [link for link in links if "://" not in link and not (document.parent / link).exists()]


def main() -> int:
    """Write or check; return the exit code."""
    pages = {
        DOCS / "methods.md": methods_page(),
        DOCS / "metrics.md": metrics_page(),
        DOCS / "concepts.md": concepts_page(),
        DOCS / "studio.md": studio_page(),
    }
    if "--check" not in sys.argv[1:]:
        for path, text in pages.items():
            path.write_text(text, encoding="utf-8")
        return 0
    problems = [
        f"{p.name} is out of date: run `make docs-write`"
        for p, text in pages.items()
        if not p.exists() or p.read_text(encoding="utf-8") != text
    ]
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
    for document in documents:
        problems += [f"{document.name} links to {link}, which is not there" for link in dead_links(document)]
    if failed := doctests():
        problems.append(f"{failed} doctests fail")
    if failed := examples(ROOT / "README.md"):
        problems.append(f"{failed} examples of README.md fail")
    print("\n".join(problems) or "documents are true", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
