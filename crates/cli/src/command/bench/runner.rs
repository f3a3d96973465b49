//! A model that is run and timed.

use std::{sync::Arc, time::Instant};

use indicatif::ProgressBar;
use ternlight_core::{
    cache::KvType,
    model::{Decoder, DecoderOptions, LoopKv, LoopOptions, Model, Sparsity, Want, spec::Exit},
    pool::Pool,
};

use super::{
    layer_clock::{LayerClock, LayerTime, PassTimes},
    report::Rate,
};
use crate::{Result, interrupt, options::Kv};

/// Tokens whose products are timed.
const TIMED: usize = 16;

/// What is run.
#[derive(Clone, Copy)]
pub struct Work {
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Tokens after it.
    pub generate: u32,
    pub kv: Option<Kv>,
    pub loops: LoopOptions,
}

/// A model, and the fastest of its runs so far.
pub struct Runner {
    pub model: Arc<Model>,
    pub prefill: Rate,
    pub decode: Rate,
    work: Work,
    decoder: Decoder,
    clock: Arc<LayerClock>,
}

/// What a generated token reads, on average.
pub struct Active {
    /// Weights, without those that are skipped.
    pub weights: u64,
    /// Weights that meet zeros and are not read.
    pub skipped: u64,
    /// States that do not grow with the text.
    pub states: u64,
    /// Keys and values of earlier tokens.
    pub cache: u64,
    /// Passes through the loop of a looped model.
    pub loops: Option<f64>,
    /// Zeros of some tokens.
    pub sparsity: Sparsity,
}

impl Active {
    pub fn bytes(&self) -> u64 {
        self.weights + self.states + self.cache
    }
}

impl Runner {
    /// # Errors
    /// `out-of-memory`; `bad-option` for keys and values or loops that the model does not have.
    pub fn new(mut model: Model, work: Work, pool: Arc<dyn Pool>) -> Result<Self> {
        let kv = model.choose_kv(Kv::choice(work.kv), KvType::F16)?;
        let model = Arc::new(model);
        let context = (work.prompt + work.generate) as usize + 1;
        let options = DecoderOptions { context, kv, ..DecoderOptions::default() };
        let clock = Arc::new(LayerClock::new(pool));
        let mut decoder = Decoder::new(model.clone(), options, clock.clone())?;
        decoder.set_loops(work.loops)?;
        let (prefill, decode) = (Rate::default(), Rate::default());
        Ok(Self { model, prefill, decode, work, decoder, clock })
    }

    /// A prompt and an answer.
    ///
    /// # Errors
    /// `cancelled`, and those of the decoder.
    pub fn run(&mut self, bar: &ProgressBar) -> Result<()> {
        let decoder = &mut self.decoder;
        decoder.rewind(0);
        let vocab = decoder.model().spec.vocab as u32;
        let prompt: Vec<u32> = (0..self.work.prompt).map(|i| (i * 7919 + 1) % vocab).collect();
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
        self.prefill = self.prefill.faster(Rate::new(self.work.prompt, start.elapsed()));
        let start = Instant::now();
        for _ in 0..self.work.generate {
            interrupt::check()?;
            next = best(decoder.forward(&[next], Want::Last)?);
            bar.inc(1);
        }
        self.decode = self.decode.faster(Rate::new(self.work.generate, start.elapsed()));
        Ok(())
    }

    /// Only later runs count.
    pub fn forget(&mut self) {
        (self.prefill, self.decode) = (Rate::default(), Rate::default());
    }

    /// Runs some tokens again, this time with a clock for each product: it costs a little, so nothing else is measured
    /// meanwhile.
    ///
    /// # Errors
    /// Those of the decoder.
    pub fn time_products(&mut self) -> Result<(Vec<LayerTime>, Option<PassTimes>)> {
        let clock = Arc::clone(&self.clock);
        self.again(TIMED, |decoder, token| {
            clock.token();
            decoder.forward(&[token], Want::Last).map(|_| ())
        })?;
        clock.stop();
        Ok((clock.layers(&self.model), clock.passes(&self.model)))
    }

