"""Reference samples: against sorting everything, through interruptions, and for the passes that they cost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torch import Tensor, nn

import networks
from seewhy.concepts import references as module
from seewhy.concepts.collected import (
    KINDS,
    NO_CLASS,
    UNREAD,
    Collected,
    Collecting,
    read_collected,
    write_collected,
)
from seewhy.concepts.collecting import collect
from seewhy.concepts.references import NOBODY, Profile, References, rated, student
from seewhy.concepts.tracing import Traced, traced
from seewhy.errors import BadInput, Cancelled
from seewhy.execution import Execution
from seewhy.methods import LRP
from seewhy.methods.relevance.propagation import Trace
from seewhy.models.layers import survey
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing

LAYERS = ("2", "5")


def photos(folder: Path, count: int = 11) -> list[Path]:
    """Noise on colours, of which two photos are the same: a tie in every channel."""
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(3)
    paths = []
    for i in range(count):
        noise, colour = draw.integers(0, 99, (20, 20, 3)), draw.integers(0, 156, 3)
        pixels = (noise + colour).astype(np.uint8)
        path = folder / f"{i:02d}.png"
        Image.fromarray(pixels if i != 4 else np.asarray(Image.open(paths[1]))).save(path)
        paths.append(path)
    return paths


def model(net: nn.Module | None = None) -> Model:
    return Model(net or networks.cnn(), preprocess=Preprocessing((16, 16)))


# -- tables --------------------------------------------------------------------------------------------------


def by_sorting(values: Tensor, count: int) -> list[list[tuple[float, int]]]:
    """Of each channel the best (value, input): largest first, then the earliest."""
    columns = [[(float(v), i) for i, v in enumerate(column)] for column in values.T]
    return [sorted(column, key=lambda pair: (-pair[0], pair[1]))[:count] for column in columns]


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 12), st.integers(1, 4))
@settings(max_examples=30)
def test_merged_batches_are_what_sorting_everything_gives(seed: int, count: int, n: int, batch: int) -> None:
    values = torch.randint(0, 4, (n, 3), generator=torch.Generator().manual_seed(seed)).float()
    table = References.empty(count, 3)
    for i in range(0, n, batch):
        part = values[i : i + batch]
        table = table.merged(rated(part[:, :, None], torch.arange(i, i + len(part)), "sum", normalised=False))
    for c, expected in enumerate(by_sorting(values, count)):
        assert [(v, i) for v, i, _ in table.of(c)] == expected
    assert int((table.inputs == NOBODY).sum()) == 3 * max(0, count - n)


def test_values_are_pooled_and_normalised_as_written() -> None:
    cells = torch.tensor([[[[1.0, -2.0], [0.5, 0.0]], [[0.0, 0.0], [3.0, 1.0]]]])
    plain = rated(cells, torch.tensor([7]), "sum", normalised=False)
    assert plain.values.tolist() == [[-0.5, 4.0]]
    assert plain.inputs.tolist() == [[7, 7]]
    assert plain.cells.tolist() == [[0, 2]]
    assert rated(cells, torch.tensor([7]), "max", normalised=False).values.tolist() == [[1.0, 3.0]]
    assert rated(cells, torch.tensor([7]), "max", normalised=True).values.tolist() == [[0.25, 0.75]]
    torch.testing.assert_close(
        rated(cells, torch.tensor([7]), "sum", normalised=True).values, torch.tensor([[-0.5, 4.0]]) / 4.5
    )
    with pytest.raises(BadInput, match="NaN or infinite"):
        rated(cells / 0, torch.tensor([7]), "sum", normalised=True)


def test_profiles_have_the_mean_and_the_interval_of_student() -> None:
    values = torch.randn(9, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    profile = Profile.empty(4).with_values(values[:5]).with_values(values[5:])
    torch.testing.assert_close(profile.means, values.mean(0))
    low, high = stats.t.interval(0.95, 8, values.mean(0).numpy(), stats.sem(values.numpy()))
    torch.testing.assert_close(profile.margins, torch.from_numpy(high - low) / 2, rtol=1e-3, atol=0)
    assert bool(Profile.empty(4).with_values(values[:1]).margins.isnan().all())
    for v in (1, 2, 3, 4, 7, 30, 1000):
        assert student(v) == pytest.approx(stats.t.ppf(0.975, v), rel=0.008)


# -- collecting ----------------------------------------------------------------------------------------------


def by_hand(net: nn.Module, names: list[Path], kind: str, layer: str) -> Tensor:
    """`(photos, channels)`: one photo at a time, by autograd alone.

    Relevance by the epsilon rule without stabiliser is activation times gradient in a network of ReLUs.
    """
    rows = []
    for name in names:
        x = model(net).prepare(name).tensor.double()
        kept: list[Tensor] = []
        handle = net[int(layer)].register_forward_hook(
            lambda m, a, out, kept=kept: kept.append(out.clone()) or kept[-1]
        )
        out = net(x.requires_grad_())
        handle.remove()
        activation = kept[0]
        (slope,) = torch.autograd.grad(out.max(), activation)
        t = activation * slope if kind == "relevance" else activation
        total = t.detach().flatten(2).sum(2)[0]
        rows.append(total / total.abs().sum())
    return torch.stack(rows)


EPSILON = LRP(composite="epsilon", epsilon=0.0)


def test_tables_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    names, net = photos(tmp_path), networks.cnn().double()
    asked = Collecting(LAYERS, count=4, per_class=2, rules=EPSILON)
    found = collect(model(net), names, asked, execution=Execution(batch_size=3))
    assert found.finished
    with torch.no_grad():
        classes = torch.cat([net(model(net).prepare(n).tensor.double()) for n in names]).argmax(1)
    assert found.targets.tolist() == classes.tolist()
    assert len(found.classes()) > 1
    for layer in LAYERS:
        for kind in KINDS:
            values = by_hand(net, names, kind, layer)
            for c, expected in enumerate(by_sorting(values.float(), 4)):
                rows = found.tables[kind, layer].of(c)
                torch.testing.assert_close(
                    [v for v, _, _ in rows], [v for v, _ in expected], rtol=1e-4, atol=1e-6
                )
                assert {i for _, i, _ in rows} - {1, 4} == {i for _, i in expected} - {1, 4}
        shares = by_hand(net, names, "relevance", layer)
        torch.testing.assert_close(
            found.profiles[NO_CLASS, layer].means, shares.mean(0), rtol=1e-4, atol=1e-6
        )
        for c in found.classes():
            mine = classes == c
            torch.testing.assert_close(
                found.profiles[c, layer].means, shares[mine].mean(0), rtol=1e-4, atol=1e-6
            )
            members = {i for ch in range(6) for _, i, _ in found.by_class[c, layer].of(ch)}
            assert members <= set(mine.nonzero().flatten().tolist())
    lead = found.leading("5", 3)
    assert lead == shares.mean(0).argsort(descending=True)[:3].tolist()


def test_equal_photos_keep_their_order(tmp_path: Path) -> None:
    found = collect(model(), photos(tmp_path), Collecting(("5",), count=11))
    for kind in KINDS:
        for c in range(8):
            order = [i for _, i, _ in found.tables[kind, "5"].of(c)]
            assert order.index(1) == order.index(4) - 1


def test_a_batch_starts_where_the_layers_are_with_the_relevance_of_the_whole_pass() -> None:
    m, x = Model(networks.cnn()), networks.batch((3, 16, 16))
    with m.untouched():
        for rules in (LRP(), LRP(composite="epsilon"), LRP(composite="gamma")):
            whole = traced(m, x, None, LAYERS, rules)
            short = traced(m, x, None, LAYERS, rules, pixels=False)
            assert not short.trace.x.requires_grad
            for a, b in zip(
                whole.trace.reach(list(whole.trace.layers.values())),
                short.trace.reach(list(short.trace.layers.values())),
                strict=True,
            ):
                torch.testing.assert_close(a, b)


@pytest.mark.parametrize("layers", [("net.5",), ("net.2", "net.5")])
def test_it_costs_one_forward_pass_a_photo(tmp_path: Path, layers: tuple[str, ...]) -> None:
    recorded = networks.Recorded(networks.cnn())
    m = Model(recorded, preprocess=Preprocessing((16, 16)))
    survey(m, (3, 16, 16))
    recorded.shown.clear()
    collect(m, photos(tmp_path), Collecting(layers), execution=Execution(batch_size=4))
    assert sum(len(x) for x in recorded.shown) == 11 + 4  # the first batch is compared with a plain pass


def rows_sent_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many photos' answers received a gradient, each as often as it did."""
    rows = []

    def counted(*args: Any, **options: Any) -> Traced:
        seen = traced(*args, **options)
        seen.trace.answer.output.register_hook(lambda g: rows.append(len(g)))
        return seen

    monkeypatch.setattr("seewhy.concepts.collecting.traced", counted)
    collect(model(), photos(folder), Collecting(LAYERS, per_class=2), execution=Execution(batch_size=4))
    return sum(rows)


