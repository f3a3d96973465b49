"""A tiny BitNet of 2023 (arXiv 2310.11453: binary weights) and its logits, by plain numpy. Our own code.

Our reading of the paper, in the skeleton that the other BitNets here have (RoPE, gated feed-forward network, residuals):
- every linear layer's input comes from a LayerNorm with gain and bias: before attention, before the output projection
  (SubLN), before the network, before the down projection;
- weights: Sign(W - mean(W)) with Sign(0) = -1, times mean(|W|), over a whole matrix (one group);
- activations: x * 128 / max|x| for each token, rounded half to even, and kept below 128 (at +-127);
- embedding, softmax, head in full precision.
Needs numpy and safetensors. Usage: python make.py SEED (default 1), in this folder. Refuses a seed at which a code of
the f32 run lies on a rounding tie, as seen by a run in f64 and by one with nudged inputs.
"""
import json, os, sys
import numpy as np
from safetensors.numpy import save_file

CONFIG = {"model_type": "bitnet_binary", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
          "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 192,
          "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
          "tie_word_embeddings": False}
H, F, L, V = (CONFIG[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size"))
HEADS, KV, D = 4, 2, 16

def weights(rng):
    w = {"model.embed_tokens.weight": rng.normal(size=(V, H)), "lm_head.weight": rng.normal(size=(V, H)) * 0.4}
    def norm(name, n):
        w[name + ".weight"], w[name + ".bias"] = 1 + 0.2 * rng.normal(size=n), 0.1 * rng.normal(size=n)
    norm("model.norm", H)
    for i in range(L):
        p = f"model.layers.{i}."
        norm(p + "input_layernorm", H); norm(p + "post_attention_layernorm", H)
        norm(p + "self_attn.attn_sub_norm", HEADS * D); norm(p + "mlp.ffn_sub_norm", F)
        for name, shape in [("self_attn.q_proj", (HEADS * D, H)), ("self_attn.k_proj", (KV * D, H)),
                            ("self_attn.v_proj", (KV * D, H)), ("self_attn.o_proj", (H, HEADS * D)),
                            ("mlp.gate_proj", (F, H)), ("mlp.up_proj", (F, H)), ("mlp.down_proj", (H, F))]:
            # A mean that is not 0, so that centring shows.
            w[p + name + ".weight"] = 0.15 * rng.normal(size=shape) + 0.06
    return {k: v.astype(np.float32) for k, v in w.items()}

def forward(w, tokens, dtype, noise=0.0):
    w = {k: v.astype(dtype) for k, v in w.items()}
    eps = dtype(CONFIG["rms_norm_eps"])
    rng = np.random.default_rng(1)
    def ln(x, name):
        x = x - x.mean(-1, keepdims=True, dtype=dtype)
        return x / np.sqrt((x * x).mean(-1, keepdims=True, dtype=dtype) + eps) * w[name + ".weight"] + w[name + ".bias"]
    def linear(x, name):
        W = w[name + ".weight"]
        sign = np.where(W > dtype(W.astype(np.float64).mean()), 1, -1)
        beta = dtype(np.abs(W.astype(np.float64)).mean())
        x = x * (1 + noise * rng.normal(size=x.shape)).astype(dtype)
        scale = 1 / np.maximum(np.abs(x).max(-1, keepdims=True), dtype(1e-5)) * dtype(128)
        codes = np.clip(np.rint(x * scale), -127, 127)
        return (codes.astype(np.int64) @ sign.T).astype(dtype) / scale * beta
    T = len(tokens)
    x = w["model.embed_tokens.weight"][tokens]
    freq = (CONFIG["rope_theta"] ** -(np.arange(D // 2) * 2.0 / D)).astype(np.float32).astype(dtype)
    angle = np.arange(T).astype(dtype)[:, None] * freq
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    def rope(v):
        a, b = v[..., :D // 2], v[..., D // 2:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
    mask = np.triu(np.full((T, T), -np.inf, dtype), 1)
    for i in range(L):
        p = f"model.layers.{i}."
        h = ln(x, p + "input_layernorm")
        q = rope(linear(h, p + "self_attn.q_proj").reshape(T, HEADS, D))
        k = rope(linear(h, p + "self_attn.k_proj").reshape(T, KV, D))
        v = linear(h, p + "self_attn.v_proj").reshape(T, KV, D)
        k, v = (np.repeat(a, HEADS // KV, 1) for a in (k, v))
        s = np.einsum("thd,shd->hts", q, k) / dtype(np.sqrt(D)) + mask
        e = np.exp(s - s.max(-1, keepdims=True)); a = e / e.sum(-1, keepdims=True)
        o = np.einsum("hts,shd->thd", a, v).reshape(T, HEADS * D)
        x = x + linear(ln(o, p + "self_attn.attn_sub_norm"), p + "self_attn.o_proj")
        h = ln(x, p + "post_attention_layernorm")
        g, u = linear(h, p + "mlp.gate_proj"), linear(h, p + "mlp.up_proj")
        x = x + linear(ln(g / (1 + np.exp(-g)) * u, p + "mlp.ffn_sub_norm"), p + "mlp.down_proj")
    return ln(x, "model.norm") @ w["lm_head.weight"].T

def main(seed):
    rng = np.random.default_rng(seed)
    w = weights(rng)
    out, worst = {}, 0.0
    for name, n in [("seq_a", 8), ("seq_b", 32), ("seq_c", 1)]:
        tokens = rng.integers(3, V, n)
        f32 = forward(w, tokens, np.float32)
        for other in (forward(w, tokens, np.float64), forward(w, tokens, np.float32, 2e-7)):
            worst = max(worst, np.abs(f32 - other).max())
        out[f"tokens.{name}"] = tokens.astype(np.int32)
        out[f"logits.{name}.f32"] = f32.astype(np.float32)
    if worst > 2e-4:
        return f"seed {seed}: {worst}"
    save_file(w, "model.safetensors", metadata={"format": "pt"})
    save_file(out, "reference.safetensors")
    json.dump(CONFIG, open("config.json", "w"), indent=1)
    return f"seed {seed}: f32 and f64 differ by {worst}, largest logit {max(np.abs(v).max() for k, v in out.items() if 'logits' in k)}"

if __name__ == "__main__":
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    print(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
