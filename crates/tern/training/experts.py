"""A mixture of ternary experts that may be used by any number of experts (Matryoshka MoE, arXiv 2509.26520).

In training each window and each layer draws how many experts it uses, so that the best is trained to do alone, the second
to add to it, and so on: the set of fewer is the beginning of the set of more. Each expert is a whole network of 2B4T's
kind with scales and a sub-norm of its own; the router is f32 and sees the input before it is quantised.

All experts are computed for all tokens here: at this size that is one large product, and quicker than sorting.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from model import Decoder, Layer, ModelConfig
from quantisers import INT8, quantised_linear, weighted_experts


class Experts(nn.Module):
    def __init__(self, cfg: ModelConfig):
        super().__init__()
        e, f, h, std = cfg.num_experts, cfg.intermediate_size, cfg.hidden_size, cfg.initializer_range
        self.e, self.f, self.eps = e, f, cfg.rms_norm_eps
        self.gate = nn.Linear(h, e, bias=False)  # the router, as it is called in files
        nn.init.normal_(self.gate.weight, std=std)
        self.gate_proj = nn.Parameter(torch.randn(e, f, h) * std)
        self.up_proj = nn.Parameter(torch.randn(e, f, h) * std)
        self.down_proj = nn.Parameter(torch.randn(e, h, f) * std)
        self.ffn_sub_norm = nn.Parameter(torch.ones(e, f))

    def route(self, x, k):
        """x [n,h], k experts (a number, or [n,1]) -> weights [n,E] that sum to 1, and the router's balance loss."""
        with torch.autocast(x.device.type, enabled=False):
            prob = F.linear(x.float(), self.gate.weight).softmax(-1)
        # Ranks without sorting: how many are better, or as good and before it.
        better = (prob[:, None, :] > prob[:, :, None]).sum(-1)
        first = torch.ones(self.e, self.e, dtype=torch.bool, device=x.device).tril(-1)
        rank = better + ((prob[:, None, :] == prob[:, :, None]) & first).sum(-1)
        used = (rank < k).float()
        p = prob * used
        # Switch Transformer (arXiv 2101.03961): 1 where tokens and probability are spread evenly.
        share = (used / used.sum(-1, keepdim=True)).mean(0)
        return p / p.sum(-1, keepdim=True), self.e * (share * prob.mean(0)).sum()

    def forward(self, x, k):
        shape = x.shape
        x = x.reshape(-1, shape[-1])
        p, balance = self.route(x, k)
        gate, up = (quantised_linear(x, w.flatten(0, 1), INT8, self.e).view(-1, self.e, self.f)
                    for w in (self.gate_proj, self.up_proj))
        y = F.relu(gate).square() * up
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps) * self.ffn_sub_norm
        return weighted_experts(y, self.down_proj, p).view(shape), balance


class ExpertLayer(Layer):
    def __init__(self, cfg: ModelConfig):
        super().__init__(cfg, Experts)

    def forward(self, x, cos, sin, mask, k):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        y, balance = self.mlp(self.post_attention_layernorm(x), k)
        return x + y, balance


class ExpertDecoder(Decoder):
    layer = ExpertLayer
    BALANCE = 0.01  # weight of the balance loss

    def states(self, tokens, docs, ks):
        """`ks`: for each layer how many experts a token gets, a number or [B*T,1]."""
        x, cos, sin, mask = self.begin(tokens, docs)
        balance = 0.0
        for layer, k in zip(self.model.layers, ks):
            x, b = layer(x, cos, sin, mask, k)
            balance = balance + b
        return self.model.norm(x), balance / len(ks)

    def forward(self, tokens, docs=None, k=None):
        return self.states(tokens, docs, [k or self.cfg.num_experts_per_tok] * self.cfg.num_hidden_layers)[0]

    def runs(self):
        return {"": {}} | {f"k{k}": {"k": k} for k in range(1, self.cfg.num_experts + 1)}

    def loss(self, tokens, targets, docs, at, drawn):
        ks = (1 + (drawn * self.cfg.experts_drawn).floor()).repeat_interleave(tokens.shape[1], dim=1)[..., None]
        hidden, balance = self.states(tokens, docs, ks)
        logits = self.logits(hidden.flatten(0, 1)[at]).float()
        return F.cross_entropy(logits, targets, ignore_index=-100), self.BALANCE * balance