def test_it_costs_one_backward_pass_a_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows_sent_back(tmp_path, monkeypatch) == 11


def test_that_count_notices_a_pass_for_each_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Trace.reach
    monkeypatch.setattr(Trace, "reach", lambda self, tensors: [whole(self, [t])[0] for t in tensors])
    assert rows_sent_back(tmp_path, monkeypatch) == 22


# -- interruptions -------------------------------------------------------------------------------------------


def same(a: Collected, b: Collected) -> bool:
    tensors = [
        *((a.tables[k], b.tables[k]) for k in a.tables),
        *((a.by_class[k], b.by_class[k]) for k in a.by_class),
        *((a.profiles[k], b.profiles[k]) for k in a.profiles),
    ]
    return (
        (a.tables.keys(), a.by_class.keys(), a.profiles.keys(), a.done, a.failures, a.names)
        == (b.tables.keys(), b.by_class.keys(), b.profiles.keys(), b.done, b.failures, b.names)
        and torch.equal(a.targets, b.targets)
        and all(
            torch.equal(v, vars(y)[k]) if isinstance(v, Tensor) else v == vars(y)[k]
            for x, y in tensors
            for k, v in vars(x).items()
        )
    )


ASKED = Collecting(LAYERS, count=3, per_class=2)


def interrupted(names: list[Path], folder: Path) -> Collected:
    """Stop after every single batch, and go on."""
    for _ in range(50):
        steps = iter([False, True])
        try:
            return collect(
                model(),
                names,
                ASKED,
                None,
                Execution(batch_size=2, cancelled=lambda s=steps: next(s)),
                folder,
            )
        except Cancelled:
            continue
    raise AssertionError("it never ends")


