//! Multiplies a matrix of zeros as often as told, for counting instructions: `product KERNEL TOKENS TIMES`.
//!
//! `tests/instructions.mjs` runs it; what a kernel does depends on no value. Without arguments it lists the
//! kernels that this CPU can run.

use ternlight_core::{Result, activations::Activations, kernel::available, matrix::Matrix, pool::Serial};

const ROWS: usize = 256;
const COLS: usize = 2560;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, tokens, times] = &args[..] else {
        available().for_each(|kernel| println!("{}", kernel.name));
        return Ok(());
    };
    let kernel = available().find(|kernel| kernel.name == name).expect("a kernel that this CPU can run");
    let (tokens, times): (usize, usize) = (tokens.parse().expect("tokens"), times.parse().expect("times"));
    let matrix = Matrix::new(kernel, ROWS, COLS)?;
    let mut x = Activations::new(kernel.isa());
    x.set(tokens, COLS).fill(1.0);
    x.prepare(matrix.input())?;
    let mut y = vec![0.0; ROWS * tokens];
    for _ in 0..times {
        matrix.mul(&x, &mut y, &Serial);
    }
    Ok(())
}
