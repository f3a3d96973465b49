//! Choices that depend on the machine, made on the machine.
//!
//! One product can be computed in several ways that give the same bits: by kernels that read the same layout, in
//! several read orders, cut into more or fewer tasks. Which is fastest depends on the processor, its memory and
//! the number of threads, so the first tokens alternate between the candidates and the fastest is kept, for each
//! form of weights, each phase (one token, or many) and each size of matrix. Nothing is measured beside the work.
//!
//! [`Race`] picks the fastest of some candidates, [`Tuner`] holds one race after the other per kind of product. Both
//! are told how long things took: the clock belongs to the host (see [`Pool::tuned`](crate::pool::Pool::tuned)).

use alloc::{vec, vec::Vec};

use crate::{
    format::Form,
    kernel::{self, Kernel, ReadOrder, Skips},
};

/// A product of packed weights and the activations of some tokens, as far as its speed depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// The kernel that the matrix was packed for.
    pub kernel: &'static Kernel,
    /// Which matrix it is of: its address.
    pub matrix: usize,
    /// Bytes of weights.
    pub bytes: usize,
    /// Multiply-adds, all tokens together.
    pub work: usize,
    /// Row blocks: there are no more tasks than these.
    pub panels: usize,
    /// Tokens.
    pub tokens: usize,
    /// Threads.
    pub width: usize,
}

/// One way to compute a [`Product`].
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// A kernel for the layout of the matrix.
    pub kernel: &'static Kernel,
    /// How one token reads the weights.
    pub order: ReadOrder,
    /// How many tasks share the rows.
    pub tasks: usize,
}

/// Multiply-adds below which a task costs more than it saves, where nothing is measured.
const TASK: usize = 1 << 16;
/// Tasks per thread, where nothing is measured: a thread that is held up does not hold up all.
const TASKS: usize = 4;

impl Product {
    /// How it is computed where nothing is measured.
    pub fn plan(&self) -> Plan {
        let tasks = if self.width == 1 { 1 } else { (self.work / TASK).clamp(1, TASKS * self.width) };
        Plan { kernel: self.kernel, order: ReadOrder::DEFAULT, tasks }
    }

    fn key(&self) -> Option<Key> {
        let phase = match self.tokens {
            1 => Phase::Decode,
            MANY.. => Phase::Prefill,
            _ => return None,
        };
        Some(Key {
            form: self.kernel.layout.form,
            layout: self.kernel.layout.name,
            phase,
            size: self.bytes.max(1).ilog2() / 2,
        })
    }
}

/// Tokens from which on a product counts as [`Phase::Prefill`].
const MANY: usize = 16;

/// What the weights wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// One token: memory.
    Decode,
    /// Many tokens: multiplication.
    Prefill,
}

/// Products that share a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    form: Form,
    layout: &'static str,
    phase: Phase,
    /// log₄ of the bytes.
    size: u32,
}

/// What is not to be measured but given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forced {
    /// Only the kernel that was asked for, although others read the same layout.
    pub kernel: bool,
    /// This read order.
    pub order: Option<ReadOrder>,
    /// So many tasks, as far as there are row blocks.
    pub tasks: Option<usize>,
}

/// A choice that was made, or is being made.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The form of the weights.
    pub form: Form,
    /// One token or many.
    pub phase: Phase,
    /// Bytes of the largest such matrix.
    pub bytes: usize,
    /// The best plan so far.
    pub plan: Plan,
    /// Whether all candidates were tried.
    pub settled: bool,
}

/// What a product is to be computed by, and whose time is to be reported to [`Tuner::record`].
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// How to compute.
    pub plan: Plan,
    /// Which candidate of which product is measured, if any.
    measured: Option<(usize, usize, usize)>,
}

impl Trial {
    /// Whether the time matters.
    pub fn is_measured(&self) -> bool {
        self.measured.is_some()
    }
}

/// The choices of one machine with one number of threads.
#[derive(Debug, Default)]
pub struct Tuner {
    forced: Forced,
    entries: Vec<(Key, Entry)>,
}

#[derive(Debug)]
struct Entry {
    product: Product,
    /// The best of what was tried.
    plan: Plan,
    /// What is varied now, and the plans that compete.
    knob: Option<Knob>,
    plans: Vec<Plan>,
    race: Race,
}

/// What a plan consists of, in the order in which it is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knob {
    Kernel,
    Order,
    Tasks,
}

/// Read orders of one token on trial.
pub const ORDERS: [ReadOrder; 5] = [
    ReadOrder::DEFAULT,
    ReadOrder { streams: 8, ..ReadOrder::DEFAULT },
    ReadOrder { streams: 4, ..ReadOrder::DEFAULT },
    ReadOrder { prefetch: 1024, ..ReadOrder::DEFAULT },
    ReadOrder { prefetch: 16384, ..ReadOrder::DEFAULT },
];

