//! Speed of every kernel that this CPU can run: `cargo run --release --example kernels [FILTER]`.
//!
//! One thread. Decode is one token over a matrix larger than the caches (GB/s of packed weights);
//! prefill is a block of 64 tokens over a matrix that fits them (GMAC/s).

use cpu_time::ThreadTime;
use ternlight_core::{
    Result,
    kernel::{available, time_kernel},
    matrix::Matrix,
    simd::Isa,
};

fn main() -> Result<()> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    // Time on the CPU, so that other programs disturb less.
    let begin = ThreadTime::now();
    let clock = || begin.elapsed().as_secs_f64();
    println!(
        "{:20} {:>14} {:>14} {:>14} {:>14}",
        "kernel", "L2 GMAC/s", "decode GMAC/s", "decode GB/s", "prefill GMAC/s"
    );
    for kernel in available().filter(|k| k.name.contains(&filter) && k.isa() != Isa::SCALAR) {
        let speed = |rows: usize, cols: usize, tokens: usize| -> Result<f64> {
            Ok((rows * cols * tokens) as f64 / time_kernel(kernel, rows, cols, tokens, &clock)? / 1e9)
        };
        let bytes_per_weight = Matrix::new(kernel, 64, 2560)?.bytes() as f64 / (64.0 * 2560.0);
        // 160 MB of packed weights.
        let rows = (160e6 / 2560.0 / bytes_per_weight) as usize;
        let decode = speed(rows, 2560, 1)?;
        println!(
            "{:20} {:14.1} {:14.1} {:14.1} {:14.1}",
            kernel.name,
            speed(640, 2560, 1)?,
            decode,
            decode * bytes_per_weight,
            speed(1024, 2560, 64)?,
        );
    }
    Ok(())
}
