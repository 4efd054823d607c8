"""The page of the studies: `python -m benchmarks.learned.page`, from benchmarks/records/learned-*.json.

Copy `MODEL.json`, `fashion.json` and `speed.json` from the studies' --out there, as learned-MODEL.json ...
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.learned.photos import EVIDENCE
from benchmarks.learned.speed import WITH
from seewhy.files import write_atomically

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "benchmarks" / "records"
LOWER = ("AD100", "AD50", "AD15", "deletion")
ORDER = ("AD100", "IC100", "AD50", "IC50", "AD15", "IC15", "deletion", "insertion", "road")
COMPOSITIONS = ("efficientnet-lite0-itself", "mobilenet-v2-itself", "mobilenet-v2", "efficientnet-lite0")
"""Records of studies on compositions of photos."""
BASELINES = ("random", "centre", "edges")
Json = dict[str, Any]

HEAD = """<!-- Written by `python -m benchmarks.learned.page` from benchmarks/records. -->

# P-TAME: trained once, one pass a map

`seewhy train ptame` trains a small head for one model; afterwards a map of any class costs one pass of an
auxiliary network. This page says what that is worth, and where it ends: **the map of a class is learnt from
images that the model names so**.

AD (average drop, lower is better) and IC (increase in confidence, higher is better) look at an input behind
its map, cut to its highest 100, 50 or 15 per cent of pixels. A map that shows everything has AD100 0: that
is why the mean of each map stands beside it, and deletion, insertion and ROAD, which ask for the order of
pixels alone.

"paper" is the paper's loss. All others are ours. "ranked" (`--objective ranked --evidence 5 --shared --ce 1`)
begins with what the auxiliary network's own layers hold for the class, slope times activation of its log-odds
("evidence alone" is that beginning), and trains the order of pixels, nothing else; its maps are ranks.
"gamma" is the power to which ranks are raised: it changes no order, but at 0.05 average drop at 100 per cent
looks through a nearly clear window. Grad-CAM and RISE as ranks of that power stand beside it: what such a row
gains over the method's own is the look's, not the map's. "shown" (`--objective shown --shared --power 1`)
masks as the metrics do, and "surer" (`--objective surer --shared --power 1`) compares with the whole input
besides; both name their area's weight. Which of ours stands here was chosen on pictures that are neither
trained on nor tested. Intervals are 95 %, by bootstrap over pictures. Bold is the best of a column, baselines
aside. The mean of a map is that of its values as the method leaves them.

**On compositions**, where a network is explained by its own features and evidence (it is the auxiliary
network, too), "ranked" as ranks of power 0.05 is ahead of Grad-CAM on all six AD and IC of 320 pictures, for
efficientnet-lite0 and for mobilenet-v2; of Grad-CAM as ranks of the same power, too. RISE was asked about the
first of them, and takes some 800 times as long:

- efficientnet-lite0, by the explainer that `make explainer` trains (400 steps, 17 to 22 minutes on two
  cores), 64 pictures: ahead of RISE on four, not by IC50 and AD15, with and without the power; of RISE as
  ranks of the same power on four, not by AD50 and AD15; of Grad-CAM on all six there, too. By deletion it
  is ahead of RISE, by insertion and ROAD RISE is ahead (16 pictures). Extremal perturbation, on 16
  pictures, is the best at 15 per cent, for which it looks, and behind at 50 and 100.
- mobilenet-v2, 900 steps, 112 pictures: ahead of RISE on five, not by IC15, and of RISE as ranks on four; of
  Grad-CAM there on five, IC15 being 11.6 and 12.5. By deletion, insertion and ROAD, on 8 pictures, it is
  ahead of Grad-CAM, and RISE stays ahead of it. These 112 had been looked at before with two explainers that
  were ahead of RISE on two: one whose evidence was the score's slope in one layer, and one of three layers
  whose weights were trained. What changed since was chosen on other pictures. The pictures of
  efficientnet-lite0 were looked at once.

Most intervals of it and RISE overlap: on so few pictures the two are about as good by AD and IC. Evidence
alone, which nothing trains, comes close at 100 and 50 per cent and is behind at 15. **On classes with fewer
than 100 images** evidence carries the map, and the tables have 16 pictures only, RISE on 8 and 4 of them: on
efficientnet-lite0 "ranked" as ranks is ahead of Grad-CAM on all six, and of RISE on five; on mobilenet-v2 of
Grad-CAM on four, of Grad-CAM as ranks on three. On new objects of covered classes, 16 pictures, too, it is
ahead of Grad-CAM on four and five: at 15 per cent it is no better on efficientnet-lite0 (AD15 89.0 and 88.0,
IC15 0 for both), and IC50 is equal on mobilenet-v2.

