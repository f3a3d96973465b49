"""BitNet b1.58 decoder for training: the same function as transformers' `BitNetForCausalLM`, written to be compiled.

Why not train the transformers class: its straight-through estimator rounds the de-quantised activations to the
autocast type, and its module is slow to trace.

Invariant: parameter names and shapes are those of `BitNetForCausalLM`, so `state_dict()` is a checkpoint as it
stands; `export.py` checks that both give the same logits. `quant="none"` is the full-precision model: the same
network without the two quantisers. Relatives change a part: other input quantisers (`activations`), experts
(`experts.py`), loops (`looped.py`).
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from quantisers import INT8, BitLinear


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
    quant: str = "ternary"  # "ternary", "fp4" or "none"
    activations: dict | None = None  # as `activation_quantization` in config.json; int8 where nothing is said
    sub_norm: bool = True
    num_experts: int = 0
    num_experts_per_tok: int = 0
    experts_drawn: int = 0  # in training each window and layer draws how many experts it uses, from 1 to this
    loops: int = 1  # Ouro: sandwich norms, and a gate after each pass

    def input(self, group: str) -> dict:
        return (self.activations or {}).get(group, INT8)

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


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
        how = cfg.input("attn_in")
        self.q_proj = BitLinear(h, self.h * d, cfg, how)
        self.k_proj = BitLinear(h, self.kv * d, cfg, how)
        self.v_proj = BitLinear(h, self.kv * d, cfg, how)
        self.o_proj = BitLinear(self.h * d, h, cfg, cfg.input("attn_out"))
        self.attn_sub_norm = RMSNorm(h, cfg.rms_norm_eps) if cfg.sub_norm else nn.Identity()

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
        self.gate_proj = BitLinear(h, f, cfg, cfg.input("ffn_in"))
        self.up_proj = BitLinear(h, f, cfg, cfg.input("ffn_in"))
        self.down_proj = BitLinear(f, h, cfg, cfg.input("ffn_down"))
        self.ffn_sub_norm = RMSNorm(f, cfg.rms_norm_eps) if cfg.sub_norm else nn.Identity()
        self.silu = cfg.hidden_act == "silu"

    def forward(self, x):
        gate = self.gate_proj(x)
        gate = F.silu(gate) if self.silu else F.relu(gate).square()
        return self.down_proj(self.ffn_sub_norm(gate * self.up_proj(x)))


class Layer(nn.Module):
    def __init__(self, cfg: ModelConfig, mlp=Mlp):
        super().__init__()
        self.input_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.self_attn = Attention(cfg)
        self.post_attention_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.mlp = mlp(cfg)

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Backbone(nn.Module):
    def __init__(self, cfg: ModelConfig, layer=Layer):
        super().__init__()
        self.embed_tokens = nn.Embedding(cfg.vocab_size, cfg.hidden_size)
        nn.init.normal_(self.embed_tokens.weight, std=cfg.initializer_range)
        self.layers = nn.ModuleList(layer(cfg) for _ in range(cfg.num_hidden_layers))
        self.norm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)


class Decoder(nn.Module):
    """tokens [B,T] (+ document numbers [B,T]) -> hidden states [B,T,h]; `logits` applies the tied head."""

    layer = Layer

    def __init__(self, cfg: ModelConfig):
        super().__init__()
        self.cfg = cfg
        self.model = Backbone(cfg, self.layer)
        d = cfg.head_dim
        inv = cfg.rope_theta ** (-torch.arange(0, d, 2).float() / d)
        ang = torch.arange(cfg.max_position_embeddings).float()[:, None] * inv[None]
        ang = torch.cat((ang, ang), dim=-1)
        self.register_buffer("cos", ang.cos(), persistent=False)
        self.register_buffer("sin", ang.sin(), persistent=False)

    def begin(self, tokens, docs=None):
        """Embeddings, the two tables of the rotation, and the mask: causal within a document, nothing across."""
        t = tokens.shape[1]
        mask = None
        if docs is not None:
            causal = torch.ones(t, t, dtype=torch.bool, device=tokens.device).tril()
            mask = ((docs[:, :, None] == docs[:, None, :]) & causal)[:, None]
        return self.model.embed_tokens(tokens), self.cos[:t], self.sin[:t], mask

    def forward(self, tokens, docs=None):
        x, cos, sin, mask = self.begin(tokens, docs)
        for layer in self.model.layers:
            x = layer(x, cos, sin, mask)
        return self.model.norm(x)

    def logits(self, hidden):
        return F.linear(hidden, self.model.embed_tokens.weight)

    def runs(self) -> dict[str, dict]:
        """Arguments of `forward` to be evaluated with, by name; "" is the default."""
        return {"": {}}

    def loss(self, tokens, targets, docs, at, drawn):
        """(mean loss in nats per counted target, what else is minimised).

        `at` are the flat positions that are looked at, `targets` what follows them (-100: does not count), `drawn` a
        random number in [0,1) for each window and layer, for those who draw.
        """
        hidden = self(tokens, docs).flatten(0, 1)[at]
        return F.cross_entropy(self.logits(hidden).float(), targets, ignore_index=-100), 0.0
