//! The predicted loss over the tokens, as SVG.

use std::fmt::Write;

use crate::scaling::{Base, FITTED_TOKENS, Penalty};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Left, top, right and bottom of the plane.
const PLANE: [f64; 4] = [70.0, 40.0, 560.0, 360.0];
/// Tokens that the axis covers.
const TOKENS: [f64; 2] = [1e9, 1e13];
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#555555"];

/// Curves of a model of so many parameters, with the range of tokens that the law was fitted on, and a mark at `tokens`.
pub fn svg<'a>(
    penalties: impl Iterator<Item = &'a Penalty>,
    base: Option<&Base>,
    params: f64,
    tokens: f64,
    group: f64,
) -> String {
    let [left, top, right, bottom] = PLANE;
    let penalties: Vec<_> = penalties.collect();
    let loss = |penalty: &Penalty, d: f64| {
        base.map_or(0.0, |base| base.nats(params, d)) + penalty.nats(params, d, group)
    };
    let steps: Vec<f64> =
        (0..=80).map(|i| TOKENS[0] * (TOKENS[1] / TOKENS[0]).powf(f64::from(i) / 80.0)).collect();
    let values = penalties.iter().flat_map(|penalty| steps.iter().map(|&d| loss(penalty, d)));
    let (least, most) = values.fold((f64::INFINITY, 0.0f64), |(a, b), x| (a.min(x), b.max(x)));
    let least = if base.is_some() { least } else { 0.0 };
    let span = if most > least { most - least } else { 1.0 };
    let x = |d: f64| left + (right - left) * (d / TOKENS[0]).ln() / (TOKENS[1] / TOKENS[0]).ln();
    let y = |loss: f64| bottom - (bottom - top) * (loss - least) / span;
    let mut out = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = out.write_fmt(text);
        out.push('\n');
    };
    put(format_args!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">"##
    ));
    put(format_args!(r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>"##));
    let [from, to] = FITTED_TOKENS.map(x);
    put(format_args!(
        r##"<rect x="{from:.1}" y="{top}" width="{:.1}" height="{}" fill="#f0f0f0"/>"##,
        to - from,
        bottom - top
    ));
    put(format_args!(r##"<text x="{from:.1}" y="{:.1}" fill="#777777">fitted tokens</text>"##, top - 6.0));
    for power in 9..=13 {
        let at = x(10f64.powi(power));
        put(format_args!(
            r##"<text x="{at:.1}" y="{}" text-anchor="middle">1e{power}</text>"##,
            bottom + 18.0
        ));
    }
    for step in 0..=4 {
        let value = least + span * f64::from(step) / 4.0;
        put(format_args!(
            r##"<text x="{}" y="{:.1}" text-anchor="end">{value:.3}</text>"##,
            left - 6.0,
            y(value) + 4.0
        ));
    }
    let what = if base.is_some() { "loss" } else { "loss added by quantisation" };
    put(format_args!(
        r##"<text x="{left}" y="18">{what}, nats per token; {params:.3e} parameters, groups of {group}</text>"##
    ));
    put(format_args!(
        r##"<text x="{}" y="{}" text-anchor="middle">training tokens</text>"##,
        (left + right) / 2.0,
        bottom + 40.0
    ));
    put(format_args!(r##"<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#333333"/>"##));
    for (i, penalty) in penalties.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let points: Vec<String> =
            steps.iter().map(|&d| format!("{:.1},{:.1}", x(d), y(loss(penalty, d)))).collect();
        put(format_args!(
            r##"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"##,
            points.join(" ")
        ));
        let (last, label) = (y(loss(penalty, TOKENS[1])), penalty.bits);
        put(format_args!(
            r##"<text x="{}" y="{:.1}" fill="{colour}">{label}</text>"##,
            right + 8.0,
            last + 4.0
        ));
        if (TOKENS[0]..=TOKENS[1]).contains(&tokens) {
            let (x, y) = (x(tokens), y(loss(penalty, tokens)));
            put(format_args!(r##"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{colour}"/>"##));
        }
    }
    put(format_args!("</svg>"));
    out
}