/// Stretches on trial.
const STRETCHES: [ReadOrder; 3] = [
    ReadOrder::DEFAULT,
    ReadOrder { stretch: 64 << 10, ..ReadOrder::DEFAULT },
    ReadOrder { stretch: 1 << 20, ..ReadOrder::DEFAULT },
];

impl Entry {
    fn new(product: &Product, forced: &Forced) -> Self {
        let mut plan = product.plan();
        plan.order = forced.order.unwrap_or(plan.order);
        plan.tasks = forced.tasks.unwrap_or(plan.tasks);
        let mut entry = Self {
            product: *product,
            plan,
            knob: Some(Knob::Kernel),
            plans: vec![plan],
            race: Race::new(1, 0),
        };
        entry.advance(forced);
        entry
    }

    /// The plans that differ from the best one by `knob`, itself first.
    fn rivals(&self, knob: Knob, forced: &Forced) -> Vec<Plan> {
        let (product, best) = (&self.product, self.plan);
        let mut plans = vec![best];
        match knob {
            Knob::Kernel if !forced.kernel => {
                plans.extend(kernel::rivals(best.kernel).map(|kernel| Plan { kernel, ..best }));
            }
            Knob::Order if forced.order.is_none() && product.tokens > 1 => {
                let form = product.kernel.layout.form;
                let others =
                    STRETCHES.into_iter().filter(|order| *order != best.order && form == Form::Ternary);
                // A tile of columns is a stretch.
                let others = others.filter(|_| product.kernel.layout.skips != Skips::Columns);
                plans.extend(others.map(|order| Plan { order, ..best }));
            }
            Knob::Order if forced.order.is_none() => {
                let others = ORDERS.into_iter().filter(|order| *order != best.order);
                // What skips weights reads one stream.
                let one = product.kernel.layout.skips != Skips::Nothing;
                let others = others.filter(|order| !one || order.streams == 1);
                // Where there is no prefetching, its distance is no choice.
                let others = others.filter(|order| {
                    !cfg!(target_family = "wasm") || order.prefetch == ReadOrder::DEFAULT.prefetch
                });
                plans.extend(others.map(|order| Plan { order, ..best }));
            }
            Knob::Tasks if forced.tasks.is_none() && product.width > 1 => {
                // What takes longer by far than waking threads does is never left to one of them.
                let one = (product.work < LONG).then_some(1);
                let counts = one.into_iter().chain([product.width, TASKS * product.width]);
                let counts = counts.filter(|&tasks| tasks != best.tasks && tasks <= product.panels);
                plans.extend(counts.map(|tasks| Plan { tasks, ..best }));
            }
            _ => {}
        }
        plans
    }

    /// Starts the next race that has more than one candidate, if there is any.
    fn advance(&mut self, forced: &Forced) {
        loop {
            let Some(knob) = self.knob else { return };
            let plans = self.rivals(knob, forced);
            if plans.len() > 1 {
                self.race = Race::new(plans.len(), self.product.bytes);
                self.plans = plans;
                return;
            }
            self.knob = next(knob);
        }
    }
}

fn next(knob: Knob) -> Option<Knob> {
    match knob {
        Knob::Kernel => Some(Knob::Order),
        Knob::Order => Some(Knob::Tasks),
        Knob::Tasks => None,
    }
}

impl Tuner {
    /// Fixes what is not to be measured, and forgets what was if that is another thing than before.
    pub fn force(&mut self, forced: Forced) {
        if self.forced != forced {
            *self = Self { forced, entries: Vec::new() };
        }
    }

    /// How to compute `product` this time.
    pub fn plan(&mut self, product: &Product) -> Trial {
        let Some(key) = product.key() else {
            return Trial { plan: self.fitted(product.plan(), product), measured: None };
        };
        let at = match self.entries.iter().position(|(known, _)| *known == key) {
            Some(at) => at,
            None => {
                self.entries.push((key, Entry::new(product, &self.forced)));
                self.entries.len() - 1
            }
        };
        let entry = &mut self.entries[at].1;
        entry.product.bytes = entry.product.bytes.max(product.bytes);
        let (plan, measured) = match entry.knob {
            None => (entry.plan, None),
            Some(knob) => {
                let candidate = entry.race.next();
                (entry.plans[candidate], Some((at, knob as usize, candidate)))
            }
        };
        Trial { plan: self.fitted(plan, product), measured }
    }

    /// A plan of another product of the same kind.
    fn fitted(&self, plan: Plan, product: &Product) -> Plan {
        let order = self.forced.order.unwrap_or(plan.order);
        let tasks = self.forced.tasks.unwrap_or(plan.tasks).clamp(1, product.panels.max(1));
        Plan { order, tasks, ..plan }
    }

