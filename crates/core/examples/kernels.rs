//! Speed of every kernel that this CPU can run: `cargo run --release --example kernels [FILTER]`.
//!
//! One thread. L2 and prefill (64 tokens) are over matrices that fit the caches, in GMAC/s; decode is one token
//! over a matrix larger than the caches, in GB/s of packed weights, in each read order (streams:prefetch).

use std::time::Instant;

use ternlight_core::{
    Result,
    kernel::{available, time_kernel},
    matrix::Matrix,
    simd::Isa,
    tune::ORDERS,
};

fn main() -> Result<()> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let begin = Instant::now();
    let clock = || begin.elapsed().as_secs_f64();
    print!("{:20} {:>8} {:>8}", "kernel", "L2", "prefill");
    ORDERS.iter().for_each(|order| print!(" {:>8}", format!("{}:{}", order.streams, order.prefetch)));
    println!();
    for kernel in available().filter(|k| k.name.contains(&filter) && k.isa() != Isa::SCALAR) {
        let seconds =
            |rows: usize, tokens: usize, order| time_kernel(kernel, [rows, 2560, tokens], order, &clock);
        let speed = |rows: usize, tokens: usize| -> Result<f64> {
            Ok((rows * 2560 * tokens) as f64 / seconds(rows, tokens, ORDERS[0])? / 1e9)
        };
        print!("{:20} {:8.1} {:8.1}", kernel.name, speed(640, 1)?, speed(1024, 64)?);
        let bytes_per_row = Matrix::new(kernel, 64, 2560)?.bytes() as f64 / 64.0;
        let rows = (320e6 / bytes_per_row) as usize;
        for order in ORDERS {
            print!(" {:8.1}", rows as f64 * bytes_per_row / seconds(rows, 1, order)? / 1e9);
        }
        println!();
    }
    Ok(())
}
