"""Packed models back in the training code: to be evaluated as they are, and to be gone on from by relatives of Tern.

Latent weights are not in a packed file, only their codes and mean. To train on, they are drawn so that both come out
again (the mean but for chance), each anywhere between the two places where its code would change.
"""

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file

from decoders import build
from model import Decoder, ModelConfig


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """2-bit codes U8 [out/4, in] -> [out, in] in {-1,0,1}; the inverse of `packing.pack`."""
    return torch.cat([((packed >> (2 * i)) & 3).float() - 1 for i in range(4)])


def drawn(codes: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Zeros lie within 0.45 of the mean, others from 0.55 of it up to where the mean of all is the stored one."""
    zero = codes == 0
    share = zero.float().mean()
    top = 2 * (1 - share * 0.225) / (1 - share) - 0.55
    u = torch.rand(codes.shape)
    return mean.float() * torch.where(zero, 0.45 * (2 * u - 1), codes * (0.55 + (top - 0.55) * u))


def settled(codes: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """All that are not zero are equally large, so that codes and mean come out as stored."""
    return codes * (mean.float() / codes.abs().mean())


def latents(folder: Path, latent) -> dict[str, torch.Tensor]:
    """The tensors of a packed folder under the names and shapes of a checkpoint."""
    stored = load_file(folder / "model.safetensors")
    scale = lambda name: stored.get(name.removesuffix("weight") + "weight_scale")
    state = {name: w.float() if scale(name) is None else latent(unpack(w), scale(name))
             for name, w in stored.items() if not name.endswith("weight_scale")}
    experts: dict[str, list] = {}
    for name in sorted(name for name in state if ".experts." in name):  # fewer than ten, so their order is right
        whole = re.sub(r"experts\.\d+\.(\w+)\.weight", r"\1", name)
        experts.setdefault(whole, []).append(state.pop(name))
    return state | {name: torch.stack(each) for name, each in experts.items()}


def load_packed(folder: Path) -> Decoder:
    """The model of a packed folder, for evaluation."""
    c = json.loads((folder / "config.json").read_text())
    known = {k: v for k, v in c.items() if k in ModelConfig.__dataclass_fields__}
    known |= {"sub_norm": c["model_type"] != "ouro", "loops": c.get("total_ut_steps", 1)}
    known["intermediate_size"] = c.get("moe_intermediate_size") or c["intermediate_size"]
    known["activations"] = c.get("activation_quantization")
    net = build(ModelConfig(**known))
    net.load_state_dict(latents(folder, settled))
    return net.eval()


def cut_into_experts(state: dict, layers: int, experts: int) -> dict:
    """A dense feed-forward network as `experts` narrow ones of consecutive channels.

    The mixture is a mean of its experts where the network was their sum, and each is normalised by itself: sub-norms
    begin larger for both, a guess that training corrects.
    """
    out = dict(state)
    for i in range(layers):
        p = f"model.layers.{i}.mlp."
        for name in ("gate_proj", "up_proj"):
            w = out.pop(f"{p}{name}.weight")
            out[p + name] = w.reshape(experts, -1, w.shape[1])
        w = out.pop(f"{p}down_proj.weight")
        out[p + "down_proj"] = w.reshape(w.shape[0], experts, -1).transpose(0, 1).contiguous()
        out[p + "ffn_sub_norm"] = out.pop(f"{p}ffn_sub_norm.weight").reshape(experts, -1) * experts ** 0.5
    return out


def start_from(net: torch.nn.Module, folder: Path) -> None:
    """Copies what `net` has of the packed model in `folder`; the first blocks where it has fewer."""
    state = latents(folder, drawn)
    if net.cfg.num_experts:
        state = cut_into_experts(state, net.cfg.num_hidden_layers, net.cfg.num_experts)
    own = net.state_dict()
    used = {name: w for name, w in state.items() if name in own}
    for name, w in used.items():
        if own[name].shape != w.shape:
            raise SystemExit(f"{folder}: '{name}' is {tuple(w.shape)}, not {tuple(own[name].shape)}")
    net.load_state_dict(used, strict=False)
    print(f"{len(used)} of {len(own)} tensors start from {folder}: not {sorted(set(own) - set(used))}", flush=True)
