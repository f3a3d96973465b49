//! `ternlight plan`.

mod common;

use common::{json, ternlight};
use serde_json::Value;
use tempfile::TempDir;

fn plan(args: &[&str]) -> Value {
    let place = TempDir::new().unwrap();
    json(ternlight(place.path()).args(["plan", "--json", "--no-measure"]).args(args))
}

/// The paper plots 0.057 nats for W4A4 at the end of its range.
#[test]
fn penalties_say_where_they_are_from() {
    let report = plan(&["--params", "595e6", "--tokens", "100e9", "--bits", "w4a4,w16a4-fc2a8"]);
    let [w4a4, fc2a8] = &report["predictions"].as_array().unwrap()[..] else { panic!("{report}") };
    assert!((w4a4["penalty_nats"].as_f64().unwrap() - 0.057).abs() < 1e-3);
    assert!(w4a4["source"].as_str().unwrap().contains("2505.14302"));
    assert_eq!((&w4a4["beyond"], &w4a4["loss_nats"]), (&serde_json::json!([]), &Value::Null));
    assert_eq!(fc2a8["bits"], "w16a4-fc2a8");
    assert_eq!(report["full_precision_nats"], Value::Null);
    let far = plan(&["--params", "7e9", "--tokens", "2e12"]);
    assert_eq!(far["predictions"][0]["beyond"].as_array().unwrap().len(), 2);
}

#[test]
fn constants_of_the_user_are_marked() {
    let own = ["A=1", "B=0", "E=2", "alpha=0.5", "k=1", "gamma_n=0", "gamma_d=0", "gamma_g=0"];
    let mut args = vec!["--params", "1e8", "--tokens", "2e10", "--bits", "w4a16"];
    own.iter().for_each(|own| args.extend(["--law", own]));
    let report = plan(&args);
    assert!((report["full_precision_nats"].as_f64().unwrap() - 2.0001).abs() < 1e-9);
    let own = &report["predictions"][1];
    assert_eq!((&own["bits"], &own["source"]), (&"user".into(), &"constants of the user".into()));
    assert!((own["loss_nats"].as_f64().unwrap() - 3.0001).abs() < 1e-9);
    assert_eq!(own["fitted_params"], Value::Null);
}

#[test]
fn sizes_and_speeds_are_those_of_the_forms() {
    let report =
        plan(&["--params", "8e9", "--tokens", "1e12", "--bandwidth", "fast=100", "--bandwidth", "10"]);
    let sizes = report["sizes"].as_array().unwrap();
    let ternary = sizes.iter().find(|size| size["form"] == "ternary").unwrap();
    let bits = ternary["bits_per_weight"].as_f64().unwrap();
    assert!((2.0..2.1).contains(&bits), "{bits}");
    let [fast, slow] = &report["bandwidths"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!((&fast["name"], &fast["measured"]), (&"fast".into(), &false.into()));
    let tok_s = |bandwidth: &Value| bandwidth["tok_s"][0].as_f64().unwrap();
    assert!((tok_s(fast) - 100e9 / (1e9 * bits)).abs() < 0.01);
    assert!((tok_s(fast) / tok_s(slow) - 10.0).abs() < 1e-6);
    // Of a mixture a token reads its active experts alone.
    let mixture = plan(&["--shape", "sigma-moe-tiny", "--tokens", "1e12"]);
    let size = &mixture["sizes"][0];
    assert!(mixture["params"].as_f64().unwrap() > 19e9);
    assert!(size["bytes_per_token"].as_u64().unwrap() * 8 < size["bytes"].as_u64().unwrap());
}

#[test]
fn a_plot_shows_each_curve() {
    let place = TempDir::new().unwrap();
    let mut run = ternlight(place.path());
    run.args(["plan", "--no-measure", "--shape", "bitnet-2b4t", "--tokens", "4e12", "--svg", "plan.svg"]);
    let text = String::from_utf8(run.success().stdout).unwrap();
    assert!(text.contains("extrapolated") && text.contains("arXiv 2505.14302"), "{text}");
    let svg = std::fs::read_to_string(place.path().join("plan.svg")).unwrap();
    assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (2, 2));
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && !svg.contains("NaN"), "{svg}");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let place = TempDir::new().unwrap();
    for (args, word) in [
        (&["--params", "1e9", "--tokens", "1e9", "--bits", "1.58"][..], "1.58"),
        (&["--params", "-1", "--tokens", "1e9"], "--params"),
        (&["--params", "1e9", "--tokens", "1e9", "--law", "gamma=2"], "gamma"),
        (&["--params", "1e9", "--tokens", "1e9", "--law", "A=2"], "B is missing"),
        (&["--tokens", "1e9"], "--params"),
        (&["--params", "1e9", "--tokens", "1e9", "--bandwidth", "0"], "GB/s"),
    ] {
        let output = ternlight(place.path()).args(["plan", "--no-measure"]).args(args).code(2);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(word), "{args:?}: {text}");
    }
}
