"""Attention written out in operations that have rules: products, a softmax, projections."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seewhy.errors import DoesNotFit


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q k' scale + mask) v, with the arguments of the torch function; dropout is off.

    `(..., heads, tokens, width)` each.
    """
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = (t.repeat_interleave(repeats, -3) for t in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    weights = (query * scale) @ key.transpose(-2, -1)
    if is_causal:
        seen = torch.ones(weights.shape[-2:], dtype=torch.bool, device=query.device).tril()
        weights = weights.masked_fill(~seen, -math.inf)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        weights = weights.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        weights = weights + attn_mask
    return weights.softmax(-1) @ value


def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    attn_mask: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """`torch.nn.functional.multi_head_attention_forward` as vision transformers use it.

    `(tokens, n, width)` each, or `(tokens, width)`. Returns the output and no weights.

    Raises
    ------
    DoesNotFit
        For masks, extra keys, static keys or returned weights.
    """
    rare = (bias_k, bias_v, attn_mask, key_padding_mask, options.get("static_k"), options.get("static_v"))
    if any(r is not None for r in rare) or add_zero_attn or options.get("need_weights", True):
        raise DoesNotFit(
            "Asked to follow relevance through nn.MultiheadAttention",
            "It uses masks, extra keys or returns its weights",
            "Choose a method that needs plain gradients (gradient, integrated_gradients) or none (rise)",
        )
    if in_proj_weight is not None:
        matrices = in_proj_weight.chunk(3)
    else:
        assert q_proj_weight is not None
        assert k_proj_weight is not None
        assert v_proj_weight is not None
        matrices = (q_proj_weight, k_proj_weight, v_proj_weight)
    biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
    heads = [
        functional.linear(x, w, b)
        .unflatten(-1, (num_heads, -1))
        .transpose(0, -2)  # (heads, [n,] tokens, width)
        for x, w, b in zip((query, key, value), matrices, biases, strict=True)
    ]
    mixed = scaled_dot_product_attention(*heads).transpose(0, -2).flatten(-2)
    return functional.linear(mixed, out_proj_weight, out_proj_bias), None