def test_stopping_and_going_on_changes_nothing(tmp_path: Path) -> None:
    names = photos(tmp_path / "photos")
    whole = collect(model(), names, ASKED, execution=Execution(batch_size=2))
    found = interrupted(names, tmp_path / "run")
    assert same(found, whole)
    again = read_collected(tmp_path / "run")
    assert again is not None
    assert same(again, whole)
    assert again.settings == ASKED


def test_that_comparison_notices_a_batch_that_counts_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = photos(tmp_path / "photos")
    whole = collect(model(), names, ASKED, execution=Execution(batch_size=2))
    once = iter([True])

    def behind(folder: Path, state: Collected) -> Path:
        return write_collected(
            folder, replace(state, done=state.done - 2 if next(once, False) else state.done)
        )

    monkeypatch.setattr("seewhy.concepts.collecting.write_collected", behind)
    assert not same(interrupted(names, tmp_path / "run"), whole)


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """SIGKILL between two batches, the state written after each; then an uninterrupted rest."""
    names = photos(tmp_path / "photos")
    code = f"""
import os, signal, sys
sys.path[:0] = {[str(Path(__file__).parents[1])]!r}
import networks
from seewhy.concepts.collected import Collecting
from seewhy.concepts.collecting import collect
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing

left = iter(range(3))

def progress(done, total, what):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)

model = Model(networks.cnn(), preprocess=Preprocessing((16, 16)))
asked = Collecting({LAYERS!r}, count=3, per_class=2)
run = Execution(batch_size=2, progress=progress)
collect(model, {[str(n) for n in names]!r}, asked, None, run, {str(tmp_path / "run")!r}, every=0.0)
"""
    ended = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    kept = read_collected(tmp_path / "run")
    assert kept is not None
    assert 0 < kept.done < len(names)
    rest = collect(model(), names, ASKED, None, Execution(batch_size=2), tmp_path / "run")
    assert same(rest, collect(model(), names, ASKED, execution=Execution(batch_size=2)))


def test_another_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    names = photos(tmp_path / "photos", 3)
    collect(model(), names, ASKED, folder=tmp_path / "run")
    with pytest.raises(BadInput, match="other settings"):
        collect(model(), names, replace(ASKED, count=4), folder=tmp_path / "run")
    with pytest.raises(BadInput, match="other photos, photos_sha256"):
        collect(model(), names[:2], ASKED, folder=tmp_path / "run")
    torch.manual_seed(5)
    with pytest.raises(BadInput, match="other weights_sha256"):
        collect(
            model(nn.Sequential(*networks.cnn()[:-1], nn.Linear(8, 5))), names, ASKED, folder=tmp_path / "run"
        )
    (tmp_path / "run" / "references.safetensors").write_bytes(b"no")
    with pytest.raises(BadInput, match="cannot be read"):
        collect(model(), names, ASKED, folder=tmp_path / "run")


def test_photos_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    names = photos(tmp_path, 5)
    whole = collect(model(), names, replace(ASKED, per_class=0))
    damaged = tmp_path / "01a.png"
    damaged.write_bytes(names[0].read_bytes()[:60])
    found = collect(model(), [*names[:2], damaged, *names[2:]], replace(ASKED, per_class=0))
    assert list(found.failures) == [2]
    assert str(damaged) in found.failures[2]
    assert found.targets[2] == UNREAD
    moved = {0: 0, 1: 1, 2: 3, 3: 4, 4: 5}
    for key, table in whole.tables.items():
        for c in range(table.values.shape[1]):
            theirs = [(round(v, 5), moved[i]) for v, i, _ in table.of(c)]
            assert [(round(v, 5), i) for v, i, _ in found.tables[key].of(c)] == theirs
    with pytest.raises(BadInput, match="No photo can be read"):
        collect(model(), [damaged], ASKED)
    with pytest.raises(BadInput, match="no photos"):
        collect(model(), [], ASKED)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"layers": ()}, "Name each once"),
        ({"layers": ("2", "2")}, "Name each once"),
        ({"count": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(asked: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Collecting(**{"layers": ("2",), **asked})


def test_the_sorting_oracle_notices_ties_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def unstable(self: References, other: References) -> References:
        return module.References(
            *(torch.cat([vars(other)[k], vars(self)[k]]) for k in ("values", "inputs", "cells"))
        ).take(torch.cat([other.values, self.values])[:, 0].argsort(descending=True)[: len(self.values)])

    monkeypatch.setattr(References, "merged", unstable)
    with pytest.raises((AssertionError, IndexError)):
        test_merged_batches_are_what_sorting_everything_gives()
