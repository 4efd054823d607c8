"""Network dissection: which channels are detectors of concepts whose places in photos are known.

A channel is on in the few places of a whole data set where it is strongest. Where these are the places of
one concept, the channel detects it, and bears its name. Beside each agreement stands the best that the same
places reach with masks of other photos: the best of many names agrees with something by chance.

Formula
    T_c: exceeded by a share `quantile` of the channel's cells over all photos. M_c: the places of a photo
    where the activation, interpolated linearly between the cells, exceeds T_c. L_k: those of the concept.
    IoU(c, k) = sum |M_c and L_k| / sum |M_c or L_k|, both sums over the photos. The channel's concept has the
    largest IoU; it is a detector where that exceeds `threshold` and p < 0.05.
Chance
    the masks change photos, `shuffles` times, and each time the channel bears the name that then is best.
    `chance` is the mean of these largest IoU, p the share of them (the true one counted) that reach the true
    one. Of channels that know nothing of the concepts, 5 % at most are taken for detectors.
Intervals
    photos drawn again, `resamples` times; T_c stays. `stable` is the share of these in which the concept is
    still the best of the channel's `CANDIDATES` best ones.
Needs
    a layer with a grid; a data set with masks of concepts. Of a photo without a mask of a concept it must be
    true that the concept is not in it. A feature store (`pip install 'seewhy[concepts]'`).
    Where a layer saturates (ReLU6), many cells share the largest value, which nothing exceeds: such channels
    are never on, and counted. Ask for the layer before the activation.
Cost
    one forward pass a photo for all layers, none for photos that the store holds; four sweeps over the kept
    features. Memory does not grow with the photos, but for a bit a mask and raster cell and some names;
    it takes 320 bytes for each pair of a channel and a concept.
Paper
    Bau et al.: Network Dissection: Quantifying Interpretability of Deep Visual Representations, 2017,
    https://arxiv.org/abs/1704.05796.
Departures
    chance, p, intervals and stability are ours, and so is that a detector must pass the test. Quantiles are
    exact for activations in half precision. Places are compared on a raster of `rows` rows, not at the
    photo's own resolution. Interpolation takes cells to lie in proportion over the input.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

import seewhy
from seewhy.concepts.annotated import Annotated, annotate, parts
from seewhy.concepts.dissection_result import Dissection, Unit
from seewhy.concepts.draws import permutations, resamples
from seewhy.concepts.references import References, rated
from seewhy.concepts.significance import LEVEL
from seewhy.concepts.store import Features, FeatureStore
from seewhy.concepts.upper_quantiles import PART, upper_quantiles
from seewhy.errors import BadInput, DoesNotFit
from seewhy.execution import Execution
from seewhy.inputs.datasets import Dataset
from seewhy.models.layers import default_layer, grid_of
from seewhy.models.model import Model
from seewhy.resize import resize
from seewhy.types import Size

CANDIDATES = 5
"""Concepts of a channel, best first, that the resamples decide between."""
_BLOCK = 128
"""Channels enlarged at once."""


@dataclass(frozen=True)
class Dissecting:
    """How to dissect.

    Parameters
    ----------
    layers
        Names; None: the model's default one.
    quantile
        Share of a channel's cells that are on, above 0 and below 1.
    threshold
        IoU that a detector exceeds, from 0 to below 1.
    rows
        Of the raster on which places are compared, at least 1; at most those of the input are used.
    shuffles
        Of the masks among photos, for chance, at least 20: the smallest p is 1 / (shuffles + 1).
    resamples
        Of the photos, for intervals of 95 %, at least 20.
    examples
        Photos kept a channel: those that activate it most.
    """

    layers: tuple[str, ...] | None = None
    quantile: float = 0.005
    threshold: float = 0.04
    rows: int = 112
    shuffles: int = 39
    resamples: int = 200
    examples: int = 8

    def __post_init__(self) -> None:
        counts = self.rows >= 1 and min(self.shuffles, self.resamples) >= 20 and self.examples >= 1
        if not (counts and 0 < self.quantile < 1 and 0 <= self.threshold < 1) or self.layers == ():
            raise BadInput(
                "Asked to dissect a network",
                f"Found {self}",
                "Give a quantile between 0 and 1, a threshold from 0, 20 shuffles and resamples or more",
            )


def dissect(
    model: Model,
    dataset: Dataset,
    settings: Dissecting | None = None,
    execution: Execution | None = None,
    *,
    store: FeatureStore | None = None,
) -> Dissection:
    """Find what channels detect.

    Parameters
    ----------
    model
        Of images, with a preprocessing.
    dataset
        Photos with masks, as `seewhy.inputs.datasets.open_dataset` opens them; each category is a concept.
    settings
        Layers, quantile and the rest.
    execution
        Seed of the resamples, batch size, progress, cancelling, device.
    store
        Where features are kept, so that asking again costs no pass; None keeps them until the end.

    Raises
    ------
    BadInput
        For data without masks, or of which no photo can be read.
    DoesNotFit, UnknownName
        For layers without a grid of rows and columns, or that are not there.
    MissingExtra
        When zarr is not installed.
    """
    settings, execution = settings or Dissecting(), execution or Execution()
    if "truth" not in dataset.offers:
        raise BadInput(
            "Asked to dissect a network", "The data do not say where concepts are", "Give photos with masks"
        )
    with tempfile.TemporaryDirectory(prefix="seewhy-") as scratch:
        kept = store or FeatureStore(Path(scratch))
        with model.untouched(execution.device), torch.inference_mode():
            shape = _input_shape(model, dataset)
            names = settings.layers or (default_layer(model, shape).name,)
            grids = {name: grid_of(model, name, shape) for name in names}
            for name, grid in grids.items():
                if len(grid.cells) != 2:
                    raise DoesNotFit(
                        f"Asked to dissect {name!r}", "Its grid is of clips", "Give a model of images"
                    )
            layers = {name: (kept.layer(model, name), grid) for name, grid in grids.items()}
            photos = annotate(model, dataset, layers, settings.rows, execution)
        found = [_dissected(name, layers[name][0], photos, settings, execution) for name in names]
    counts = [0] * len(photos.concepts)
    for i in range(len(photos)):
        for k in photos.masks(i)[0]:
            counts[k] += 1
    return Dissection(
        tuple(unit for units, _, _, _ in found for unit in units),
        {name: table for name, (_, table, _, _) in zip(names, found, strict=True)},
        {name: thresholds for name, (_, _, thresholds, _) in zip(names, found, strict=True)},
        {name: best for name, (_, _, _, best) in zip(names, found, strict=True)},
        dict(zip(photos.concepts, counts, strict=True)),
        tuple(photos.names),
        tuple(photos.samples),
        tuple(photos.failures),
        {
            "model": model.name,
            "weights_sha256": model.weights_hash,
            "preprocessing": None if model.preprocess is None else model.preprocess.to_json(),
            "settings": {**asdict(settings), "layers": list(names)},
            "raster": list(photos.raster),
            "seed": execution.seed,
            "seewhy": seewhy.__version__,
        },
    )


def _input_shape(model: Model, dataset: Dataset) -> Size:
    """Return the shape of a prepared photo: the first that can be read."""
    size = model.input_size()
    if size is not None and model.preprocess is not None:
        return (len(model.preprocess.mean), *size)
    problem: BadInput | None = None
    for i in range(len(dataset)):
        try:
            return tuple(model.prepare(dataset.load(i).image).tensor.shape[1:])
        except BadInput as error:
            problem = problem or error
    raise problem or BadInput("Asked to dissect a network", "There is no photo", "Give at least one")


def _dissected(
    layer: str, features: Features, photos: Annotated, settings: Dissecting, execution: Execution
) -> tuple[list[Unit], Tensor, Tensor, References]:
    """Return a layer's units, its table of IoU `(channels, concepts)`, thresholds and strongest photos."""
    thresholds = upper_quantiles(
        features, photos.digests, settings.quantile, execution, f"thresholds of {layer}"
    )
    shared, areas, sizes, best = _agreement(layer, features, photos, thresholds, settings, execution)
    table, *shuffled = _ratio(shared, areas[:, None] + sizes - shared)
    largest, by_chance = table.amax(1), torch.stack(shuffled).amax(2)
    p = (1 + (by_chance >= largest).sum(0)).double() / (1 + settings.shuffles)
    on = areas / (len(photos) * photos.raster[0] * photos.raster[1])
    candidates = table.argsort(dim=1, descending=True, stable=True)[:, :CANDIDATES]
    drawn = _resampled(layer, features, photos, thresholds, candidates, settings, execution)
    ends = drawn[:, :, 0].quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    stable = (drawn.argmax(2) == 0).double().mean(0)
    units = [
        Unit(
            layer,
            c,
            photos.concepts[k],
            float(table[c, k]),
            float(ends[0, c]),
            float(ends[1, c]),
            float(stable[c]),
            float(by_chance[:, c].mean()),
            float(p[c]),
            float(on[c]),
            float(table[c, k]) > settings.threshold and float(p[c]) < LEVEL,
        )
        for c, k in enumerate(candidates[:, 0].tolist())
    ]
    return units, table.float(), thresholds, best