Studies before that, on other pictures, with evidence in its first form: where efficientnet-lite0 is the
auxiliary network of mobilenet-v2, "ranked" as ranks of power 0.05 is ahead of Grad-CAM on five of six, not by
IC50 (40.0 and 41.6 per cent of 320 pictures), and of RISE on three: AD100, and AD15 and IC15, where little is
shown. On new objects of covered classes it is ahead of Grad-CAM on all six; on classes with fewer than 100
images RISE is ahead of it on five and Grad-CAM as ranks on all six. Maps of the paper's loss are behind all
others there by AD and IC. Extremal perturbation, which asks for one region of a given size, is behind
Grad-CAM by AD on the 32 pictures that it was asked about. Where efficientnet-lite0 is explained and the
weaker mobilenet-v2 is the auxiliary network (the earliest study, before "ranked"), P-TAME does not reach
RISE.

**Where every class is covered** (Fashion-MNIST, below) RISE stays the better order of pixels: it is ahead of
P-TAME by deletion and by insertion on every network, and by deletion "surer" is worse than random maps on the
CNN. Maps of "surer" show nearly everything (their mean is 0.87 to 0.92) and hide the few places that speak
against the answer: they say what it can do without, not what it rests on most. Who wants to see that takes
RISE, or the paper's loss, whose maps follow the shapes.

For AD and IC, which it trains for, "surer" is better than RISE with 4,000 masks, by its default estimator
and by the published one, on all six for the CNN and for the opaque network, told apart on each. For the ViT
it is better on all six after 3,000 steps, AD15 not told apart on 200 images; after 600 steps it was behind
at AD15 by 3.0 [-0.3, 6.2] on 100 of them, and level after 400. With the paper's loss P-TAME is not ahead on
all six on any of the three. In short trainings on compositions "surer" was behind "shown": the recipe there
leaves it out unless it is asked for.
"""


def table(numbers: Json, means: Json) -> str:
    """Return one group's numbers as markdown."""
    shown = [m for m in ORDER if any(m in row for row in numbers.values())]
    best = {}
    for metric in shown:
        values = [row[metric][0] for name, row in numbers.items() if name not in BASELINES]
        best[metric] = (min if metric in LOWER else max)(values)
    last = ["mean of the map"] if means else []
    lines = ["| " + " | ".join(["map", *shown, *last]) + " |", "|---" * (len(shown) + 1 + len(last)) + "|"]
    for name, row in numbers.items():
        cells = []
        for metric in shown:
            mean, low, high = row[metric]
            digits = 1 if metric[:2] in ("AD", "IC") else 3
            value = f"{mean:.{digits}f}"
            value = f"**{value}**" if mean == best[metric] and name not in BASELINES else value
            cells.append(f"{value} [{low:.{digits}f}, {high:.{digits}f}]")
        mean = f"{means[name]:.2f}" if name in means else ""
        title = f"{name} (baseline)" if name in BASELINES else name
        lines.append(f"| {' | '.join([title, *cells, *([mean] if means else [])])} |")
    return "\n".join(lines) + "\n"


def verdict(numbers: Json) -> str:
    """Return on how many of the six AD and IC each P-TAME beats Grad-CAM and RISE, as a sentence."""
    six = [m for m in ORDER if m[:2] in ("AD", "IC")]
    said = []
    for name in numbers:
        if name.startswith("P-TAME"):
            rivals = [r for r in numbers if r.startswith(("Grad-CAM", "RISE")) and r != "Grad-CAM++"]
            won = {
                r: sum(
                    (numbers[name][m][0] < numbers[r][m][0]) == (m in LOWER)
                    and numbers[name][m][0] != numbers[r][m][0]
                    for m in six
                )
                for r in rivals
            }
            beaten = ", ".join(f"{re.sub(r', [0-9,]+ masks', '', r)} on {k}" for r, k in won.items())
            said.append(f"{name} beats {beaten}")
    return f"Of the six AD and IC, {'; '.join(said)}."


def begun(evidence: bool | int) -> str:
    """Return which evidence an explainer takes; True is the form before layers were counted."""
    if evidence is True:
        return "; evidence in its first form, the slope of the score in one layer"
    return f"; evidence in {evidence} layers" if evidence else ""


