"""Photo cut-outs with exact masks: which of Tux Paint's stamps show an ImageNet class.

The stamps are Debian's package tuxpaint-stamps-default (GPL-2). None is shipped: they are read where the
package, or its unpacked content, lies. Some classes are the nearest there is (a rhea counts as an ostrich, a
chamois as an ibex), and the list was made by looking at what a network says to the stamps: good for asking
where it looked, not for measuring how often it is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from seewhy.errors import BadInput

DEFAULT = Path("/usr/share/tuxpaint/stamps")

_NAMED = """
32 frog frog-1; 134 crowned_crane; 97 duck; 99 gander; 8 hen; 9 nandou; 145 penguin; 130 pink_flamingo;
90 rainbow-lorikeet; 7 rooster; 96 tucan; 23 vulture; 396 lionfish; 123 lobster; 315 mantis; 360 otter;
362 badger; 294 european-bear; 850 edward_bear; 350 mountaingoat; 348 sheep; 354 camel dromedary; 291 lion;
292 tiger tiger_sumatran; 273 dingo; 339 horse; 277 fox; 340 zebra; 344 hippopotamus;
341 pig_golden pig_golden2; 337 beaver; 335 squirrel; 342 wildboar; 104 kangaroo; 105 koala; 106 wombat;
949 Strawberry2; 956 cherimoya; 953 pineapple; 937 broccoli; 987 corn; 447 binoculars; 759 camera_35mm;
513 trumpet; 541 drum_tomtom_floor drumkit; 486 cello; 402 guitar_classical;
546 guitar2 guitar_electric guitar_electric_bass; 889 violin; 725 pitcher_small; 792 spade; 823 stethoscope;
701 paratrooper; 847 bradley; 895 f22_raptor; 997 cep cep-1 cep-2; 470 candle; 805 soccer; 637 uk_post_box;
870 pink_tricycle; 555 firetruck; 417 balloon360; 404 747; 569 garbagetruck; 751 indycar; 914 walnutBoat
"""
CLASSES = {
    stem: int(line.split()[0]) for line in _NAMED.replace("\n", " ").split(";") for stem in line.split()[1:]
}
"""From the stem of a stamp's file to the index of its ImageNet class."""


@dataclass(frozen=True)
class CutOut:
    """One object: RGBA, opaque where it is, cut to its own box; `index` is its class."""

    name: str
    index: int
    picture: Image.Image


def read_stamps(folder: Path = DEFAULT) -> list[CutOut]:
    """Return the stamps of known class below a folder, in order of name.

    Raises
    ------
    BadInput
        When fewer than 20 are there.
    """
    # A drawing may have the name of a photo.
    paths = [path for path in sorted(folder.rglob("*.png")) if "cartoon" not in path.parts]
    files = {path.stem: path for path in reversed(paths)}
    found = [cut_out(s, index, Image.open(files[s])) for s, index in sorted(CLASSES.items()) if s in files]
    if len(found) < 20:
        raise BadInput(
            f"Asked for photo cut-outs in {folder}",
            f"{len(found)} of {len(CLASSES)} are there",
            "Install them with `apt-get install tuxpaint-stamps-default`, or unpack that package "
            "(`apt-get download`, `dpkg -x`) and name its folder usr/share/tuxpaint/stamps with --stamps",
        )
    return found


def cut_out(name: str, index: int, picture: Image.Image) -> CutOut:
    """Return a picture with transparency, cut to where it is opaque."""
    rgba = picture.convert("RGBA")
    box = rgba.getchannel("A").point(lambda a: 255 if a > 127 else 0).getbbox()
    return CutOut(name, index, rgba.crop(box))
