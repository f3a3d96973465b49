//! What `run` and `chat` share: opening the engine, sampling options, streaming one answer.

use std::{path::Path, time::Instant};

use clap::Args;
use ternlight_core::{ErrorKind, model::LoopOptions};
use ternlight_engine::{
    Engine, EngineOptions, GenerateOptions, Prompt, Sampling, Session, Step, Summary, Token,
};

use crate::{
    Result,
    console::Console,
    failure::Failure,
    interrupt,
    options::{ComputeOptions, Kv, LoopArgs},
};

/// How the cache is set up.
#[derive(Args, Clone, Debug)]
pub struct ContextOptions {
    /// Tokens of context [default: the model's own, at most 4096]
    #[arg(help_heading = "Computation", long, short, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub context: Option<u32>,

    /// How the cache stores keys and values [default: as the model was trained, else f16]
    #[arg(help_heading = "Computation", long, value_enum)]
    pub kv: Option<Kv>,
}

/// How tokens are chosen. The default is what the model's authors suggest, else greedy.
#[derive(Args, Clone, Debug)]
pub struct SampleArgs {
    /// End the answer after this many tokens
    #[arg(help_heading = "Sampling", long, short = 'n', value_name = "N")]
    pub max_tokens: Option<usize>,

    /// 0 takes the likeliest token; higher is more varied
    #[arg(help_heading = "Sampling", long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f32>,

    /// Only the K likeliest tokens; 0: all
    #[arg(help_heading = "Sampling", long, value_name = "K")]
    pub top_k: Option<usize>,

    /// Only the likeliest tokens that reach P together; 1: all
    #[arg(help_heading = "Sampling", long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f32>,

    /// Only tokens with this share of the likeliest one's probability; 0: all
    #[arg(help_heading = "Sampling", long, value_name = "P", allow_negative_numbers = true)]
    pub min_p: Option<f32>,

    /// Only the most typical tokens that reach P together; 1: all
    #[arg(help_heading = "Sampling", long, value_name = "P", allow_negative_numbers = true)]
    pub typical_p: Option<f32>,

    /// Make tokens that occurred less likely; 1: off
    #[arg(help_heading = "Sampling", long, value_name = "X", allow_negative_numbers = true)]
    pub repetition_penalty: Option<f32>,

    /// Subtract X from the logit for each time a token occurred
    #[arg(help_heading = "Sampling", long, value_name = "X", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f32>,

    /// Subtract X from the logit if a token occurred
    #[arg(help_heading = "Sampling", long, value_name = "X", allow_negative_numbers = true)]
    pub presence_penalty: Option<f32>,

    /// How many of the last tokens the penalties look at; 0: all
    #[arg(help_heading = "Sampling", long, value_name = "N")]
    pub penalty_window: Option<usize>,

    /// Add B to the logit of token ID; may be repeated
    #[arg(help_heading = "Sampling", long, value_name = "ID=B", value_parser = bias)]
    pub logit_bias: Vec<(u32, f32)>,

    /// Never choose this token; may be repeated
    #[arg(help_heading = "Sampling", long, value_name = "ID")]
    pub ban: Vec<u32>,

    /// Same seed, same text, on every machine [default: a new one each time]
    #[arg(help_heading = "Sampling", long)]
    pub seed: Option<u64>,

    /// Draft up to N tokens with one expert a layer, and check them together with all: the same text, faster where
    /// the drafts are good
    #[arg(help_heading = "Sampling", long, value_name = "N", default_value_t = 0)]
    pub speculate: usize,

    /// End the answer before this text; may be repeated
    #[arg(help_heading = "Sampling", long, value_name = "TEXT")]
    pub stop: Vec<String>,

    #[command(flatten)]
    loops: LoopArgs,
}

fn bias(text: &str) -> Result<(u32, f32), String> {
    let pair = || {
        let (id, bias) = text.split_once('=')?;
        Some((id.trim().parse().ok()?, bias.trim().parse().ok()?))
    };
    pair().ok_or_else(|| format!("'{text}' is not ID=BIAS"))
}

impl SampleArgs {
    /// The engine's options: what was given, else what the model's authors suggest, else greedy.
    pub fn options(&self, suggested: &Sampling) -> GenerateOptions {
        let LoopOptions { loops, exit_threshold, early_exit, kv: loop_kv } = self.loops.options();
        GenerateOptions {
            max_tokens: self.max_tokens.unwrap_or(usize::MAX),
            stop: self.stop.clone(),
            temperature: self.temperature.or(suggested.temperature).or(Some(0.0)),
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            typical_p: self.typical_p.unwrap_or(1.0),
            repetition_penalty: self.repetition_penalty,
            frequency_penalty: self.frequency_penalty.unwrap_or(0.0),
            presence_penalty: self.presence_penalty.unwrap_or(0.0),
            penalty_window: self.penalty_window.unwrap_or(0),
            logit_bias: self.logit_bias.clone(),
            banned_tokens: self.ban.clone(),
            seed: self.seed,
            loops,
            exit_threshold,
            early_exit,
            loop_kv,
            speculate: self.speculate,
            ..GenerateOptions::default()
        }
    }
}

