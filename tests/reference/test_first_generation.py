"""The first generation of transformer attribution, relevance written out layer by layer in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.errors import DoesNotFit
from seewhy.methods import TransformerAttribution
from seewhy.methods.attention import transformer_attribution as module

X = networks.batch((3, 16, 16), n=3)
CLASS = 2
FIRST = TransformerAttribution(generation=1)


def safe(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b == 0, 0, a / torch.where(b == 0, 1, b))


def linear(layer: nn.Linear, x: Tensor, r: Tensor) -> Tensor:
    """z+ without bias: products above 0 share what their output has. `(tokens, width)` each."""
    products = x[:, :, None] * layer.weight.T  # (tokens, in, out)
    positive = products.clamp(min=0)
    return (positive * safe(r, positive.sum(1))[:, None, :]).sum(2)


def add(a: Tensor, b: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """In proportion, then scaled so that the totals are as the magnitudes of the totals."""
    r_a, r_b = safe(r, a + b) * a, safe(r, a + b) * b
    s_a, s_b = r_a.sum(), r_b.sum()
    whole = s_a.abs() + s_b.abs()
    return r_a / s_a * (s_a.abs() / whole * r.sum()), r_b / s_b * (s_b.abs() / whole * r.sum())


def heads(t: Tensor, count: int) -> Tensor:
    return t.reshape(len(t), count, -1).transpose(0, 1)


def flat(t: Tensor) -> Tensor:
    return t.transpose(0, 1).flatten(1)


def relevances(net: networks.ViT, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Relevance and gradient of each layer's attention, `(heads, tokens, tokens)`, of one sample."""
    t = net.patch(x[None]).flatten(2).transpose(1, 2)
    t = (torch.cat([net.cls, t], 1) + net.positions)[0]
    kept = []
    for block in net.blocks:
        seen = block.norm1(t)
        q, k, v = (heads(part, block.heads) for part in block.qkv(seen).chunk(3, -1))
        a = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        a.retain_grad()
        mixed = flat(a @ v)
        out = block.proj(mixed)
        middle = t + out
        normed = block.norm2(middle)
        inner = block.mlp[0](normed)
        added = block.mlp[2](nn.functional.gelu(inner))
        kept.append((block, t, seen, q, k, v, a, mixed, out, middle, normed, inner, added))
        t = middle + added
    read = net.norm(t)[:1]
    net.head(read)[0, CLASS].backward()
    found = []
    with torch.no_grad():
        seed = nn.functional.one_hot(torch.tensor([CLASS]), 5).double()
        r = torch.zeros_like(t)
        r[:1] = linear(net.head, read, seed)
        for block, t, seen, q, k, v, a, mixed, out, middle, normed, inner, added in reversed(kept):
            skip, r = add(middle, added, r)
            r = linear(block.mlp[2], nn.functional.gelu(inner), r)
            r = skip + linear(block.mlp[0], normed, r)
            skip, r = add(t, out, r)
            r = heads(linear(block.proj, mixed, r), block.heads)
            s = safe(r, a @ v)
            r_a, r_v = a * (s @ v.mT) / 2, v * (a.mT @ s) / 2
            found.append((r_a, a.grad))
            s = safe(r_a, q @ k.mT)
            r_q, r_k = q * (s @ k) / 2, k * (s.mT @ q) / 2
            r = skip + linear(block.qkv, seen, torch.cat([flat(p) for p in (r_q, r_k, r_v)], 1))
    return found[::-1]


def by_hand(net: networks.ViT, x: Tensor, start: int = 0) -> Tensor:
    product = torch.eye(17, dtype=torch.float64)
    for relevance, slope in relevances(net, x)[start:]:
        product = (torch.eye(17) + (relevance * slope).clamp(min=0).mean(0)) @ product
    return product[0, 1:].reshape(4, 4)


def wanted(start: int = 0) -> Tensor:
    net = networks.vit().double()
    for p in net.parameters():
        p.requires_grad_(True)
    return torch.stack([by_hand(net, x.double(), start) for x in X])


def close(ours: Tensor, expected: Tensor) -> None:
    gap = (ours.double() - expected).abs().amax((1, 2)) / expected.abs().amax((1, 2))
    assert float(gap.max()) < 1e-4


@pytest.mark.parametrize("start", [0, 1])
def test_the_map_is_the_one_written_out(start: int) -> None:
    net = networks.vit().double()
    result = TransformerAttribution(generation=1, start_layer=start)(net, X.double(), CLASS)
    close(result.native, wanted(start))
    assert result.provenance["passes"] == {"forward": 3, "backward": 2}
    close(FIRST(networks.vit(), X, CLASS).native if start == 0 else result.native, wanted(start))


@pytest.mark.parametrize(
    ("bug", "softmax"),
    [({"sums": "proportional"}, "passed"), ({"norms": "linear"}, "passed"), ({}, "taylor")],
)
def test_another_rule_would_be_seen(
    bug: dict[str, str], softmax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bugs: sums that are not balanced, norms that are followed, a softmax by its gradient."""
    real = module.follow
    monkeypatch.setattr(module, "FIRST_GENERATION", replace(module.FIRST_GENERATION, **bug))
    monkeypatch.setattr(module, "follow", lambda q, a, b, c, s, **k: real(q, a, b, c, softmax, **k))
    with pytest.raises(AssertionError):
        close(FIRST(networks.vit().double(), X.double(), CLASS).native, wanted())


class Attends(nn.Module):
    """Two attention modules with a skip each, by torch's own code or in plain products."""

    def __init__(self, written_out: bool) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.patch, self.head, self.written_out = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 5), written_out
        self.attention = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        t = self.patch(x).flatten(2).transpose(1, 2)
        for a in self.attention:
            t = t + (self._products(a, t) if self.written_out else a(t, t, t, need_weights=False)[0])
        return self.head(t.mean(1))

    def _products(self, a: nn.MultiheadAttention, t: Tensor) -> Tensor:
        q, k, v = nn.functional.linear(t, a.in_proj_weight, a.in_proj_bias).chunk(3, -1)
        q, k, v = (h.reshape(len(t), 16, 2, 4).transpose(1, 2) for h in (q, k, v))
        mixed = ((q @ k.mT) / 2).softmax(-1) @ v
        return a.out_proj(mixed.transpose(1, 2).flatten(2))


def test_attention_modules_count_as_their_products() -> None:
    ours, products = (FIRST(Attends(w).double().eval(), X.double(), CLASS).native for w in (False, True))
    close(ours, products.double())
    assert float(ours.abs().max()) > 0


def test_an_operation_without_a_rule_is_refused() -> None:
    class Odd(networks.ViT):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.exp()).exp()

    torch.manual_seed(2)
    with pytest.raises(DoesNotFit, match="'exp'"):
        FIRST(Odd().eval(), X, CLASS)
