//! How long each kind of linear layer takes, and what sparse layers leave unread.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde::Serialize;
use ternlight_core::{
    kernel::Skips,
    matrix::Matrix,
    model::{Model, Sparsity, tensor_names::LinearRole},
    pool::Pool,
    tune::{Choice, Forced, Plan, Product},
};

/// A pool that notes how long the products of each matrix take.
pub struct LayerClock {
    pool: Arc<dyn Pool>,
    seconds: Mutex<BTreeMap<usize, f64>>,
}

/// The time of all layers of a kind.
#[derive(Debug, Serialize)]
pub struct LayerTime {
    layer: &'static str,
    ms_per_token: f64,
}

impl LayerClock {
    pub fn new(pool: Arc<dyn Pool>) -> Self {
        Self { pool, seconds: Mutex::default() }
    }

    /// Begins anew.
    pub fn reset(&self) {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The time of a token's products since [`LayerClock::reset`], after so many tokens; layers of experts are left out.
    pub fn times(&self, model: &Model, tokens: u32) -> Vec<LayerTime> {
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |matrix: &Matrix| seconds.get(&std::ptr::from_ref(matrix).addr()).copied().unwrap_or(0.0);
        let time =
            |layer, seconds: f64| LayerTime { layer, ms_per_token: 1e3 * seconds / f64::from(tokens.max(1)) };
        let mut times = Vec::new();
        for role in LinearRole::ALL {
            // Blocks that are the same share their matrices, whose time is that of all.
            let mut matrices: Vec<&Matrix> =
                model.blocks.iter().filter_map(|block| Some(&*block.linear(role)?.matrix)).collect();
            matrices.sort_by_key(|matrix| std::ptr::from_ref(*matrix).addr());
            matrices.dedup_by_key(|matrix| std::ptr::from_ref(*matrix).addr());
            if !matrices.is_empty() {
                times.push(time(name(role), matrices.into_iter().map(of).sum()));
            }
        }
        times.push(time("head", of(model.head())));
        times
    }
}

/// What a kind of layer is called in a report.
const fn name(role: LinearRole) -> &'static str {
    match role {
        LinearRole::Q => "q",
        LinearRole::K => "k",
        LinearRole::V => "v",
        LinearRole::MixerGate => "mixer gate",
        LinearRole::O => "o",
        LinearRole::Gate => "gate",
        LinearRole::Up => "up",
        LinearRole::Down => "down",
    }
}

impl LayerTime {
    pub fn text(&self) -> String {
        format!("{} {:.2}", self.layer, self.ms_per_token)
    }
}

impl Pool for LayerClock {
    fn width(&self) -> usize {
        self.pool.width()
    }

    fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        self.pool.run(tasks, f);
    }

    fn spawn(&self, job: Box<dyn FnOnce() + Send>) {
        self.pool.spawn(job);
    }

    fn tuned(&self, product: &Product, run: &mut dyn FnMut(&Plan)) {
        let start = Instant::now();
        self.pool.tuned(product, run);
        let seconds = start.elapsed().as_secs_f64();
        *self.seconds.lock().unwrap_or_else(PoisonError::into_inner).entry(product.matrix).or_default() +=
            seconds;
    }

    fn force(&self, forced: Forced) {
        self.pool.force(forced);
    }

    fn choices(&self) -> Vec<Choice> {
        self.pool.choices()
    }

    fn is_broken(&self) -> bool {
        self.pool.is_broken()
    }
}

/// Bytes of output, up and down projections that a token with these zeros does not read.
pub fn skipped_bytes(model: &Model, sparsity: &Sparsity) -> u64 {
    let shares = [
        (LinearRole::O, Skips::Columns, sparsity.output),
        (LinearRole::Up, Skips::Rows, sparsity.gate),
        (LinearRole::Down, Skips::Columns, sparsity.down),
    ];
    let program = &model.spec.program;
    let runs = program.runs(program.times()).map(|run| &model.blocks[run.block]);
    let of_block = |block: &ternlight_core::model::BlockWeights| -> f64 {
        let skipped = shares.iter().filter_map(|&(role, skips, zeros)| {
            let matrix = &block.linear(role)?.matrix;
            (matrix.skips() == skips).then(|| matrix.bytes() as f64 * zeros.share())
        });
        skipped.sum()
    };
    runs.map(of_block).sum::<f64>() as u64
}
