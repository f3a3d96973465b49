"""Talks to a checkpoint in the training code (no export needed): `python sample.py CKPT --data DIR [prompt ...]`."""

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer

import tokenizer as tk
from decoders import build
from model import Decoder, ModelConfig
from start import load_packed

PROMPTS = ["Hello!", "Who are you?", "how are you doing today", "What can you do?", "What is the opposite of hot?",
           "What color is the sea?", "What is 3 + 4?", "What day comes after Tuesday?", "I feel sad today.",
           "Tell me a story about a fox and a mouse.", "Continue this story: Once there was a little boat that was afraid of the sea.",
           "What is a lighthouse?", "Thank you!", "good night", "Tell me a joke"]


def load(path: Path) -> Decoder:
    """A checkpoint, or a packed folder."""
    if path.is_dir():
        return load_packed(path)
    s = torch.load(path, map_location="cpu", weights_only=True)
    net = build(ModelConfig(**s["config"]["model"]))
    net.load_state_dict(s["model"])
    return net.eval()


@torch.no_grad()
def reply(net, tok, turns, temperature=0.6, top_p=0.9, limit=300, seed=0, penalty=1.05) -> str:
    """Samples one assistant turn after `turns` ([role, text] pairs)."""
    g = torch.Generator().manual_seed(seed)
    ids = [tk.BOS]
    for role, text in turns:
        ids += [tk.ROLE[role], *tok.encode(text, add_special_tokens=False).ids, tk.END]
    ids.append(tk.ASSISTANT)
    start = len(ids)
    while len(ids) - start < limit and len(ids) < net.cfg.max_position_embeddings:
        logits = net.logits(net(torch.tensor([ids]))[0, -1]).float()
        seen = torch.tensor(sorted(set(ids)))
        logits[seen] = torch.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
        if temperature == 0:
            nxt = int(logits.argmax())
        else:
            p, order = torch.sort((logits / temperature).softmax(-1), descending=True)
            p[p.cumsum(-1) - p > top_p] = 0
            nxt = int(order[torch.multinomial(p, 1, generator=g)])
        if nxt in (tk.END, tk.EOS):
            break
        ids.append(nxt)
    else:
        return tok.decode(ids[start:]) + " [cut]"
    return tok.decode(ids[start:])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("checkpoint", type=Path)
    ap.add_argument("prompts", nargs="*")
    ap.add_argument("--data", type=Path, required=True)
    ap.add_argument("--temperature", type=float, default=0.6)
    a = ap.parse_args()
    torch.set_num_threads(1)
    net, tok = load(a.checkpoint), Tokenizer.from_file(str(a.data / "tokenizer.json"))
    for i, prompt in enumerate(a.prompts or PROMPTS):
        print(f"> {prompt}\n{reply(net, tok, [['user', prompt]], a.temperature, seed=i)}\n")


if __name__ == "__main__":
    main()
