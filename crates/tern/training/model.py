"""BitNet b1.58 decoder for training: the same function as transformers' `BitNetForCausalLM`, written to be compiled.

Why not train the transformers class: its straight-through estimator rounds the de-quantised activations to the
autocast type, and its module is slow to trace. Here a ternary product is an exact product of small integers
(int8 codes x {-1,0,1} are exact in bf16, the accumulator is f32) times one scale, which is what a runtime computes.

Invariant: parameter names and shapes are those of `BitNetForCausalLM`, so `state_dict()` is a checkpoint as it
stands; `export.py` checks that both give the same logits. `quant="none"` is the full-precision model: the same
network without the two quantisers.
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class ModelConfig:
    vocab_size: int = 4096
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    max_position_embeddings: int = 512
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    initializer_range: float = 0.02
    hidden_act: str = "relu2"  # or "silu", for students of a LLaMA
    quant: str = "ternary"  # "ternary" or "none"

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


def ternarise(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Absmean quantiser (BitNet b1.58, arXiv 2402.17764): codes in {-1,0,1} and the f32 scale mean|W|."""
    m = w.float().abs().mean().clamp(min=1e-5)
    return (w.float() * (1.0 / m)).round().clamp(-1, 1), m


class _TernaryLinear(torch.autograd.Function):
    """y = (codes(x) . ternary(w)) * mean|w| / s; the gradient passes straight through both quantisers."""

    @staticmethod
    def forward(ctx, x, w):
        cd = torch.bfloat16 if torch.is_autocast_enabled(x.device.type) else torch.float32
        xf = x.float()
        s = 127.0 / xf.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
        q = (xf * s).round().clamp(-128, 127).to(cd)
        t, m = ternarise(w)
        t = t.to(cd)
        ctx.save_for_backward(q, t, s, m)
        return F.linear(q, t).float() * (m / s)

    @staticmethod
    def backward(ctx, dy):
        q, t, s, m = ctx.saved_tensors
        dyf = dy.float()
        dx = ((dyf * m).to(t.dtype) @ t).float()
        dys = (dyf / s).to(t.dtype).flatten(0, -2)
        dw = (dys.t() @ q.flatten(0, -2)).float()
        return dx, dw


class BitLinear(nn.Module):
    def __init__(self, n_in: int, n_out: int, cfg: ModelConfig):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) * cfg.initializer_range)
        self.ternary = cfg.quant == "ternary"

    def forward(self, x):
        return _TernaryLinear.apply(x, self.weight) if self.ternary else F.linear(x, self.weight)


class RMSNorm(nn.Module):
    def __init__(self, n: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))
        self.eps = eps

    def forward(self, x):
        xf = x.float()
        return xf * torch.rsqrt(xf.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rope(x, cos, sin):
    """Half-split rotary embedding; x [B,H,T,d], cos/sin [T,d]."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, cfg: ModelConfig):
        super().__init__()
        h, d = cfg.hidden_size, cfg.head_dim
        self.h, self.kv, self.d = cfg.num_attention_heads, cfg.num_key_value_heads, d
        self.q_proj = BitLinear(h, self.h * d, cfg)
        self.k_proj = BitLinear(h, self.kv * d, cfg)
        self.v_proj = BitLinear(h, self.kv * d, cfg)
        self.o_proj = BitLinear(self.h * d, h, cfg)
        self.attn_sub_norm = RMSNorm(h, cfg.rms_norm_eps)

    def forward(self, x, cos, sin, mask):
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, self.h, self.d).transpose(1, 2)
        k = self.k_proj(x).view(b, t, self.kv, self.d).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.kv, self.d).transpose(1, 2)
        q, k = rope(q, cos, sin), rope(k, cos, sin)
        k = k.repeat_interleave(self.h // self.kv, dim=1)
        v = v.repeat_interleave(self.h // self.kv, dim=1)
        if torch.is_autocast_enabled(x.device.type):
            q, k, v = q.bfloat16(), k.bfloat16(), v.bfloat16()
        if mask is not None and x.device.type == "cpu":  # at these lengths quicker than the fused kernel's backward pass
            scores = (q @ k.transpose(-1, -2)).float() * self.d ** -0.5
            o = scores.masked_fill(~mask, float("-inf")).softmax(-1).to(v.dtype) @ v
        else:
            o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.o_proj(self.attn_sub_norm(o.transpose(1, 2).reshape(b, t, -1)))


class Mlp(nn.Module):
    def __init__(self, cfg: ModelConfig):
        super().__init__()
        h, f = cfg.hidden_size, cfg.intermediate_size
        self.gate_proj = BitLinear(h, f, cfg)
        self.up_proj = BitLinear(h, f, cfg)
        self.down_proj = BitLinear(f, h, cfg)
        self.ffn_sub_norm = RMSNorm(f, cfg.rms_norm_eps)
        self.silu = cfg.hidden_act == "silu"

    def forward(self, x):
        gate = self.gate_proj(x)
        gate = F.silu(gate) if self.silu else F.relu(gate).square()
        return self.down_proj(self.ffn_sub_norm(gate * self.up_proj(x)))


class Layer(nn.Module):
    def __init__(self, cfg: ModelConfig):
        super().__init__()
        self.input_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.self_attn = Attention(cfg)
        self.post_attention_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.mlp = Mlp(cfg)

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Backbone(nn.Module):
    def __init__(self, cfg: ModelConfig):
        super().__init__()
        self.embed_tokens = nn.Embedding(cfg.vocab_size, cfg.hidden_size)
        nn.init.normal_(self.embed_tokens.weight, std=cfg.initializer_range)
        self.layers = nn.ModuleList(Layer(cfg) for _ in range(cfg.num_hidden_layers))
        self.norm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)


class Decoder(nn.Module):
    """tokens [B,T] (+ document numbers [B,T]) -> hidden states [B,T,h]; `logits` applies the tied head."""

    def __init__(self, cfg: ModelConfig):
        super().__init__()
        self.cfg = cfg
        self.model = Backbone(cfg)
        d = cfg.head_dim
        inv = cfg.rope_theta ** (-torch.arange(0, d, 2).float() / d)
        ang = torch.arange(cfg.max_position_embeddings).float()[:, None] * inv[None]
        ang = torch.cat((ang, ang), dim=-1)
        self.register_buffer("cos", ang.cos(), persistent=False)
        self.register_buffer("sin", ang.sin(), persistent=False)

    def forward(self, tokens, docs=None):
        t = tokens.shape[1]
        mask = None
        if docs is not None:  # causal within a document, nothing across documents
            causal = torch.ones(t, t, dtype=torch.bool, device=tokens.device).tril()
            mask = ((docs[:, :, None] == docs[:, None, :]) & causal)[:, None]
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            x = layer(x, self.cos[:t], self.sin[:t], mask)
        return self.model.norm(x)

    def logits(self, hidden):
        return F.linear(hidden, self.model.embed_tokens.weight)


def parameter_count(cfg: ModelConfig) -> int:
    return sum(p.numel() for p in Decoder(cfg).parameters())