/// An engine that was just opened.
pub struct Opened {
    /// The engine.
    pub engine: Engine,
    /// Milliseconds that loading took.
    pub load_ms: f64,
    /// What to call the model.
    pub title: String,
}

/// Opens the engine with a progress bar.
///
/// # Errors
/// Anything that can be wrong with a model.
pub fn open(
    path: &Path,
    compute: &ComputeOptions,
    context: &ContextOptions,
    console: &Console,
) -> Result<Opened> {
    let options = EngineOptions {
        kernel: compute.kernel.clone(),
        threads: compute.threads,
        context: context.context,
        kv: Kv::choice(context.kv),
        head: compute.head.into(),
        allow_unknown: compute.allow_unknown.clone(),
        set: compute.set.iter().cloned().collect(),
        experts: compute.experts.clone(),
        ..EngineOptions::default()
    };
    let start = Instant::now();
    let engine = open_path(path, &options, console)?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let mut title = engine.info().name;
    // Weights in a folder always have the same name, so the folder's name is used.
    if title.ends_with(".safetensors")
        && let Some(name) = path.file_name()
    {
        title = name.to_string_lossy().into_owned();
    }
    Ok(Opened { engine, load_ms, title })
}

fn open_path(path: &Path, options: &EngineOptions, console: &Console) -> Result<Engine> {
    let mut bar = None;
    let mut progress = |done, total| {
        bar.get_or_insert_with(|| console.bytes_bar("loading", Some(total))).set_position(done);
        if interrupt::asked() {
            // A load cannot be interrupted, and there is no output to finish yet.
            std::process::exit(130);
        }
    };
    let engine = Engine::open(path, options, &mut progress);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(engine?)
}

/// An answer as it was generated.
pub struct Answer {
    /// The text.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// How it ended.
    pub summary: Summary,
}

/// Generates one answer and passes each piece of text to `show` as it is decided. Ctrl-C ends it as `cancelled`.
///
/// # Errors
/// Those of the session.
pub fn answer(
    session: &mut Session,
    prompt: &Prompt,
    options: &GenerateOptions,
    console: &Console,
    show: &mut dyn FnMut(&str),
) -> Result<Answer> {
    session.start(prompt, options)?;
    let (mut text, mut tokens) = (String::new(), Vec::new());
    let mut bar = None;
    loop {
        if interrupt::asked() {
            let cancelled = || Failure::kind(ErrorKind::Cancelled, "interrupted");
            let summary = session.cancel().ok_or_else(cancelled)?;
            return Ok(Answer { text, tokens, summary });
        }
        match session.next()? {
            Step::Prefill(progress) => {
                bar.get_or_insert_with(|| console.count_bar("reading", progress.total as u64))
                    .set_position(progress.done as u64);
            }
            Step::Piece(piece) => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
                text.push_str(&piece.text);
                tokens.extend(piece.tokens);
                if !piece.text.is_empty() {
                    show(&piece.text);
                }
            }
            Step::Done(summary) => return Ok(Answer { text, tokens, summary }),
        }
    }
}

/// `20 tokens, 31.2 tok/s` and what else is worth saying.
pub fn remark(answer: &Answer) -> String {
    let Answer { summary, tokens, .. } = answer;
    let t = &summary.timings;
    let mut parts = vec![format!("{} tokens, {:.1} tok/s", summary.tokens, t.decode_tok_s)];
    parts.push(format!("prompt {} at {:.0} tok/s", t.prefill_tokens, t.prefill_tok_s));
    let loops: Vec<usize> = tokens.iter().filter_map(|token| token.loops).collect();
    if !loops.is_empty() {
        let average = loops.iter().sum::<usize>() as f64 / loops.len() as f64;
        parts.push(format!("{average:.1} loops per token"));
    }
    if summary.cached_tokens > 0 {
        parts.push(format!("{} from the cache", summary.cached_tokens));
    }
    if summary.dropped_messages > 0 {
        parts.push(format!("the oldest {} messages forgotten", summary.dropped_messages));
    }
    if let Some(s) = &summary.speculation {
        parts.push(format!(
            "{} of {} drafted tokens accepted, {:.2} × as fast",
            s.accepted, s.drafted, s.speedup
        ));
    }
    match summary.finish_reason.name() {
        "stop" => {}
        reason => parts.push(reason.to_owned()),
    }
    format!("[{}]", parts.join(" · "))
}
