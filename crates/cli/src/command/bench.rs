//! `ternlight bench`: how fast this machine runs a model, beside what its memory allows.
//!
//! Decoding one token reads nearly every weight once, so memory bandwidth bounds it; the table shows both.
//! Invariant: nothing is extrapolated, every figure is a measurement of this run.

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use ternlight_core::{
    cache::KvType,
    format::Encoding,
    kernel::{self, ReadOrder},
    load::Loader,
    model::{Decoder, DecoderOptions, LoopKv, Model, Sparsity, Want, spec::Exit},
    pool::Pool,
    tune::{Choice, Phase},
};

use super::{
    layer_clock::{LayerClock, LayerTime, skipped_bytes},
    synth::{Made, Random, SPARSITY, Shape, items, share, weights},
};
use crate::{
    Result,
    console::{self, ACCENT, Console, DIM, STRONG},
    failure::Failure,
    hardware, interrupt,
    model_file::{self, Family, FamilyConfig, Format},
    options::{ComputeOptions, Kv, LoopArgs, ModelOptions},
};

/// Measure speed: a whole model, or every kernel by itself.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    ternlight bench --synthetic bitnet-2b4t                no file needed: random weights of that shape\n  \
    ternlight bench model.gguf --prompt 512 --gen 64 --threads 2 --json\n  \
    ternlight bench --kernels                              each kernel on a small matrix, one thread")]
pub struct Bench {
    #[command(flatten)]
    model: ModelOptions,

    /// Random weights of this shape, made in memory, instead of a model file
    #[arg(long, value_enum, value_name = "SHAPE", conflicts_with_all = ["model_argument", "model"])]
    synthetic: Option<Shape>,

    /// The share of zeros among the gates of an a4.8 shape
    #[arg(long, value_name = "SHARE", default_value_t = SPARSITY, value_parser = share)]
    sparsity: f32,

    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    prompt: u32,

    /// Tokens to generate after it
    #[arg(long = "gen", value_name = "N", default_value_t = 64)]
    generate: u32,

    /// Runs, of which the fastest counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// How the cache stores keys and values [default: as the model was trained, else f16]
    #[arg(long, value_enum)]
    kv: Option<Kv>,

    /// Time each kernel on a small matrix instead of a whole model
    #[arg(long, conflicts_with_all = ["model_argument", "model", "synthetic"])]
    kernels: bool,

    #[command(flatten)]
    loops: LoopArgs,

    #[command(flatten)]
    compute: ComputeOptions,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    model: String,
    parameters: u64,
    packed_bytes: u64,
    kernels: Vec<&'static str>,
    /// How products were computed, where several ways were tried.
    choices: Vec<ChoiceReport>,
    threads: usize,
    load_ms: f64,
    prefill: Rate,
    decode: Rate,
    /// Keys, values and states after this run.
    cache_bytes: u64,
    /// What a token reads of states that do not grow with the text.
    state_bytes: u64,
    /// Passes through the loop of a looped model that a generated token took on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    loops: Option<f64>,
    /// Weights, states, and the part of the cache that an average token of this run looks at.
    bytes_per_token: u64,
    /// Weights among them that meet zeros and are not read.
    skipped_bytes: u64,
    zeros: ZerosReport,
    /// Products of one token, by kind of layer.
    layers: Vec<LayerTime>,
    decode_gb_s: f64,
    read_bandwidth_gb_s: Option<f64>,
    /// Decoding speed if every byte came at the measured bandwidth.
    roofline_tok_s: Option<f64>,
    peak_rss_bytes: Option<u64>,
}

#[derive(Serialize)]
struct ChoiceReport {
    form: String,
    phase: &'static str,
    bytes: usize,
    kernel: &'static str,
    streams: usize,
    prefetch: usize,
    stretch: usize,
    tasks: usize,
    settled: bool,
}

