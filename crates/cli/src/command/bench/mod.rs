//! `ternlight bench`: how fast this machine runs a model, beside what its memory allows.
//!
//! Decoding one token reads nearly every weight once, so memory bandwidth bounds it; the table shows both.
//! Invariant: nothing is extrapolated, every figure is a measurement of this run.

mod families;
mod kernels;
mod layer_clock;
mod report;
mod runner;
mod synthetic;

use std::{sync::Arc, time::Instant};

use clap::Args;
use ternlight_core::pool::Pool;

use self::{
    report::Report,
    runner::{Runner, Work},
    synthetic::Maker,
};
use super::{
    shapes::Shape,
    synth::{SPARSITY, share},
};
use crate::{
    Result,
    console::Console,
    hardware, model_file,
    options::{ComputeOptions, Kv, LoopArgs, ModelOptions},
};

/// Measure speed: a whole model, or every kernel by itself.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    ternlight bench --synthetic bitnet-2b4t                no file needed: random weights of that shape\n  \
    ternlight bench model.gguf --prompt 512 --gen 64 --threads 2 --json\n  \
    ternlight bench --kernels                              each kernel on a small matrix, one thread\n  \
    ternlight bench --families --threads 1 --repeat 5      every family beside the dense ternary one")]
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

    /// Time each kind of layer as well, in a few more tokens
    #[arg(long)]
    layers: bool,

    /// Time models of all families, of about the same active bytes, beside a dense ternary one: the time per byte that
    /// is read. With names, only these families
    #[arg(long, value_name = "NAME", num_args = 0.., value_delimiter = ',',
        conflicts_with_all = ["model_argument", "model", "synthetic", "kernels", "layers"])]
    families: Option<Vec<String>>,

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

impl Bench {
    pub fn execute(self, console: &Console) -> Result<()> {
        if self.kernels {
            return kernels::kernels(&self.compute.kernel, console);
        }
        let pool = self.compute.pool();
        match &self.families {
            Some(names) => families::table(names, self.work(), self.repeat, &self.maker(&pool, console)),
            None => self.model(&pool, console),
        }
    }

    fn work(&self) -> Work {
        let Self { prompt, generate, kv, loops, .. } = *self;
        Work { prompt, generate, kv, loops: loops.options() }
    }

    fn maker<'a>(&self, pool: &Arc<dyn Pool>, console: &'a Console) -> Maker<'a> {
        Maker { options: self.compute.load(), pool: pool.clone(), sparsity: self.sparsity, console }
    }

    fn model(self, pool: &Arc<dyn Pool>, console: &Console) -> Result<()> {
        let start = Instant::now();
        let (name, model) = match self.synthetic {
            Some(shape) => self.maker(pool, console).make(shape.made())?,
            None => {
                let path = self.model.locate(console)?;
                let options = self.compute.load();
                (path.display().to_string(), model_file::load(&path, options, pool.clone(), console)?)
            }
        };
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        let mut runner = Runner::new(model, self.work(), pool.clone())?;
        let total = u64::from(self.repeat) * u64::from(self.prompt + self.generate);
        let bar = console.count_bar("running", total);
        for _ in 0..self.repeat {
            runner.run(&bar)?;
        }
        bar.finish_and_clear();
        let report = self.report(name, load_ms, runner, &**pool)?;
        console.result(&report, || report.print());
        Ok(())
    }

    /// What is to be said of the runs; then the model is dropped, and the memory's bandwidth measured.
    fn report(&self, model: String, load_ms: f64, mut runner: Runner, pool: &dyn Pool) -> Result<Report> {
        let active = runner.active()?;
        let timed = self.layers || runner.model.spec.program.body.is_some();
        let (layers, passes) = if timed { runner.time_products()? } else { Default::default() };
        let mut kernels: Vec<_> = runner.model.tensors.iter().map(|t| t.kernel).collect();
        kernels.sort_unstable();
        kernels.dedup();
        let Runner { prefill, decode, .. } = runner;
        let peak_rss_bytes = hardware::peak_rss();
        let (parameters, packed_bytes) = (runner.model.parameters(), runner.model.packed_bytes() as u64);
        let cache_bytes = runner.cache_bytes();
        drop(runner);
        let threads = hardware::threads(self.compute.threads);
        let bandwidth = hardware::read_bandwidth(threads);
        let bytes_per_token = active.bytes();
        Ok(Report {
            model,
            parameters,
            packed_bytes,
            kernels,
            choices: pool.choices().into_iter().map(Into::into).collect(),
            threads,
            load_ms,
            prefill,
            decode,
            cache_bytes,
            state_bytes: active.states,
            loops: active.loops,
            bytes_per_token,
            skipped_bytes: active.skipped,
            zeros: (&active.sparsity).into(),
            layers: self.layers.then_some(layers),
            passes,
            decode_gb_s: bytes_per_token as f64 * decode.tok_s / 1e9,
            read_bandwidth_gb_s: bandwidth.map(|b| b / 1e9),
            roofline_tok_s: bandwidth.map(|b| b / bytes_per_token as f64),
            peak_rss_bytes,
        })
    }
}
