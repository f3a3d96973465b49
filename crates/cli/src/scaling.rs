//! Laws that predict the loss of a model from its size, its training and its precision.
//!
//! Only constants with a source are built in: the law of quantisation-aware training of Chen et al. 2025
//! (arXiv 2505.14302), `L = A / N^α + B / D^β + E + δ` with `δ = k · D^γD · (log2 G)^γG / N^γN`: N parameters, D tokens,
//! G weights or activations that share a scale; natural logarithms, per token. Its A, B and E depend on data and
//! tokenizer, so without the user's own only δ is told: what quantisation costs.

use serde::Serialize;

/// Where the built-in constants come from.
pub const SOURCE: &str = "Chen et al. 2025, Scaling Law for Quantization-Aware Training, arXiv 2505.14302";
/// Parameters of the models that the law was fitted on.
pub const FITTED_PARAMS: [f64; 2] = [74e6, 595e6];
/// Tokens that they were trained on.
pub const FITTED_TOKENS: [f64; 2] = [10e9, 100e9];
/// α and β of that law.
pub const EXPONENT: f64 = 0.3022;

/// What a precision adds to the loss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Penalty {
    /// Bits of weights and activations, as `w4a16`; `-fc2a8`: the input of the down projection has 8.
    pub bits: &'static str,
    pub k: f64,
    pub gamma_n: f64,
    pub gamma_d: f64,
    pub gamma_g: f64,
}

/// The precisions that were fitted.
pub const PENALTIES: [Penalty; 5] = [
    Penalty { bits: "w4a4", k: 0.1582, gamma_n: 0.2186, gamma_d: 0.0745, gamma_g: 0.7779 },
    Penalty { bits: "w4a16", k: 0.2522, gamma_n: 0.3589, gamma_d: 0.1610, gamma_g: 0.3533 },
    Penalty { bits: "w16a4", k: 0.1004, gamma_n: 0.1816, gamma_d: 0.0331, gamma_g: 0.9812 },
    Penalty { bits: "w4a4-fc2a8", k: 0.3519, gamma_n: 0.2637, gamma_d: 0.0964, gamma_g: 0.3407 },
    Penalty { bits: "w16a4-fc2a8", k: 0.1273, gamma_n: 0.2347, gamma_d: 0.0827, gamma_g: 0.4491 },
];

impl Penalty {
    /// δ, in nats per token.
    pub fn nats(&self, params: f64, tokens: f64, group: f64) -> f64 {
        self.k * tokens.powf(self.gamma_d) * group.log2().powf(self.gamma_g) / params.powf(self.gamma_n)
    }
}

/// The loss of training in full precision, with constants of the user's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Base {
    pub a: f64,
    pub b: f64,
    pub e: f64,
    pub alpha: f64,
    pub beta: f64,
}

impl Base {
    /// Nats per token.
    pub fn nats(&self, params: f64, tokens: f64) -> f64 {
        self.a / params.powf(self.alpha) + self.b / tokens.powf(self.beta) + self.e
    }
}

/// What the law says where it was not fitted.
pub fn beyond(params: f64, tokens: f64) -> Vec<String> {
    let mut beyond = Vec::new();
    for (what, x, [least, most]) in [("parameters", params, FITTED_PARAMS), ("tokens", tokens, FITTED_TOKENS)]
    {
        if x > most {
            beyond.push(format!("{:.1} times the most {what} that the law was fitted on", x / most));
        } else if x < least {
            beyond.push(format!("{:.1} times fewer {what} than the law was fitted on", least / x));
        }
    }
    beyond
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of the paper: the penalty that it plots for W4A4, and how those of weights and activations add up.
    #[test]
    fn penalties_are_those_of_the_paper() {
        let of = |bits: &str, n, d| {
            PENALTIES.iter().find(|penalty| penalty.bits == bits).unwrap().nats(n, d, 128.0)
        };
        assert!((of("w4a4", 595e6, 100e9) - 0.057).abs() < 5e-4, "{}", of("w4a4", 595e6, 100e9));
        for (n, d) in [(145e6, 20e9), (297e6, 50e9), (595e6, 100e9)] {
            let ratio = of("w4a4", n, d) / (of("w4a16", n, d) + of("w16a4", n, d));
            assert!((ratio - 0.906).abs() < 0.06, "{ratio} at {n}, {d}");
            assert!(of("w4a4-fc2a8", n, d) < of("w4a4", n, d));
        }
    }

    #[test]
    fn extrapolation_is_said() {
        assert!(beyond(200e6, 20e9).is_empty());
        assert_eq!(beyond(7e9, 4e12).len(), 2);
        assert!(beyond(1e6, 20e9)[0].contains("fewer parameters"));
    }
}
