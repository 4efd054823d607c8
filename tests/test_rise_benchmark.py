"""The benchmark of RISE's estimators reads back what it saved, and counts as it says."""

from __future__ import annotations

from pathlib import Path

import torch
from benchmarks.rise_convergence import Convergence, main
from benchmarks.rise_convergence_scores import METHOD, Scores

from seewhy.perturb.masks import RandomGrids


def test_needed_is_from_where_on_it_never_falls_below_again() -> None:
    published = torch.tensor([[0.1, 0.1], [0.2, 0.2], [0.5, 0.5]])
    other = torch.tensor([[0.6, 0.1], [0.4, 0.5], [0.7, 0.4]])
    found = Convergence([100, 200, 400], {"published": published, "regressed": other})
    assert found.needed("regressed").tolist() == [400, torch.inf]
    assert found.needed("published").tolist() == [400, 400]


def test_a_page_and_a_picture_from_saved_scores(tmp_path: Path) -> None:
    pixels = torch.randn(2, 24 * 24, generator=torch.Generator().manual_seed(0))

    def scored(count: int, seed: int) -> torch.Tensor:
        masks = RandomGrids((24, 24), (METHOD.cells, METHOD.cells), count, METHOD.keep, seed)
        return (pixels @ masks.masks(torch.arange(count)).flatten(1).T / 50).sigmoid()

    scores = Scores(["net: a", "net: b"], (24, 24), scored(250, 0), scored(2000, 1))
    scores.save(tmp_path / "scores.npz")
    assert torch.equal(Scores.open(tmp_path / "scores.npz").reference, scores.reference)
    page, picture = tmp_path / "docs" / "page.md", tmp_path / "docs" / "images" / "plot.png"
    page.parent.mkdir()
    main(["--scores", str(tmp_path / "scores.npz"), "--page", str(page), "--picture", str(picture)])
    text = page.read_text()
    assert "](images/plot.png)" in text
    assert text.count("net: ") == 2
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| `")}
    assert "0 of 2" in rows["`regressed`"], "it never needs more masks than the published sum"
