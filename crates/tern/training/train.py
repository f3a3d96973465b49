"""Trains one model of the recipe: `python train.py configs/tern.json --data DIR --run DIR`.

The schedule follows `progress` in [0,1] = max(clock share, token share): the clock share ends at the time in
`RUN/control.json` ({"end": unix seconds, "tokens": budget}; re-read at every step, so both can be moved while it
runs). Two stages as in BitNet b1.58 2B4T (arXiv 2504.12285): a high cosine then an abrupt drop to a second cosine
that ends at zero; weight decay only in the first. Checkpoints are atomic; a stopped process (SIGSTOP) only loses
time. `--data` is re-read when train.npz changes on disk, so the mixture can be improved under a running job.
"""

import argparse
import json
import math
import os
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from decoders import build
from model import ModelConfig
from start import start_from


class Windows:
    """Endless shuffled batches; reloads when the file changes.

    Windows come in several lengths, because attention over short documents in long windows is wasted work. A batch
    holds windows of one length, drawn in proportion to the tokens of each, and always the same number of tokens.
    """

    def __init__(self, path: Path, seed: int):
        self.path, self.rng, self.stamp = path, np.random.default_rng(seed), None

    def load(self):
        with np.load(self.path) as z:
            self.parts = {int(k.removeprefix("tokens.")): {f: z[f"{f}.{k.removeprefix('tokens.')}"] for f in ("tokens", "counts", "docs")}
                          for k in z.files if k.startswith("tokens.")}
        size = np.array([p["tokens"].size for p in self.parts.values()], float)
        self.share, self.queue = size / size.sum(), {n: [] for n in self.parts}

    def batch(self, tokens: int):
        stamp = self.path.stat().st_mtime_ns
        if stamp != self.stamp:
            self.load()
            self.stamp = stamp
        context = int(self.rng.choice(list(self.parts), p=self.share))
        part, queue = self.parts[context], self.queue[context]
        while len(queue) < tokens // context:
            queue.extend(self.rng.permutation(len(part["tokens"])))
        i = [queue.pop() for _ in range(tokens // context)]
        t = torch.from_numpy(part["tokens"][i].astype(np.int64))
        y = torch.where(torch.from_numpy(part["counts"][i][:, 1:] > 0), t[:, 1:], -100)
        d = torch.from_numpy(part["docs"][i][:, :-1].astype(np.int64))
        return t[:, :-1], y, d

    def look_at(self, y, share: float):
        """Flat positions whose prediction is looked at, always `share` of all: first those that count, in any order.

        With a share below 1 a batch in which more of them count loses the rest, for a head that costs less.
        """
        counts = y.flatten().numpy() >= 0
        order = np.lexsort((self.rng.random(counts.size), ~counts))[: int(share * counts.size)]
        return torch.from_numpy(np.sort(order))


def learning_rate(cfg, progress: float, step: int) -> tuple[float, float]:
    """(learning rate, weight decay) at `progress`."""
    warm = min(1.0, (step + 1) / cfg["warmup_steps"])
    half = cfg["stage2_at"]
    if progress < half:
        x = 0.5 * (1 + math.cos(math.pi * progress / half))
        return warm * (cfg["lr1_end"] + (cfg["lr1"] - cfg["lr1_end"]) * x), cfg["weight_decay"]
    x = 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - half) / (1 - half))))
    return warm * cfg["lr2"] * x, 0.0


