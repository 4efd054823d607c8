"""How peers do the same work, at the batch that suits them; imported on use."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seewhy.perturb.masks import RandomGrids


def captum_occlusion(net: nn.Module, x: Tensor, target: int, window: int, stride: int, each: int) -> Tensor:
    """Return captum's occlusion map of one photo."""
    from captum.attr import Occlusion

    with torch.inference_mode():
        maps = Occlusion(net).attribute(
            x,
            target=target,
            sliding_window_shapes=(3, window, window),
            strides=(3, stride, stride),
            perturbations_per_eval=each,
        )
    return maps[:, 0].float()


def captum_gradients(net: nn.Module, x: Tensor, target: int, steps: int, batch: int) -> Tensor:
    """Return captum's integrated gradients, summed over channels."""
    from captum.attr import IntegratedGradients

    found: Tensor = IntegratedGradients(net).attribute(
        x, target=target, n_steps=steps, internal_batch_size=batch
    )
    return found.sum(1).detach().float()


def captum_grad_cam(net: nn.Module, x: Tensor, target: int, layer: str) -> Tensor:
    """Return captum's Grad-CAM, without its ReLU."""
    from captum.attr import LayerGradCam

    found: Tensor = LayerGradCam(net, net.get_submodule(layer)).attribute(x, target=target)
    return found[:, 0].detach().float()


def library_cam(name: str, net: nn.Module, x: Tensor, target: int, layer: str, batch: int) -> None:
    """Run a CAM of the library grad-cam ("GradCAM", "ScoreCAM", "AblationCAM")."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with getattr(pytorch_grad_cam, name)(model=net, target_layers=[net.get_submodule(layer)]) as cam:
        cam.batch_size = batch
        cam(input_tensor=x.clone().requires_grad_(), targets=[ClassifierOutputTarget(target)] * len(x))


def library_imputation(x: Tensor, hidden: Tensor) -> Tensor:
    """Return grad-cam's linear imputation of `(k, c, h, w)` pictures, without its noise."""
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    fill = NoisyLinearImputer(noise=0.0)
    return torch.stack([fill(one, (~hole).float()) for one, hole in zip(x, hidden, strict=True)])


def library_road(net: nn.Module, x: Tensor, maps: Tensor, target: int) -> Tensor:
    """Return grad-cam's ROADCombined of some maps, without its noise."""
    from unittest.mock import patch

    from pytorch_grad_cam.metrics.road import ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    with patch("torch.randn_like", torch.zeros_like), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ROADCombined()(x, maps.numpy(), [ClassifierOutputSoftmaxTarget(target)] * len(x), net)
    return torch.from_numpy(found)[:, None]


def torchcam_score_cam(net: nn.Module, x: Tensor, target: int, layer: str, batch: int) -> None:
    """Run Score-CAM of the library torchcam."""
    from torchcam.methods import ScoreCAM

    cam = ScoreCAM(net, target_layer=layer, batch_size=batch)
    try:
        with torch.inference_mode():
            scores = net(x)
        cam(target, scores)
    finally:
        cam.remove_hooks()


def torchray_rise(net: nn.Module, x: Tensor, target: int, masks: int, batch: int) -> None:
    """Run RISE of the library TorchRay."""
    from torchray.attribution.rise import rise

    rise(net, x, target=target, num_masks=masks, batch_size=batch)


def torchray_extremal(net: nn.Module, x: Tensor, target: int, area: float, steps: int) -> Tensor:
    """Return TorchRay's extremal perturbation of one photo: its mask, `(1, h, w)`."""
    from torchray.attribution.extremal_perturbation import extremal_perturbation

    mask, _ = extremal_perturbation(net, x, target, areas=[area], max_iter=steps)
    found: Tensor = mask[:, 0].detach()
    return found


def same_masks(net: nn.Module, x: Tensor, target: int, masks: int, batch: int) -> Tensor:
    """Return RISE as anyone would write it, over the masks that SeeWhy draws: float32, summed as they are."""
    grids = RandomGrids(tuple(x.shape[2:]), (7, 7), masks, 0.5, 0)
    total = torch.zeros(x.shape[2:], dtype=torch.float64, device=x.device)
    with torch.inference_mode():
        for start in range(0, masks, batch):
            which = torch.arange(start, min(start + batch, masks), device=x.device)
            drawn = grids.masks(which)
            scores = net(x * drawn[:, None]).float().softmax(1)[:, target]
            total += torch.einsum("n,nhw->hw", scores.double(), drawn.double())
    return (total / masks / 0.5)[None].float()


def published_rise(net: nn.Module, x: Tensor, target: int, masks: int, cells: int = 7) -> Tensor:
    """Return RISE as published: masks resized one by one on the host, batches of 100, one sum at the end."""
    from skimage.transform import resize

    rng, (h, w) = np.random.default_rng(0), x.shape[2:]
    cell = -(-h // cells)
    stack = np.empty((masks, h, w), dtype=np.float32)
    for i in range(masks):
        grid = (rng.random((cells, cells)) < 0.5).astype(np.float32)
        u, v = rng.integers(0, cell, 2)
        side = (cells + 1) * cell
        resized: Any = resize(grid, (side, side), order=1, mode="reflect", anti_aliasing=False)
        stack[i] = resized[u : u + h, v : v + w]
    on_device = torch.from_numpy(stack).to(x)[:, None]
    with torch.inference_mode():
        scores = torch.cat([net(x * m).softmax(1)[:, target] for m in on_device.split(100)])
    return (torch.einsum("n,nhw->hw", scores, on_device[:, 0]) / masks / 0.5)[None]
