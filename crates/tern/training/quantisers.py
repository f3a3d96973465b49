"""Quantisers for training, and the linear layers that see only what they leave; gradients pass straight through.

A ternary product is an exact product of small integers (codes of the input x {-1,0,1} are exact in bf16, the accumulator
is f32) times one scale, which is what a runtime computes. Sources: BitNet b1.58 (arXiv 2402.17764) for weights and int8,
BitNet a4.8 (arXiv 2411.04965) for INT4, Q-Sparse (arXiv 2407.10969) for top-K.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from small_floats import Fp4Linear

INT8 = {"quant": "int8_absmax"}


def ternarise(w: torch.Tensor, groups: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Absmean quantiser: codes in {-1,0,1} shaped as `w`, and the f32 scale mean|W| of each group of rows, [groups]."""
    g = w.float().reshape(groups, -1)
    m = g.abs().mean(-1).clamp(min=1e-5)
    return (g * (1.0 / m)[:, None]).round().clamp(-1, 1).view_as(w), m


def top_k(x: torch.Tensor, keep: float, block: int | None) -> torch.Tensor:
    """1 where |x| is among the `keep` largest of its block (or of the whole input); of equal ones the first."""
    v = x.abs().reshape(*x.shape[:-1], -1, block or x.shape[-1])
    order = v.sort(dim=-1, descending=True, stable=True).indices[..., : max(1, int(keep * v.shape[-1]))]
    return torch.zeros_like(v).scatter_(-1, order, 1.0).view_as(x)


def codes(x: torch.Tensor, how: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """(integer codes, s) with x ~ codes / s, one s per token. The scale is that of all of x; dropped inputs become 0."""
    if how["quant"] == "int8_absmax":
        s = 127.0 / x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
        q = (x * s).round().clamp(-128, 127)
    elif how["quant"] == "int4_absmean":
        s = math.sqrt(7.0) / x.abs().mean(dim=-1, keepdim=True).clamp(min=1e-5)
        q = (x * s).round().clamp(-8, 7)
    else:
        raise ValueError(f"input quantiser {how['quant']}")
    if how.get("keep"):
        q = q * top_k(x, how["keep"], how.get("block"))
    return q, s


def product_type(x: torch.Tensor) -> torch.dtype:
    return torch.bfloat16 if torch.is_autocast_enabled(x.device.type) else torch.float32


class _TernaryLinear(torch.autograd.Function):
    """y = (codes(x) . ternary(w)) * mean|w| / s. The gradient of x passes the quantiser and the top-K mask alike.

    `groups` equal parts of the output rows have a scale each: matrices that share their input.
    """

    @staticmethod
    def forward(ctx, x, w, how, groups):
        cd = product_type(x)
        q, s = codes(x.float(), how)
        q = q.to(cd)
        t, m = ternarise(w, groups)
        t, m = t.to(cd), m.repeat_interleave(w.shape[0] // groups)
        ctx.save_for_backward(q, t, s, m)
        return F.linear(q, t).float() * (m / s)

    @staticmethod
    def backward(ctx, dy):
        q, t, s, m = ctx.saved_tensors
        dyf = dy.float()
        dx = ((dyf * m).to(t.dtype) @ t).float()
        dys = (dyf / s).to(t.dtype).flatten(0, -2)
        return dx, (dys.t() @ q.flatten(0, -2)).float(), None, None


def quantised_linear(x, w, how: dict, groups: int = 1):
    """A ternary layer of inputs quantised as `how` says; with `groups`, stacked matrices of the same input."""
    return _TernaryLinear.apply(x, w, how, groups)


class BitLinear(nn.Module):
    """A linear layer of `quant` "ternary", "fp4" or "none"; `how` names the quantiser of a ternary one's input."""

    def __init__(self, n_in: int, n_out: int, cfg, how: dict = INT8):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) * cfg.initializer_range)
        self.quant, self.how = cfg.quant, how

    def forward(self, x):
        if self.quant == "ternary":
            return quantised_linear(x, self.weight, self.how)
        return Fp4Linear.apply(x, self.weight) if self.quant == "fp4" else F.linear(x, self.weight)


class _TernarySum(torch.autograd.Function):
    """y = sum over e of p_e * (codes(x_e) . ternary(w_e)) * mean|w_e| / s_e; x [n,E,in], w [E,out,in], p [n,E] -> [n,out].

    One product over all experts: their factors are multiplied into the codes before it (rounded to bf16 there).
    """

    @staticmethod
    def forward(ctx, x, w, p):
        cd, e = product_type(x), w.shape[0]
        q, s = codes(x.float(), INT8)
        t, m = ternarise(w, e)
        flat = t.permute(0, 2, 1).reshape(-1, w.shape[1]).to(cd)  # [E*in, out]
        z = (q * (p[..., None] * m[:, None] / s)).flatten(1).to(cd)
        ctx.save_for_backward(q.to(cd), flat, s, m, p, z)
        return (z @ flat).float()

    @staticmethod
    def backward(ctx, dy):
        q, flat, s, m, p, z = ctx.saved_tensors
        n, e, width = q.shape
        dyc = dy.to(flat.dtype)
        g = (dyc @ flat.t()).float().view(n, e, width)
        dx = g * (p * m)[..., None]
        dp = (g * q.float() / s).sum(-1) * m
        dw = (z.t() @ dyc).float().view(e, width, -1).transpose(1, 2) / m[:, None, None]
        return dx, dw, dp


def weighted_experts(x, w, p):
    return _TernarySum.apply(x, w, p)
