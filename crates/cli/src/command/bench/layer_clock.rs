//! How long each kind of linear layer takes, and each pass through a loop.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use serde::Serialize;
use ternlight_core::{
    matrix::Matrix,
    model::{Model, tensor_names::LinearRole},
    pool::Pool,
    tune::{Choice, Forced, Plan, Product},
};

/// A pool that can note how long the products of each matrix take.
pub struct LayerClock {
    pool: Arc<dyn Pool>,
    runs: AtomicBool,
    times: Mutex<Times>,
}

/// What was noted, by the address of the matrix.
#[derive(Default)]
struct Times {
    tokens: u32,
    /// The products of this token so far.
    products: BTreeMap<usize, usize>,
    /// Of a token's first product, its second one, …: seconds of all tokens, and how many there were.
    all: BTreeMap<(usize, usize), (f64, u32)>,
}

impl Times {
    /// Seconds and number of the products of these matrices, for those places in a token that `wanted` holds for.
    fn of(&self, matrices: &[usize], wanted: impl Fn(usize) -> bool) -> (f64, f64) {
        let some = self.all.iter().filter(|((matrix, nth), _)| matrices.contains(matrix) && wanted(*nth));
        some.fold((0.0, 0.0), |(seconds, count), (_, (s, n))| (seconds + s, count + f64::from(*n)))
    }
}

/// The time of all layers of a kind.
#[derive(Debug, Serialize)]
pub struct LayerTime {
    layer: &'static str,
    ms_per_token: f64,
}

/// The time of the products of passes through a loop, which all read the same weights: the first one may find them in
/// memory, later ones in a cache.
#[derive(Debug, Serialize)]
pub struct PassTimes {
    /// Weights of a pass.
    pub bytes: u64,
    /// Later passes per token.
    pub later: f64,
    pub first_ms: f64,
    pub first_gb_s: f64,
    /// Each of the later passes.
    pub later_ms: f64,
    pub later_gb_s: f64,
}

impl LayerClock {
    pub fn new(pool: Arc<dyn Pool>) -> Self {
        Self { pool, runs: AtomicBool::new(false), times: Mutex::default() }
    }

    /// From now on products are timed: they are those of another token.
    pub fn token(&self) {
        let mut times = self.times();
        times.tokens += 1;
        times.products.clear();
        self.runs.store(true, Ordering::Relaxed);
    }

    /// Nothing is timed any more.
    pub fn stop(&self) {
        self.runs.store(false, Ordering::Relaxed);
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of a token's products; layers of experts are left out.
    pub fn layers(&self, model: &Model) -> Vec<LayerTime> {
        let times = self.times();
        let time = |layer, matrices: &[usize]| {
            let (seconds, _) = times.of(matrices, |_| true);
            LayerTime { layer, ms_per_token: 1e3 * seconds / f64::from(times.tokens.max(1)) }
        };
        let mut layers = Vec::new();
        for role in LinearRole::ALL {
            let linears = model.blocks.iter().filter_map(|block| block.linear(role));
            let matrices = distinct(linears.map(|linear| &*linear.matrix));
            if !matrices.is_empty() {
                layers.push(time(name(role), &matrices));
            }
        }
        layers.push(time("head", &distinct([model.head()].into_iter())));
        layers
    }

    /// The times of the passes through a model's loop; none where a token takes no second one.
    pub fn passes(&self, model: &Model) -> Option<PassTimes> {
        let times = self.times();
        let body = model.spec.program.body.as_ref()?;
        let blocks = body.runs.iter().map(|run| &model.blocks[run.block]);
        let linears =
            blocks.flat_map(|block| LinearRole::ALL.into_iter().filter_map(|role| block.linear(role)));
        let matrices: Vec<&Matrix> = linears.map(|linear| &*linear.matrix).collect();
        let bytes: usize = matrices.iter().map(|matrix| matrix.bytes()).sum();
        let own = distinct(matrices.iter().copied());
        // Of matrices that several blocks share, no product can be told to be of a pass.
        if own.len() < matrices.len() || times.tokens == 0 {
            return None;
        }
        let (first, _) = times.of(&own, |nth| nth == 0);
        let (later, count) = times.of(&own, |nth| nth > 0);
        if count == 0.0 {
            return None;
        }
        // Tokens may take different numbers of passes.
        let passes = count / own.len() as f64;
        let (first_ms, later_ms) = (1e3 * first / f64::from(times.tokens), 1e3 * later / passes);
        let later = passes / f64::from(times.tokens);
        let gb_s = |ms: f64| bytes as f64 / ms / 1e6;
        let (first_gb_s, later_gb_s) = (gb_s(first_ms), gb_s(later_ms));
        Some(PassTimes { bytes: bytes as u64, later, first_ms, first_gb_s, later_ms, later_gb_s })
    }
}

/// The addresses of matrices, each once: blocks that are the same share theirs.
fn distinct<'a>(matrices: impl Iterator<Item = &'a Matrix>) -> Vec<usize> {
    let mut places: Vec<usize> = matrices.map(|matrix| std::ptr::from_ref(matrix).addr()).collect();
    places.sort_unstable();
    places.dedup();
    places
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

impl PassTimes {
    pub fn text(&self) -> String {
        let Self { bytes, first_ms, first_gb_s, later_ms, later_gb_s, .. } = *self;
        let bytes = crate::console::bytes(bytes);
        format!(
            "{bytes} of weights a pass: the first {first_ms:.2} ms ({first_gb_s:.1} GB/s), each later one \
             {later_ms:.2} ms ({later_gb_s:.1} GB/s)"
        )
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
        if !self.runs.load(Ordering::Relaxed) {
            return self.pool.tuned(product, run);
        }
        let start = Instant::now();
        self.pool.tuned(product, run);
        let seconds = start.elapsed().as_secs_f64();
        let mut times = self.times();
        let nth = times.products.entry(product.matrix).or_default();
        let key = (product.matrix, *nth);
        *nth += 1;
        let (sum, count) = times.all.entry(key).or_default();
        *sum += seconds;
        *count += 1;
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
