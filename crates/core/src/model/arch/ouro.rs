//! Ouro (ByteDance, arXiv 2510.25741): LLaMA blocks with sandwich norms, all of them in a loop whose passes the last norm
//! closes, and a gate that says after which pass a token may leave. Keys are those of its `OuroConfig`.

use super::{
    check_dimensions,
    common::decoder,
    keys::{Keys, hf},
};
use crate::{
    Result, bail,
    model::{
        spec::{Exit, Loop, LoopNorm, MAX_LOOPS, Program, Spec},
        tensor_names::{Names, Row, rows},
    },
};

pub(super) const HF_ROWS: &[Row] = rows! {
    "model.layers.{b}.input_layernorm_2": Norm(MixerPost);
    "model.layers.{b}.post_attention_layernorm_2": Norm(FfnPost);
    "model.early_exit_gate": LoopExit;
};

pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    if keys.is_gguf() {
        bail!(UnsupportedArch, "Ouro is known as a Hugging Face folder only");
    }
    if keys.flag(hf("use_sliding_window"))? == Some(true) {
        bail!(UnsupportedArch, "'use_sliding_window': sliding-window attention of Ouro");
    }
    // They mean something with `use_sliding_window` only.
    keys.usize(hf("max_window_layers"))?;
    keys.usize(hf("sliding_window"))?;
    let mut spec = decoder(keys, names)?;
    let norm = spec.norm;
    for block in &mut spec.blocks {
        block.mixer.post = Some(norm);
        block.ffn.post = Some(norm);
    }
    let times = keys.need(hf("total_ut_steps"))?;
    check_dimensions(&[("'total_ut_steps'", times, 1, MAX_LOOPS)])?;
    let threshold = match keys.float(hf("early_exit_threshold"))? {
        // A probability above 1 is never reached, and 1 by the last pass alone.
        Some(threshold) if threshold >= 1.0 => None,
        Some(threshold) if threshold > 0.0 => Some(threshold),
        Some(threshold) => bail!(UnsupportedArch, "'early_exit_threshold' is {threshold}"),
        None => None,
    };
    spec.program = Program::looped(0, spec.blocks.len(), 0, times);
    if let Some(body) = &mut spec.program.body {
        *body = Loop { norm: LoopNorm::EachPass, exit: Exit::Gate { threshold }, ..body.clone() };
    }
    Ok(spec)
}
