//! What people see: results on stdout; progress, remarks and errors on stderr.
//!
//! Invariant: with `--json`, stdout holds exactly one JSON value (and nothing after a failure).

use std::{fmt, io::IsTerminal, time::Duration};

use anstyle::AnsiColor;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::{
    failure::Failure,
    terminal::{self, Style},
};

/// Error labels.
pub const ERROR: Style = Style::colour(AnsiColor::Red);
/// Headings and names.
pub const STRONG: Style = Style::bold();
/// Side remarks.
pub const DIM: Style = Style::dimmed();
/// Prompts.
pub const ACCENT: Style = Style::colour(AnsiColor::Cyan);

/// How one invocation talks.
pub struct Console {
    json: bool,
    quiet: bool,
}

impl Console {
    /// Silent about progress when `json` or `quiet`.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Prints the result: JSON when asked for, else `text`.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce()) {
        if self.json {
            let json = serde_json::to_string_pretty(value).expect("results have string keys");
            terminal::json_result(&json);
        } else {
            text();
        }
    }

    /// A side remark.
    pub fn remark(&self, words: impl fmt::Display) {
        if !self.quiet && !self.json {
            crate::tell!("{DIM}{words}{DIM:#}");
        }
    }

    /// Says what failed; one JSON line with `--json`.
    pub fn report(&self, failure: &Failure) {
        if self.json {
            let error = serde_json::json!({
                "error": { "code": failure.code(), "message": failure.message(), "hint": failure.advice() }
            });
            crate::tell!("{}", terminal::json(&error.to_string()));
            return;
        }
        crate::tell!("{ERROR}error[{}]{ERROR:#}: {}", failure.code(), failure.message());
        if let Some(hint) = failure.advice() {
            crate::tell!("{DIM}hint: {hint}{DIM:#}");
        }
    }

    /// A bar that counts bytes; hidden unless stderr is a terminal.
    pub fn bytes_bar(&self, name: &str, total: Option<u64>) -> ProgressBar {
        let template = match total {
            Some(_) => {
                "{msg} {wide_bar:.cyan/black.bright} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}"
            }
            None => "{msg} {spinner} {bytes} {binary_bytes_per_sec}",
        };
        self.bar(name, total, template)
    }

    /// A bar that counts things; hidden unless stderr is a terminal.
    pub fn count_bar(&self, name: &str, total: u64) -> ProgressBar {
        self.bar(name, Some(total), "{msg} {wide_bar:.cyan/black.bright} {pos}/{len} {eta}")
    }

    fn bar(&self, name: &str, total: Option<u64>, template: &str) -> ProgressBar {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        let shown = !self.json && !self.quiet && std::io::stderr().is_terminal();
        bar.set_draw_target(if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        bar.set_style(ProgressStyle::with_template(template).expect("the templates above are valid"));
        bar.set_message(terminal::line(format_args!("{name}")));
        bar
    }
}

/// Bytes in decimal units, as disks and downloads are sold: `1.21 GB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ if value < 9.995 => format!("{value:.2} {}", UNITS[unit]),
        _ if value < 99.95 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A large count: `2.41 G`.
pub fn count(n: u64) -> String {
    const UNITS: [&str; 5] = ["", " k", " M", " G", " T"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { n.to_string() } else { format!("{value:.2}{}", UNITS[unit]) }
}

/// A duration for people: `340 ms`, `12.3 s`, `4 min 10 s`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 90.0 => format!("{s:.1} s"),
        s => format!("{} min {:02} s", s as u64 / 60, s as u64 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_carry() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(999_600), "1.00 MB");
        assert_eq!(bytes(1_210_000_000), "1.21 GB");
        assert_eq!(count(2_412_000_000), "2.41 G");
        assert_eq!(duration(Duration::from_secs(250)), "4 min 10 s");
    }
}