    /// What a token reads; counts the zeros of a few more.
    ///
    /// # Errors
    /// Those of the decoder.
    pub fn active(&mut self) -> Result<Active> {
        let loops = self.loops_computed();
        let cache = self.cache_read(loops);
        self.decoder.count_zeros();
        self.again(8, |decoder, token| decoder.forward(&[token], Want::Nothing).map(|_| ()))?;
        let sparsity = self.decoder.sparsity().copied().unwrap_or_default();
        let model = &self.model;
        let weights = of_loops(loops, |loops| model.bytes_of_loops(loops));
        let skipped = of_loops(loops, |loops| model.skipped_bytes(&sparsity, loops));
        let states = self.decoder.state_bytes() as u64;
        Ok(Active { weights: weights - skipped, skipped, states, cache, loops, sparsity })
    }

    /// Bytes of keys, values and states after the runs.
    pub fn cache_bytes(&self) -> u64 {
        self.decoder.cache_bytes() as u64
    }

    /// Computes the last so many tokens once more, or as many as there are.
    fn again(
        &mut self,
        tokens: usize,
        mut run: impl FnMut(&mut Decoder, u32) -> ternlight_core::Result<()>,
    ) -> Result<()> {
        let decoder = &mut self.decoder;
        let position = decoder.rewind(decoder.position().saturating_sub(tokens));
        for i in 0..(decoder.capacity() - position).min(tokens) {
            interrupt::check()?;
            let token = ((i * 7919 + 13) % decoder.model().spec.vocab) as u32;
            run(decoder, token)?;
        }
        Ok(())
    }

    /// Passes through the loop that a generated token took on average, as far as they were computed.
    fn loops_computed(&self) -> Option<f64> {
        let options = self.decoder.loops();
        let body = self.model.spec.program.body.as_ref()?;
        let all = options.loops.unwrap_or(body.times);
        let prompt = self.work.prompt as usize;
        let taken = self.decoder.loops_taken().get(prompt..).filter(|taken| !taken.is_empty());
        let is_own = options.early_exit || matches!(body.exit, Exit::Router { .. });
        let average = |taken: &[u16]| taken.iter().map(|&n| f64::from(n)).sum::<f64>() / taken.len() as f64;
        Some(taken.filter(|_| is_own).map_or(all as f64, average))
    }

    /// What a token in the middle of the answer reads of keys and values.
    fn cache_read(&self, loops: Option<f64>) -> u64 {
        let Work { prompt, generate, .. } = self.work;
        let context = u64::from(prompt + generate) + 1;
        let row = self.decoder.kv_bytes() as u64 / context;
        let average = u64::from(prompt) + u64::from(generate) / 2;
        ((row * average) as f64 * self.states_read(loops)).round() as u64
    }

    /// How often a token reads each state of the cache with so many passes through the loop, on average over the states.
    fn states_read(&self, loops: Option<f64>) -> f64 {
        let (program, options) = (&self.model.spec.program, self.decoder.loops());
        let Some((body, loops)) = program.body.as_ref().zip(loops) else { return 1.0 };
        let passes = if options.kv == LoopKv::Last { 1 } else { options.loops.unwrap_or(body.times) };
        let once = program.prelude.len() + program.coda.len();
        (once as f64 + loops * body.states() as f64) / program.states(passes) as f64
    }
}

/// What `of` says of so many passes, which need not be whole.
fn of_loops(loops: Option<f64>, of: impl Fn(usize) -> usize) -> u64 {
    let [one, two] = [1, 2].map(|loops| of(loops) as f64);
    (one + (loops.unwrap_or(1.0) - 1.0) * (two - one)).round() as u64
}

/// The first largest.
fn best(row: &[f32]) -> u32 {
    let better = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (0..row.len()).fold(0, better) as u32
}