impl From<Choice> for ChoiceReport {
    fn from(choice: Choice) -> Self {
        let Choice { form, phase, bytes, plan, settled } = choice;
        let phase = match phase {
            Phase::Decode => "decode",
            Phase::Prefill => "prefill",
        };
        Self {
            form: format!("{form:?}").to_lowercase(),
            phase,
            bytes,
            kernel: plan.kernel.name,
            streams: plan.order.streams,
            prefetch: plan.order.prefetch,
            stretch: plan.order.stretch,
            tasks: plan.tasks,
            settled,
        }
    }
}

/// Shares of zeros.
#[derive(Serialize)]
struct ZerosReport {
    output_inputs: f64,
    gates: f64,
    down_inputs: f64,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Rate {
    tokens: u32,
    seconds: f64,
    tok_s: f64,
}

impl Rate {
    fn new(tokens: u32, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        Self { tokens, seconds, tok_s: if tokens == 0 { 0.0 } else { f64::from(tokens) / seconds } }
    }

    fn faster(self, other: Self) -> Self {
        if other.tok_s > self.tok_s { other } else { self }
    }
}

#[derive(Serialize)]
struct KernelReport {
    kernel: &'static str,
    layout: &'static str,
    bits_per_weight: f64,
    decode_gmac_s: f64,
    decode_gb_s: f64,
    prefill_gmac_s: f64,
}

impl Bench {
    pub fn execute(self, console: &Console) -> Result<()> {
        if self.kernels { self.kernels(console) } else { self.model(console) }
    }

    fn model(self, console: &Console) -> Result<()> {
        let pool = self.compute.pool();
        let start = Instant::now();
        let (name, mut model) = match self.synthetic {
            Some(shape) => self.synthetic(shape, pool.clone(), console)?,
            None => {
                let path = self.model.locate(console)?;
                let options = self.compute.load();
                (path.display().to_string(), model_file::load(&path, options, pool.clone(), console)?)
            }
        };
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        let kv = model.choose_kv(Kv::choice(self.kv), KvType::F16)?;
        let model = Arc::new(model);
        let threads = hardware::threads(self.compute.threads);
        let context = (self.prompt + self.generate) as usize + 1;
        let options = DecoderOptions { context, kv, ..DecoderOptions::default() };
        let clock = Arc::new(LayerClock::new(pool.clone()));
        let mut decoder = Decoder::new(model.clone(), options, clock.clone())?;
        decoder.set_loops(self.loops.options())?;
        let (mut prefill, mut decode) = (Rate::default(), Rate::default());
        let total = u64::from(self.repeat) * u64::from(self.prompt + self.generate);
        let bar = console.count_bar("running", total);
        for _ in 0..self.repeat {
            decoder.rewind(0);
            let (p, d) = self.once(&mut decoder, &clock, &bar)?;
            prefill = prefill.faster(p);
            decode = decode.faster(d);
        }
        bar.finish_and_clear();
        let layers = clock.times(&model, self.generate);
        let sparsity = zeros(&mut decoder)?;
        let skipped_bytes = skipped_bytes(&model, &sparsity);
        let peak_rss_bytes = hardware::peak_rss();
        let (cache_bytes, state_bytes) = (decoder.cache_bytes() as u64, decoder.state_bytes() as u64);
        let row = decoder.kv_bytes() as u64 / context.max(1) as u64;
        let average = u64::from(self.prompt) + u64::from(self.generate) / 2;
        let loops = self.loops_computed(&decoder);
        let cache = (row * average) as f64 * states_read(&decoder, loops);
        let bytes_per_token =
            weights_per_token(&model, loops) + state_bytes + cache.round() as u64 - skipped_bytes;
        let mut names: Vec<_> = model.tensors.iter().map(|t| t.kernel).collect();
        names.sort_unstable();
        names.dedup();
        let (parameters, packed_bytes) = (model.parameters(), model.packed_bytes() as u64);
        drop((decoder, model));
        let bandwidth = hardware::read_bandwidth(threads);
        let report = Report {
            model: name,
            parameters,
            packed_bytes,
            kernels: names,
            choices: pool.choices().into_iter().map(ChoiceReport::from).collect(),
            threads,
            load_ms,
            prefill,
            decode,
            cache_bytes,
            state_bytes,
            loops,
            bytes_per_token,
            skipped_bytes,
            zeros: ZerosReport {
                output_inputs: sparsity.output.share(),
                gates: sparsity.gate.share(),
                down_inputs: sparsity.down.share(),
            },
            layers,
            decode_gb_s: bytes_per_token as f64 * decode.tok_s / 1e9,
            read_bandwidth_gb_s: bandwidth.map(|b| b / 1e9),
            roofline_tok_s: bandwidth.map(|b| b / bytes_per_token as f64),
            peak_rss_bytes,
        };
        console.result(&report, || print(&report));
        Ok(())
    }

