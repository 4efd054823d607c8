"""Attention is read alike from every implementation, checked, refused with a reason, and leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import VisionTransformer

import networks
from seewhy import Model
from seewhy.errors import DoesNotFit
from seewhy.methods import METHODS
from seewhy.models import attention as room
from seewhy.models.attention import TokenAttention, reading, token_attention, why_none
from seewhy.models.preprocessing import Preprocessing
from seewhy.models.sources import dinov2

SHAPE = (3, 32, 32)
X = networks.batch(SHAPE, n=3)


def settled(net: nn.Module) -> nn.Module:
    """Give the heads that some libraries set to zero something to say."""
    torch.manual_seed(5)
    for p in net.parameters():
        nn.init.normal_(p, 0, 0.08)
    return net.eval()


def torchvision_vit() -> nn.Module:
    return settled(VisionTransformer(32, 8, 3, 2, 32, 64, num_classes=5))


def timm_vit(**options) -> nn.Module:
    return settled(
        timm.models.VisionTransformer(
            32, 8, embed_dim=32, depth=3, num_heads=2, num_classes=5, weight_init="skip", **options
        )
    )


def hugging_face(kind: str) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        num_labels=5,
    )
    config._attn_implementation = kind
    return settled(ViTForImageClassification(config))


def unfused(net: nn.Module) -> nn.Module:
    for block in net.blocks:
        block.attn.fused_attn = False
    return net


FITTING: dict[str, tuple[Callable[[], nn.Module], int, tuple[int, ...], str]] = {
    "torchvision": (torchvision_vit, 1, (0,), "encoder.layers.encoder_layer_1"),
    "timm fused": (timm_vit, 1, (0,), "blocks.1"),
    "timm explicit": (lambda: unfused(timm_vit()), 1, (0,), "blocks.1"),
    "timm registers": (lambda: timm_vit(reg_tokens=3), 4, (0,), "blocks.1"),
    "timm mean pooling": (
        lambda: timm_vit(global_pool="avg", class_token=False),
        0,
        tuple(range(16)),
        "blocks.1",
    ),
    "timm class token, mean pooling": (
        lambda: timm_vit(global_pool="avg"),
        1,
        tuple(range(1, 17)),
        "blocks.1",
    ),
    "hf eager": (lambda: hugging_face("eager"), 1, (0,), "vit.layers.1"),
    "hf sdpa": (lambda: hugging_face("sdpa"), 1, (0,), "vit.layers.1"),
}


@pytest.mark.parametrize("name", FITTING)
def test_finds_grid_readers_and_blocks(name: str) -> None:
    build, prefix, read, block = FITTING[name]
    found = token_attention(Model(build()), SHAPE)
    assert (found.grid.prefix, found.grid.cells, found.read) == (prefix, (4, 4), read)
    assert found.blocks[1] == block
    assert found.layers == (0, 1, 2)


def probabilities(net: nn.Module, x: Tensor) -> list[Tensor]:
    found = token_attention(Model(net), tuple(x.shape[1:]))
    with torch.no_grad(), reading() as taken:
        net(x)
    return [found.heads(p, len(x)) for p in found.pick(taken)]


def test_torchvision_gives_what_its_attention_returns_on_request() -> None:
    net, expected = torchvision_vit(), []

    def on_request(module: nn.Module, args: tuple, _kwargs: dict) -> None:
        with torch.no_grad():
            expected.append(functional_attention(module, args[0]))

    for layer in net.encoder.layers:
        layer.self_attention.register_forward_pre_hook(on_request, with_kwargs=True)
    net(X)
    for ours, theirs in zip(probabilities(net, X), expected, strict=False):
        torch.testing.assert_close(ours, theirs)


def functional_attention(module: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Attention by hand, from the projections of the module."""
    q, k, _ = (x @ module.in_proj_weight.T + module.in_proj_bias).chunk(3, -1)
    q, k = (t.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for t in (q, k))
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


