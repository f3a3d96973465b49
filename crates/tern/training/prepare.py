"""Corpus and generated dialogues -> tokenizer, packed training windows, held-out documents.

    python prepare.py --corpus DIR --out DIR [--tokenizer-from DIR] [--scale 1.0] [--book-share 0.08]

Writes train.npz (tokens u16, counts u8, docs u8; each [windows, length+1], for windows of half the context, where most
documents fit, and of the whole) and heldout.json. Documents never straddle windows: each goes whole into the first window with room (first fit over a short list of open windows).
A document is held out by a hash of its text, so the split does not depend on order or on the random seed.
"""

import argparse
import hashlib
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import mixture
import tokenizer as tk
from prompts import PROMPTS


def held_out(key: str) -> bool:
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 50 == 0


def pack(encoded, length: int, open_windows: int = 64):
    """First fit; returns tokens, counts and document numbers, [n, length]."""
    done, pool = [], []
    for item in encoded:
        n = len(item[0])
        if n > length:
            continue
        for w in pool:
            if w[0] + n <= length:
                w[0] += n
                w[1].append(item)
                break
        else:
            pool.append([n, [item]])
            if len(pool) > open_windows:
                pool.sort(key=lambda w: w[0])
                done.append(pool.pop())
    done += pool
    tokens = np.full((len(done), length), tk.PAD, np.uint16)
    counts = np.zeros((len(done), length), np.uint8)
    docs = np.full((len(done), length), 255, np.uint8)
    for i, (_, items) in enumerate(done):
        at = 0
        for k, (t, c) in enumerate(items):
            tokens[i, at:at + len(t)], counts[i, at:at + len(t)], docs[i, at:at + len(t)] = t, c, k
            at += len(t)
    return tokens, counts, docs


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--corpus", type=Path, required=True)
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--tokenizer-from", type=Path)
    ap.add_argument("--context", type=int, default=512)
    ap.add_argument("--scale", type=float, default=1.0, help="multiplies the number of generated dialogues")
    ap.add_argument("--book-share", type=float, default=mixture.BOOK_SHARE)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    rng = random.Random(a.seed)
    train, held = mixture.build(a.corpus, rng, a.scale, a.book_share, held_out, PROMPTS)
    a.out.mkdir(parents=True, exist_ok=True)
    if a.tokenizer_from:
        tok = Tokenizer.from_file(str(a.tokenizer_from / "tokenizer.json"))
    else:
        sample = rng.sample(train, min(len(train), 40000))
        tok = tk.train(d["text"] if d["kind"] == "plain" else "\n".join(t for _, t in d["turns"]) for d in sample)
    tk.save(tok, a.out, a.context)
    rng.shuffle(train)
    encoded = [tk.encode_document(tok, d) for d in train]
    size, seen = Counter(), Counter()
    for d, (t, c) in zip(train, encoded):
        size[d["part"]] += len(t)
        seen[d["part"]] += sum(c)
    arrays, fill = {}, {}
    for length in (a.context // 2, a.context):
        fits = [e for e in encoded if (len(e[0]) > a.context // 2 + 1) == (length == a.context) and len(e[0]) <= length + 1]
        tokens, counts, docs = pack(fits, length + 1)
        arrays |= {f"tokens.{length}": tokens, f"counts.{length}": counts, f"docs.{length}": docs}
        fill[length] = f"{len(tokens)} of {length}, fill {(docs != 255).mean():.3f}"
    part = a.out / "train.part.npz"
    np.savez(part, **arrays)
    part.rename(a.out / "train.npz")
    (a.out / "heldout.json").write_text(json.dumps(held))
    for p, n in size.most_common():
        print(f"{p:14} {n:>9} tokens {seen[p]:>9} in the loss")
    print(f"windows {fill}, held out {len(held)} documents")


if __name__ == "__main__":
    main()
