"""A checkpoint -> Hugging Face folders, and the reference a runtime is held to.

    python export.py RUN/final.pt --data DIR --packed DIR [--master DIR] [--reference]

`--packed` is what is shipped: `BitNetForCausalLM`, quantization_config {bitnet, autobitlinear, offline}: every
projection as 2-bit codes U8 [out/4, in] with weight_scale BF16 [1] = mean|W| (multiply), all else bf16. `--master`
is the latent bf16 form ("online"). `--reference` runs transformers on the packed folder with every float in f32 and
stores reference.safetensors (tokens I32 [200], logits F32 [200, vocab] over held-out text) and golden.json (greedy
ids for chat prompts). Invariant: nothing is written here that transformers did not load and run itself.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

import tokenizer as tk
from model import ModelConfig
from packing import GOLDEN, base_config, pack, packed_config, write_folder
from quantisers import ternarise


def hf_config(mc: ModelConfig, mode: str | None) -> dict:
    c = {"architectures": ["BitNetForCausalLM"], "model_type": "bitnet"} | base_config(mc)
    return c | {"quantization_config": packed_config(mode)} if mode else c


def packed_state(state: dict) -> dict:
    out = {}
    for name, w in state.items():
        if name.endswith("_proj.weight"):
            t, m = ternarise(w)
            out[name] = pack(t)
            out[name.removesuffix("weight") + "weight_scale"] = m.reshape(1).bfloat16()
        else:
            out[name] = w.bfloat16()
    return out


def load_f32(folder: Path):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    # transformers refuses `.float()` on a quantised model although some of its tensors stay bf16 after this load.
    return torch.nn.Module.float(model)


def greedy(model, ids: list[int], limit: int) -> list[int]:
    """Plain argmax with a recomputed prefix: no cache and no generation settings stand between model and ids."""
    out = []
    while len(out) < limit:
        with torch.no_grad():
            nxt = int(model(torch.tensor([ids + out])).logits[0, -1].argmax())
        out.append(nxt)
        if nxt in (tk.END, tk.EOS):
            break
    return out


def write_reference(folder: Path, held: list[dict], tok: Tokenizer):
    model = load_f32(folder)
    hf_tok = AutoTokenizer.from_pretrained(folder)
    # A story, then dialogues, cut at 100 positions each: fresh sequences, so positions start at 0.
    story = next(d for d in held if d["part"] == "stories")
    first = tk.encode_document(tok, story)[0][:100]
    second: list[int] = []
    for d in held:
        if d["kind"] == "chat" and len(second) < 100:
            second += tk.encode_document(tok, d)[0][0 if not second else 1:]
    second = second[:100]
    tensors = {}
    for name, ids in (("story", first), ("chat", second)):
        with torch.no_grad():
            tensors[f"logits.{name}"] = model(torch.tensor([ids])).logits[0].float()
        tensors[f"tokens.{name}"] = torch.tensor(ids, dtype=torch.int32)
    save_file(tensors, folder / "reference.safetensors")
    golden = []
    for text in GOLDEN:
        prompt = hf_tok.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True,
                                            tokenize=True, return_dict=False)
        assert prompt == [tk.BOS, tk.USER, *tok.encode(text, add_special_tokens=False).ids, tk.END, tk.ASSISTANT]
        ids = greedy(model, list(prompt), 48)
        margins = torch.topk(model(torch.tensor([list(prompt) + ids[:-1]])).logits[0, len(prompt) - 1:], 2).values
        golden.append({"prompt": text, "prompt_ids": list(prompt), "greedy_ids": ids, "text": tok.decode(ids),
                       "least_margin": round(float((margins[:, 0] - margins[:, 1]).min()), 5)})
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("checkpoint", type=Path)
    ap.add_argument("--data", type=Path, required=True)
    ap.add_argument("--packed", type=Path)
    ap.add_argument("--master", type=Path)
    ap.add_argument("--reference", action="store_true")
    a = ap.parse_args()
    s = torch.load(a.checkpoint, map_location="cpu", weights_only=True)
    mc = ModelConfig(**s["config"]["model"])
    tok = Tokenizer.from_file(str(a.data / "tokenizer.json"))
    if a.master:
        state = {k: v.bfloat16() for k, v in s["model"].items()}
        write_folder(a.master, state, hf_config(mc, "online" if mc.quant == "ternary" else None), tok,
                     mc.max_position_embeddings)
    if a.packed:
        if mc.quant != "ternary":
            raise SystemExit("only a ternary model can be packed")
        write_folder(a.packed, packed_state(s["model"]), hf_config(mc, "offline"), tok, mc.max_position_embeddings)
        if a.reference:
            write_reference(a.packed, json.loads((a.data / "heldout.json").read_text()), tok)


if __name__ == "__main__":
    main()
