//! `ternlight plan`: what a model of some size would lose, weigh and run at.
//!
//! Invariant: a predicted loss says which law it is from, whose constants, and where that was not fitted; a speed is
//! bytes per token over a bandwidth that was measured or named, so it is a limit and not a promise.

mod plot;
mod size;

use std::{fmt, path::PathBuf};

use clap::Args;
use serde::Serialize;

use self::size::Size;
use super::shapes::Shape;
use crate::{
    Result,
    console::{self, ACCENT, Console, DIM, STRONG},
    failure::{Failure, USAGE},
    hardware,
    scaling::{self, Base, EXPONENT, FITTED_PARAMS, FITTED_TOKENS, PENALTIES, Penalty, SOURCE},
};

/// Plan a model: the loss that quantisation costs, the memory of each form, and how fast it could run.
#[derive(Args)]
#[command(
    after_help = "The law of quantisation-aware training (arXiv 2505.14302) has constants for these bits: w4a4, w4a16,\n\
    w16a4, w4a4-fc2a8, w16a4-fc2a8 (weights, activations; fc2a8: 8 bits into the down projection). It was fitted\n\
    on 74 to 595 million parameters and 10 to 100 billion tokens; what lies beyond is marked. There is no law with\n\
    a source for ternary weights. Constants of your own are taken with --law and marked as yours: A, B, E (alpha,\n\
    beta) for the loss of full precision, all of k, gamma_n, gamma_d, gamma_g for another penalty.\n\n\
    Examples:\n  \
    ternlight plan --params 7e9 --tokens 2e12 --bits w4a4,w4a16 --bandwidth desktop=80\n  \
    ternlight plan --shape bitnet-2b4t --tokens 4e12 --svg plan.svg"
)]
pub struct Plan {
    /// Parameters, as 7e9 [default: the shape's]
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true, required_unless_present = "shape")]
    params: Option<f64>,

    /// Tokens that it is trained on, as 2e12
    #[arg(long, value_name = "D", value_parser = positive, allow_negative_numbers = true)]
    tokens: f64,

    /// Precisions to predict, by their names below
    #[arg(long, value_name = "BITS,…", value_delimiter = ',', value_parser = bits, default_value = "w4a4,w4a16")]
    bits: Vec<String>,

    /// Weights or activations that share a scale
    #[arg(long, value_name = "G", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..))]
    group: u32,

    /// Sizes of this shape instead of a dense model of so many parameters
    #[arg(long, value_enum, value_name = "SHAPE")]
    shape: Option<Shape>,

    /// Another memory bandwidth to say the speed for, in GB/s; may be repeated
    #[arg(long, value_name = "[NAME=]GB/S", value_parser = bandwidth)]
    bandwidth: Vec<(String, f64)>,

    /// Threads for the measurement of this machine's bandwidth; 0 means one per core
    #[arg(help_heading = "Computation", long, value_name = "N", default_value_t = 0)]
    threads: usize,

    /// Do not measure this machine's bandwidth
    #[arg(long)]
    no_measure: bool,

    /// A constant of your own; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = constant)]
    law: Vec<(String, f64)>,

    /// Draw the predicted loss over the tokens
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x >= 1.0 && x.is_finite() => Ok(x),
        _ => Err("not a number of 1 or more".to_owned()),
    }
}

fn bits(text: &str) -> Result<String, String> {
    let known = PENALTIES.iter().map(|penalty| penalty.bits);
    match known.clone().any(|bits| bits == text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "there is no law with a source for it; known are {}",
            known.collect::<Vec<_>>().join(", ")
        )),
    }
}

fn bandwidth(text: &str) -> Result<(String, f64), String> {
    let (name, number) = text.split_once('=').unwrap_or((text, text));
    match number.parse::<f64>() {
        Ok(x) if x > 0.0 && x.is_finite() => Ok((name.to_owned(), x)),
        _ => Err("not a bandwidth in GB/s".to_owned()),
    }
}

