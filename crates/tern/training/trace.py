"""Traces the differences between ternlight's logits and transformers' to single int8 codes.

    python trace.py MODEL_DIR path/to/ternlight

Two f32 programs that sum in another order hand their activation quantisers values that differ by about 1e-7 of
themselves. Where x * 127/amax is that close to k + 1/2, one program rounds up and the other down: a code flips by one,
the logits move by some 0.01 to 0.1, and keys and values carry it to later positions. This script shows that nothing
else is at work. It runs transformers over the sequences of reference.safetensors; at the first position that ternlight
sees differently it looks, among the codes of that position that lie close to a tie, for the fewest that bring
transformers' logits to ternlight's when moved to the other side, keeps them moved and goes on. What is left in the end
are differences no flip explains: it exits with 1 if any position of them is over TOLERANCE.

transformers stays as it is: an input of a projection is moved to the middle of the neighbouring code before the
quantiser sees it. Invariant: with nothing moved the run gives reference.safetensors bit for bit (checked), and a move
at one position leaves all earlier ones as they are, since every run has the full length and attention is causal.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from export import load_f32

TOLERANCE = 3e-5  # of any logit; summation alone stays below 2e-5, a flip moves some logit by 0.01 and more
NEAR = 1e-3  # how far from a tie to look, in codes; the flips found in Tern lie within 5e-5
MOST = 4  # flips at one position


class Traced:
    """A transformers model whose activation codes can be seen and moved.

    A site is one quantiser's input, numbered in the order of evaluation; projections that share their input (q, k, v;
    gate, up) share its codes, and are one site.
    """

    def __init__(self, folder: Path):
        self.model = load_f32(folder)
        self.moved: dict[tuple, int] = {}  # (site, position, channel) -> +1 or -1
        self.codes: list[torch.Tensor] = []  # of the last run, per site [positions, channels]: x * scale, not rounded
        self.sites: list[str] = []
        for i, layer in enumerate(self.model.model.layers):
            attn, mlp = layer.self_attn, layer.mlp
            for name, projections in (("q/k/v", (attn.q_proj, attn.k_proj, attn.v_proj)), ("o", (attn.o_proj,)),
                                      ("gate/up", (mlp.gate_proj, mlp.up_proj)), ("down", (mlp.down_proj,))):
                for k, p in enumerate(projections):
                    p.register_forward_pre_hook(lambda _, args, site=len(self.sites), first=k == 0:
                                                self.quantise(site, first, args[0]))
                self.sites.append(f"layer {i} {name}")

    def quantise(self, site: int, first: bool, x: torch.Tensor):
        scale = 127 / x.abs().max(dim=-1, keepdim=True).values.clamp(min=1e-5)  # as ActQuant has it, to the bit
        y = x * scale
        if first:
            self.codes.append(y[0])
        x = x.clone()
        for (s, p, c), step in self.moved.items():
            if s == site:  # amax is a code of 127 and never near a tie, so the scale stays
                x[0, p, c] = (y[0, p, c].round() + step) / scale[0, p, 0]
        return (x,)

    @torch.no_grad()
    def run(self, ids: torch.Tensor) -> torch.Tensor:
        self.codes = []
        return self.model(ids[None]).logits[0].float()

    def near(self, position: int) -> list[tuple]:
        """(distance, (site, position, channel), step to the other side) of the codes near a tie, closest first."""
        out = []
        for site, y in enumerate(self.codes):
            off = y[position] - y[position].round()
            for c in (off.abs() > 0.5 - NEAR).nonzero()[:, 0].tolist():
                out.append((0.5 - abs(float(off[c])), (site, position, c), 1 if off[c] > 0 else -1))
        return sorted(out)


def explain(net: Traced, ids: torch.Tensor, ours: torch.Tensor, position: int, flips: int, after=(-1, -1)):
    """`flips` flips at `position`, in order of evaluation, with which its logits are ours; None if there are none.

    A flip changes what comes after it at the same position, so each is looked for among the ties of a run that has the
    ones before it.
    """
    logits = net.run(ids)[position]
    if flips == 0:
        return [] if float((logits - ours[position]).abs().max()) <= TOLERANCE else None
    for distance, key, step in net.near(position):
        if (key[0], key[2]) > after:
            net.moved[key] = step
            rest = explain(net, ids, ours, position, flips - 1, (key[0], key[2]))
            if rest is not None:
                return [(distance, key, step), *rest]
            del net.moved[key]
    return None


def trace(net: Traced, ids: torch.Tensor, ours: torch.Tensor) -> tuple[list, torch.Tensor]:
    """The flips that explain `ours`, and transformers' logits with them."""
    found = []
    logits = net.run(ids)
    for position in range(len(ids)):
        if float((logits[position] - ours[position]).abs().max()) <= TOLERANCE:
            continue
        for flips in range(1, MOST + 1):
            new = explain(net, ids, ours, position, flips)
            if new is not None:
                found += new
                break
        else:
            print(f"  position {position}: no {MOST} codes explain it")
        logits = net.run(ids)
    return found, logits


