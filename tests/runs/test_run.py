"""Runs in this process: right numbers, broken photos, and the same table however often it is interrupted."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from benchmarks.interruptions import huge_png
from PIL import Image
from torch import Tensor

import seewhy
from seewhy.errors import BadInput, Cancelled, DoesNotFit, UnknownName
from seewhy.inputs.batch import Inputs
from seewhy.inputs.datasets import DATASETS, Category, Dataset, Sample, open_dataset
from seewhy.inputs.datasets.base import Offer
from seewhy.metrics.table import Row, Table
from seewhy.models.loading import load
from seewhy.runs import Plan
from seewhy.runs.engine import Lost, Pull
from seewhy.runs.folder import maps_folder
from seewhy.runs.here_engine import Here
from seewhy.runs.run import benchmark
from seewhy.runs.study import Study, open_study
from seewhy.runs.units import Record, Unit

MakePlan = Callable[..., Plan]


@dataclass(frozen=True)
class Watched:
    """The engine `here`, with the units that it worked on."""

    name: ClassVar[str] = "watched"
    made: list[Unit] = field(default_factory=list)
    kills: set[int] = field(default_factory=set)
    """Counts of units after which the process is gone."""

    def run(self, plan: Plan, pull: Pull, *, allow_code: bool) -> Iterator[Record | Lost]:
        for event in Here().run(plan, pull, allow_code=allow_code):
            if isinstance(event, Record):
                self.made.append(event.unit)
            yield event
            if len(self.made) in self.kills:
                self.kills.discard(len(self.made))
                raise Killed


class Killed(BaseException):
    """What nobody may catch."""


def here(plan: Plan, out: Path, **options: object) -> Study:
    return benchmark(plan, out, engine=Here(), allow_code=True, **options)  # type: ignore[arg-type]


def table_of(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "results.parquet").read_bytes(), (folder / "samples.parquet").read_bytes()


def rows_of(study: Study) -> dict[tuple[str, str, str], Row]:
    return {(r.sample, r.method, r.metric): r for r in study.rows()}


def test_the_numbers_are_those_of_evaluate(plan: MakePlan, photos: Path, tmp_path: Path) -> None:
    chosen = plan()
    study = here(chosen, tmp_path / "out")
    model = load(chosen.model, allow_code=True)
    found = rows_of(study)
    assert len(found) == 5 * (2 + 3) * 3
    for names in (["0.png", "1.png"], ["2.png", "3.png"], ["4.png"]):
        tensor = model.prepare([photos / name for name in names]).tensor
        batch = Inputs(tensor, tuple(names))
        options = {"precision": "fp32", "compiled": False}
        maps = [seewhy.explain(model, batch, c.method(), **options) for c in chosen.methods]
        metrics = [c.metric() for c in chosen.metrics]
        for row in seewhy.evaluate(model, batch, maps, metrics, **options):
            ours = found.pop((row.sample, row.method, row.metric))
            assert ours.value == pytest.approx(row.value, rel=1e-4, abs=1e-5, nan_ok=True)
            assert ours.baseline == row.baseline
            assert ours.at == row.at
            assert ours.curve == pytest.approx(row.curve, rel=1e-4, abs=1e-5)
    assert not found


def test_curves_and_costs(whole: Study) -> None:
    table = Table(tuple(whole.rows()), whole.table.higher_is_better)
    expected = {(c.method, c.metric): c for c in table.curves()}
    assert len(expected) == 10
    for curve in whole.curves:
        other = expected.pop((curve.method, curve.metric))
        assert (curve.at, curve.baseline) == (other.at, other.baseline)
        assert curve.scores == pytest.approx(other.scores, rel=1e-9)
    assert not expected
    assert (whole.costs["grad_cam"].forward, whole.costs["grad_cam"].backward) == (1, 1)
    assert set(whole.costs) == {"gradient", "grad_cam"}
    assert whole.costs["gradient"].seconds > 0


# -- interruptions -------------------------------------------------------------------------------------------


def interrupted(plan: Plan, out: Path, kills: set[int]) -> list[Unit]:
    """Run to the end, killed after some numbers of units; return the units that were worked on."""
    engine = Watched(kills=set(kills))
    for _ in range(len(kills) + 1):
        try:
            benchmark(plan, out, engine=engine, allow_code=True)
        except Killed:
            continue
    assert not engine.kills
    return engine.made


def test_interrupted_anywhere_it_ends_with_the_same_bytes(
    plan: MakePlan, whole: Study, tmp_path: Path
) -> None:
    made = interrupted(plan(), tmp_path / "killed", {1, 2, 3, 8, 9, 17, 20, 33, 51})
    assert table_of(tmp_path / "killed") == table_of(whole.folder)
    assert len(made) == len(set(made)) == 3 * (1 + 2 * (1 + 3) + 3 * 3)  # nothing lost, nothing done twice


def test_a_worker_that_remembers_trials_would_be_caught(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: what a trial found stays, so that numbers depend on what a process did before."""

    seen: list[float] = []

    def noted(own: Tensor, scores: Tensor) -> tuple[float, dict[str, object]]:
        seen.append(float(own.mean()))
        return 0.0, {}

    def fickle(own: Tensor, scores: Tensor) -> tuple[float, dict[str, object]]:
        """Find no copy that is true enough by half of the trials."""
        return (0.0 if float(own.mean()) > sorted(seen)[len(seen) // 2] else math.inf), {}

    monkeypatch.setattr("seewhy.perturb.calibration._compare", noted)
    here(plan(), tmp_path / "noted")
    monkeypatch.setattr("seewhy.perturb.calibration._compare", fickle)
    kills = {1, 2, 3, 8, 9, 17, 20, 33, 51}
    for name, same in (("forgets", True), ("remembers", False)):
        here(plan(), tmp_path / name)
        interrupted(plan(), tmp_path / f"{name}, killed", kills)
        assert (table_of(tmp_path / name) == table_of(tmp_path / f"{name}, killed")) is same
        monkeypatch.setattr("seewhy.runs.worker.forget", lambda _: None)


def test_a_finished_run_is_not_done_again(plan: MakePlan, tmp_path: Path) -> None:
    here(plan(), tmp_path / "out")
    before = table_of(tmp_path / "out")
    engine = Watched()
    benchmark(plan(), tmp_path / "out", engine=engine, allow_code=True)
    assert engine.made == []
    assert table_of(tmp_path / "out") == before


def test_lost_maps_are_made_again(plan: MakePlan, whole: Study, tmp_path: Path) -> None:
    engine = Watched(kills={3})
    with pytest.raises(Killed):
        benchmark(plan(), tmp_path / "out", engine=engine, allow_code=True)
    (waiting,) = (tmp_path / "out" / "maps").rglob("*.safetensors")
    waiting.write_bytes(b"torn")
    benchmark(plan(), tmp_path / "out", engine=engine, allow_code=True)
    assert engine.made.count(Unit(0, "gradient")) == 2
    assert table_of(tmp_path / "out") == table_of(whole.folder)


def test_ctrl_c_keeps_what_is_finished(plan: MakePlan, tmp_path: Path) -> None:
    calls = []

    def press(done: int, total: int, what: str) -> None:
        calls.append((done, total))
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(Cancelled, match=r"5 finished units are kept in .* Run the same command to go on"):
        here(plan(), tmp_path / "out", progress=press)
    assert calls == [(i, 54) for i in range(6)]
    with pytest.raises(BadInput, match="not finished"):
        open_study(tmp_path / "out")
    with pytest.raises(Cancelled, match="7 of 54 units"):
        here(
            plan(),
            tmp_path / "out",
            cancelled=lambda: (
                len(list((tmp_path / "out").glob("journal"))) > 0
                and (tmp_path / "out" / "journal").read_bytes().count(b"\n") >= 7
            ),
        )


@dataclass(frozen=True)
class Mortal:
    """An engine whose worker dies whenever it is about to do one unit, some times."""

    name: ClassVar[str] = "mortal"
    at: Unit
    times: list[int]

    def run(self, plan: Plan, pull: Pull, *, allow_code: bool) -> Iterator[Record | Lost]:
        def one() -> Iterator[Record | Lost]:
            while (task := pull()) is not None:
                tasks = iter([task])
                for event in Here().run(plan, lambda tasks=tasks: next(tasks, None), allow_code=allow_code):  # type: ignore[misc]
                    assert isinstance(event, Record)
                    if event.unit == self.at and self.times[0]:
                        self.times[0] -= 1
                        yield Lost(task.chunk, "killed by signal 9")
                        break
                    yield event

        yield from one()


@pytest.mark.parametrize(
    "at", [Unit(1), Unit(1, "gradient"), Unit(1, "grad_cam", "adcc"), Unit(0, "edges", "adcc")]
)
def test_a_worker_that_dies_once_costs_nothing(
    plan: MakePlan, whole: Study, tmp_path: Path, at: Unit
) -> None:
    benchmark(plan(), tmp_path / "out", engine=Mortal(at, [1]), allow_code=True)
    assert table_of(tmp_path / "out") == table_of(whole.folder)


@pytest.mark.parametrize(
    ("at", "lost"),
    [
        (Unit(1), {(m, k) for m in ("gradient", "grad_cam", "random", "centre", "edges") for k in "dia"}),
        (Unit(1, "gradient"), {("gradient", k) for k in "dia"}),
        (Unit(1, "grad_cam", "adcc"), {("grad_cam", "a")}),
    ],
)
def test_a_unit_on_which_workers_die_is_an_error(
    plan: MakePlan, whole: Study, tmp_path: Path, at: Unit, lost: set[tuple[str, str]]
) -> None:
    expected = rows_of(whole)
    study = benchmark(plan(), tmp_path / "out", engine=Mortal(at, [2]), allow_code=True)
    for key, row in rows_of(study).items():
        if key[0] in ("2.png", "3.png") and (key[1], key[2][0]) in lost:
            assert math.isnan(row.value)
        else:
            assert repr(row) == repr(expected[key])
    assert {f.sample for f in study.failures} == {"2.png", "3.png"}
    assert all("died 2 times over it: killed by signal 9" in f.message for f in study.failures)


# -- broken samples ------------------------------------------------------------------------------------------


def test_broken_photos_are_rows_with_their_errors(plan: MakePlan, photos: Path, tmp_path: Path) -> None:
    chosen = plan(metrics="deletion?steps=4", chunk=4)
    (photos / "1a-empty.png").touch()
    (photos / "1b-corrupt.png").write_bytes((photos / "1.png").read_bytes()[:200])
    (photos / "1c-huge.png").write_bytes(huge_png())
    study = here(chosen, tmp_path / "out")
    broken = {"1a-empty.png": "is empty", "1b-corrupt.png": "is damaged", "1c-huge.png": "3600000000 pixels"}
    assert [(f.sample, f.method, f.metric) for f in study.failures] == [(name, "", "") for name in broken]
    for failure in study.failures:
        assert broken[failure.sample] in failure.message
    rows = rows_of(study)
    assert len(rows) == 8 * 5
    assert all(math.isnan(row.value) == (row.sample in broken) for row in rows.values())
    for name in broken:
        (photos / name).unlink()
    alone = rows_of(here(plan(metrics="deletion?steps=4", chunk=1), tmp_path / "alone"))
    for key, row in alone.items():
        assert rows[key].value == pytest.approx(row.value, rel=1e-4)


def test_a_metric_that_fails_for_one_sample_is_an_error_of_that_one(
    plan: MakePlan, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seewhy.metrics.faithfulness.increase_in_confidence import IncreaseInConfidence

    black = Image.new("RGB", (24, 20))
    black.save(photos / "1.png")
    measure = IncreaseInConfidence.measure

    def fails(self: IncreaseInConfidence, question: object, maps: object) -> object:
        if bool((question.x.flatten(2).std(2) < 1e-3).all(1).any()):  # type: ignore[attr-defined]
            raise ZeroDivisionError("nothing to see")
        return measure(self, question, maps)  # type: ignore[arg-type]

    monkeypatch.setattr(IncreaseInConfidence, "measure", fails)
    study = here(plan(metrics="increase_in_confidence,deletion?steps=4"), tmp_path / "out")
    assert {(f.sample, f.metric, f.message) for f in study.failures} == {
        ("1.png", "increase_in_confidence", "ZeroDivisionError: nothing to see")
    }
    assert len(study.failures) == 5
    values = {key: row.value for key, row in rows_of(study).items() if key[2] == "increase_in_confidence"}
    assert sum(math.isnan(v) for v in values.values()) == 5


# -- refusals ------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_told_before_anything_starts(plan: MakePlan, tmp_path: Path) -> None:
    chosen = plan(methods="gradient,attention_rollout", metrics="increase_in_confidence,pointing_game,nss")
    with pytest.raises(DoesNotFit) as error:
        here(chosen, tmp_path / "out")
    for words in (
        "attention_rollout: ",
        "pointing_game: it compares maps with the place",
        "nss: ",
        "--skip-unfit",
    ):
        assert words in str(error.value)
    assert not (tmp_path / "out").exists()
    study = here(chosen, tmp_path / "out", skip_unfit=True)
    assert (study.methods, study.metrics) == (["gradient"], ["increase_in_confidence"])
    assert set(study.facts["left_out"]) == {"attention_rollout", "pointing_game", "nss"}
    engine = Watched()
    benchmark(chosen, tmp_path / "out", engine=engine, allow_code=True)  # what was left out stays so
    assert engine.made == []


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"methods": "grad_cams"}, UnknownName, "Did you mean 'grad_cam'"),
        ({"metrics": "deletion?step=2"}, UnknownName, "Did you mean 'steps'"),
        ({"target": "taby"}, UnknownName, "Did you mean 'tabby'"),
        ({"target": "truth"}, BadInput, "does not say the classes"),
        ({"data": "nowhere"}, BadInput, "no such folder"),
        ({"data": "coca:x.json"}, UnknownName, "kind of data set"),
    ],
)
def test_refuses_before_writing(
    plan: MakePlan, tmp_path: Path, keys: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        here(plan(**keys), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_code_is_run_only_on_request(plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="executed only on"):
        benchmark(plan(), tmp_path / "out", engine=Here())


def test_a_folder_of_another_run_is_refused(plan: MakePlan, photos: Path, tmp_path: Path) -> None:
    out, network = tmp_path / "out", tmp_path / "net.py"
    with pytest.raises(Killed):
        benchmark(plan(), out, engine=Watched(kills={3}), allow_code=True)
    journal = (out / "journal").read_bytes()
    with pytest.raises(BadInput, match="Another plan was begun there: seed was 0 and is 1"):
        here(plan(seed=1), out)
    shutil.copy(photos / "4.png", photos / "5.png")
    with pytest.raises(BadInput, match="Its data sha256 was"):
        here(plan(), out)
    (photos / "5.png").unlink()
    source = network.read_text()
    network.write_text(source.replace("manual_seed(0)", "manual_seed(1)"))
    with pytest.raises(BadInput, match="Its weights sha256 was"):
        here(plan(), out)
    network.write_text(source)
    assert (out / "journal").read_bytes() == journal
    here(plan(), out)
    with pytest.raises(BadInput, match=r"holds something that is no run, such as 0\.png"):
        here(plan(), photos)


def test_two_processes_may_not_share_a_folder(plan: MakePlan, tmp_path: Path) -> None:
    def intrude(done: int, total: int, what: str) -> None:
        with pytest.raises(BadInput, match="Another process is working there"):
            here(plan(), tmp_path / "out")
        raise KeyboardInterrupt

    with pytest.raises(Cancelled):
        here(plan(), tmp_path / "out", progress=intrude)


# -- maps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["none", "worst", "all"])
def test_maps_that_are_kept(
    plan: MakePlan, photos: Path, tmp_path: Path, keep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seewhy.runs.kept.WORST", 1)
    chosen = plan(keep_maps=keep, metrics="deletion?steps=4")
    interrupted(chosen, tmp_path / "out", {2, 9})
    study = open_study(tmp_path / "out")
    rows = rows_of(study)
    everything = {(f"{i}.png", m) for i in range(5) for m in ("gradient", "grad_cam")}
    worst = {
        (max((rows[f"{i}.png", m, "deletion"].value, f"{i}.png") for i in range(5))[1], m)
        for m in ("gradient", "grad_cam")
    }
    expected = {"none": set(), "worst": worst, "all": everything}[keep]
    assert set(study.kept()) == expected
    model = load(chosen.model, allow_code=True)
    for sample, method in everything:
        if (sample, method) in expected:
            kept = study.maps(sample, method)
            again = seewhy.explain(model, photos / sample, method)
            assert (kept.values - again.values).abs().max() <= 1e-4 * again.values.abs().max()
        else:
            with pytest.raises(BadInput, match="was not kept"):
                study.maps(sample, method)


def test_the_page_is_written(whole: Study) -> None:
    text = (whole.folder / "leaderboard.html").read_text()
    assert "grad_cam" in text
    assert "insertion" in text


# -- what the data know --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labelled:
    """Photos with a class each, and a mask for all but the second; that of the third is empty."""

    photos: Dataset
    offers: frozenset[Offer] = frozenset({"target", "truth"})

    def __len__(self) -> int:
        return len(self.photos)

    def name(self, i: int) -> str:
        return self.photos.name(i)

    def category(self, i: int) -> Category | None:
        label = ["lemon", "Tabby", "tiger cat", None, "rocket"][i]
        return None if label is None else Category(label)

    def load(self, i: int) -> Sample:
        mask = Image.new("L", (24, 20))
        if i != 2:
            mask.paste(255, (2 * i, i, 2 * i + 9, i + 8))
        return Sample(self.photos.load(i).image, None, None if i == 1 else mask)


@pytest.fixture
def labelled(photos: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    class Family:
        name: ClassVar[str] = "labelled"
        example: ClassVar[str] = "labelled:photos"

        @staticmethod
        def open(where: str) -> Dataset:
            return Labelled(open_dataset(where))

    DATASETS.names()
    monkeypatch.setitem(DATASETS._entries, "labelled", Family)
    return f"labelled:{photos}"


def test_truth_and_classes_come_from_the_data(
    plan: MakePlan, labelled: str, photos: Path, tmp_path: Path
) -> None:
    chosen = plan(data=labelled, target="truth", metrics="pointing_game,iou,insertion?steps=4")
    study = here(chosen, tmp_path / "out")
    model = load(chosen.model, allow_code=True)
    found = rows_of(study)
    data = Labelled(open_dataset(str(photos)))
    own = model.predict(photos / "3.png")[0][0].index
    assert model.preprocess is not None
    for i, target in ((0, 3), (3, own), (4, 4)):
        mask = data.load(i).truth
        assert mask is not None
        truth = model.preprocess.mask(mask)[None]
        options = {"precision": "fp32", "compiled": False}
        maps = [
            seewhy.explain(model, photos / f"{i}.png", c.method(), target, **options) for c in chosen.methods
        ]
        metrics = [c.metric() for c in chosen.metrics]
        for row in seewhy.evaluate(model, photos / f"{i}.png", maps, metrics, truth=truth, **options):
            ours = found[f"{i}.png", row.method, row.metric]
            assert ours.value == pytest.approx(row.value, rel=1e-4, abs=1e-5, nan_ok=True)
    assert [line["index"] for line in study.samples()] == [3, 0, 1, own, 4]
    failed = {(f.sample, f.metric): f.message for f in study.failures}
    assert set(failed) == {(f"{i}.png", metric) for i in (1, 2) for metric in ("pointing_game", "iou")}
    assert "The data do not say it for this sample" in failed["1.png", "iou"]
    assert "None of the object is in the part" in failed["2.png", "iou"]


def test_labels_that_look_alike_have_folders_of_their_own() -> None:
    labels = ("a b", "a_b", "a/b", "a (2)", "ä")
    assert len({maps_folder(Path("run"), label) for label in labels}) == len(labels)
    assert maps_folder(Path("run"), "grad_cam") == Path("run/maps/grad_cam")
