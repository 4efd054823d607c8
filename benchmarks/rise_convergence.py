"""How many masks RISE needs, by estimator: `python -m benchmarks.rise_convergence [--help]`.

Rank correlation (Spearman) of RISE's maps with a reference map of many other masks, centred and therefore
unbiased. All estimators see the same masks and scores: only the arithmetic differs. Also: how true the
`repeatability` in RISE's results is, and what stopping at it saves.

Gathering takes `models * photos * (masks + reference)` forward passes: minutes on an accelerator, a night on
a laptop with the defaults; `--masks 2000 --reference 12000 --first 2` takes an hour there. `--save` keeps the
scores, and `--scores` reads them instead of asking any network.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from benchmarks.rise_convergence_scores import Scores, gather
from seewhy.agreement import Agreement
from seewhy.execution import PRECISIONS, Execution
from seewhy.inputs.photos import demo_photos
from seewhy.methods.masking.mask_sums import Estimator
from seewhy.methods.masking.repeatability import Settling, looks, relative_errors, repeatability
from seewhy.methods.masking.rise import RISE

SHOWN = (100, 250, 500, 1000, 2000, 4000, 8000)
STOPS = (0.8, 0.9, 0.95, 0.97)
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)


@dataclass(frozen=True, eq=False)
class Convergence:
    """What was found.

    Parameters
    ----------
    counts
        Numbers of masks, rising.
    agreement
        For each estimator `(counts, pairs)` rank correlations with the reference.
    """

    counts: list[int]
    agreement: dict[Estimator, Tensor]

    def needed(self, estimator: Estimator) -> Tensor:
        """Return for each pair from how many masks on an estimator is never below `published` at the end.

        Infinite where it is below in the end.
        """
        reached = self.agreement[estimator] >= self.agreement["published"][-1]
        from_there_on = reached.flip(0).cumprod(0).flip(0)
        first = len(self.counts) - from_there_on.sum(0)
        return torch.tensor([*map(float, self.counts), torch.inf])[first]


def convergence(scores: Scores, reference: Tensor) -> Convergence:
    """Compare every estimator with `(pairs, *size)` reference maps."""
    most = scores.scores.shape[1]
    most = SHOWN[-1] if most >= SHOWN[-1] else most
    counts = sorted({n for n in SHOWN if n <= most} | {round(most / 2 ** (k / 4)) for k in range(25)})
    return Convergence(
        counts,
        {
            estimator: torch.stack(
                [
                    Agreement.of(sums.maps(), reference).spearman
                    for _, sums in scores.sums("scores", estimator, counts)
                ]
            )
            for estimator in ESTIMATORS
        },
    )


def table(found: Convergence) -> list[str]:
    """Return what the estimators reach, and what they need."""
    shown = [n for n in SHOWN if n in found.counts]
    lines = [
        "| Spearman, median (worst) | " + " | ".join(f"{n:,}" for n in shown) + " |",
        "|---" * (len(shown) + 1) + "|",
    ]
    for estimator, agreement in found.agreement.items():
        cells = [agreement[found.counts.index(n)] for n in shown]
        lines.append(
            f"| `{estimator}` | " + " | ".join(f"{c.median():.3f} ({c.min():.3f})" for c in cells) + " |"
        )
    half = found.counts[-1] // 4
    lines += [
        "",
        f"Masks needed to rank pixels as well as `published` does with {found.counts[-1]:,}, and never worse",
        "with more:",
        "",
        f"| | median | nine in ten | worst | at most {half:,} | more than `published` |",
        "|---|---|---|---|---|---|",
    ]
    for estimator in found.agreement:
        need = found.needed(estimator)
        lines.append(
            f"| `{estimator}` | {_masks(need.median())} | "
            f"{_masks(need.quantile(0.9, interpolation='higher'))} | {_masks(need.max())} | "
            f"{_share(need <= half)} | {_share(need > found.counts[-1])} |"
        )
    return lines


def _masks(count: Tensor) -> str:
    return f"{int(count):,}" if bool(count.isfinite()) else "more"


def _share(which: Tensor) -> str:
    return f"{int(which.sum())} of {len(which)}"


def calibration(scores: Scores, reference: Tensor) -> list[str]:
    """Compare the repeatability that results report with what another run of the same length gives."""
    most = min(scores.scores.shape[1], scores.reference.shape[1])
    counts = [n for n in SHOWN if n <= most]
    lines = [
        "| masks | repeatability, median | rank correlation with a second run | difference: median, nine in "
        "ten below | its root | rank correlation with the reference | difference | "
        "`relative_standard_error` | error, measured |",
        "|---" * 9 + "|",
    ]
    second = scores.sums("reference", "regressed", counts)
    for (n, sums), (_, others) in zip(scores.sums("scores", "regressed", counts), second, strict=True):
        fit = sums.fit()
        maps, halves = sums.maps(fit), sums.halves(fit)
        _, said = repeatability(halves)
        error = relative_errors(maps, halves)
        ranges = maps.flatten(1).amax(1) - maps.flatten(1).amin(1)
        off = (maps - reference).flatten(1).square().mean(1).sqrt() / ranges
        again = Agreement.of(maps, others.maps()).spearman
        true = Agreement.of(maps, reference).spearman
        over, above = said - again, said.sqrt() - true
        lines.append(
            f"| {n:,} | {said.median():.3f} | {again.median():.3f} | "
            f"{over.median():+.3f}, {over.quantile(0.9):+.3f} | {said.sqrt().median():.3f} | "
            f"{true.median():.3f} | {above.median():+.3f}, {above.quantile(0.9):+.3f} | "
            f"{error.median():.3f} | {off.median():.3f} |"
        )
    return lines


def stopping(scores: Scores, reference: Tensor) -> list[str]:
    """Show what `stop_at` saves of the default number of masks, and what it costs."""
    total, pairs = min(RISE().masks, scores.scores.shape[1]), len(scores.pairs)
    points = list(looks(total, often=True))
    rules = {at: Settling(pairs, at, "masks") for at in STOPS}
    kept: dict[float, tuple[Tensor, Tensor]] = {}
    full = torch.empty(0)
    for n, sums in scores.sums("scores", "regressed", points):
        fit = sums.fit()
        full, halves = sums.maps(fit), sums.halves(fit)
        for at, rule in rules.items():
            maps, facts = rule.look(n, full, halves)
            kept[at] = maps, torch.tensor([float(f["masks"]) for f in facts])
    lines = [
        f"| `stop_at` | masks of {total:,}, median | at most half of them | rank correlation with the map of "
        "all: median, worst | at least .97 | with the reference: median, worst | its promise: the root |",
        "|---" * 7 + "|",
    ]
    for at, (maps, used) in kept.items():
        same, true = Agreement.of(maps, full).spearman, Agreement.of(maps, reference).spearman
        lines.append(
            f"| {at} | {_masks(used.median())} | {_share(used <= total / 2)} | {same.median():.3f}, "
            f"{same.min():.3f} | {_share(same >= 0.97)} | {true.median():.3f}, {true.min():.3f} | "
            f"{at**0.5:.3f} |"
        )
    return lines


def every_pair(scores: Scores, found: Convergence) -> list[str]:
    """Return one line a pair: masks needed by each estimator."""
    lines = [
        f"| | `published` at {found.counts[-1]:,} | "
        + " | ".join(f"`{e}` needs" for e in ESTIMATORS if e != "published")
        + " |",
        "|---" * (len(ESTIMATORS) + 1) + "|",
    ]
    needs = [found.needed(e) for e in ESTIMATORS if e != "published"]
    for i, pair in enumerate(scores.pairs):
        cells = " | ".join(_masks(n[i]) for n in needs)
        lines.append(f"| {pair} | {found.agreement['published'][-1, i]:.3f} | {cells} |")
    return lines


def draw(found: Convergence, path: Path) -> None:
    """Plot median and 10 to 90 % band by number of masks, and how many masks pairs need."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    colours = dict(zip(ESTIMATORS, ("#0072b2", "#009e73", "#d55e00", "#cc79a7"), strict=True))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), dpi=110, layout="constrained")
    for estimator, agreement in found.agreement.items():
        low, middle, high = agreement.quantile(torch.tensor([0.1, 0.5, 0.9]), 1)
        left.plot(found.counts, middle, color=colours[estimator], label=estimator)
        left.fill_between(found.counts, low, high, color=colours[estimator], alpha=0.12, linewidth=0)
        need = found.needed(estimator).sort().values
        share = torch.arange(1, len(need) + 1) / len(need)
        right.step(need, share, where="post", color=colours[estimator], label=estimator)
    left.set(xscale="log", xlabel="masks", ylabel="Spearman with the reference", ylim=(0.4, 1))
    left.set_title("Median and 10 to 90 % of photos and models", fontsize=10)
    right.set(xscale="log", xlabel="masks", ylabel="share of photos and models", ylim=(0, 1.02))
    right.set_title(f"Masks needed to match published with {found.counts[-1]:,}", fontsize=10)
    for axes in (left, right):
        axes.set_xticks([n for n in SHOWN if n in found.counts])
        axes.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def page(scores: Scores, about: str, picture: str) -> tuple[str, Convergence]:
    """Return the page as markdown, and the numbers behind its picture."""
    from_all = scores.sums("reference", "centred", [scores.reference.shape[1]])
    reference = next(sums.maps() for _, sums in from_all)
    found = convergence(scores, reference)
    models = sorted({pair.partition(":")[0] for pair in scores.pairs})
    lines = [
        "<!-- Written by `python -m benchmarks.rise_convergence`. -->",
        "",
        "# How many masks RISE needs",
        "",
        f"{len(scores.pairs) // len(models)} photos, each by {' and '.join(models)}; {about}",
        f"The reference is the centred map of {scores.reference.shape[1]:,} other masks. All estimators see",
        "the same masks and scores.",
        "",
        f"![Rank correlation by number of masks]({picture})",
        "",
        *table(found),
        "",
        "## Is the reported repeatability true?",
        "",
        "RISE says of every map how far another run of as many masks would agree with it",
        "(`repeatability`); its root is the expected agreement with endless masks. The error is that of a",
        "pixel (root mean square) over the range of the map.",
        "",
        *calibration(scores, reference),
        "",
        "## What stopping saves",
        "",
        *stopping(scores, reference),
        "",
        "## Every photo and model",
        "",
        *every_pair(scores, found),
    ]
    return "\n".join(lines) + "\n", found