def ternlight(program: Path, folder: Path, ids: torch.Tensor) -> torch.Tensor:
    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "logits.safetensors"
        subprocess.run([program, "logits", "--quiet", "--model", folder, "--threads", "1", "--out", file,
                        "--tokens", ",".join(map(str, ids.tolist()))], check=True, stdout=subprocess.DEVNULL)
        return load_file(file)["logits"]


def compare(what: str, theirs: torch.Tensor, ours: torch.Tensor):
    d = (theirs - ours).abs()
    median, largest = float(d.median()), float(d.max())
    same = int((theirs.argmax(-1) == ours.argmax(-1)).sum())
    over = int((d.amax(-1) > TOLERANCE).sum())
    print(f"  {what}: median |d| {median:.2g}, largest {largest:.2g}, over {TOLERANCE:g} at {over} of {len(d)} "
          f"positions, best token the same at {same}")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("folder", type=Path)
    ap.add_argument("ternlight", type=Path)
    a = ap.parse_args()
    torch.set_num_threads(1)  # one order of summation, whatever the machine
    reference = load_file(a.folder / "reference.safetensors")
    net = Traced(a.folder)
    parts, flips, codes, close = [], [], 0, torch.empty(0)
    for name in sorted(k.removeprefix("tokens.") for k in reference if k.startswith("tokens.")):
        ids, theirs = reference[f"tokens.{name}"].long(), reference[f"logits.{name}"]
        net.moved = {}
        if not torch.equal(net.run(ids), theirs):
            raise SystemExit("transformers here does not give reference.safetensors; export.py makes it anew")
        ours = ternlight(a.ternlight.resolve(), a.folder, ids)
        print(f"{name}: {len(ids)} positions")
        found, traced = trace(net, ids, ours)
        for distance, (site, position, channel), step in found:
            print(f"  position {position}: input of {net.sites[site]}, channel {channel}, {step:+d}, "
                  f"{distance:.1e} codes from the tie")
        compare("as it is", theirs, ours)
        compare(f"with {len(found)} codes flipped", traced, ours)
        parts.append((theirs, traced, ours))
        flips += found
        off = torch.cat([(y - y.round()).abs().flatten() for y in net.codes])
        codes += len(off)
        close = torch.cat([close, 0.5 - off[off > 0.5 - NEAR]])
    theirs, traced, ours = (torch.cat(x) for x in zip(*parts))
    print("all")
    compare("as it is", theirs, ours)
    compare(f"with {len(flips)} codes flipped", traced, ours)
    if flips:
        largest = max(f[0] for f in flips)
        print(f"  flipped codes are at most {largest:.1e} from the tie; so are {int((close <= largest).sum())} of all "
              f"{codes} codes")
    sys.exit(int(float((traced - ours).abs().max()) > TOLERANCE))


if __name__ == "__main__":
    main()
