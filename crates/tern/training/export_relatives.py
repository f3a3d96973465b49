"""A checkpoint of a relative of Tern -> a Hugging Face folder, and the reference a runtime is held to.

    python export_relatives.py RUN/final.pt --data DIR --packed DIR [--reference]

The folder is what is shipped: every projection as 2-bit codes U8 [out/4, in] with weight_scale BF16 [1] = mean|W|
(multiply), routers F32, all else bf16. transformers has no class for these models, so `--reference` runs
`reference.py`, which reads the folder alone and shares no code with the training: it writes golden.json (greedy ids for chat
prompts) and reference.safetensors (tokens I32, logits F32 over held-out text; for the chat also with other numbers of experts or passes).
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import tokenizer as tk
from model import ModelConfig
from packing import GOLDEN, base_config, pack, packed_config, write_model
from quantisers import ternarise
from reference import Reference

TERN = Path(__file__).parent / "../tern"
POSITIONS = 20  # of each reference sequence


def config_of(mc: ModelConfig) -> dict:
    c = base_config(mc)
    c["quantization_config"] = packed_config("offline")
    if mc.num_experts:
        del c["intermediate_size"]
        return c | {"architectures": ["BitNetMoeForCausalLM"], "model_type": "bitnet_moe", "sub_norm": True,
                    "num_experts": mc.num_experts, "num_experts_per_tok": mc.num_experts_per_tok,
                    "moe_intermediate_size": mc.intermediate_size, "norm_topk_prob": True, "use_qk_norm": False}
    if mc.loops > 1:
        return c | {"architectures": ["OuroForCausalLM"], "model_type": "ouro", "total_ut_steps": mc.loops,
                    "early_exit_threshold": 1.0}
    if mc.activations:
        return c | {"architectures": ["BitNetForCausalLM"], "model_type": "bitnet",
                    "activation_quantization": {"scheme": "a4.8", **mc.activations}}
    raise SystemExit("this is no relative: export.py")


def state_of(state: dict, experts: int) -> dict:
    """Tensors as they lie in the file."""
    out = {}

    def put(name, w):
        t, m = ternarise(w)
        out[name + ".weight"], out[name + ".weight_scale"] = pack(t), m.reshape(1).bfloat16()

    for name, w in state.items():
        stem, _, last = name.rpartition(".mlp.")
        if experts and last in ("gate_proj", "up_proj", "down_proj"):
            for e in range(experts):
                put(f"{stem}.mlp.experts.{e}.{last}", w[e])
        elif experts and last == "ffn_sub_norm":
            for e in range(experts):
                out[f"{stem}.mlp.experts.{e}.ffn_sub_norm.weight"] = w[e].bfloat16()
        elif last == "gate.weight":
            out[name] = w.float()
        elif name.endswith("_proj.weight"):
            put(name.removesuffix(".weight"), w)
        else:
            out[name] = w.bfloat16()
    return out


def share_text_files(folder: Path, data: Path):
    """Tokenizer and sampling settings are Tern's: links, for a repository without copies."""
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if name == "tokenizer.json" and (data / name).read_bytes() != (TERN / name).read_bytes():
            raise SystemExit(f"{data} was not prepared with Tern's tokenizer")
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(Path("../tern") / name)


def without_ties(folder: Path, documents, runs: dict) -> tuple[list[int], int]:
    """The first of `documents`, cut, on which f32, f64 and runs with noise agree, and how many were passed over.

    Where they do not, an activation lies so near a rounding tie that two right programs may round it to different sides.
    """
    model = Reference(folder)
    others = [Reference(folder, torch.float64)] + [Reference(folder, noise=2e-7)] * 2
    for skipped, ids in enumerate(ids[:POSITIONS] for ids in documents if len(ids) >= POSITIONS):
        if all((model.logits(ids, **options) - other.logits(ids, **options)).abs().max() < 2e-4
               for options in runs.values() for other in others):
            return ids, skipped
    raise SystemExit("every document has an activation near a rounding tie")


def write_reference(folder: Path, held: list[dict], tok: Tokenizer):
    model, tensors = Reference(folder), {}
    torch.manual_seed(0)  # of the noise
    for name, kind in (("story", "plain"), ("chat", "chat")):
        documents = (tk.encode_document(tok, d)[0] for d in held if d["kind"] == kind and d["part"] != "books")
        runs = model.runs() if name == "chat" else {"": {}}
        ids, skipped = without_ties(folder, documents, runs)
        print(f"{name}: {skipped} documents passed over")
        tensors[f"tokens.{name}"] = torch.tensor(ids, dtype=torch.int32)
        for run, options in runs.items():
            tensors[f"logits.{name}{run and '.' + run}"] = model.logits(ids, **options)
    save_file(tensors, folder / "reference.safetensors")
    golden = []
    for text in GOLDEN:
        prompt = [tk.BOS, tk.USER, *tok.encode(text, add_special_tokens=False).ids, tk.END, tk.ASSISTANT]
        ids, margins = [], []
        while len(ids) < 48 and (not ids or ids[-1] not in (tk.END, tk.EOS)):
            best = model.logits(prompt + ids)[-1].topk(2)
            ids.append(int(best.indices[0]))
            margins.append(float(best.values[0] - best.values[1]))
        golden.append({"prompt": text, "prompt_ids": prompt, "greedy_ids": ids, "text": tok.decode(ids),
                       "least_margin": round(min(margins), 5)})
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("checkpoint", type=Path)
    ap.add_argument("--data", type=Path, required=True)
    ap.add_argument("--packed", type=Path, required=True)
    ap.add_argument("--reference", action="store_true")
    ap.add_argument("--loops", type=int, help="passes by default, where others than in training are better")
    a = ap.parse_args()
    torch.set_num_threads(1)
    s = torch.load(a.checkpoint, map_location="cpu", weights_only=True)
    mc = ModelConfig(**s["config"]["model"])
    mc.loops = a.loops or mc.loops
    tok = Tokenizer.from_file(str(a.data / "tokenizer.json"))
    write_model(a.packed, state_of(s["model"], mc.num_experts), config_of(mc))
    share_text_files(a.packed, a.data)
    if a.reference:
        write_reference(a.packed, json.loads((a.data / "heldout.json").read_text()), tok)


if __name__ == "__main__":
    main()
