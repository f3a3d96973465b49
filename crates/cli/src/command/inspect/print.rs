//! `inspect` for people.

use super::{
    Inspect,
    report::{Report, Tensor, Trits},
};
use crate::console::{self, ACCENT, DIM, STRONG};

impl Inspect {
    pub(super) fn print(&self, report: &Report) {
        let d = &report.dimensions;
        let name = report.name.clone().unwrap_or_else(|| report.path.display().to_string());
        crate::say!("{STRONG}{name}{STRONG:#}");
        let line = |label: &str, text: String| crate::say!("  {ACCENT}{label:<14}{ACCENT:#}{text}");
        let files = if report.files > 1 { format!(", {} files", report.files) } else { String::new() };
        line(
            "file",
            format!(
                "{} ({}, {}{files})",
                report.path.display(),
                report.container,
                console::bytes(report.bytes)
            ),
        );
        if let Some(license) = &report.license {
            line("license", license.clone());
        }
        let norms = if d.sub_norms { ", sub-norms" } else { "" };
        let qk = if d.qk_norm { ", QK-norm" } else { "" };
        line("architecture", format!("{} ({}{norms}{qk})", report.architecture, d.activation));
        for (key, value) in &report.set {
            line("set", format!("{key} = {value}"));
        }
        line("parameters", console::count(report.parameters));
        let loops = d.loops.map_or(String::new(), |loops| format!(", {loops} loops"));
        line(
            "shape",
            format!(
                "{} layers{loops}, width {}, feed-forward {}, heads {}/{} × {}, vocabulary {}, context {}",
                d.layers, d.hidden, d.feed_forward, d.heads, d.kv_heads, d.head_dim, d.vocab, d.context
            ),
        );
        for (encoding, share) in &report.encodings {
            let (n, size) = (share.tensors, console::bytes(share.bytes));
            line(
                "weights",
                format!(
                    "{encoding:<6} {:>8} parameters in {n} tensors, {size}",
                    console::count(share.parameters)
                ),
            );
        }
        let template = if report.chat_template { "with chat template" } else { "no chat template" };
        line("tokenizer", format!("{}, {template}", report.tokenizer.as_deref().unwrap_or("none")));
        let m = &report.memory;
        line(
            "memory",
            format!(
                "{} of packed weights ({} with --head native)",
                console::bytes(m.weights),
                console::bytes(m.weights_native_head)
            ),
        );
        if m.shared > 0 {
            line("", format!("{} saved by matrices that are the same", console::bytes(m.shared)));
        }
        if m.kv_per_token > 0 || m.states == 0 {
            line("", format!("{} of cache per token (f16)", console::bytes(m.kv_per_token)));
        }
        if m.states > 0 {
            line("", format!("{} of states, however long the text", console::bytes(m.states)));
        }
        line("", format!("{} with all {} tokens of context", console::bytes(m.total), m.context));
        let kernels: Vec<_> = report.kernels.values().map(String::as_str).collect();
        line("runs on", format!("{} (this CPU has {})", kernels.join(", "), report.isas.join(", ")));
        if let Some(trits) = &report.trits {
            print_trits(trits);
        }
        if self.metadata {
            crate::say!("");
            for (key, value) in &report.metadata {
                crate::say!("{DIM}{key}{DIM:#} {value}");
            }
        }
        if self.tensors {
            crate::say!("");
            report.tensors.iter().for_each(print_tensor);
        }
        for tensor in report.tensors.iter().filter(|tensor| tensor.refused.is_some()) {
            line("refused", tensor.refused.clone().unwrap_or_default());
        }
        if !report.missing.is_empty() {
            line("missing", report.missing.join(", "));
        }
        if !self.metadata && !self.tensors {
            crate::say!("{DIM}--tensors, --metadata and --weights show more{DIM:#}");
        }
    }
}

/// One row of the plan: what is stored, what it becomes.
fn print_tensor(t: &Tensor) {
    let stored =
        format!("{:<48} {:<7} {:>16} {:>9}", t.name, t.encoding, shape(&t.shape), console::bytes(t.bytes));
    if let Some(why) = t.unused {
        crate::say!("{stored}  {DIM}unused: {why}{DIM:#}");
    } else if t.refused.is_some() {
        crate::say!("{stored}  {STRONG}refused{STRONG:#}");
    }
    for (i, part) in t.becomes.iter().enumerate() {
        let stored = if i == 0 { stored.as_str() } else { "" };
        let kernel = match &part.same_as {
            Some(name) => format!("the same as {name}"),
            None => part.kernel.unwrap_or_default().to_owned(),
        };
        let size = console::bytes(part.bytes);
        crate::say!("{stored:<83}  {DIM}→{DIM:#} {:<24} {size:>9}  {DIM}{kernel}{DIM:#}", part.form);
    }
}

fn print_trits(trits: &[Trits]) {
    let mut sum = [0u64; 3];
    crate::say!("");
    for t in trits {
        let counts = [t.negative, t.zero, t.positive];
        sum.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        crate::say!("{:<48} {}", t.name, shares(counts));
    }
    if sum.iter().any(|n| *n > 0) {
        crate::say!("{STRONG}{:<48} {}{STRONG:#}", "all ternary weights", shares(sum));
    }
}

fn shares(counts: [u64; 3]) -> String {
    let total = counts.iter().sum::<u64>().max(1) as f64;
    let [n, z, p] = counts.map(|count| 100.0 * count as f64 / total);
    format!("−1 {n:5.2} %   0 {z:5.2} %   +1 {p:5.2} %")
}

fn shape(shape: &[u64]) -> String {
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" × ")
}