def photos_in(folder: Path | None) -> list[Path]:
    """Return the photos of a folder, by name; without one, the demo photos."""
    if folder is None:
        return list(demo_photos().values())
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not found:
        raise SystemExit(f"There is no photo in {folder}")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Gather or read scores, print the page, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of photos; default: the demo photos")
    parser.add_argument("--first", type=int, help="only so many of them")
    parser.add_argument("--models", nargs="+", default=["efficientnet-lite0", "mobilenet-v2"])
    parser.add_argument("--masks", type=int, default=8000)
    parser.add_argument("--reference", type=int, default=100_000)
    parser.add_argument("--device", help="where to run the networks, such as cuda")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--scores", type=Path, help="read scores that --save wrote, run no network")
    parser.add_argument("--save", type=Path, help="keep the scores in this npz file")
    parser.add_argument("--page", type=Path, help="write the tables to this markdown file")
    parser.add_argument("--picture", type=Path, help="write the plot to this PNG file")
    parser.add_argument("--about", default="fp32 on a CPU.", help="a sentence on the run for the page")
    given = parser.parse_args(argv)
    if given.scores is not None:
        scores = Scores.open(given.scores)
    else:
        execution = Execution(batch_size=given.batch_size, precision=given.precision, device=given.device)
        photos = photos_in(given.photos)[: given.first]
        scores = gather(given.models, photos, given.masks, given.reference, execution)
        if given.save is not None:
            scores.save(given.save)
    picture = given.picture or Path("rise-convergence.png")
    base = given.page.parent if given.page is not None else Path()
    text, found = page(scores, given.about, Path(os.path.relpath(picture, base)).as_posix())
    print(text)
    if given.page is not None:
        given.page.write_text(text, encoding="utf-8")
    if given.picture is not None:
        draw(found, given.picture)


if __name__ == "__main__":
    main()