def _agreement(
    layer: str,
    features: Features,
    photos: Annotated,
    thresholds: Tensor,
    settings: Dissecting,
    execution: Execution,
) -> tuple[Tensor, Tensor, Tensor, References]:
    """Return what places have in common, areas of channels and concepts, and each channel's examples.

    Common: `(1 + shuffles, channels, concepts)` float64, with the photo's own masks first.
    """
    channels, concepts = len(thresholds), len(photos.concepts)
    owners = torch.cat(
        [torch.arange(len(photos))[None], permutations(execution.seed, settings.shuffles, len(photos))]
    )
    shared = torch.zeros(len(owners), channels, concepts, dtype=torch.float64)
    areas = torch.zeros(channels, dtype=torch.float64)
    sizes = torch.zeros(concepts, dtype=torch.float64)
    best = References.empty(settings.examples, channels)
    for part, grids in parts(photos, features, PART):
        best = best.merged(rated(grids, torch.tensor(part), "max", normalised=False))
        for i, grid in zip(part, grids, strict=True):
            own, masks = photos.masks(i)
            sizes[own] += masks.sum(1).double()
            each = [photos.masks(j) for j in owners[:, i].tolist()]
            turn = torch.tensor([t for t, (here, _) in enumerate(each) for _ in here])
            which = torch.tensor([k for here, _ in each for k in here])
            every = torch.cat([m for _, m in each]).float()
            for chosen, on in _on(grid, thresholds, photos.raster):
                areas[chosen] += on.sum(1).double()
                shared[turn[:, None], chosen, which[:, None]] += (every @ on.T).double()
        execution.step(part.stop, len(photos), f"places of {layer}")
    return shared, areas, sizes, best


