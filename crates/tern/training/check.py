"""Checks the estimators of the recipe: `python check.py`, seconds, no corpus needed.

Values are compared with the unit vectors that ternlight's own tests use; gradients with what the estimators are defined
to be, and those that are written by hand with what autograd makes of the same thing put plainly.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import small_floats
from experts import Experts
from model import ModelConfig
from quantisers import INT8, codes, quantised_linear, ternarise, top_k, weighted_experts

VECTORS = Path(__file__).parent / "../../../tests/data/oracle2/unit_vectors_ext.safetensors"


def straight_through(x, rounded):
    return x + (rounded - x).detach()


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def values(v: dict):
    q, s = codes(v["topk.x"], {"quant": "int4_absmean"})
    assert torch.equal(q.to(torch.int8), v["int4.codes"]) and torch.equal(s, v["int4.s"])
    masks = {name: mask for name, mask in v.items() if name.startswith("topk.mask.")}
    for name, mask in masks.items():
        where, keep = name.removeprefix("topk.mask.").split("_")
        block = None if where == "global" else int(where.removeprefix("block"))
        assert torch.equal(top_k(v["topk.x"], float(keep), block).to(torch.int8), mask), name
    s = small_floats.scale(v["fp4.x"], 6.0)
    assert torch.equal(small_floats.e2m1(v["fp4.x"] * s) / s, v["fp4.value"])
    inner, beyond = small_floats.split(v["occ.x"], 0.97)
    close(inner, v["occ.clamped"])
    close(small_floats.as_fp4(inner), v["occ.fp4"])
    close(small_floats.as_e4m3(beyond), v["occ.residual_e4m3"])
    print(f"values: INT4, {len(masks)} top-K masks, FP4, clamped and compensated outliers")


def routing(v: dict):
    cfg = ModelConfig(hidden_size=8, intermediate_size=4, num_experts=8)
    experts = Experts(cfg)
    experts.gate.weight.data = torch.eye(8)  # the logits are the input
    p, _ = experts.route(v["route.logits"], 3)
    order, norm = v["route.order"][:, :3].long(), v["route.k3.norm"]
    assert (p > 0).sum(-1).eq(3).all()
    close(p.gather(1, order), norm)
    print("routing: the best three, ties to the lowest index")


def gradients():
    torch.manual_seed(0)
    for how in (INT8, {"quant": "int4_absmean"}, {"quant": "int8_absmax", "keep": 0.5}):
        x, w = torch.randn(6, 16, requires_grad=True), torch.randn(8, 16, requires_grad=True)
        q, s = codes(x, how)
        t, m = ternarise(w)
        plain = F.linear(straight_through(x, q / s), straight_through(w, t * m))
        ours = quantised_linear(x, w, how)
        close(ours, plain)
        for a, b in zip(torch.autograd.grad(ours.square().sum(), (x, w)), torch.autograd.grad(plain.square().sum(), (x, w))):
            close(a, b)
    x, w = torch.randn(6, 3, 8, requires_grad=True), torch.randn(3, 5, 8, requires_grad=True)
    p = torch.rand(6, 3, requires_grad=True)
    plain = 0
    for e in range(3):
        q, s = codes(x[:, e], INT8)
        t, m = ternarise(w[e])
        plain = plain + p[:, e, None] * F.linear(straight_through(x[:, e], q / s), straight_through(w[e], t * m))
    ours = weighted_experts(x, w, p)
    close(ours, plain)
    for a, b in zip(torch.autograd.grad(ours.square().sum(), (x, w, p)), torch.autograd.grad(plain.square().sum(), (x, w, p))):
        close(a, b)
    print("gradients: straight through ternary weights, INT8, INT4, top-K; through a weighted sum of experts")


def estimator():
    """Where it is not cut off, the slope is that of the curve; around the middle of a step it is the least."""
    k = small_floats.DGE_POWER
    v = torch.linspace(-5.99, 5.99, 4001, dtype=torch.float64).requires_grad_()
    grid = torch.tensor(small_floats.E2M1, dtype=torch.float64)
    i = torch.bucketize(v.detach().abs(), grid[1:-1], right=True)
    step = grid[i + 1] - grid[i]
    t = 2 * (v.abs() - grid[i]) / step - 1
    curve = v.sign() * (grid[i] + step / 2 * (1 + t.sign() * t.abs().pow(1 / k)))
    slope = torch.autograd.grad(curve.sum(), v)[0]
    close(small_floats.dge(v.detach().float()), slope.clamp(max=small_floats.DGE_LIMIT).float())
    print("estimator: DGE is the slope of its curve")


if __name__ == "__main__":
    vectors = load_file(VECTORS)
    values(vectors)
    routing(vectors)
    gradients()
    estimator()
