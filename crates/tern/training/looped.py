"""A looped decoder of Ouro's form (arXiv 2510.25741) with ternary projections: all blocks are run several times.

Norms before and after each half of a block; the last norm closes every pass and feeds the next one and the head. A gate says
with which probability a token leaves after a pass.

Ouro minimises the expected loss over the passes, less the entropy of leaving. At this size that went wrong: the
first pass got most of the weight, and later ones, which then counted little, became worse than it. So passes have fixed
weights here, the later the more, and the gate alone learns from the expected loss.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from model import Decoder, Layer, ModelConfig, RMSNorm


class LoopedLayer(Layer):
    def __init__(self, cfg: ModelConfig):
        super().__init__(cfg)
        self.input_layernorm_2 = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.post_attention_layernorm_2 = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)

    def forward(self, x, cos, sin, mask):
        x = x + self.input_layernorm_2(self.self_attn(self.input_layernorm(x), cos, sin, mask))
        return x + self.post_attention_layernorm_2(self.mlp(self.post_attention_layernorm(x)))


class LoopedDecoder(Decoder):
    layer = LoopedLayer
    ENTROPY = 0.05  # weight of the entropy of leaving

    def __init__(self, cfg: ModelConfig):
        super().__init__(cfg)
        self.model.early_exit_gate = nn.Linear(cfg.hidden_size, 1)
        nn.init.normal_(self.model.early_exit_gate.weight, std=cfg.initializer_range)
        nn.init.zeros_(self.model.early_exit_gate.bias)

    def passes(self, tokens, docs=None):
        """The hidden states after each pass, [B,T,h] each."""
        x, cos, sin, mask = self.begin(tokens, docs)
        out = []
        for _ in range(self.cfg.loops):
            for layer in self.model.layers:
                x = layer(x, cos, sin, mask)
            x = self.model.norm(x)
            out.append(x)
        return out

    def forward(self, tokens, docs=None, loops=None):
        return self.passes(tokens, docs)[(loops or self.cfg.loops) - 1]

    def runs(self):
        return {"": {}} | {f"loop{n}": {"loops": n} for n in range(1, self.cfg.loops)}

    def leaving(self, hidden):
        """Hidden states [n,h] after each pass -> the probability of leaving after each, [n, passes]."""
        p, stays = [], 1.0
        with torch.autocast(hidden[0].device.type, enabled=False):
            for h in hidden[:-1]:
                leave = self.model.early_exit_gate(h.float())[:, 0].sigmoid()
                p.append(stays * leave)
                stays = stays * (1 - leave)
        return torch.stack([*p, stays], dim=-1)

    def loss(self, tokens, targets, docs, at, drawn):
        """The first is the loss after the last pass, for the log; the second makes of it what is minimised.

        The gate sees hidden states and losses as they are, and changes neither.
        """
        hidden = [h.flatten(0, 1)[at] for h in self.passes(tokens, docs)]
        each = torch.stack([F.cross_entropy(self.logits(h).float(), targets, ignore_index=-100, reduction="none") for h in hidden], dim=-1)
        weight = torch.arange(1, self.cfg.loops + 1, device=each.device).float()
        weight = weight / weight.sum()
        p, counts = self.leaving([h.detach() for h in hidden]), (targets >= 0).float()
        mean = lambda per_token: (per_token * counts).sum() / counts.sum()
        last = mean(each[:, -1])
        entropy = -(p * p.clamp(min=1e-9).log()).sum(-1)
        gate = (p * each.detach()).sum(-1) - self.ENTROPY * entropy
        return last, mean((each * weight).sum(-1) + gate) - last