def atomic_save(obj, path: Path):
    part = path.with_suffix(".part")
    torch.save(obj, part)
    os.replace(part, path)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("config", type=Path)
    ap.add_argument("--data", type=Path, required=True)
    ap.add_argument("--run", type=Path, required=True)
    ap.add_argument("--minutes", type=float, help="sets the end when control.json has none")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--eager", action="store_true")
    a = ap.parse_args()
    cfg = json.loads(a.config.read_text())
    a.run.mkdir(parents=True, exist_ok=True)
    (a.run / "pid").write_text(str(os.getpid()))
    torch.manual_seed(cfg["seed"])
    mc = ModelConfig(**cfg["model"])
    net = build(mc)
    if "start" in cfg:
        start_from(net, a.config.parent / cfg["start"])
    net.to(a.device)
    decay = [p for n, p in net.named_parameters() if "proj" in n]
    other = [p for n, p in net.named_parameters() if "proj" not in n]
    opt = torch.optim.AdamW([{"params": decay}, {"params": other, "weight_decay": 0.0}], lr=1e-3,
                            betas=(0.9, 0.95), fused=True)
    step = tokens = 0
    spent = 0.0  # clock share already used by earlier starts of the same run
    ckpt = a.run / "last.pt"
    if ckpt.exists():
        s = torch.load(ckpt, map_location=a.device, weights_only=True)
        net.load_state_dict(s["model"])
        opt.load_state_dict(s["opt"])
        step, tokens, spent = s["step"], s["tokens"], s["progress"]
    control = a.run / "control.json"
    if not control.exists():
        control.write_text(json.dumps({"end": time.time() + 60 * (a.minutes or 60), "tokens": cfg["token_budget"]}))
    data = Windows(a.data / "train.npz", cfg["seed"] + step)
    amp = cfg.get("amp", True)

    def loss_fn(x, y, d, at, drawn):
        with torch.autocast(a.device, dtype=torch.bfloat16) if amp else nullcontext():
            return net.loss(x, y, d, at, drawn)

    fn = loss_fn if a.eager else torch.compile(loss_fn, dynamic=False)  # one graph per window length
    start = last_save = last_log = time.time()
    losses, told, first = [], tokens, None
    log = (a.run / "loss.csv").open("a", buffering=1)
    params = list(net.parameters())
    while True:
        c = json.loads(control.read_text())
        now = time.time()
        # The clock share is spread over what is left of the run, starting where the checkpoint stood.
        clock = spent + (1 - spent) * min(1.0, (now - start) / max(1.0, c["end"] - start))
        progress = max(clock, tokens / c["tokens"])
        if progress >= 1.0:
            break
        lr, wd = learning_rate(cfg, progress, step)
        opt.param_groups[0].update(lr=lr, weight_decay=wd)
        opt.param_groups[1].update(lr=lr)
        x, y, d = data.batch(cfg["batch"] * mc.max_position_embeddings)
        at = data.look_at(y, cfg.get("look_share", 1.0))
        drawn = torch.from_numpy(data.rng.random((mc.num_hidden_layers, len(x)), dtype=np.float32))
        x, y, d, at, drawn = (t.to(a.device) for t in (x, y.flatten()[at], d, at, drawn))
        loss, beside = fn(x, y, d, at, drawn)
        (loss + beside).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step, tokens = step + 1, tokens + x.numel()
        losses.append(loss.item())
        first = losses[0] if first is None else first
        now = time.time()
        if now - last_log > 20:
            log.write(f"{int(now)},{step},{tokens},{progress:.4f},{lr:.6f},{sum(losses) / len(losses):.4f},"
                      f"{(tokens - told) / max(1e-9, now - last_log):.0f}\n")
            last_log, losses, told = now, [], tokens
        if now - last_save > 180:
            atomic_save({"model": net.state_dict(), "opt": opt.state_dict(), "step": step, "tokens": tokens,
                         "progress": progress, "config": cfg}, ckpt)
            last_save = now
    atomic_save({"model": net.state_dict(), "opt": opt.state_dict(), "step": step, "tokens": tokens, "progress": 1.0,
                 "config": cfg}, ckpt)
    atomic_save({"model": net.state_dict(), "step": step, "tokens": tokens, "config": cfg}, a.run / "final.pt")
    print(f"done: {step} steps, {tokens} tokens" + (f"; loss of the first {first:.2f}, of the last {loss.item():.2f}" if first else ""))


if __name__ == "__main__":
    main()
