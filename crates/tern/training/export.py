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
from model import ModelConfig, ternarise

# As GGUF spells it: a Hugging Face config has no field for the licence, and ternlight reads the GGUF key in either.
LICENSE = "Apache-2.0 OR MIT"
GOLDEN = ["Hello!", "Who are you?", "What is the opposite of hot?", "Tell me a story about a fox.", "What is 3 + 4?"]


def pack(t: torch.Tensor) -> torch.Tensor:
    """Codes t+1, two bits each: byte row r holds rows r, r+R, r+2R, r+3R (R = out/4) in bits 0-1, 2-3, 4-5, 6-7."""
    quarters = (t + 1).to(torch.uint8).chunk(4, dim=0)
    return quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6


def hf_config(mc: ModelConfig, mode: str | None) -> dict:
    c = {
        "architectures": ["BitNetForCausalLM"], "model_type": "bitnet", "vocab_size": mc.vocab_size,
        "hidden_size": mc.hidden_size, "intermediate_size": mc.intermediate_size,
        "num_hidden_layers": mc.num_hidden_layers, "num_attention_heads": mc.num_attention_heads,
        "num_key_value_heads": mc.num_key_value_heads, "hidden_act": mc.hidden_act,
        "max_position_embeddings": mc.max_position_embeddings, "rms_norm_eps": mc.rms_norm_eps,
        "rope_theta": mc.rope_theta, "tie_word_embeddings": True, "attention_bias": False, "attention_dropout": 0.0,
        "initializer_range": mc.initializer_range, "bos_token_id": tk.BOS, "eos_token_id": tk.END,
        "pad_token_id": tk.PAD, "use_cache": True, "torch_dtype": "bfloat16",
        "general.license": LICENSE,
    }
    if mode:
        c["quantization_config"] = {"quant_method": "bitnet", "linear_class": "autobitlinear",
                                    "quantization_mode": mode}
    return c


def write_folder(folder: Path, state: dict, config: dict, tok: Tokenizer, context: int):
    tk.save(tok, folder, context)
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {"bos_token_id": tk.BOS, "eos_token_id": [tk.END, tk.EOS], "pad_token_id": tk.PAD,
                  "do_sample": True, "temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.05,
                  "max_length": context}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


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
