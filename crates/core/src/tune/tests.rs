use super::*;
use crate::{kernel::isa, pool::Pool};
use std::sync::Mutex;

/// A fixed sequence of numbers in 0…1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }
}

/// Runs a race between candidates of known speed, whose times are disturbed by `noise`; gives the winner and
/// how often each was tried.
fn race(seconds: &[f64], bytes: usize, mut noise: impl FnMut() -> f64) -> (usize, Vec<usize>) {
    let mut race = Race::new(seconds.len(), bytes);
    let mut tries = vec![0; seconds.len()];
    loop {
        if let Some(winner) = race.winner() {
            return (winner, tries);
        }
        let candidate = race.next();
        tries[candidate] += 1;
        race.record(candidate, 1e6, bytes, seconds[candidate] * noise());
    }
}

#[test]
fn the_faster_of_two_wins_wherever_it_stands() {
    for bytes in [400 << 10, 4 << 20, 300 << 20] {
        for (seconds, want) in [([2.0, 1.0], 1), ([1.0, 2.0], 0), ([1.0, 0.9], 1), ([0.9, 1.0], 0)] {
            assert_eq!(race(&seconds, bytes, || 1.0).0, want, "{seconds:?}");
        }
    }
}

#[test]
fn noise_changes_nothing_that_is_larger_than_noise() {
    let mut noise = Noise(1);
    for _ in 0..200 {
        // Up to 8 % slower, and now and then the thread is put aside for a while.
        let mut disturbed = || {
            let pause = if noise.next() < 0.02 { 3.0 } else { 0.0 };
            1.0 + 0.08 * noise.next() + pause
        };
        assert_eq!(race(&[1.3, 1.0, 1.25, 1.3], 4 << 20, &mut disturbed).0, 1);
    }
}

#[test]
fn equals_leave_everything_as_it_is() {
    assert_eq!(race(&[1.0, 1.0, 1.0], 1 << 20, || 1.0).0, 0);
    assert_eq!(race(&[1.0, 0.99], 1 << 20, || 1.0).0, 0, "less than the margin");
}

#[test]
fn slow_candidates_are_dropped_early() {
    let (winner, tries) = race(&[2.0, 1.0, 1.1, 9.0], LARGE, || 1.0);
    assert_eq!(winner, 1);
    assert_eq!(tries, [2, FEW_ROUNDS, FEW_ROUNDS, 2]);
}

#[test]
fn all_take_turns_and_small_ones_are_timed_long_enough() {
    let bytes = 1 << 20;
    let (_, tries) = race(&[1.0, 1.0, 1.0], bytes, || 1.0);
    assert_eq!(tries, [ROUNDS * SAMPLE / bytes; 3]);
}

/// A host whose clock is a table of speeds.
struct Table {
    tuner: Mutex<Tuner>,
    width: usize,
    seconds: fn(&Plan) -> f64,
}

impl Pool for Table {
    fn width(&self) -> usize {
        self.width
    }

    fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(f);
    }

    fn tuned(&self, product: &Product, run: &mut dyn FnMut(&Plan)) {
        let mut tuner = self.tuner.lock().unwrap();
        let trial = tuner.plan(product);
        run(&trial.plan);
        tuner.record(&trial, product, (self.seconds)(&trial.plan));
    }
}

fn product(tokens: usize, bytes: usize, width: usize) -> Product {
    let kernel = kernel::select(Form::Ternary, isa("auto").unwrap()).unwrap();
    Product { kernel, matrix: 0, bytes, work: 4 * bytes * tokens, panels: 100, tokens, width }
}

/// The plan that a table of speeds leads to, and how many products it took.
fn settled(product: Product, forced: Forced, seconds: fn(&Plan) -> f64) -> (Plan, usize) {
    let tuner = Mutex::new(Tuner { forced, entries: Vec::new() });
    let pool = Table { tuner, width: product.width, seconds };
    for products in 0.. {
        let choice = pool.tuner.lock().unwrap().choices().next();
        if let Some(choice) = choice.filter(|choice| choice.settled) {
            return (choice.plan, products);
        }
        assert!(products < 2000, "it never ends");
        pool.tuned(&product, &mut |_| {});
    }
    unreachable!()
}