    /// Takes in that `trial`, of `product`, took so many seconds.
    pub fn record(&mut self, trial: &Trial, product: &Product, seconds: f64) {
        let Some((at, knob, candidate)) = trial.measured else { return };
        let Some((_, entry)) = self.entries.get_mut(at) else { return };
        // Another session may have ended the race meanwhile.
        if entry.knob.map(|knob| knob as usize) != Some(knob) {
            return;
        }
        entry.race.record(candidate, product.work as f64, product.bytes, seconds);
        if let Some(winner) = entry.race.winner() {
            entry.plan = entry.plans[winner];
            entry.knob = entry.knob.and_then(next);
            entry.advance(&self.forced);
        }
    }

    /// What was chosen so far.
    pub fn choices(&self) -> impl Iterator<Item = Choice> {
        self.entries.iter().map(|(key, entry)| Choice {
            form: key.form,
            phase: key.phase,
            bytes: entry.product.bytes,
            plan: entry.plan,
            settled: entry.knob.is_none(),
        })
    }
}

/// Bytes of a matrix that takes milliseconds: one product of it says enough.
const LARGE: usize = 16 << 20;
/// Multiply-adds that take one thread longer than waking the others.
const LONG: usize = 1 << 22;
/// Bytes that a sample reads, so that it takes many ticks of even a browser's coarse clock.
const SAMPLE: usize = 16 << 20;
/// Rounds in which every candidate left is tried once.
const ROUNDS: usize = 5;
/// Rounds for a matrix that is [`LARGE`], of which there are few in a token.
const FEW_ROUNDS: usize = 3;
/// A candidate this much slower than the best is not tried again, after half of the rounds.
const HOPELESS: f64 = 1.25;
/// The first candidate keeps its place unless another is faster by more than this: less is noise.
const MARGIN: f64 = 0.98;

/// Finds the fastest of some candidates by trying them in turn.
///
/// Every round tries all that are left, in another order each time, so that none is favoured by what runs
/// before it. The second smallest sample of each decides: neither one that another program disturbed nor a lucky
/// one does any harm.
#[derive(Debug)]
pub struct Race {
    /// Seconds per multiply-add, of each candidate; `None`: out of the race.
    samples: Vec<Option<Vec<f64>>>,
    rounds: usize,
    /// The sample in progress: its work, bytes and seconds.
    sample: (f64, usize, f64),
    /// The order of this round, and how many of it are done.
    round: Vec<usize>,
    done: usize,
    played: usize,
}

impl Race {
    /// A race of `candidates` whose products read `bytes` each.
    pub fn new(candidates: usize, bytes: usize) -> Self {
        let rounds = if bytes >= LARGE { FEW_ROUNDS } else { ROUNDS };
        let samples = vec![Some(Vec::new()); candidates];
        let round = (0..candidates).collect();
        Self { samples, rounds, sample: (0.0, 0, 0.0), round, done: 0, played: 0 }
    }

    /// The candidate to be tried now.
    pub fn next(&self) -> usize {
        self.round.get(self.done).copied().unwrap_or(0)
    }

    /// Takes in a product of `candidate`; of any but the [`next`](Self::next) one it is ignored.
    pub fn record(&mut self, candidate: usize, work: f64, bytes: usize, seconds: f64) {
        if candidate != self.next() || self.winner().is_some() {
            return;
        }
        self.sample = (self.sample.0 + work, self.sample.1 + bytes, self.sample.2 + seconds);
        if self.sample.1 < SAMPLE {
            return;
        }
        if let Some(samples) = &mut self.samples[candidate] {
            samples.push(self.sample.2 / self.sample.0);
        }
        self.sample = (0.0, 0, 0.0);
        self.done += 1;
        if self.done == self.round.len() {
            self.end_round();
        }
    }

    fn end_round(&mut self) {
        self.played += 1;
        if self.played > self.rounds / 2 {
            let least = |samples: &Vec<f64>| samples.iter().copied().fold(f64::INFINITY, f64::min);
            let best = self.samples.iter().flatten().map(least).fold(f64::INFINITY, f64::min);
            for samples in &mut self.samples {
                *samples = samples.take().filter(|samples| least(samples) <= HOPELESS * best);
            }
        }
        self.round = (0..self.samples.len()).filter(|&i| self.samples[i].is_some()).collect();
        // A fixed shuffle: rotated and, every other time, reversed.
        let len = self.round.len().max(1);
        self.round.rotate_left(self.played * 2 % len);
        if self.played % 2 == 1 {
            self.round.reverse();
        }
        self.done = 0;
    }

    /// The fastest, once the race is over.
    pub fn winner(&self) -> Option<usize> {
        let left = self.samples.iter().flatten().count();
        if self.played < self.rounds && left > 1 {
            return None;
        }
        let seconds = self.samples.iter().map(|s| s.as_ref().map_or(f64::INFINITY, |s| second_least(s)));
        let mut best = (0, f64::INFINITY);
        for (i, seconds) in seconds.enumerate() {
            if i == 0 || seconds < best.1 * MARGIN {
                best = (i, seconds);
            }
        }
        Some(best.0)
    }
}

/// The second smallest sample, or the only one.
fn second_least(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(1).or(sorted.first()).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests;
