"""Attention methods against formulas written out in float64 with whole matrices, one sample at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import networks
import seewhy
from seewhy import targets
from seewhy.errors import BadInput, DoesNotFit
from seewhy.methods import AttentionRollout, LeGrad, TransformerAttribution

X = networks.batch((3, 16, 16), n=3)
CLASS = 2


def by_hand(net: nn.Module, x: Tensor, read: str = "class") -> tuple[list[Tensor], list[Tensor], nn.Module]:
    """Run the small transformer in float64 on one sample; return attention and tokens of every layer."""
    tokens = net.patch(x).flatten(2).transpose(1, 2)
    tokens = torch.cat([net.cls, tokens], 1) + net.positions
    attention, behind = [], []
    for block in net.blocks:
        width, heads = tokens.shape[-1], block.heads
        normed = block.norm1(tokens)
        q, k, v = (
            part.reshape(1, -1, heads, width // heads).transpose(1, 2)
            for part in (normed @ block.qkv.weight.T + block.qkv.bias).split(width, -1)
        )
        weights = torch.softmax(q @ k.transpose(-1, -2) * (width // heads) ** -0.5, -1)
        weights.requires_grad_() if weights.is_leaf else weights.retain_grad()
        attention.append(weights)
        mixed = (weights @ v).transpose(1, 2).reshape(1, -1, width)
        tokens = tokens + mixed @ block.proj.weight.T + block.proj.bias
        tokens = tokens + block.mlp(block.norm2(tokens))
        behind.append(tokens)
    return attention, behind, net


def doubled() -> nn.Module:
    net = networks.vit().double()
    for p in net.parameters():
        p.requires_grad_(True)
    return net


def rollout(net: nn.Module, x: Tensor, heads: str, residual: bool, discard: float, start: int) -> np.ndarray:
    attention, _, _ = by_hand(net, x)
    product = np.eye(17)
    for weights in attention[start:]:
        w = weights[0].detach().numpy()
        fused = {"mean": w.mean(0), "max": w.max(0), "min": w.min(0)}[heads].copy()
        order = sorted(range(fused.size), key=lambda i, fused=fused: fused.flat[i])
        for i in order[: int(discard * fused.size)]:
            fused.flat[i] = 0
        if residual:
            fused = fused + np.eye(17)
        rows = fused.sum(1, keepdims=True)
        product = np.divide(fused, rows, out=np.zeros_like(fused), where=rows > 0) @ product
    return product[0, 1:].reshape(4, 4)


@pytest.mark.parametrize("heads", ["mean", "max", "min"])
@pytest.mark.parametrize(
    ("residual", "discard", "start"), [(True, 0, 0), (False, 0, 0), (True, 0.9, 0), (True, 0.5, 1)]
)
def test_rollout_is_the_product_of_matrices(heads, residual, discard, start) -> None:
    method = AttentionRollout(heads=heads, residual=residual, discard=discard, start_layer=start)
    ours = method(networks.vit(), X).native
    expected = [rollout(doubled(), x[None].double(), heads, residual, discard, start) for x in X]
    np.testing.assert_allclose(ours.numpy(), np.stack(expected), atol=1e-6)


def generic(net: nn.Module, x: Tensor, read: list[int], start: int = 0) -> np.ndarray:
    """The relevancy update with whole matrices, from the first layer on."""
    attention, behind, _ = by_hand(net, x)
    net.head(net.norm(behind[-1])[:, read].mean(1))[0, CLASS].backward()
    relevance = np.eye(17)
    for weights in attention[start:]:
        evidence = (weights.grad * weights.detach()).clamp_min(0)[0].mean(0).numpy()
        relevance = relevance + evidence @ relevance
    return relevance[read][:, 1:].mean(0).reshape(4, 4)


@pytest.mark.parametrize("start", [0, 1])
def test_transformer_attribution_is_the_relevancy_update(start) -> None:
    result = TransformerAttribution(start_layer=start)(networks.vit(), X, CLASS)
    expected = np.stack([generic(doubled(), x[None].double(), [0], start) for x in X])
    np.testing.assert_allclose(result.native.numpy(), expected, atol=1e-6)
    assert result.provenance["passes"] == {"forward": 2, "backward": 1}
    assert result.provenance["tokens_read"] == "0"


class Mean(networks.ViT):
    """Read by the mean of its patches."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 1:].mean(1))


def test_mean_pooling_takes_the_mean_of_the_patches_rows() -> None:
    torch.manual_seed(2)
    result = TransformerAttribution()(Mean().eval(), X, CLASS)
    expected = np.stack([generic(doubled(), x[None].double(), list(range(1, 17))) for x in X])
    np.testing.assert_allclose(result.native.numpy(), expected, atol=1e-6)
    assert result.provenance["tokens_read"] == "1 to 16"


def le_grad(net: nn.Module, x: Tensor, last: int, pooled: bool) -> np.ndarray:
    total = 0
    for layer in range(2 - last, 2):
        attention, behind, _ = by_hand(net, x)
        tokens = behind[layer].mean(1) if pooled else behind[layer][:, 0]
        net.head(net.norm(tokens))[0, CLASS].backward()
        slope = attention[layer].grad[0].numpy()  # (heads, rows, tokens attended to)
        total = total + np.maximum(slope, 0).mean(axis=(0, 1))
    return total[1:].reshape(4, 4) / last


@pytest.mark.parametrize(("last", "tokens"), [(None, "own"), (1, "own"), (2, "mean")])
def test_le_grad_reads_every_layer_for_itself(last, tokens) -> None:
    ours = LeGrad(last=last, tokens=tokens)(networks.vit(), X, CLASS).native
    expected = [le_grad(doubled(), x[None].double(), last or 2, tokens == "mean") for x in X]
    np.testing.assert_allclose(ours.numpy(), np.stack(expected), atol=1e-6)


def test_take_contrasts_and_embeddings() -> None:
    net = networks.vit()
    with torch.no_grad():
        direction = net(X[:1])[0]
    for method in (TransformerAttribution(), LeGrad()):
        a, b = method(net, X, targets.Class(1) - targets.Class(3)), method(net, X, 1)
        assert not torch.equal(a.values, b.values)
        assert float(method(net, X, targets.Similarity(direction)).values.max()) > 0


def test_no_relevance_where_attention_does_not_matter() -> None:
    # Attention to equal values changes nothing: every gradient row is orthogonal to what can vary.
    net = networks.vit()
    for block in net.blocks:
        nn.init.zeros_(block.proj.weight)
    with pytest.raises(DoesNotFit, match="does not depend on it"):
        seewhy.explain(net, X, method="transformer_attribution", target=1)


def test_refuses_layers_that_are_not_there() -> None:
    for method in (AttentionRollout, TransformerAttribution):
        with pytest.raises(BadInput, match="has 2 layers of attention"):
            method(start_layer=2)(networks.vit(), X, 1)
    for bad in ({"discard": 1.0}, {"start_layer": -1}):
        with pytest.raises(BadInput):
            AttentionRollout(**bad)
    with pytest.raises(BadInput):
        LeGrad(last=0)
