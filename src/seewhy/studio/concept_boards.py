"""Files of named concepts, in the one form that the page shows: vectors, TCAV, Visual-TCAV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seewhy.concepts.cav import ConceptVectors
from seewhy.concepts.tcav_result import TcavResult
from seewhy.concepts.visual_result import LEVEL, GlobalRow, VisualTcavResult
from seewhy.studio.concept_words import ABSENT, MEASURES, facts_of, map_ability
from seewhy.studio.schema_concepts import ConceptBoard, ConceptRow, ExplainedImage
from seewhy.types import Json


def row(concept: str, layer: str, **known: Any) -> ConceptRow:
    """Return a row of which only some is known."""
    nothing: Json = dict.fromkeys(
        (
            "index",
            "value",
            "low",
            "high",
            "random",
            "p",
            "significant",
            "separable",
            "accuracy",
            "sensitivity",
            "effect",
            "gain",
            "images",
        )
    )
    blank: Json = {"target": "", "randoms": [], "runs": [], "note": ""}
    told = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in known.items()}
    return ConceptRow(concept=concept, layer=layer, **{**nothing, **blank, **told})


def vectors_board(path: Path, found: ConceptVectors) -> ConceptBoard:
    """Return a file of `seewhy concepts cav`."""
    known = found.provenance
    rows = [
        row(
            d.concept,
            d.layer,
            value=d.accuracy,
            low=d.low,
            high=d.high,
            accuracy=d.accuracy,
            images=known["concepts"].get(d.concept),
        )
        for d in found.directions
    ]
    pooled = known["parameters"]["pool"] == "mean"
    return _board(
        path,
        "cav",
        "Concept vectors",
        f"{len(known['concepts'])} concepts told from {known['random']} random images.",
        known,
        rows,
        map=map_ability("cav" if pooled else "cells"),
        remarks=[
            "The accuracy says how well a layer tells a concept from random images, "
            "not whether the model's answer rests on it."
        ],
    )


def tcav_board(path: Path, found: TcavResult) -> ConceptBoard:
    """Return a file of `seewhy concepts tcav`."""
    known = found.provenance
    rows = [
        row(
            r.concept,
            r.layer,
            target=r.target,
            index=r.index,
            value=r.score if r.separable else None,
            low=r.low if r.separable else None,
            high=r.high if r.separable else None,
            random=r.random,
            randoms=list(r.random_scores),
            runs=list(r.scores),
            p=r.p_corrected,
            significant=r.significant,
            separable=r.separable,
            accuracy=r.accuracy,
            sensitivity=r.sensitivity,
            effect=r.cliffs_delta,
            images=r.images,
            note=r.verdict,
        )
        for r in found.rows
    ]
    parameters = known["parameters"]
    pooled = parameters["pool"] == "mean"
    significant = sum(r.significant for r in found.rows)
    return _board(
        path,
        "tcav",
        "TCAV",
        f"{len(rows)} tests, {significant} significant: does moving towards a concept raise a class's score?",
        known,
        rows,
        map=map_ability("tcav" if pooled else "cells"),
        remarks=[
            f"p is from a permutation test over {parameters['runs']} runs, corrected for {len(rows)} tests "
            f"({parameters['correction'].replace('_', ' ')}). A vector below "
            f"{100 * parameters['accuracy_gate']:g} % held-out accuracy counts as not separable and is not "
            "scored.",
            "Random images taken as a concept score high too: read each score beside them.",
        ],
    )


def visual_board(path: Path, found: VisualTcavResult) -> ConceptBoard:
    """Return a file of `seewhy concepts visual-tcav`."""
    known = found.provenance
    rows = [_global(found, r) for r in found.global_rows()]
    images = [
        ExplainedImage(
            path=fact["path"],
            name=_short(fact["path"]),
            predicted=str((fact.get("prediction") or {}).get("label", "")),
        )
        for fact in known["images"]
    ]
    return _board(
        path,
        "visual_tcav",
        "Visual-TCAV",
        f"{len(found)} photos: where the concepts are, and how much they add to the class's score.",
        known,
        rows,
        map=map_ability("visual_tcav"),
        images=images,
        remarks=[
            "Attributions of concepts that overlap count twice; they do not add up to the score.",
            "p is the share of random concepts, this one counted, that reach the attribution: with "
            f"{known['parameters']['random_concepts']} of them it is "
            f"{1 / (1 + known['parameters']['random_concepts']):.2g} at least.",
        ],
    )


def local_rows(found: VisualTcavResult, image: int) -> list[ConceptRow]:
    """Return how much each concept adds to the answer for one of the photos.

    Parameters
    ----------
    found
        The result.
    image
        Index of the photo.
    """
    path = found.provenance["images"][image]["path"]
    return [
        row(
            r["concept"],
            r["layer"],
            target=r["target"],
            index=r["index"],
            value=r["attribution"] if r["separable"] else None,
            low=r["low"] if r["separable"] else None,
            high=r["high"] if r["separable"] else None,
            random=r["random"],
            p=r["p"],
            significant=r["separable"] and r["p"] <= LEVEL,
            separable=r["separable"],
            gain=r["gain"],
            images=1,
            note="" if r["separable"] else "not separable here",
        )
        for r in found.local_rows()
        if r["image"] == path
    ]


def _global(found: VisualTcavResult, r: GlobalRow) -> ConceptRow:
    chosen = found.classes == r.index
    shown = r.separable
    return row(
        r.concept,
        r.layer,
        target=r.target,
        index=r.index,
        value=r.attribution if shown else None,
        low=r.low if shown else None,
        high=r.high if shown else None,
        random=r.random,
        randoms=found.layers[r.layer].random[chosen].mean(0).tolist(),
        p=r.p,
        significant=shown and r.p <= LEVEL,
        separable=shown,
        accuracy=r.accuracy,
        gain=r.gain,
        images=r.images,
        note="" if shown else f"not separable here (accuracy {r.accuracy:.2f})",
    )


def _board(
    path: Path,
    kind: Any,
    title: str,
    summary: str,
    known: Json,
    rows: Sequence[ConceptRow],
    **more: Any,
) -> ConceptBoard:
    return ConceptBoard(
        **{
            "path": str(path),
            "kind": kind,
            "title": title,
            "summary": summary,
            "model": str(known["model"]),
            "weights_sha256": str(known.get("weights_sha256", "")),
            "layers": list(dict.fromkeys(r.layer for r in rows)),
            "concepts": list(dict.fromkeys(r.concept for r in rows)),
            "targets": list(dict.fromkeys(r.target for r in rows if r.target)),
            "measure": MEASURES[kind],
            "rows": list(rows),
            "cards": [],
            "images": [],
            "absent": ABSENT[kind],
            "facts": facts_of(known),
            **more,
        }
    )


def _short(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path