    /// Passes through the loop that a generated token took on average, as far as they were computed.
    fn loops_computed(&self, decoder: &Decoder) -> Option<f64> {
        let options = decoder.loops();
        let body = decoder.model().spec.program.body.as_ref()?;
        let all = options.loops.unwrap_or(body.times);
        let taken = decoder.loops_taken().get(self.prompt as usize..).filter(|taken| !taken.is_empty());
        let is_own = options.early_exit || matches!(body.exit, Exit::Router { .. });
        let average = |taken: &[u16]| taken.iter().map(|&n| f64::from(n)).sum::<f64>() / taken.len() as f64;
        Some(taken.filter(|_| is_own).map_or(all as f64, average))
    }

    /// A prompt and an answer.
    fn once(
        &self,
        decoder: &mut Decoder,
        clock: &LayerClock,
        bar: &indicatif::ProgressBar,
    ) -> Result<(Rate, Rate)> {
        let vocab = decoder.model().spec.vocab as u32;
        let prompt: Vec<u32> = (0..self.prompt).map(|i| (i * 7919 + 1) % vocab).collect();
        let start = Instant::now();
        let mut next = 0;
        let block = decoder.block().max(1);
        let blocks = prompt.len().div_ceil(block);
        for (i, tokens) in prompt.chunks(block).enumerate() {
            interrupt::check()?;
            let want = if i + 1 == blocks { Want::Last } else { Want::Nothing };
            let logits = decoder.forward(tokens, want)?;
            if want == Want::Last {
                next = best(logits);
            }
            bar.inc(tokens.len() as u64);
        }
        let prefill = Rate::new(self.prompt, start.elapsed());
        clock.reset();
        let start = Instant::now();
        for _ in 0..self.generate {
            interrupt::check()?;
            next = best(decoder.forward(&[next], Want::Last)?);
            bar.inc(1);
        }
        Ok((prefill, Rate::new(self.generate, start.elapsed())))
    }

    /// A model that exists only in memory.
    fn synthetic(&self, shape: Shape, pool: Arc<dyn Pool>, console: &Console) -> Result<(String, Model)> {
        let config = match shape.made() {
            Made::Config(config) => config,
            Made::Family(family) => return self.family(family, pool, console),
        };
        let (format, float) =
            if config.a48 { (Format::HfPacked, Encoding::BF16) } else { (Format::I2S, Encoding::F16) };
        let items = items(&config, format, float)?;
        let options = self.compute.load();
        let mut loader = Loader::new(options).with_pool(pool);
        if format == Format::HfPacked {
            loader.config(&model_file::hf_config(&config, None, None).to_string())?;
        }
        loader.begin_file("synthetic", None)?;
        let mut into = IntoLoader { loader, failure: None };
        let mut rows = weights(&config, 1, &items, self.sparsity);
        let made = model_file::stream_model(&config, &items, &mut *rows, format, &mut into, console);
        if let Some(failure) = into.failure {
            return Err(failure);
        }
        made?;
        into.loader.end_file()?;
        Ok((config.name, into.loader.finish()?))
    }