#[test]
fn each_knob_gets_its_fastest_setting() {
    let seconds = |plan: &Plan| {
        let order = if plan.order == ORDERS[2] { 1.0 } else { 1.5 };
        let stretch = if plan.order == STRETCHES[2] { 0.5 } else { 1.0 };
        order * stretch * if plan.tasks == 2 { 0.8 } else { 1.0 }
    };
    let (plan, products) = settled(product(1, 300 << 20, 2), Forced::default(), seconds);
    assert_eq!((plan.order.streams, plan.tasks), (4, 2));
    // Kernels that read the same layout are candidates too: one on x86, two on ARM.
    let layout = product(1, 1, 1).kernel.layout.name;
    let kernels = kernel::available().filter(|kernel| kernel.layout.name == layout).count();
    assert!(products < 16 + 4 * kernels, "{products} tokens, {kernels} kernels");
    let (plan, _) = settled(product(1, 4 << 20, 1), Forced::default(), seconds);
    assert_eq!((plan.order.streams, plan.tasks), (4, 1), "one thread has one task");
    let (plan, _) = settled(product(64, 4 << 20, 2), Forced::default(), seconds);
    assert_eq!((plan.order, plan.tasks), (STRETCHES[2], 2));
}

#[test]
fn what_is_forced_is_not_tried() {
    let order = ReadOrder { streams: 3, prefetch: 77, stretch: 1000 };
    let forced = Forced { kernel: true, order: Some(order), tasks: Some(5) };
    let mut tuner = Tuner { forced, entries: Vec::new() };
    for tokens in [1, 7, 64] {
        let trial = tuner.plan(&product(tokens, 1 << 20, 2));
        assert!(!trial.is_measured());
        assert_eq!((trial.plan.order, trial.plan.tasks), (order, 5));
    }
    assert!(tuner.choices().all(|choice| choice.settled));
    tuner.force(Forced::default());
    assert_eq!(tuner.choices().count(), 0);
}

/// Whatever is tried, the result is the same.
#[test]
fn trials_change_no_bit() {
    use crate::{activations::Activations, format::FormRow, matrix::Matrix, simd::Isa};
    for kernel in kernel::available().filter(|kernel| kernel.isa() != Isa::SCALAR) {
        let (rows, cols) = (700, 320);
        let mut matrix = Matrix::new(kernel, rows, cols).unwrap();
        let mut noise = Noise(7);
        for r in 0..rows {
            let codes = Vec::from_iter((0..cols).map(|_| (noise.next() * 2.99) as i8 - 1));
            let floats = Vec::from_iter(codes.iter().map(|&code| f32::from(code)));
            let row = match kernel.layout.form {
                Form::F16 | Form::BF16 | Form::F32 => FormRow { floats, ..FormRow::default() },
                Form::E4m3 | Form::E5m2 => FormRow { floats, scales: vec![0.5; 3], ..FormRow::default() },
                _ => FormRow { codes, scales: vec![0.5; 20], mins: vec![0.25; 20], ..FormRow::default() },
            };
            matrix.set_row(r, &row);
        }
        for tokens in [1, 17] {
            let mut x = Activations::new(kernel.isa());
            x.set(tokens, cols).iter_mut().for_each(|x| *x = noise.next() as f32 - 0.5);
            x.prepare(matrix.input()).unwrap();
            let product = |pool: &dyn Pool| {
                let mut y = vec![f32::NAN; rows * tokens];
                matrix.mul(&x, &mut y, pool);
                y.iter().map(|y| y.to_bits()).collect::<Vec<_>>()
            };
            let want = product(&crate::pool::Serial);
            let pool = Table { tuner: Mutex::default(), width: 2, seconds: |_| 1.0 };
            for _ in 0..30 {
                // Each product completes a sample, so that the next one is another candidate's.
                let before = pool.tuner.lock().unwrap().entries.len();
                assert!(product(&pool) == want, "{kernel:?}");
                if before > 0 {
                    pool.tuner.lock().unwrap().entries[0].1.race.sample.1 = SAMPLE;
                }
            }
        }
    }
}
