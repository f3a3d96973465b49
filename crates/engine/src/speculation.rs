//! Self-speculation of mixtures of experts: the model drafts with one expert a layer and checks with all.
//!
//! The experts of a token for smaller numbers are a prefix of those for larger ones (Matryoshka MoE, arXiv 2509.26520),
//! so a model is its own draft model (speculative decoding: Leviathan et al. 2023). All drafts are checked in one
//! forward pass, which reads an expert once for all tokens that want it.
//!
//! Invariant: the text is what it would be without. The sampler sees the logits of the full model alone, one row for
//! each token, and a forward pass of several tokens gives the bits of one for each.

use std::collections::VecDeque;

use ternlight_core::{
    Result,
    model::{Decoder, Want},
};
use web_time::Instant;

use crate::reply::Speculation;

/// Tokens that are computed without drafts, to know what one costs.
const PLAIN: usize = 4;
/// Rounds before the estimate is trusted.
const ROUNDS: usize = 6;

/// Drafts of one reply.
pub(crate) struct Drafts {
    /// Tokens of a round.
    most: usize,
    /// How many experts the reply's tokens are given to, as [`Decoder::set_experts`] takes it.
    experts: Vec<usize>,
    /// Drafted tokens that follow the cached ones, with the full model's logits after each. The decoder is ahead of
    /// the session by these.
    pending: VecDeque<(u32, Vec<f32>)>,
    plain: Cost,
    drafted: Cost,
    rounds: usize,
    counts: Speculation,
}

/// What so many tokens of the reply cost.
#[derive(Default)]
struct Cost {
    tokens: usize,
    ms: f64,
}

impl Cost {
    fn each(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.ms / self.tokens as f64)
    }
}

impl Drafts {
    /// For rounds of up to `most` tokens.
    pub fn new(most: usize, experts: Vec<usize>) -> Self {
        Self {
            most,
            experts,
            pending: VecDeque::new(),
            plain: Cost::default(),
            drafted: Cost::default(),
            rounds: 0,
            counts: Speculation::default(),
        }
    }

    /// What was gained so far; none where no drafts were asked for.
    pub fn summary(&self) -> Option<Speculation> {
        let speedup = || Some(self.plain.each()? / self.drafted.each()?);
        (self.most > 0).then(|| Speculation { speedup: speedup().unwrap_or(0.0), ..self.counts })
    }

    /// Forgets drafts, for a decoder that was rewound.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    /// The logits after `token`, which follows the `cached` tokens, into `logits`. Afterwards the decoder has computed
    /// it, and perhaps more.
    ///
    /// # Errors
    /// Those of [`Decoder::forward`].
    pub fn logits(
        &mut self,
        decoder: &mut Decoder,
        cached: &[u32],
        token: u32,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        if let Some((draft, row)) = self.pending.pop_front() {
            if draft == token {
                *logits = row;
                self.counts.accepted += 1;
                self.drafted.tokens += 1;
                return Ok(());
            }
            self.pending.clear();
            cut(decoder, cached)?;
        }
        let start = Instant::now();
        // Room for the token and its drafts.
        let room = decoder.capacity().saturating_sub(cached.len() + 1);
        let cost = if self.most == 0 || self.counts.ended || self.plain.tokens < PLAIN || room == 0 {
            logits.clear();
            logits.extend_from_slice(decoder.forward(&[token], Want::Last)?);
            &mut self.plain
        } else {
            self.round(decoder, cached, token, self.most.min(room), logits)?;
            self.rounds += 1;
            &mut self.drafted
        };
        cost.tokens += 1;
        cost.ms += start.elapsed().as_secs_f64() * 1e3;
        if self.rounds >= ROUNDS && self.pending.is_empty() {
            self.counts.ended |= self.drafted.each() > self.plain.each();
        }
        Ok(())
    }

    /// Drafts `count` tokens after `token`, and computes the logits after it and after each of them.
    fn round(
        &mut self,
        decoder: &mut Decoder,
        cached: &[u32],
        token: u32,
        count: usize,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let mut tokens = vec![token];
        decoder.set_experts(&[1])?;
        let drafted: Result<()> = (0..count).try_for_each(|_| {
            let last = *tokens.last().unwrap_or(&token);
            tokens.push(likeliest(decoder.forward(&[last], Want::Last)?));
            Ok(())
        });
        decoder.set_experts(&self.experts)?;
        drafted?;
        cut(decoder, cached)?;
        let rows = decoder.forward(&tokens, Want::All)?;
        let mut rows = rows.chunks_exact(rows.len() / tokens.len());
        logits.clear();
        logits.extend_from_slice(rows.next().unwrap_or_default());
        self.pending = tokens[1..].iter().copied().zip(rows.map(<[f32]>::to_vec)).collect();
        self.counts.drafted += count;
        Ok(())
    }
}

/// Cuts a decoder back to the `cached` tokens; states that can only be cut further back are computed again.
fn cut(decoder: &mut Decoder, cached: &[u32]) -> Result<()> {
    let position = decoder.rewind(cached.len());
    if position < cached.len() {
        decoder.forward(&cached[position..], Want::Nothing)?;
    }
    Ok(())
}

/// The index of the largest, the first one among equals.
fn likeliest(logits: &[f32]) -> u32 {
    let better = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (0..logits.len()).fold(0, better) as u32
}