def _resampled(
    layer: str,
    features: Features,
    photos: Annotated,
    thresholds: Tensor,
    candidates: Tensor,
    settings: Dissecting,
    execution: Execution,
) -> Tensor:
    """Return `(resamples, channels, candidates)` float64: IoU with photos drawn again."""
    weights = resamples(execution.seed, settings.resamples, len(photos))
    shared = torch.zeros(settings.resamples, *candidates.shape, dtype=torch.float64)
    areas = torch.zeros(settings.resamples, len(thresholds), dtype=torch.float64)
    sizes = torch.zeros(settings.resamples, len(photos.concepts), dtype=torch.float64)
    for part, grids in parts(photos, features, PART):
        common = torch.zeros(len(part), *candidates.shape, dtype=torch.float64)
        area = torch.zeros(len(part), len(thresholds), dtype=torch.float64)
        size = torch.zeros(len(part), len(photos.concepts), dtype=torch.float64)
        for n, (i, grid) in enumerate(zip(part, grids, strict=True)):
            here, masks = photos.masks(i)
            size[n, here] = masks.sum(1).double()
            for chosen, on in _on(grid, thresholds, photos.raster):
                area[n, chosen] = on.sum(1).double()
                every = torch.zeros(len(chosen), len(photos.concepts), dtype=torch.float64)
                every[:, here] = (on @ masks.T.float()).double()
                common[n, chosen] = every.gather(1, candidates[chosen])
        drawn = weights[:, part.start : part.stop]
        shared += (drawn @ common.flatten(1)).reshape(shared.shape)
        areas += drawn @ area
        sizes += drawn @ size
        execution.step(part.stop, len(photos), f"intervals of {layer}")
    return _ratio(shared, areas[:, :, None] + sizes[:, candidates] - shared)


def _on(grid: Tensor, thresholds: Tensor, raster: Size) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield channels that are on somewhere in a photo, and `(number, raster)` float32, 1 where they are.

    Interpolated values lie between those of cells: channels whose cells stay below are left out.
    """
    live = (grid.flatten(1).amax(1) > thresholds).nonzero()[:, 0]
    for chosen in live.split(_BLOCK):
        yield chosen, (resize(grid[chosen], raster).flatten(1) > thresholds[chosen, None]).float()


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole, 0.0)
