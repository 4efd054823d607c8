"""The area under a curve, against curves of 910 clips that were published with their scores.

Li et al. 2021 (https://arxiv.org/abs/2109.00222) published, for every clip of UCF101-24 on R(2+1)D, the score
after each of 128 steps of blocks. The area is linear in the scores, so that the mean over clips, held here in
thousandths, has the mean of the areas.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.metrics import Deletion, Insertion
from seewhy.question import ask

INS_GRAD_CAM = """
41 43 50 60 73 89 105 125 145 168 192 217 247 276 303 331 358 383 411 434 461 485 508 527 549 571 592
612 628 645 663 679 692 705 716 728 738 750 758 767 778 786 794 803 808 816 821 826 831 836 842 846 851
855 858 862 865 869 872 876 879 883 885 887 891 894 896 899 901 903 904 906 908 910 912 912 914 915 916
917 918 919 921 922 922 923 924 925 926 926 927 928 928 929 929 930 931 931 932 933 933 934 934 935 935
935 936 936 936 937 937 938 938 938 938 938 939 939 939 939 939 939 939 939 939 938 938 938 935
"""
INS_RANDOM = """
41 38 38 39 39 40 40 41 41 41 41 41 42 42 42 43 43 43 43 44 44 44 45 45 45 46 46 46 46 47 47 47 48 48 48
48 48 49 49 49 50 51 51 51 52 52 52 53 54 54 55 55 55 56 57 57 58 59 60 61 62 63 65 66 67 69 71 72 74 77
79 81 85 88 91 95 99 104 109 113 118 124 128 134 140 147 154 162 170 179 188 198 208 219 232 245 259 273
287 303 321 338 355 374 394 415 437 460 485 508 532 559 585 613 639 666 695 723 750 775 798 819 841 860
879 895 907 920 935
"""
DEL_GRAD_CAM = """
935 920 904 887 870 853 834 818 800 781 764 746 726 710 694 676 661 645 631 616 604 588 575 559 543 531
518 506 493 478 467 457 444 432 418 406 392 381 369 357 347 336 326 316 306 294 285 275 267 260 250 242
235 228 221 213 207 202 195 189 183 177 173 168 163 158 154 150 146 142 139 136 132 129 125 123 118 116
112 109 107 104 101 99 96 93 91 88 86 84 82 80 78 76 75 74 72 71 69 68 66 64 63 63 62 61 60 58 57 57 56
55 54 53 52 52 51 50 50 49 48 48 47 46 45 44 42 42 41
"""
DEL_RANDOM = """
935 924 910 895 880 863 843 821 797 772 746 718 692 662 634 607 580 553 528 503 478 455 433 413 391 371
353 335 318 301 284 269 256 242 228 214 202 192 182 172 164 156 149 142 135 129 123 116 112 108 103 100
95 92 88 85 82 79 77 74 72 70 69 67 66 64 63 62 61 60 59 58 57 57 56 55 55 54 54 53 52 52 51 51 51 50 50
50 50 49 49 48 48 48 48 48 47 47 47 46 46 46 45 45 45 45 44 44 44 44 43 43 43 43 43 42 42 42 42 42 41 41
41 40 40 39 38 39 41
"""


class Scripted(nn.Module):
    """Answers with the score that a script has for the number of pixels that are 1."""

    def __init__(self, script: str) -> None:
        super().__init__()
        self.register_buffer("scores", torch.tensor([int(s) / 1000 for s in script.split()]))

    def forward(self, x: Tensor) -> Tensor:
        p = self.scores[x.flatten(1).sum(1).round().long()]
        return torch.stack([p, 1 - p], 1).log()


def area(metric: Deletion | Insertion, script: str, *, backwards: bool = False) -> float:
    """Return the metric's value where the network's answers follow the script."""
    listed = " ".join(reversed(script.split())) if backwards else script
    model = seewhy.Model(Scripted(listed), name="scripted", differentiable=False)
    x = torch.ones(1, 1, 8, 16)
    with model.untouched():
        question = ask(model, x, 0, seewhy.Execution(precision="fp32"), "probability")
        return float(metric.measure(question, torch.arange(128.0).reshape(1, 8, 16)).values)


@pytest.mark.parametrize(
    ("script", "published"), [(INS_GRAD_CAM, 0.7560), (INS_RANDOM, 0.2058)], ids=["Grad-CAM", "random"]
)
def test_insertion_of_the_published_curves(script: str, published: float) -> None:
    assert area(Insertion(steps=128, operator="mean"), script) == pytest.approx(published, abs=1e-4)


@pytest.mark.parametrize(
    ("script", "published"), [(DEL_GRAD_CAM, 0.2795), (DEL_RANDOM, 0.2039)], ids=["Grad-CAM", "random"]
)
def test_deletion_of_the_published_curves(script: str, published: float) -> None:
    """By these numbers deletion calls the random map better than Grad-CAM."""
    found = area(Deletion(steps=128), script, backwards=True)
    assert found == pytest.approx(published, abs=1e-4)


def test_a_plain_mean_of_the_scores_would_be_seen() -> None:
    """The planted bug: the mean over 129 scores is no area."""
    scores = [int(s) / 1000 for s in DEL_GRAD_CAM.split()]
    assert sum(scores) / len(scores) != pytest.approx(0.2795, abs=1e-3)
