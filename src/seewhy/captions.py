"""Provenance in words, for captions and reports."""

from __future__ import annotations

from seewhy.show.words import number, percent
from seewhy.types import Json


def unit(provenance: Json, sample: int = 0) -> str:
    """Return what the map's numbers explain: "score: logit"."""
    kind = provenance["inputs"][sample].get("target", {}).get("score")
    return f"score: {str(kind).replace('_', ' ')}" if kind else ""


def target(provenance: Json, sample: int = 0) -> str:
    """Return the target, its score and, for a class among the predictions, its probability."""
    entry = provenance["inputs"][sample]
    aim, score = entry.get("target", {}), entry.get("score")
    kind = str(aim.get("score") or "score").replace("_", " ")
    facts = [f"{kind} {number(score)}"] if score is not None else []
    if kind != "probability":
        facts += [
            f"p {percent(p['probability'])}"
            for p in entry.get("predictions", ())
            if aim.get("index") is not None and p["index"] == aim["index"]
        ]
    known = f" ({', '.join(facts)})" if facts else ""
    return f"{aim.get('label', 'target')}{known}"


def cost(provenance: Json) -> str:
    """Return passes a sample and the seconds of the whole batch."""
    passes = provenance.get("passes", {})
    forward, backward = passes.get("forward", 0), passes.get("backward", 0)
    words = [f"{forward:,} forward"] if forward else []
    words += [f"{backward:,} backward"] if backward else []
    several = f" for {n} inputs" if (n := len(provenance["inputs"])) > 1 else ""
    counted = " + ".join(words) + (" pass" if forward + backward == 1 else " passes") if words else ""
    return " · ".join(w for w in (counted, f"{provenance['seconds']:.1f} s{several}") if w)


def reliability(provenance: Json, sample: int = 0) -> str:
    """Return what the method knows of its own error: "split half spearman 0.78"."""
    known = provenance["inputs"][sample].get("reliability", {})
    return ", ".join(f"{key.replace('_', ' ')} {number(v)}" for key, v in known.items() if v is not None)


def caption(provenance: Json, sample: int = 0) -> str:
    """Return one line: model · method · target (score) · layer · passes · seconds · own error."""
    layer = provenance.get("layer")
    parts = (
        provenance["model"],
        provenance["method"],
        target(provenance, sample),
        f"layer {layer}" if layer else "",
        cost(provenance),
        reliability(provenance, sample),
    )
    return " · ".join(p for p in parts if p)
