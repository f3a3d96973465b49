//! Each kernel by itself, on a matrix that stays in the second-level cache.

use std::time::Instant;

use serde::Serialize;
use ternlight_core::kernel::{self, ReadOrder};

use crate::{
    Result,
    console::{Console, DIM, STRONG},
    interrupt,
};

#[derive(Serialize)]
struct KernelReport {
    kernel: &'static str,
    layout: &'static str,
    bits_per_weight: f64,
    decode_gmac_s: f64,
    decode_gb_s: f64,
    prefill_gmac_s: f64,
}

/// Times each kernel that `wanted` names, or `auto` all of this machine.
///
/// # Errors
/// `bad-option` for an unknown name.
pub fn kernels(wanted: &str, console: &Console) -> Result<()> {
    // The query projection of the 2B shape: small enough to stay in the second-level cache, so that
    // kernels are compared and not memories.
    const ROWS: usize = 640;
    const COLS: usize = 2560;
    const TOKENS: usize = 48;
    let clock = Instant::now();
    let clock = || clock.elapsed().as_secs_f64();
    // An unknown name is an error, not an empty table.
    let isa = kernel::isa(wanted)?;
    let is_wanted = |k: &&kernel::Kernel| wanted == "auto" || k.isa() == isa;
    let mut table = Vec::new();
    for k in kernel::available().filter(is_wanted) {
        interrupt::check()?;
        let one = kernel::time_kernel(k, [ROWS, COLS, 1], ReadOrder::DEFAULT, &clock)?;
        let many = kernel::time_kernel(k, [ROWS, COLS, TOKENS], ReadOrder::DEFAULT, &clock)?;
        let macs = (ROWS * COLS) as f64;
        let layout = k.layout;
        let bytes = ROWS.div_ceil(layout.panel) * (layout.panel_bytes)(COLS.next_multiple_of(layout.step));
        table.push(KernelReport {
            kernel: k.name,
            layout: layout.name,
            bits_per_weight: 8.0 * bytes as f64 / macs,
            decode_gmac_s: macs / one / 1e9,
            decode_gb_s: bytes as f64 / one / 1e9,
            prefill_gmac_s: macs * TOKENS as f64 / many / 1e9,
        });
    }
    console.result(&table, || {
        crate::say!(
            "{STRONG}{:<22} {:<18} {:>6} {:>14} {:>11} {:>15}{STRONG:#}",
            "kernel",
            "layout",
            "bits",
            "decode GMAC/s",
            "GB/s",
            "prefill GMAC/s"
        );
        for k in &table {
            crate::say!(
                "{:<22} {:<18} {:>6.2} {:>14.1} {:>11.1} {:>15.1}",
                k.kernel,
                k.layout,
                k.bits_per_weight,
                k.decode_gmac_s,
                k.decode_gb_s,
                k.prefill_gmac_s
            );
        }
        crate::say!(
            "{DIM}one thread, {ROWS} × {COLS} matrix in cache, decode 1 token, prefill {TOKENS} tokens{DIM:#}"
        );
    });
    Ok(())
}
