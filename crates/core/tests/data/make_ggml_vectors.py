"""Random blocks of ggml's encodings and their values as the `gguf` Python package decodes them.

An independent check of crates/core/src/format: run once, output committed.
Needs: pip install gguf==0.19.0 numpy safetensors
"""

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quant_shape_to_byte_shape
from safetensors.numpy import save_file

# Where each block has its f16 numbers; random bytes there would mostly be nonsense.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [],
}
COLS = 512

rng = np.random.default_rng(158)
out = {}
for name, halves in HALVES.items():
    type_ = T[name]
    (row_bytes,) = quant_shape_to_byte_shape((COLS,), type_)
    blocks = rng.integers(0, 256, row_bytes, dtype=np.uint8)
    cols, size = GGML_QUANT_SIZES[type_]
    blocks = blocks.reshape(COLS // cols, size)
    if name == "TQ2_0":
        # No code 3.
        for shift in (0, 2, 4, 6):
            bad = (blocks >> shift & 3) == 3
            blocks = np.where(bad, blocks & np.uint8(~(2 << shift) & 255), blocks)
    if name == "MXFP4":
        blocks[:, 0] = rng.integers(100, 150, len(blocks))
        blocks[:3, 0] = 0, 1, 252
    for at in halves:
        d = (rng.standard_normal(len(blocks)) * 0.1).astype(np.float16)
        blocks[:, at : at + 2] = d.view(np.uint8).reshape(-1, 2)
    blocks = np.ascontiguousarray(blocks.reshape(-1))
    out[f"{name}.bytes"] = blocks
    out[f"{name}.values"] = dequantize(blocks, type_).astype(np.float32).reshape(-1)
    assert out[f"{name}.values"].shape == (COLS,) and np.isfinite(out[f"{name}.values"]).all()
save_file(out, "ggml_vectors.safetensors", metadata={"source": "gguf 0.19.0, make_ggml_vectors.py"})
