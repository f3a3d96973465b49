"""A forward pass of the relatives of Tern in plain f32 (or f64), read from a packed folder: slow, obvious, and of its own.

Nothing here is shared with the training code, so that a mistake there shows. One sequence, no cache. Sources as in
`quantisers.py`, `experts.py` and `looped.py`; keys are those of config.json.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file


class Reference:
    def __init__(self, folder: Path, dtype=torch.float32, noise: float = 0.0):
        """`noise`: relative, on what is quantised, to see whether a code lies at a rounding tie."""
        self.c = json.loads((folder / "config.json").read_text())
        stored = load_file(folder / "model.safetensors")
        self.t, self.scale, self.dtype, self.noise = {}, {}, dtype, noise
        for name, w in stored.items():
            if name.endswith("weight_scale"):
                self.scale[name.removesuffix(".weight_scale")] = w.to(dtype)
            elif w.dtype == torch.uint8:
                self.t[name.removesuffix(".weight")] = torch.cat([(w >> shift & 3).to(dtype) - 1 for shift in (0, 2, 4, 6)])
            else:
                self.t[name.removesuffix(".weight")] = w.to(dtype)
        self.inputs = self.c.get("activation_quantization", {})

    def runs(self) -> dict[str, dict]:
        """What else the model can be asked for: the name of the run and its options; "" is the default."""
        if self.c.get("num_experts"):
            return {"": {}, "k1": {"k": 1}, "k4": {"k": 4}, "kfull": {"k": self.c["num_experts"]}}
        if self.c.get("total_ut_steps"):
            return {"": {}} | {f"loop{n}": {"loops": n} for n in range(1, self.c["total_ut_steps"])}
        return {"": {}}

    def norm(self, x, name):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.c["rms_norm_eps"]) * self.t[name]

    def codes(self, x, group):
        how = self.inputs.get(group, {"quant": "int8_absmax"})
        if self.noise:
            x = x * (1 + self.noise * torch.randn(x.shape, dtype=x.dtype))
        if how["quant"] == "int4_absmean":
            s = math.sqrt(7) / x.abs().mean(-1, keepdim=True).clamp(min=1e-5)
            q = torch.round(x * s).clamp(-8, 7)
        else:
            s = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
            q = torch.round(x * s).clamp(-128, 127)
        if "keep" in how:
            for row, values in zip(q, x.abs()):
                kept = sorted(range(len(values)), key=lambda i: (-values[i].item(), i))[: int(how["keep"] * len(values))]
                dropped = torch.ones(len(values), dtype=torch.bool)
                dropped[kept] = False
                row[dropped] = 0
        return q, s

    def linear(self, codes, name):
        q, s = codes
        return q @ self.t[name].T / s * self.scale[name]

    def attention(self, x, p):
        h, g = self.c["num_attention_heads"], self.c["num_key_value_heads"]
        n, d = x.shape[0], self.c["hidden_size"] // h
        into = self.codes(x, "attn_in")
        q, k, v = (self.linear(into, f"{p}{name}_proj").view(n, -1, d).transpose(0, 1) for name in "qkv")
        angle = torch.arange(n).float()[:, None] / self.c["rope_theta"] ** (torch.arange(0, d, 2).float() / d)
        cos, sin = angle.cos().to(self.dtype), angle.sin().to(self.dtype)

        def rotate(z):
            a, b = z[..., : d // 2], z[..., d // 2:]
            return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

        q, k, v = rotate(q), rotate(k).repeat_interleave(h // g, 0), v.repeat_interleave(h // g, 0)
        scores = q @ k.transpose(1, 2) / math.sqrt(d)
        scores = scores.masked_fill(torch.triu(torch.ones(n, n, dtype=torch.bool), 1), -math.inf)
        o = (scores.softmax(-1) @ v).transpose(0, 1).reshape(n, -1)
        if p + "attn_sub_norm" in self.t:
            o = self.norm(o, p + "attn_sub_norm")
        return self.linear(self.codes(o, "attn_out"), p + "o_proj")

    def network(self, into, p):
        gate, up = self.linear(into, p + "gate_proj"), self.linear(into, p + "up_proj")
        f = gate.clamp(min=0) ** 2 * up
        if p + "ffn_sub_norm" in self.t:
            f = self.norm(f, p + "ffn_sub_norm")
        return self.linear(self.codes(f, "ffn_down"), p + "down_proj")

    def mixture(self, x, p, k):
        prob = (x @ self.t[p + "gate"].T).softmax(-1)
        best, chosen = torch.sort(prob, dim=-1, descending=True, stable=True)
        out = torch.zeros_like(x)
        for i in range(len(x)):
            into = self.codes(x[i:i + 1], "ffn_in")
            for j in range(k):
                share = best[i, j] / best[i, :k].sum()
                out[i] += share * self.network(into, f"{p}experts.{int(chosen[i, j])}.")[0]
        return out

    def block(self, x, p, k):
        branch = self.attention(self.norm(x, p + "input_layernorm"), p + "self_attn.")
        if p + "input_layernorm_2" in self.t:
            branch = self.norm(branch, p + "input_layernorm_2")
        x = x + branch
        h = self.norm(x, p + "post_attention_layernorm")
        if self.c.get("num_experts"):
            branch = self.mixture(h, p + "mlp.", k)
        else:
            branch = self.network(self.codes(h, "ffn_in"), p + "mlp.")
        if p + "post_attention_layernorm_2" in self.t:
            branch = self.norm(branch, p + "post_attention_layernorm_2")
        return x + branch

    @torch.no_grad()
    def logits(self, ids: list[int], k: int | None = None, loops: int | None = None) -> torch.Tensor:
        """[len(ids), vocab]; `k` experts for each token, `loops` passes (as the configuration says without them)."""
        embedding = self.t["model.embed_tokens"]
        x = embedding[ids]
        for _ in range(loops or self.c.get("total_ut_steps", 1)):
            for i in range(self.c["num_hidden_layers"]):
                x = self.block(x, f"model.layers.{i}.", k or self.c.get("num_experts_per_tok"))
            x = self.norm(x, "model.norm")
        return x @ embedding.T
