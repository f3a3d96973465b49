//! `ternlight perplexity`: how well the model predicts a text.
//!
//! The text is cut into windows of `--context` tokens that begin every `--stride` tokens; in each window
//! only tokens that no earlier window scored count, so with a stride below the context every token has at
//! least `context − stride` tokens before it. Invariant: no token is scored twice, and only those with
//! nothing before them (the first; without overlap the first of each window) are not scored.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use ternlight_core::{
    ErrorKind,
    cache::{KvChoice, KvType},
    model::{Decoder, DecoderOptions, Want},
};

use crate::{
    Result,
    answer::{self, ContextOptions, Opened},
    console::{self, ACCENT, Console, STRONG},
    failure::{Failure, USAGE},
    interrupt,
    model_ref::ModelRef,
    options::{ComputeOptions, Kv, LoopArgs, NamedModel},
};

/// Measure how well a model predicts a text, per token and per byte.
#[derive(Args)]
#[command(allow_missing_positional = true)]
pub struct Perplexity {
    /// The model; if only one argument is given, that is FILE [default: see --model]
    #[arg(value_name = "MODEL", id = "model_argument", conflicts_with = "model")]
    argument: Option<ModelRef>,

    /// UTF-8 text
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    model: NamedModel,

    /// Tokens of a window [default: the model's context, at most 2048]
    #[arg(long, short, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(2..))]
    context: Option<u32>,

    /// Tokens from one window's beginning to the next [default: the window: no overlap]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    stride: Option<u32>,

    /// Parse special tokens in the text (they are plain text otherwise)
    #[arg(long)]
    special: bool,

    /// Use at most this many tokens of the text
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// How the cache stores keys and values [default: as the model was trained, else f32]
    #[arg(long, value_enum, help_heading = "Computation")]
    kv: Option<Kv>,

    #[command(flatten)]
    loops: LoopArgs,

    #[command(flatten)]
    compute: ComputeOptions,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl Perplexity {
    pub fn execute(self, console: &Console) -> Result<()> {
        let path = self.model.locate(self.argument.as_ref(), console)?;
        let text = std::fs::read(&self.file).map_err(|e| Failure::io(&self.file, &e))?;
        let text = String::from_utf8(text)
            .map_err(|_| Failure::kind(ErrorKind::BadData, format!("{}: not UTF-8", self.file.display())))?;
        let setup = ContextOptions { context: self.context, kv: self.kv };
        let compute = self.compute.clone().exact();
        let Opened { engine, .. } = answer::open(&path, &compute, &setup, console)?;
        let model = engine.model();
        let tokenizer = engine.tokenizer()?;
        let mut tokens = tokenizer.encode_input(&text, self.special)?;
        // Tokens added in front (BOS) are context and not part of the text.
        let added = tokens.len() - tokenizer.encode(&text, self.special)?.len();
        let mut bytes = text.len();
        if let Some(most) = self.max_tokens.filter(|most| *most < tokens.len()) {
            tokens.truncate(most);
            bytes = tokens.iter().skip(added).map(|id| tokenizer.token_bytes(*id).len()).sum();
        }
        if tokens.len() < 2 {
            return Err(Failure::new(USAGE, format!("{}: too short", self.file.display())));
        }
        let trained = if model.spec.context == 0 { 2048 } else { model.spec.context };
        let window = self.context.map_or(trained.min(2048), |c| c as usize);
        let stride = self.stride.map_or(window, |s| s as usize);
        if stride > window {
            return Err(Failure::new(USAGE, "--stride is larger than --context: tokens would be skipped"));
        }
        // The engine has taken the model's own codes away where a type was asked for.
        let kv = match Kv::choice(self.kv) {
            KvChoice::Type(kv) => kv,
            KvChoice::Auto | KvChoice::A48 => KvType::F32,
        };
        let options = DecoderOptions { context: window, kv, ..DecoderOptions::default() };
        let mut decoder = Decoder::new(model.clone(), options, compute.pool())?;
        decoder.set_loops(self.loops.options())?;
        let vocab = model.spec.vocab;
        let bar = console.count_bar("scoring", tokens.len() as u64);
        let (mut nats, mut scored, mut done) = (0.0f64, 0usize, 1);
        for begin in (0..tokens.len()).step_by(stride) {
            let end = (begin + window).min(tokens.len());
            decoder.rewind(0);
            let mut at = begin;
            // The last token predicts one that lies outside the window.
            for block in tokens[begin..end - 1].chunks(decoder.block().max(1)) {
                interrupt::check()?;
                let from = at;
                at += block.len();
                if at < done {
                    decoder.forward(block, Want::Nothing)?;
                    continue;
                }
                let logits = decoder.forward(block, Want::All)?;
                for (i, row) in logits.chunks_exact(vocab).enumerate() {
                    let target = from + i + 1;
                    if target >= done {
                        nats += surprise(row, tokens[target] as usize);
                        scored += 1;
                    }
                }
                bar.set_position(at as u64);
            }
            done = end.max(done);
            // Without overlap the first token of a window has no context and is not scored.
            if stride == window {
                done += 1;
            }
            if end == tokens.len() {
                break;
            }
        }
        bar.finish_and_clear();
        if !nats.is_finite() {
            return Err(Failure::kind(ErrorKind::BadData, "the model's logits are not finite"));
        }
        let per_token = nats / scored as f64;
        // Unscored tokens (one per window) count at the average, so that models with other vocabularies compare.
        let per_byte = per_token * (tokens.len() - added) as f64 / bytes as f64;
        let report = json!({
            "tokens": tokens.len(),
            "scored_tokens": scored,
            "bytes": bytes,
            "context": window,
            "stride": stride,
            "nats_per_token": per_token,
            "perplexity": per_token.exp(),
            "bits_per_byte": per_byte / std::f64::consts::LN_2,
            "perplexity_per_byte": per_byte.exp(),
        });
        console.result(&report, || {
            let line = |label: &str, text: String| crate::say!("{ACCENT}{label:<12}{ACCENT:#}{text}");
            crate::say!("{STRONG}{}{STRONG:#}", self.file.display());
            line("text", format!("{}, {} tokens", console::bytes(bytes as u64), tokens.len()));
            line("windows", format!("{window} tokens, stride {stride}, {scored} tokens scored"));
            line("per token", format!("perplexity {:.4} ({per_token:.5} nats)", per_token.exp()));
            let bits = per_byte / std::f64::consts::LN_2;
            line("per byte", format!("perplexity {:.4} ({bits:.5} bits)", per_byte.exp()));
        });
        Ok(())
    }
}

/// −ln p(target), summed in f64.
fn surprise(logits: &[f32], target: usize) -> f64 {
    let most = logits.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    let sum: f64 = logits.iter().map(|x| f64::from(x - most).exp()).sum();
    sum.ln() - f64::from(logits[target] - most)
}

#[cfg(test)]
mod tests {
    use super::surprise;

    #[test]
    fn surprises() {
        assert!((surprise(&[0.0; 8], 3) - 8f64.ln()).abs() < 1e-12);
        assert!((surprise(&[1000.0, 0.0], 1) - 1000.0).abs() < 1e-9);
        assert!(surprise(&[50.0, 0.0], 0).abs() < 1e-12);
    }
}