def test_fused_and_explicit_kernels_give_the_same() -> None:
    for fused, explicit in (
        (timm_vit(), unfused(timm_vit())),
        (hugging_face("sdpa"), hugging_face("eager")),
    ):
        for a, b in zip(probabilities(fused, X), probabilities(explicit, X), strict=True):
            torch.testing.assert_close(a, b)
            torch.testing.assert_close(a.sum(-1), torch.ones(3, 2, 17))


def test_hugging_face_gives_what_it_returns_on_request() -> None:
    net = hugging_face("eager")
    with torch.no_grad():
        expected = net(X, output_attentions=True).attentions
    for ours, theirs in zip(probabilities(net, X), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_multi_head_attention_that_returns_its_weights() -> None:
    class Needy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.mix = nn.Conv2d(3, 16, 8, 8), nn.MultiheadAttention(16, 2, batch_first=True)
            self.head = nn.Linear(16, 5)
            self.weights = None

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patch(x).flatten(2).transpose(1, 2)
            mixed, self.weights = self.mix(tokens, tokens, tokens, average_attn_weights=False)
            return self.head((tokens + mixed).mean(1))

    net = settled(Needy())
    (ours,) = probabilities(net, X)
    torch.testing.assert_close(ours, net.weights)


def test_the_packages_own_transformer_is_read() -> None:
    net = settled(dinov2.VisionTransformer())
    x = networks.batch((3, 56, 56), n=2)
    kept = []
    net.blocks[3].attn.softmax.register_forward_hook(lambda _m, _a, out: kept.append(out))
    assert torch.equal(probabilities(net, x)[3], kept[-1])


def test_gradients_reach_every_layer_and_match_a_hand_written_pass() -> None:
    net = networks.vit()
    x = networks.batch((3, 16, 16))
    found = token_attention(Model(net), (3, 16, 16))
    with torch.enable_grad(), reading(differentiable=True) as taken:
        score = net(x)[:, 2].sum()
    weights = found.pick(taken)
    slopes = torch.autograd.grad(score, weights)
    # Finite differences in float64 on the first layer, through the network with that attention replaced.
    net = net.double()
    step = torch.zeros_like(weights[0].double())
    step[1, 1, 4, 7] = 1e-4

    def score_at(sign: int) -> float:
        edited = weights[0].detach().double() + sign * step
        softmaxes = iter([edited, None])
        with Substituted(softmaxes), torch.no_grad():
            return float(net(x.double())[:, 2].sum())

    slope = (score_at(1) - score_at(-1)) / 2e-4
    assert slope == pytest.approx(float(slopes[0][1, 1, 4, 7]), rel=1e-3, abs=1e-6)


class Substituted:
    """Let attention use the given probabilities (None: its own)."""

    def __init__(self, probabilities) -> None:
        def attend(q, k, v):
            p = next(probabilities)
            return ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) if p is None else p) @ v

        self.patch = mock.patch.object(functional, "scaled_dot_product_attention", attend)

    def __enter__(self) -> None:
        self.patch.start()

    def __exit__(self, *_: object) -> None:
        self.patch.stop()


OPTIONS = {
    "plain": {},
    "scale": {"scale": 0.3},
    "causal": {"is_causal": True},
    "mask": {"attn_mask": torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(1)) > 0.2},
    "bias": {"attn_mask": torch.randn(6, 6, generator=torch.Generator().manual_seed(2))},
    "groups": {"enable_gqa": True},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_explicit_form_is_the_fused_one(name, dtype) -> None:
    torch.manual_seed(0)
    options = dict(OPTIONS[name])
    q, k, v = torch.randn(3, 2, 4, 6, 8, dtype=dtype)
    if name == "mask":
        options["attn_mask"] = options["attn_mask"] | torch.eye(6, dtype=torch.bool)
    if name == "bias":
        options["attn_mask"] = options["attn_mask"].to(dtype)
    if "enable_gqa" in options:
        k, v = k[:, :2], v[:, :2]
    fused = functional.scaled_dot_product_attention(q, k, v, **options)
    with reading() as taken:
        explicit = functional.scaled_dot_product_attention(q, k, v, **options)
    torch.testing.assert_close(
        explicit, fused, **({"atol": 5e-3, "rtol": 0.016} if dtype.itemsize == 2 else {})
    )
    assert len(taken) == 1
    assert explicit.dtype == fused.dtype