/// Names of constants that may be given.
const CONSTANTS: [&str; 9] = ["A", "B", "E", "alpha", "beta", "k", "gamma_n", "gamma_d", "gamma_g"];

fn constant(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    if !CONSTANTS.contains(&name) {
        return Err(format!("'{name}' is none of {}", CONSTANTS.join(", ")));
    }
    match value.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((name.to_owned(), value)),
        _ => Err(format!("'{value}' is not a number")),
    }
}

#[derive(Serialize)]
struct Report {
    params: f64,
    tokens: f64,
    group: u32,
    shape: Option<String>,
    /// Of full precision, with the user's constants; none without.
    full_precision_nats: Option<f64>,
    full_precision_constants: Option<Base>,
    predictions: Vec<Prediction>,
    sizes: Vec<Size>,
    bandwidths: Vec<Bandwidth>,
}

#[derive(Serialize)]
struct Prediction {
    bits: String,
    /// What the precision adds to the loss, in nats per token.
    penalty_nats: f64,
    loss_nats: Option<f64>,
    form: &'static str,
    constants: Penalty,
    source: &'static str,
    fitted_params: Option<[f64; 2]>,
    fitted_tokens: Option<[f64; 2]>,
    /// In which respects this is an extrapolation.
    beyond: Vec<String>,
}

#[derive(Serialize)]
struct Bandwidth {
    name: String,
    gb_s: f64,
    measured: bool,
    /// For each of the sizes: tokens per second if every byte of a token came at this bandwidth.
    tok_s: Vec<f64>,
}

const FORM: &str = "delta = k * D^gamma_d * log2(G)^gamma_g / N^gamma_n";

impl Plan {
    pub fn execute(self, console: &Console) -> Result<()> {
        let (sizes, counted) = match self.shape {
            Some(shape) => size::of_shape(shape)?,
            None => (size::of_params(self.params.unwrap_or(1.0))?, 0.0),
        };
        let params = self.params.unwrap_or(counted);
        let base = self.base()?;
        let penalties = self.penalties()?;
        let predictions = penalties.iter().map(|(penalty, by_user)| {
            let penalty_nats = penalty.nats(params, self.tokens, f64::from(self.group));
            Prediction {
                bits: penalty.bits.to_owned(),
                penalty_nats,
                loss_nats: base.map(|base| base.nats(params, self.tokens) + penalty_nats),
                form: FORM,
                constants: penalty.clone(),
                source: if *by_user { "constants of the user" } else { SOURCE },
                fitted_params: (!by_user).then_some(FITTED_PARAMS),
                fitted_tokens: (!by_user).then_some(FITTED_TOKENS),
                beyond: if *by_user { Vec::new() } else { scaling::beyond(params, self.tokens) },
            }
        });
        let report = Report {
            params,
            tokens: self.tokens,
            group: self.group,
            shape: self.shape.map(|shape| shape.name()),
            full_precision_nats: base.map(|base| base.nats(params, self.tokens)),
            full_precision_constants: base,
            predictions: predictions.collect(),
            bandwidths: self.bandwidths(&sizes),
            sizes,
        };
        if let Some(path) = &self.svg {
            let curves = penalties.iter().map(|(penalty, _)| penalty);
            let svg = plot::svg(curves, base.as_ref(), params, self.tokens, f64::from(self.group));
            std::fs::write(path, svg).map_err(|e| Failure::io(path, &e))?;
        }
        console.result(&report, || print(&report));
        Ok(())
    }

    fn given(&self, name: &str) -> Option<f64> {
        self.law.iter().rev().find(|(given, _)| given == name).map(|(_, value)| *value)
    }

    /// All of some constants, or none of them.
    fn all_of<const N: usize>(&self, names: [&str; N]) -> Result<Option<[f64; N]>> {
        let given = names.map(|name| self.given(name));
        if given.iter().all(Option::is_none) {
            return Ok(None);
        }
        match names.iter().zip(given).find(|(_, value)| value.is_none()) {
            Some((name, _)) => Err(Failure::new(
                USAGE,
                format!("--law: {} go together, {name} is missing", names.join(", ")),
            )),
            None => Ok(Some(given.map(Option::unwrap_or_default))),
        }
    }