    /// A model of a family that has its own way to be stored.
    fn family(&self, family: Family, pool: Arc<dyn Pool>, console: &Console) -> Result<(String, Model)> {
        let tensors = family.tensors()?;
        let mut loader = Loader::new(self.compute.load()).with_pool(pool);
        if let FamilyConfig::Json(config) = &family.config {
            loader.config(&config.to_string())?;
        }
        loader.begin_file("synthetic", None)?;
        let mut into = IntoLoader { loader, failure: None };
        let mut rows = Random::new(1, &tensors.items);
        let made = model_file::stream_family(&family, &tensors, &mut rows, &mut into, console);
        if let Some(failure) = into.failure {
            return Err(failure);
        }
        made?;
        into.loader.end_file()?;
        Ok((family.name, into.loader.finish()?))
    }

    fn kernels(self, console: &Console) -> Result<()> {
        // The query projection of the 2B shape: small enough to stay in the second-level cache, so that
        // kernels are compared and not memories.
        const ROWS: usize = 640;
        const COLS: usize = 2560;
        const TOKENS: usize = 48;
        let clock = Instant::now();
        let clock = || clock.elapsed().as_secs_f64();
        // An unknown name is an error, not an empty table.
        let isa = kernel::isa(&self.compute.kernel)?;
        let wanted = |k: &&kernel::Kernel| self.compute.kernel == "auto" || k.isa() == isa;
        let mut table = Vec::new();
        for k in kernel::available().filter(wanted) {
            interrupt::check()?;
            let one = kernel::time_kernel(k, [ROWS, COLS, 1], ReadOrder::DEFAULT, &clock)?;
            let many = kernel::time_kernel(k, [ROWS, COLS, TOKENS], ReadOrder::DEFAULT, &clock)?;
            let macs = (ROWS * COLS) as f64;
            let layout = k.layout;
            let bytes =
                ROWS.div_ceil(layout.panel) * (layout.panel_bytes)(COLS.next_multiple_of(layout.step));
            table.push(KernelReport {
                kernel: k.name,
                layout: layout.name,
                bits_per_weight: 8.0 * bytes as f64 / macs,
                decode_gmac_s: macs / one / 1e9,
                decode_gb_s: bytes as f64 / one / 1e9,
                prefill_gmac_s: macs * TOKENS as f64 / many / 1e9,
            });
        }
        console.result(&table, || {
            crate::say!(
                "{STRONG}{:<22} {:<18} {:>6} {:>14} {:>11} {:>15}{STRONG:#}",
                "kernel", "layout", "bits", "decode GMAC/s", "GB/s", "prefill GMAC/s"
            );
            for k in &table {
                crate::say!(
                    "{:<22} {:<18} {:>6.2} {:>14.1} {:>11.1} {:>15.1}",
                    k.kernel, k.layout, k.bits_per_weight, k.decode_gmac_s, k.decode_gb_s, k.prefill_gmac_s
                );
            }
            crate::say!("{DIM}one thread, {ROWS} × {COLS} matrix in cache, decode 1 token, prefill {TOKENS} tokens{DIM:#}");
        });
        Ok(())
    }
}

/// Lets a writer write into a loader; keeps the loader's error, which `io::Error` would only wrap.
struct IntoLoader {
    loader: Loader,
    failure: Option<Failure>,
}

impl Write for IntoLoader {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.loader.push(bytes).map(|()| bytes.len()).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error.into());
            std::io::Error::other(text)
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes of weights that a token reads with so many passes through the loop.
fn weights_per_token(model: &Model, loops: Option<f64>) -> u64 {
    let [one, two] = [1, 2].map(|loops| model.bytes_of_loops(loops) as f64);
    (one + (loops.unwrap_or(1.0) - 1.0) * (two - one)).round() as u64
}

/// How often a token reads each state of the cache with so many passes through the loop, on average over the states.
fn states_read(decoder: &Decoder, loops: Option<f64>) -> f64 {
    let (program, options) = (&decoder.model().spec.program, decoder.loops());
    let Some((body, loops)) = program.body.as_ref().zip(loops) else { return 1.0 };
    let passes = if options.kv == LoopKv::Last { 1 } else { options.loops.unwrap_or(body.times) };
    let once = program.prelude.len() + program.coda.len();
    (once as f64 + loops * body.states() as f64) / program.states(passes) as f64
}

/// The zeros of a few more tokens, or the last ones again.
fn zeros(decoder: &mut Decoder) -> Result<Sparsity> {
    let position = decoder.rewind(decoder.position().saturating_sub(8));
    decoder.count_zeros();
    for i in 0..(decoder.capacity() - position).min(8) {
        let token = ((i * 7919 + 13) % decoder.model().spec.vocab) as u32;
        decoder.forward(&[token], Want::Nothing)?;
    }
    Ok(decoder.sparsity().copied().unwrap_or_default())
}

/// The first largest.
fn best(row: &[f32]) -> u32 {
    let better = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (0..row.len()).fold(0, better) as u32
}

fn print(report: &Report) {
    crate::say!("{STRONG}{}{STRONG:#}", report.model);
    let line = |label: &str, text: String| crate::say!("  {ACCENT}{label:<11}{ACCENT:#}{text}");
    let (parameters, packed) = (console::count(report.parameters), console::bytes(report.packed_bytes));
    line(
        "model",
        format!("{parameters} parameters, {packed} packed, loaded in {:.2} s", report.load_ms / 1e3),
    );
    line("kernels", report.kernels.join(", "));
    line("threads", report.threads.to_string());
    for c in &report.choices {
        let size = console::bytes(c.bytes as u64);
        let how = match c.phase {
            "decode" => format!("{} streams, prefetch {}, {} tasks", c.streams, c.prefetch, c.tasks),
            _ => format!("stretches of {}, {} tasks", console::bytes(c.stretch as u64), c.tasks),
        };
        let trying = if c.settled { "" } else { " (still measuring)" };
        line("choice", format!("{} to {size}, {}: {}, {how}{trying}", c.form, c.phase, c.kernel));
    }
    let rate =
        |rate: &Rate| format!("{:8.2} tok/s   {} tokens in {:.2} s", rate.tok_s, rate.tokens, rate.seconds);
    line("prefill", rate(&report.prefill));
    line("decode", rate(&report.decode));
    let state = match report.state_bytes {
        0 => String::new(),
        bytes => format!(", {} of state that does not grow", console::bytes(bytes)),
    };
    line("cache", format!("{}{state}", console::bytes(report.cache_bytes)));
    if let Some(loops) = report.loops {
        line("loops", format!("{loops:.2} passes per generated token"));
    }
    line(
        "per token",
        format!("{} read, {:.1} GB/s", console::bytes(report.bytes_per_token), report.decode_gb_s),
    );
    let layers: Vec<_> = report.layers.iter().map(LayerTime::text).collect();
    line("layers", format!("{} ms per token", layers.join(", ")));
    let ZerosReport { output_inputs, gates, down_inputs } = report.zeros;
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    line(
        "zeros",
        format!(
            "{} of the inputs of output projections, {} of the gates, {} of the inputs of down projections: {} \
             not read",
            percent(output_inputs),
            percent(gates),
            percent(down_inputs),
            console::bytes(report.skipped_bytes)
        ),
    );
    if let (Some(bandwidth), Some(limit)) = (report.read_bandwidth_gb_s, report.roofline_tok_s) {
        let share = 100.0 * report.decode.tok_s / limit;
        line(
            "memory",
            format!("{bandwidth:.1} GB/s read bandwidth: at most {limit:.1} tok/s, reached {share:.0} %"),
        );
    }
    if let Some(peak) = report.peak_rss_bytes {
        line("peak RSS", console::bytes(peak));
    }
}