def test_nothing_is_left_behind() -> None:
    before = functional.scaled_dot_product_attention, torch.backends.mha.get_fastpath_enabled()
    net = torchvision_vit()
    with torch.no_grad():
        own = net(X)
    with pytest.raises(KeyError), reading():  # noqa: PT012
        net(X)
        raise KeyError
    with reading() as taken:
        pass
    net(X)
    assert taken == []
    assert before == (functional.scaled_dot_product_attention, torch.backends.mha.get_fastpath_enabled())
    with torch.no_grad():
        assert torch.equal(net(X), own)


def test_what_flows_on_may_be_written_into() -> None:
    with reading() as taken:
        torch.zeros(1, 2, 3, 3).softmax(-1).fill_(7)
    assert float(taken[0].max()) == pytest.approx(1 / 3)


class Pooled(networks.ViT):
    """Looks at every other token only from the second block on."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2) + self.positions[:, 1:]
        x = self.blocks[1](self.blocks[0](x)[:, ::2])
        return self.head(self.norm(x).mean(1))


class Deaf(networks.ViT):
    """Computes attention and does not use it."""

    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        return self.head(self.patch(x).mean((2, 3)))


REFUSED = {
    "cnn": (networks.cnn, "its forward pass computes no attention"),
    "swin": (networks.swin, "within windows only"),
    "pooled": (lambda: Pooled().eval(), "mix different numbers of tokens (8, 16)"),
    "deaf": (lambda: Deaf().eval(), "the answer does not depend on it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_with_the_reason(name: str) -> None:
    build, reason = REFUSED[name]
    shape = (3, 32, 32) if name == "swin" else (3, 16, 16)
    with pytest.raises(DoesNotFit) as refusal:
        token_attention(Model(build(), name=name), shape)
    assert reason in refusal.value.found


def test_an_explicit_form_that_changes_the_answer_is_refused() -> None:
    def wrong(self, query, key, value):  # forgets the scale
        return self._note((query @ key.mT).softmax(-1)) @ value

    with (
        mock.patch.object(room._Reader, "_attend", wrong),
        pytest.raises(DoesNotFit, match="changes the answer"),
    ):
        token_attention(Model(networks.vit()), (3, 16, 16))


def test_found_once_and_again_where_the_network_changes() -> None:
    model = Model(networks.vit())
    with mock.patch.object(room, "_explore", wraps=room._explore) as explore:
        first = token_attention(model, (3, 16, 16))
        assert token_attention(model, (3, 16, 16)) is first
        model.module.blocks = model.module.blocks[:1]
        assert len(token_attention(model, (3, 16, 16)).layers) == 1
    assert explore.call_count == 2
    assert isinstance(first, TokenAttention)


def test_the_list_of_methods_knows_what_fits() -> None:
    preprocess = Preprocessing((16, 16))
    for build, why in ((networks.vit, ""), (networks.cnn, "its forward pass computes no attention")):
        model = Model(build(), preprocess=preprocess)
        for name in ("attention_rollout", "transformer_attribution", "le_grad"):
            reason = METHODS[name]().unfit(model)
            assert reason.endswith(why)
            assert bool(reason) == bool(why)


def test_refusals_are_kept_but_for_heads_that_may_yet_be_trained() -> None:
    net = networks.vit()
    nn.init.zeros_(net.head.weight)
    model = Model(net)
    assert why_none(model, (3, 16, 16)) == "the answer does not depend on it"
    nn.init.normal_(net.head.weight)
    assert why_none(model, (3, 16, 16)) == ""
    cnn = Model(networks.cnn())
    with mock.patch.object(room, "_explore", wraps=room._explore) as explore:
        assert why_none(cnn, (3, 16, 16)) == why_none(cnn, (3, 16, 16))
    assert explore.call_count == 1
