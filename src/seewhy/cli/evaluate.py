"""`seewhy evaluate`: how faithful are the maps that `explain` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seewhy.cli.faithfulness import measured, named_metrics, print_scores, reliability_json, table_json
from seewhy.cli.loading import load_model
from seewhy.cli.options import (
    DEFAULT_METRICS,
    DEFAULT_MODEL,
    DEFAULT_RUN,
    AsJson,
    MetricNames,
    ModelSpec,
    RunOptions,
    Steps,
    TargetText,
)
from seewhy.cli.output import note, print_json
from seewhy.cli.progress import reporting
from seewhy.cli.truth import truths_for
from seewhy.errors import BadInput, DoesNotFit

if TYPE_CHECKING:
    from seewhy.attribution import Attribution
    from seewhy.inputs.batch import Inputs
    from seewhy.models.model import Model


def evaluate(
    *runs: Path,
    model: ModelSpec = DEFAULT_MODEL,
    metrics: MetricNames = DEFAULT_METRICS,
    steps: Steps = None,
    target: TargetText = None,
    truth: Path | None = None,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
) -> None:
    """Score maps that `explain` wrote, beside baselines that know nothing of the model.

    The inputs are taken from the maps' files, so the photos may have moved. The model is not kept there: name
    the one that was explained.

    Parameters
    ----------
    runs
        Files written by `explain` (.safetensors, .json or the name without either), or folders of them.
    target
        The score; by default the one that was explained.
    truth
        Folder of what metrics of localisation or gaze compare with: for a photo NAME.* one image NAME.png of
        its size. Masks, black where there is no evidence; for nss and auc_judd the fixated pixels, on black;
        for correlation, similarity and kl_divergence how often people looked where, in grey.
    """
    from seewhy.attribution import Attribution
    from seewhy.metrics.truth import needed
    from seewhy.metrics.variants import labels

    run.execution()
    measures = named_metrics(metrics, steps, masks=truth is not None)
    maps = [Attribution.open(file) for file in files_of(runs)]
    groups = by_question(maps)
    places = None
    if truth is not None:
        need = next(need for metric in measures if (need := needed(metric)) is not None)
        places = truths_for([group[0] for group in groups.values()], truth, need)
    network = load_model(model, run)
    _same_weights(maps, network)
    asked = {
        f"{path} ({aim})": (inputs_of(group[0], network), group) for (path, aim), group in groups.items()
    }
    masks = {f"{path} ({aim})": places[path] for path, aim in groups} if places is not None else None
    with reporting() as report:
        whole = measured(network, asked, measures, run, report, target, masks)
    if as_json:
        print_json(
            {
                "model": network.name,
                "metrics": {
                    label: m.parameters() for label, m in zip(labels(measures), measures, strict=True)
                },
                "methods": table_json(whole),
                "reliability": reliability_json(whole),
                "rows": whole.to_json()["rows"],
            }
        )
        return
    print_scores(whole, f"{len(maps)} maps of {len(groups)} inputs on {network.name}")


def files_of(runs: Sequence[Path], command: str = "evaluate") -> list[Path]:
    """Return the attribution files that paths and folders mean, each once.

    Raises
    ------
    BadInput
        For no path, or a folder without maps.
    """
    if not runs:
        raise BadInput(
            f"Asked to {command} maps", "No file was given", f"For example: seewhy {command} seewhy-out"
        )
    found: list[Path] = []
    for path in runs:
        inside = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if not inside:
            raise BadInput(
                f"Asked to {command} the maps in {path}",
                "There is no .safetensors file",
                "Run `seewhy explain` first",
            )
        found += inside
    return list(dict.fromkeys(found))


def by_question(maps: Sequence[Attribution]) -> dict[tuple[str, str], list[Attribution]]:
    """Group single-sample maps that explain the same target of the same input; batches are taken apart."""
    groups: dict[tuple[str, str], list[Attribution]] = {}
    for attribution in (single for several in maps for single in several):
        entry = attribution.provenance["inputs"][0]
        groups.setdefault((entry["path"], entry["target"]["label"]), []).append(attribution)
    return groups


def inputs_of(attribution: Attribution, model: Model) -> Inputs:
    """Return the model's input from the pixels that the attribution keeps.

    Raises
    ------
    DoesNotFit
        When the model has no preprocessing for such pixels.
    """
    from seewhy.inputs.batch import Inputs

    look, pixels = model.preprocess, attribution.pixels
    if look is None or len(look.mean) != pixels.shape[1]:
        raise DoesNotFit(
            f"Asked {model.name} to look at the stored input again",
            f"It has no preprocessing for {pixels.shape[1]} channels",
            "Evaluate in Python: seewhy.evaluate(model, inputs, attributions)",
        )
    import torch

    shape = (1, -1, *[1] * (pixels.ndim - 2))
    mean, std = torch.tensor(look.mean).reshape(shape), torch.tensor(look.std).reshape(shape)
    names = tuple(entry["path"] for entry in attribution.provenance["inputs"])
    return Inputs((pixels.float() * look.scale - mean) / std, names)


def _same_weights(maps: Sequence[Attribution], model: Model) -> None:
    others = sorted(
        {str(a.provenance["model"]) for a in maps if a.provenance["weights_sha256"] != model.weights_hash}
    )
    if others:
        note(f"note: some maps explain other weights ({', '.join(others)}) than those of {model.name}")
