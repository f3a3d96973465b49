//! What a run of `bench` reports, as JSON and for people.

use std::time::Duration;

use serde::Serialize;
use ternlight_core::{
    model::Sparsity,
    tune::{Choice, Phase},
};

use super::layer_clock::{LayerTime, PassTimes};
use crate::console::{self, ACCENT, STRONG};

#[derive(Serialize)]
pub struct Report {
    pub model: String,
    pub parameters: u64,
    pub packed_bytes: u64,
    pub kernels: Vec<&'static str>,
    /// How products were computed, where several ways were tried.
    pub choices: Vec<ChoiceReport>,
    pub threads: usize,
    pub load_ms: f64,
    pub prefill: Rate,
    pub decode: Rate,
    /// Keys, values and states after this run.
    pub cache_bytes: u64,
    /// What a token reads of states that do not grow with the text.
    pub state_bytes: u64,
    /// Passes through the loop of a looped model that a generated token took on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loops: Option<f64>,
    /// Weights, states, and the part of the cache that an average token of this run looks at.
    pub bytes_per_token: u64,
    /// Weights among them that meet zeros and are not read.
    pub skipped_bytes: u64,
    pub zeros: ZerosReport,
    /// Products of one token, by kind of layer, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<LayerTime>>,
    /// The first pass through the loop of a looped model beside the later ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passes: Option<PassTimes>,
    pub decode_gb_s: f64,
    pub read_bandwidth_gb_s: Option<f64>,
    /// Decoding speed if every byte came at the measured bandwidth.
    pub roofline_tok_s: Option<f64>,
    pub peak_rss_bytes: Option<u64>,
}

#[derive(Serialize)]
pub struct ChoiceReport {
    pub form: String,
    pub phase: &'static str,
    pub bytes: usize,
    pub kernel: &'static str,
    pub streams: usize,
    pub prefetch: usize,
    pub stretch: usize,
    pub tasks: usize,
    pub settled: bool,
}

impl From<Choice> for ChoiceReport {
    fn from(choice: Choice) -> Self {
        let Choice { form, phase, bytes, plan, settled } = choice;
        let phase = match phase {
            Phase::Decode => "decode",
            Phase::Prefill => "prefill",
        };
        Self {
            form: format!("{form:?}").to_lowercase(),
            phase,
            bytes,
            kernel: plan.kernel.name,
            streams: plan.order.streams,
            prefetch: plan.order.prefetch,
            stretch: plan.order.stretch,
            tasks: plan.tasks,
            settled,
        }
    }
}

/// Shares of zeros.
#[derive(Serialize)]
pub struct ZerosReport {
    pub output_inputs: f64,
    pub gates: f64,
    pub down_inputs: f64,
}

impl From<&Sparsity> for ZerosReport {
    fn from(sparsity: &Sparsity) -> Self {
        Self {
            output_inputs: sparsity.output.share(),
            gates: sparsity.gate.share(),
            down_inputs: sparsity.down.share(),
        }
    }
}

/// Tokens, and how fast they were.
#[derive(Clone, Copy, Default, Serialize)]
pub struct Rate {
    pub tokens: u32,
    pub seconds: f64,
    pub tok_s: f64,
}

impl Rate {
    pub fn new(tokens: u32, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        Self { tokens, seconds, tok_s: if tokens == 0 { 0.0 } else { f64::from(tokens) / seconds } }
    }

    pub fn faster(self, other: Self) -> Self {
        if other.tok_s > self.tok_s { other } else { self }
    }
}

fn line(label: &str, text: &str) {
    crate::say!("  {ACCENT}{label:<11}{ACCENT:#}{text}");
}

impl Report {
    /// For people.
    pub fn print(&self) {
        crate::say!("{STRONG}{}{STRONG:#}", self.model);
        let (parameters, packed) = (console::count(self.parameters), console::bytes(self.packed_bytes));
        let seconds = self.load_ms / 1e3;
        line("model", &format!("{parameters} parameters, {packed} packed, loaded in {seconds:.2} s"));
        line("kernels", &self.kernels.join(", "));
        line("threads", &self.threads.to_string());
        self.choices.iter().for_each(ChoiceReport::print);
        line("prefill", &self.prefill.text());
        line("decode", &self.decode.text());
        self.print_reads();
        if let (Some(bandwidth), Some(limit)) = (self.read_bandwidth_gb_s, self.roofline_tok_s) {
            let share = 100.0 * self.decode.tok_s / limit;
            let most = format!("at most {limit:.1} tok/s, reached {share:.0} %");
            line("memory", &format!("{bandwidth:.1} GB/s read bandwidth: {most}"));
        }
        if let Some(peak) = self.peak_rss_bytes {
            line("peak RSS", &console::bytes(peak));
        }
    }

    /// What a token reads.
    fn print_reads(&self) {
        let state = match self.state_bytes {
            0 => String::new(),
            bytes => format!(", {} of state that does not grow", console::bytes(bytes)),
        };
        line("cache", &format!("{}{state}", console::bytes(self.cache_bytes)));
        if let Some(loops) = self.loops {
            line("loops", &format!("{loops:.2} passes per generated token"));
        }
        if let Some(passes) = &self.passes {
            line("", &passes.text());
        }
        let read = console::bytes(self.bytes_per_token);
        line("per token", &format!("{read} read, {:.1} GB/s", self.decode_gb_s));
        if let Some(layers) = &self.layers {
            let layers: Vec<_> = layers.iter().map(LayerTime::text).collect();
            line("layers", &format!("{} ms per token", layers.join(", ")));
        }
        let ZerosReport { output_inputs, gates, down_inputs } = self.zeros;
        let [output, gates, down] = [output_inputs, gates, down_inputs].map(|share| 100.0 * share);
        let skipped = console::bytes(self.skipped_bytes);
        let of_down = format!("{down:.0} % of the inputs of down projections: {skipped} not read");
        line(
            "zeros",
            &format!(
                "{output:.0} % of the inputs of output projections, {gates:.0} % of the gates, {of_down}"
            ),
        );
    }
}

impl Rate {
    fn text(&self) -> String {
        format!("{:8.2} tok/s   {} tokens in {:.2} s", self.tok_s, self.tokens, self.seconds)
    }
}

impl ChoiceReport {
    fn print(&self) {
        let size = console::bytes(self.bytes as u64);
        let how = match self.phase {
            "decode" => format!("{} streams, prefetch {}, {} tasks", self.streams, self.prefetch, self.tasks),
            _ => format!("stretches of {}, {} tasks", console::bytes(self.stretch as u64), self.tasks),
        };
        let trying = if self.settled { "" } else { " (still measuring)" };
        line("choice", &format!("{} to {size}, {}: {}, {how}{trying}", self.form, self.phase, self.kernel));
    }
}