def photos(record: Json, key: str) -> str:
    """Return the section of one explained model on compositions, with the picture of that key."""
    trained, own = record["trained"], record["model"] == record["auxiliary"]
    auxiliary = "the network itself" if own else record["auxiliary"]
    text = [f"\n## Compositions of photos: {record['model']}, auxiliary network {auxiliary}\n"]
    for name, about in trained.items():
        r, c = about["record"], about["coverage"]
        text.append(
            f"- {name}: {r['steps']} steps of {r['images'] // r['steps']} pictures in {r['seconds']:.0f} s, "
            f"{about['bytes'] / 1e6:.2f} MB; {c['covered']} of {c['classes']} classes covered, {c['well']} "
            f"with at least 100 images{begun(about['settings'].get('evidence', 0))}."
        )
    text.append(f"\nOn {record['device']}, torch {record['torch']}. Chosen: {record['chosen']}.")
    picture = f"images/learned-{key}.png"
    if (ROOT / "docs" / picture).exists():
        text.append(f"\n![Maps of compositions side by side]({picture})")
    for title, group in record["results"].items():
        few = group.get("curves", group["samples"])
        part = f"; deletion, insertion and ROAD on the first {few}" if few < group["samples"] else ""
        text.append(
            f"\n### {title.capitalize()} ({group['samples']} pictures, {group['classes']} classes{part})\n"
        )
        text.append(table(group["numbers"], group["mean of the map"]))
        text.append(f"{verdict(group['numbers'])}\n")
        seconds = ", ".join(f"{k} {v * 1000:.1f}" for k, v in group["seconds an image"].items())
        text.append(f"Milliseconds an image, in batches, end to end, first uses included: {seconds}.")
    return "\n".join(text) + "\n"


def fashion(record: Json) -> str:
    """Return the section on Fashion-MNIST."""
    text = [
        "\n## Full coverage: Fashion-MNIST\n",
        "Ten classes; networks and explainers trained on 55,000 images, the auxiliary network a second small "
        "CNN. RISE with "
        f"{record['masks']:,} masks of 7 x 7 cells, as published; its default estimator is a regression. "
        "The opaque network is the CNN with every layer hidden: it shows outputs and input gradients only, "
        'and answers bit for bit as the CNN, so that RISE\'s maps are the same. "ours" here is `--objective '
        "surer --power 1 --ce 1 --shared` with the area's weight that is named: masks as the metrics make "
        "them, compared in log-odds with the whole input. That trains for what average drop and increase in "
        "confidence measure; deletion and insertion, which it does not train for, stand beside them. "
        f"Measured on the {record['device']}, torch {record['torch']}.",
    ]
    for title, entry in record["results"].items():
        ours = f"P-TAME, {entry['chosen']}"
        text.append(f"\n### {title} (accuracy {entry['accuracy']:.3f})\n")
        for name, about in entry["training"].items():
            images = 128 * about["steps"]
            text.append(
                f"- {name}: {about['steps']} steps, {images:,} images, {about['bytes'] / 1000:.0f} kB."
            )
        text.append(f"\nA seeded sample of {entry['sample']} test images, the same for all:\n")
        text.append(table(entry["numbers"], entry["mean of the map"]))
        text.append(f"{verdict(entry['numbers'])}\n")
        text.append(f"How much better {ours} is, pair by pair, in the metric's unit (below 0: worse):\n")
        text.append(margins(entry["better by"]))
        text.append(f"{entry['tests']:,} test images:\n")
        text.append(table(entry["all"], {}))
        seconds = ", ".join(f"{k} {v * 1000:.2f}" for k, v in entry["seconds an image"].items())
        text.append(f"Milliseconds an image, on a machine with other work: {seconds}.")
    return "\n".join(text) + "\n"


