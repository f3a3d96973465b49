"""What the exporters share: 2-bit packing, the common part of config.json, and writing a Hugging Face folder."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import tokenizer as tk
from model import ModelConfig

# As GGUF spells it: a Hugging Face config has no field for the licence, and ternlight reads the GGUF key in either.
LICENSE = "Apache-2.0 OR MIT"
GOLDEN = ["Hello!", "Who are you?", "What is the opposite of hot?", "Tell me a story about a fox.", "What is 3 + 4?"]


def pack(t: torch.Tensor) -> torch.Tensor:
    """Codes t+1, two bits each: byte row r holds rows r, r+R, r+2R, r+3R (R = out/4) in bits 0-1, 2-3, 4-5, 6-7."""
    quarters = (t + 1).to(torch.uint8).chunk(4, dim=0)
    return quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6


def base_config(mc: ModelConfig) -> dict:
    """What config.json says of every model here, whatever its architecture."""
    return {
        "vocab_size": mc.vocab_size, "hidden_size": mc.hidden_size,
        "intermediate_size": mc.intermediate_size,
        "num_hidden_layers": mc.num_hidden_layers, "num_attention_heads": mc.num_attention_heads,
        "num_key_value_heads": mc.num_key_value_heads, "hidden_act": mc.hidden_act,
        "max_position_embeddings": mc.max_position_embeddings, "rms_norm_eps": mc.rms_norm_eps,
        "rope_theta": mc.rope_theta, "tie_word_embeddings": True, "attention_bias": False, "attention_dropout": 0.0,
        "initializer_range": mc.initializer_range, "bos_token_id": tk.BOS, "eos_token_id": tk.END,
        "pad_token_id": tk.PAD, "use_cache": True, "torch_dtype": "bfloat16",
        "general.license": LICENSE,
    }


def packed_config(mode: str) -> dict:
    return {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": mode}


def write_model(folder: Path, state: dict, config: dict):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_folder(folder: Path, state: dict, config: dict, tok: Tokenizer, context: int):
    tk.save(tok, folder, context)
    write_model(folder, state, config)
    generation = {"bos_token_id": tk.BOS, "eos_token_id": [tk.END, tk.EOS], "pad_token_id": tk.PAD,
                  "do_sample": True, "temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.05,
                  "max_length": context}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
