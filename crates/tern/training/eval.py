"""Held-out perplexity per byte, sampled replies, loss curve.

    python eval.py --data DIR --out DIR [--model NAME=CKPT|FOLDER ...] [--gguf NAME=FILE] [--samples NAME] [--curve NAME=loss.csv ...]

Perplexity per byte = exp(negative log-likelihood of the text / its UTF-8 bytes): vocabularies of different size compare.
Plain text is scored whole, given only the model's start token; in chats only the assistant's text is scored, end marker
included (chats are not comparable across chat formats, so other models are scored on plain text only). Each
document is its own sequence. Invariant: no prompt of PROMPTS occurs among the training questions; `--train` checks it.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import sample
import tokenizer as tk
from prompts import PROMPTS


@torch.no_grad()
def score_ours(net, tok: Tokenizer, held: list[dict], options: dict) -> dict:
    nll, size = {}, {}
    for d in held:
        ids, counts = tk.encode_document(tok, d)
        if len(ids) > net.cfg.max_position_embeddings:
            continue
        if d["kind"] == "plain":
            ids, counts = ids[:-1], counts[:-1]  # the end marker has no bytes in a plain text
            text = d["text"]
        else:
            text = "".join(t for r, t in d["turns"] if r == "assistant")
        lp = net.logits(net(torch.tensor([ids]), **options)[0, :-1]).log_softmax(-1)
        loss = -lp.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        nll[d["part"]] = nll.get(d["part"], 0.0) + float((loss * torch.tensor(counts[1:])).sum())
        size[d["part"]] = size.get(d["part"], 0) + len(text.encode())
    return {p: {"bytes": size[p], "ppl_per_byte": math.exp(nll[p] / size[p]), "bits_per_byte": nll[p] / size[p] / math.log(2)} for p in nll}


@torch.no_grad()
def score_gguf(path: Path, held: list[dict], limit: int) -> dict:
    """A GGUF model through transformers (de-quantised to f32), plain parts only, the first `limit` documents of each."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tok = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    out = {}
    for part in ("stories", "books"):
        nll = size = 0
        for d in [d for d in held if d["part"] == part][:limit]:
            ids = [tok.bos_token_id or tok.eos_token_id, *tok(d["text"], add_special_tokens=False).input_ids]
            nll += float(F.cross_entropy(model(torch.tensor([ids])).logits[0, :-1], torch.tensor(ids[1:]), reduction="sum"))
            size += len(d["text"].encode())
        out[part] = {"bytes": size, "ppl_per_byte": math.exp(nll / size), "bits_per_byte": nll / size / math.log(2)}
    return out


def write_samples(path: Path, tok: Tokenizer, out: Path):
    """One draw per prompt at the shipped settings, seed = number of the prompt; nothing is chosen or retried."""
    net = sample.load(path)
    lines = []
    for i, prompt in enumerate(PROMPTS):
        text = sample.reply(net, tok, [["user", prompt]], seed=i)
        lines.append(f"{i + 1}. **{prompt}**\n\n" + "\n".join("   > " + t for t in text.split("\n")) + "\n")
    out.write_text("\n".join(lines))


def write_curve(curves: dict[str, Path], out: Path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(6, 3.2), dpi=110)
    for name, path in curves.items():
        rows = [[float(x) for x in line.split(",")] for line in path.read_text().split()]
        bins: dict[int, list[float]] = {}
        for r in rows:  # lines of the log cover one step or many; 40,000-token bins make the curve readable
            bins.setdefault(int(r[2] // 40_000), []).append(r[5])
        ax.plot([(k + 0.5) * 0.04 for k in bins], [sum(v) / len(v) for v in bins.values()], label=name, linewidth=1.2)
    ax.set(xlabel="tokens seen (millions)", ylabel="training loss (nats per token)", ylim=(0, 9))
    ax.grid(alpha=0.3)
    ax.legend()
    fig.tight_layout()
    fig.savefig(out)


def pairs(values):
    return {k: Path(v) for k, v in (x.split("=", 1) for x in values or [])}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", type=Path, required=True)
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--model", action="append")
    ap.add_argument("--gguf", action="append")
    ap.add_argument("--gguf-limit", type=int, default=40)
    ap.add_argument("--samples", type=Path, help="checkpoint to sample from")
    ap.add_argument("--curve", action="append")
    ap.add_argument("--train", type=Path, help="train.npz, to check that no prompt occurs in it")
    a = ap.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    tok = Tokenizer.from_file(str(a.data / "tokenizer.json"))
    held = json.loads((a.data / "heldout.json").read_text())
    if a.train:
        import numpy as np
        flat = b"".join(v.tobytes() for k, v in np.load(a.train).items() if k.startswith("tokens."))
        known = [p for p in PROMPTS if np.array([tk.USER, *tok.encode(p, add_special_tokens=False).ids, tk.END],
                                                np.uint16).tobytes() in flat]
        if known:
            raise SystemExit(f"prompts that occur in the training data: {known}")
    scores = {}
    for name, path in pairs(a.model).items():
        net = sample.load(path)
        scores |= {name + (run and f".{run}"): score_ours(net, tok, held, o) for run, o in net.runs().items()}
    scores |= {name: score_gguf(path, held, a.gguf_limit) for name, path in pairs(a.gguf).items()}
    if scores:
        (a.out / "perplexity.json").write_text(json.dumps(scores, indent=1) + "\n")
        for name, parts in scores.items():
            for part, s in parts.items():
                print(f"{name:12} {part:20} {s['bytes']:>8} bytes  ppl/byte {s['ppl_per_byte']:.4f}  bits/byte {s['bits_per_byte']:.3f}")
    if a.samples:
        write_samples(a.samples, tok, a.out / "samples.md")
    if a.curve:
        write_curve(pairs(a.curve), a.out / "loss.png")


if __name__ == "__main__":
    main()
