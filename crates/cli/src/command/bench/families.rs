//! Every family beside the dense ternary one: what a byte that is read costs.
//!
//! Models have about the same active bytes, more than caches hold unless the name says so. Each run of a family is
//! followed by one of the dense model, so that a machine that slows down slows both; the fastest of each count.

use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    super::{families::timed, shapes::Made},
    layer_clock::PassTimes,
    runner::{Runner, Work},
    synthetic::Maker,
};
use crate::{
    Result,
    console::{self, DIM, STRONG},
    failure::{Failure, USAGE},
    terminal,
};

#[derive(Serialize)]
struct Row {
    family: &'static str,
    /// What a token reads: weights, states, keys and values.
    bytes_per_token: u64,
    decode_tok_s: f64,
    /// Of the dense ternary model, in the same minute.
    dense_tok_s: f64,
    decode_gb_s: f64,
    ns_per_byte: f64,
    /// Time per byte over that of the dense ternary model.
    relative: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    passes: Option<PassTimes>,
}

/// Times the families of these names, or all, and prints a table.
///
/// # Errors
/// `usage` for a name that no family has; those of loader and decoder.
pub fn table(names: &[String], work: Work, repeat: u32, maker: &Maker<'_>) -> Result<()> {
    let known: Vec<&str> = timed::OTHERS.iter().map(|(name, _)| *name).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let text = format!(
            "--families: no family '{}'; there are: {}",
            terminal::line(format_args!("{name}")),
            known.join(", ")
        );
        return Err(Failure::new(USAGE, text));
    }
    let runner = |make: fn() -> Made| Runner::new(maker.make(make())?.1, work, maker.pool.clone());
    let run = |runner: &mut Runner, bar: &ProgressBar| runner.run(bar);
    let mut dense = runner(timed::DENSE.1)?;
    let total = u64::from(repeat) * u64::from(work.prompt + work.generate);
    let bar = maker.console.count_bar(timed::DENSE.0, total);
    (0..repeat).try_for_each(|_| run(&mut dense, &bar))?;
    let mut rows = vec![Row::new(timed::DENSE.0, dense.decode.tok_s, dense.decode.tok_s)];
    for &(family, make) in timed::OTHERS {
        if !names.is_empty() && !names.iter().any(|name| name == family) {
            continue;
        }
        let mut runner = runner(make)?;
        let bar = maker.console.count_bar(family, 2 * total);
        // Only the dense model's runs of this minute count.
        dense.forget();
        for _ in 0..repeat {
            run(&mut runner, &bar)?;
            run(&mut dense, &bar)?;
        }
        bar.finish_and_clear();
        let mut row = Row::new(family, runner.decode.tok_s, dense.decode.tok_s);
        row.bytes_per_token = runner.active()?.bytes();
        if runner.model.spec.program.body.is_some() {
            row.passes = runner.time_products()?.1;
        }
        rows.push(row);
    }
    // Last, because zeros are counted, which takes time.
    let dense = dense.active()?.bytes();
    rows[0].bytes_per_token = dense;
    rows.iter_mut().for_each(|row| row.compare(dense));
    maker.console.result(&rows, || print(&rows));
    Ok(())
}

impl Row {
    fn new(family: &'static str, decode_tok_s: f64, dense_tok_s: f64) -> Self {
        Self {
            family,
            bytes_per_token: 0,
            decode_tok_s,
            dense_tok_s,
            decode_gb_s: 0.0,
            ns_per_byte: 0.0,
            relative: 0.0,
            passes: None,
        }
    }

    /// Fills in what follows from the bytes that a token of each reads.
    fn compare(&mut self, dense_bytes: u64) {
        let ns_per_byte = |tok_s: f64, bytes: u64| 1e9 / tok_s / bytes as f64;
        self.ns_per_byte = ns_per_byte(self.decode_tok_s, self.bytes_per_token);
        self.decode_gb_s = 1.0 / self.ns_per_byte;
        self.relative = self.ns_per_byte / ns_per_byte(self.dense_tok_s, dense_bytes);
    }
}

fn print(rows: &[Row]) {
    crate::say!(
        "{STRONG}{:<18} {:>10} {:>12} {:>8} {:>9} {:>9}{STRONG:#}",
        "family",
        "read",
        "decode tok/s",
        "GB/s",
        "ns/byte",
        "relative"
    );
    for row in rows {
        let read = console::bytes(row.bytes_per_token);
        crate::say!(
            "{:<18} {read:>10} {:>12.1} {:>8.2} {:>9.4} {:>9.2}",
            row.family,
            row.decode_tok_s,
            row.decode_gb_s,
            row.ns_per_byte,
            row.relative
        );
        if let Some(passes) = &row.passes {
            crate::say!("{DIM}  {}{DIM:#}", passes.text());
        }
    }
    crate::say!(
        "{DIM}read: of weights, states, keys and values, per generated token; relative: ns/byte over dense ternary's{DIM:#}"
    );
}
