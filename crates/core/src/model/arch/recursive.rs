//! LLaMA blocks that are used several times: Universal Transformers (arXiv 1807.03819), Relaxed Recursive Transformers
//! with a low-rank addition for each pass (arXiv 2410.20672), and Mixture-of-Recursions, whose router chooses how often
//! (token choice; arXiv 2507.10524).

use super::{
    check_dimensions,
    common::{decoder, decoder_of, has},
    keys::{Keys, hf},
};
use crate::{
    Result, bail,
    container::Value,
    error::short,
    model::{
        spec::{Exit, LoopNorm, Lora, MAX_LOOPS, Program, Run, Spec},
        tensor_names::{Field, LoraSide, Names, Row, TensorRole, rows},
    },
};

pub(super) const HF_ROWS: &[Row] = rows! {
    "model.layers.{b}.self_attn.q_proj.lora_A.{e}": Lora(Q, LoraSide::A);
    "model.layers.{b}.self_attn.q_proj.lora_B.{e}": Lora(Q, LoraSide::B);
    "model.layers.{b}.self_attn.k_proj.lora_A.{e}": Lora(K, LoraSide::A);
    "model.layers.{b}.self_attn.k_proj.lora_B.{e}": Lora(K, LoraSide::B);
    "model.layers.{b}.self_attn.v_proj.lora_A.{e}": Lora(V, LoraSide::A);
    "model.layers.{b}.self_attn.v_proj.lora_B.{e}": Lora(V, LoraSide::B);
    "model.layers.{b}.self_attn.o_proj.lora_A.{e}": Lora(O, LoraSide::A);
    "model.layers.{b}.self_attn.o_proj.lora_B.{e}": Lora(O, LoraSide::B);
    "model.layers.{b}.mlp.gate_proj.lora_A.{e}": Lora(Gate, LoraSide::A);
    "model.layers.{b}.mlp.gate_proj.lora_B.{e}": Lora(Gate, LoraSide::B);
    "model.layers.{b}.mlp.up_proj.lora_A.{e}": Lora(Up, LoraSide::A);
    "model.layers.{b}.mlp.up_proj.lora_B.{e}": Lora(Up, LoraSide::B);
    "model.layers.{b}.mlp.down_proj.lora_A.{e}": Lora(Down, LoraSide::A);
    "model.layers.{b}.mlp.down_proj.lora_B.{e}": Lora(Down, LoraSide::B);
};

pub(super) const ROUTED_ROWS: &[Row] = rows! {
    "model.router": LoopExit;
};

/// `sharing` says how blocks repeat: all of them in turn (`cycle`), or each before the next one (`sequence`).
pub(super) fn spec(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    only_hf(keys)?;
    let mut spec = decoder(keys, names)?;
    let (blocks, passes) = (spec.blocks.len(), keys.need(hf("num_recursions"))?);
    check_dimensions(&[
        ("'num_recursions'", passes, 1, MAX_LOOPS),
        ("'num_recursions' times the layers", blocks.saturating_mul(passes), 1, 4096),
    ])?;
    let closes = keys.flag(hf("norm_each_recursion"))? == Some(true);
    spec.program = match keys.text(hf("sharing"))? {
        None => bail!(MissingKey, "'sharing' is missing"),
        Some("cycle") => Program::looped(0, blocks, 0, passes),
        Some("sequence") if closes => {
            bail!(UnsupportedArch, "'norm_each_recursion' where 'sharing' is \"sequence\"")
        }
        Some("sequence") => {
            let run = |s| Run { block: s / passes, state: s, pass: s % passes };
            Program { prelude: (0..blocks * passes).map(run).collect(), ..Program::sequential(0) }
        }
        Some(other) => bail!(UnsupportedArch, "'sharing' is \"{}\"", short(other)),
    };
    let rank = keys.usize(hf("lora_rank"))?.unwrap_or(0);
    check_dimensions(&[("'lora_rank'", rank, 0, 1 << 16)])?;
    spec.program.lora = (rank > 0).then_some(Lora { rank, passes });
    if let Some(body) = &mut spec.program.body {
        if closes {
            body.norm = LoopNorm::EachPass;
        }
        if rank > 0 {
            // There are no matrices for further passes.
            body.limit = passes;
        }
    }
    Ok(spec)
}

/// Mixture-of-Recursions with token choice: the first and the last block have weights of their own.
pub(super) fn routed(keys: &Keys<'_>, names: Names) -> Result<Spec> {
    only_hf(keys)?;
    let text = |text: &str| [Value::Str(text.into())];
    keys.expect(hf("routing"), &text("token_choice"))?;
    keys.expect(hf("sharing"), &text("middle_cycle"))?;
    // Null where each pass keeps keys and values of its own.
    keys.expect(hf("kv_sharing"), &[])?;
    let shared = keys.need(hf("num_shared_layers"))?;
    let passes = keys.need(hf("num_recursion"))?;
    check_dimensions(&[("'num_shared_layers'", shared, 1, 1022), ("'num_recursion'", passes, 1, MAX_LOOPS)])?;
    let mut spec = decoder_of(keys, names, shared + 2)?;
    spec.program = Program::looped(1, shared, 1, passes);
    if let Some(body) = &mut spec.program.body {
        body.exit = Exit::Router { bias: has(keys, names, TensorRole::LoopExit(Field::Bias)) };
    }
    Ok(spec)
}

fn only_hf(keys: &Keys<'_>) -> Result<()> {
    if keys.is_gguf() {
        bail!(UnsupportedArch, "'{}' is known as a Hugging Face folder only", short(keys.arch));
    }
    Ok(())
}