    fn base(&self) -> Result<Option<Base>> {
        let exponent = |name| self.given(name).unwrap_or(EXPONENT);
        Ok(self.all_of(["A", "B", "E"])?.map(|[a, b, e]| Base {
            a,
            b,
            e,
            alpha: exponent("alpha"),
            beta: exponent("beta"),
        }))
    }

    /// What was asked for, and whether its constants are the user's.
    fn penalties(&self) -> Result<Vec<(Penalty, bool)>> {
        let known = |bits: &String| PENALTIES.iter().find(|penalty| penalty.bits == *bits).cloned();
        let mut all: Vec<_> = self.bits.iter().filter_map(known).map(|penalty| (penalty, false)).collect();
        if let Some([k, gamma_n, gamma_d, gamma_g]) = self.all_of(["k", "gamma_n", "gamma_d", "gamma_g"])? {
            all.push((Penalty { bits: "user", k, gamma_n, gamma_d, gamma_g }, true));
        }
        Ok(all)
    }

    fn bandwidths(&self, sizes: &[Size]) -> Vec<Bandwidth> {
        let measured = (!self.no_measure)
            .then(|| hardware::read_bandwidth(hardware::threads(self.threads)))
            .flatten()
            .map(|bytes| ("this machine".to_owned(), bytes / 1e9, true));
        let named = self.bandwidth.iter().map(|(name, gb_s)| (name.clone(), *gb_s, false));
        let speeds = |gb_s: f64| sizes.iter().map(|size| gb_s * 1e9 / size.bytes_per_token as f64).collect();
        let all = measured.into_iter().chain(named);
        all.map(|(name, gb_s, measured)| Bandwidth { name, gb_s, measured, tok_s: speeds(gb_s) }).collect()
    }
}

fn print(report: &Report) {
    // As arguments: a style that went through a text of its own is text.
    let line = |label: &str, text: fmt::Arguments<'_>| crate::say!("  {ACCENT}{label:<13}{ACCENT:#}{text}");
    let name = report.shape.as_ref().map_or(String::new(), |shape| format!("{shape}: "));
    crate::say!(
        "{STRONG}{name}{} parameters, {} tokens{STRONG:#}",
        console::count(report.params as u64),
        console::count(report.tokens as u64)
    );
    if let Some(nats) = report.full_precision_nats {
        line(
            "loss",
            format_args!("{nats:.4} nats per token in full precision  {DIM}(constants of the user){DIM:#}"),
        );
    }
    for prediction in &report.predictions {
        let whole = prediction.loss_nats.map_or(String::new(), |nats| format!(", {nats:.4} in all"));
        line(&prediction.bits, format_args!("+{:.4} nats per token{whole}", prediction.penalty_nats));
        line("", format_args!("{DIM}{}{DIM:#}", prediction.source));
        for beyond in &prediction.beyond {
            line("", format_args!("{DIM}extrapolated: {beyond}{DIM:#}"));
        }
    }
    for (i, size) in report.sizes.iter().enumerate() {
        let mut text = format!(
            "{:>9}, {:.2} bits per weight, {} for each token",
            console::bytes(size.bytes),
            size.bits_per_weight,
            console::bytes(size.bytes_per_token)
        );
        for bandwidth in &report.bandwidths {
            text += &format!("; {:.1} tok/s at most on {}", bandwidth.tok_s[i], bandwidth.name);
        }
        line(size.form, format_args!("{text}"));
    }
    for bandwidth in &report.bandwidths {
        let how = if bandwidth.measured { "measured" } else { "as named" };
        line("bandwidth", format_args!("{}: {:.1} GB/s, {how}", bandwidth.name, bandwidth.gb_s));
    }
}