def margins(better: Json) -> str:
    """Return how much better ours is than each rival, with intervals, as markdown."""
    shown = [m for m in ORDER if any(m in row for row in better.values())]
    lines = ["| over | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for rival, row in better.items():
        cells = []
        for metric in shown:
            digits = 1 if metric[:2] in ("AD", "IC") else 3
            mean, low, high = (f"{v:.{digits}f}" for v in row[metric])
            cells.append(f"{mean} [{low}, {high}]")
        lines.append(f"| {rival} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def speed(record: Json) -> str:
    """Return the section on time."""
    lines = [
        f"\n## Time, {record['threads']} thread(s)\n\nefficientnet-lite0, auxiliary network mobilenet-v2; "
        f"one run, in turn, medians; batch {record['batch']}, on the {record['device']}, torch "
        f"{record['torch']}. Seconds are of one thread's own time, and of the clock where there are several. "
        "A ratio is the median over rounds.\n"
    ]
    one, batch, one_more, batch_more = (
        record[f"features and head over auxiliary forward and head, {n}{kind}"]
        for kind in ("", WITH)
        for n in ("one", "batch")
    )
    lines.append(
        f"A single map costs {one:.2f} times the auxiliary network's pass and the head, in batches "
        f"{batch:.2f} times; with evidence in {EVIDENCE} layers {one_more:.2f} and {batch_more:.2f} times. "
        "Processors ask a folded and packed copy of the auxiliary network, which the pass beside it is not. "
        f"A step of training costs {record['training step over floor']:.2f} times its "
        "floor (a clean pass of the explained network and a masked one, forward and backward, as it stands); "
        "with the pass of the auxiliary network, as it stands, the floor would be "
        f"{record['floor and auxiliary forward over floor']:.2f}. Training asks copies of the networks whose "
        "normalisation is folded: that is how a step can cost less than its floor.\n"
    )
    lines.append("| what | value |\n|---|---|")
    for name, value in record.items():
        if isinstance(value, float):
            unit = "" if " over " in name else " ms"
            lines.append(f"| {name} | {value if not unit else value * 1000:.2f}{unit} |")
    return "\n".join(lines) + "\n"


SECTIONS = {"fashion": fashion, "speed-two-threads": speed, "speed": speed}


def main() -> None:
    """Write docs/learned.md from the records that are there."""
    parts = [HEAD]
    records = {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name in (*COMPOSITIONS, *SECTIONS)
        if (file := RECORDS / f"learned-{name}.json").exists()
    }
    parts += [photos(records[name], name) for name in COMPOSITIONS if name in records]
    parts += [section(records[name]) for name, section in SECTIONS.items() if name in records]
    commands = (
        "\n## Again\n\n```\n"
        "python -m benchmarks.learned.material --stamps STAMPS --photos PHOTOS ... --out material.npz\n"
        "P='python -m benchmarks.learned.photos --material material.npz --areas'\n"
        "M='--model mobilenet-v2 --auxiliary efficientnet-lite0'\n"
        "S='--samples 320 --others 80 --curves 48 --extremal 32'\n"
        "$P $M --device cuda --precision bf16 --steps 1500 --shown $S --out out/learned\n"
        "python -m benchmarks.learned.picture --out out/learned\n"
        "O='--model efficientnet-lite0 --auxiliary efficientnet-lite0 --no-paper --steps 400'\n"
        "S='--samples 320 --slow 64 --others 16 --slow-others 8 --curves 16 --extremal 16'\n"
        "$P $O --shown $S --out out/lite0\n"
        "N=efficientnet-lite0\n"
        "python -m benchmarks.learned.picture --out out/lite0 --model $N --name $N-itself\n"
        "O='--model mobilenet-v2 --auxiliary mobilenet-v2 --no-paper --steps 900'\n"
        "S='--samples 320 --slow 112 --others 16 --slow-others 4 --curves 8 --extremal 0'\n"
        "$P $O --shown $S --out out/own\n"
        "python -m benchmarks.learned.picture --out out/own --name mobilenet-v2-itself\n"
        "$P --device cuda --precision bf16 --steps 2000 --samples 72 --no-ranked\n"
        "F='python -m benchmarks.learned.fashion --data FASHION'\n"
        "$F --threads 1 --only CNN 'opaque network'\n"
        "$F --threads 1 --only ViT --steps 3000\n"
        "python -m benchmarks.learned.speed --threads 2 --batch 8 --repeats 15\n"
        "python -m benchmarks.learned.speed --threads 1 --batch 8 --repeats 15\n```\n\n"
        "STAMPS is usr/share/tuxpaint/stamps of Debian's tuxpaint-stamps-default, FASHION "
        "usr/share/datasets/fashion-mnist of dataset-fashion-mnist, PHOTOS are folders of photos: those of "
        "labelme's source distribution and of Debian's opencv-doc here. `make explainer` fetches them, "
        "trains the explainer of efficientnet-lite0 by itself as above, and draws its maps.\n"
    )
    write_atomically(ROOT / "docs" / "learned.md", ("".join(parts) + commands).encode())


if __name__ == "__main__":
    main()
