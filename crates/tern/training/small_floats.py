"""Linear layers in FP4 (E2M1) for training, after "Optimizing Large Language Model Training Using FP4 Quantization"
(arXiv 2501.17116): a scale for each row of weights and each token.

Weights learn through the differentiable gradient estimator (DGE): rounding is a staircase, and its gradient is taken as
that of a smooth curve close to it. Inputs have outliers clamped and compensated (OCC): what the clamp cut off is added as
FP8 (E4M3), and the gradient passes straight through.
"""

import torch
import torch.nn.functional as F

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
DGE_POWER, DGE_LIMIT = 5.0, 3.0  # k, and where the curve's slope, infinite between two values, is cut off
OCC_QUANTILE = 0.99


def e2m1(v: torch.Tensor) -> torch.Tensor:
    """The nearest FP4 value of v in [-6, 6]; of two equally near ones that with the even mantissa."""
    a, out = v.abs(), torch.zeros_like(v)
    for i in range(1, 8):
        middle = (E2M1[i - 1] + E2M1[i]) / 2
        out = torch.where((a >= middle) if i % 2 == 0 else (a > middle), E2M1[i], out)
    return torch.where(v < 0, -out, out)


def dge(v: torch.Tensor) -> torch.Tensor:
    """The slope at v in [-6, 6] of the curve that stands for the staircase: |2t - 1|^(1/k - 1) / k, t from step to step."""
    grid = torch.tensor(E2M1, device=v.device)
    a = v.abs()
    i = torch.bucketize(a, grid[1:-1], right=True)
    t = (a - grid[i]) / (grid[i + 1] - grid[i])
    return ((2 * t - 1).abs().clamp(min=1e-6).pow(1 / DGE_POWER - 1) / DGE_POWER).clamp(max=DGE_LIMIT)


def scale(x: torch.Tensor, most: float) -> torch.Tensor:
    return most / x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)


def as_fp4(x: torch.Tensor) -> torch.Tensor:
    s = scale(x, 6.0)
    return e2m1(x * s) / s


def as_e4m3(x: torch.Tensor) -> torch.Tensor:
    s = scale(x, 448.0)
    return (x * s).to(torch.float8_e4m3fn).float() / s


def split(x: torch.Tensor, quantile: float = OCC_QUANTILE) -> tuple[torch.Tensor, torch.Tensor]:
    """What lies between two quantiles of each token, and what was cut off."""
    low, high = (torch.quantile(x, q, dim=-1, keepdim=True) for q in (1 - quantile, quantile))
    inner = x.clamp(low, high)
    return inner, x - inner


class Fp4Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        inner, beyond = split(x.float())
        x, w = as_fp4(inner) + as_e4m3(beyond), w.float()
        s = scale(w, 6.0)
        rounded = e2m1(w * s) / s
        ctx.save_for_backward(x, rounded, dge(w * s))
        return F.linear(x, rounded)

    @staticmethod
    def backward(ctx, dy):
        x, rounded, slope = ctx.saved_tensors
        dy = dy.float()
        return dy @ rounded, (dy.flatten(0, -2).t() @ x.flatten(0, -2)) * slope
