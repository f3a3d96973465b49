//! `ternlight-bindgen MODULE FOLDER`: the JavaScript and TypeScript beside a compiled module, as
//! `wasm-bindgen --target web --out-name ternlight` writes them.
//!
//! The published command brings a web server and a TLS stack for its test runner and a lock file of its own, which a
//! mirror of crates.io that lags by a day cannot satisfy. This needs neither.

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder] = &arguments[..] else { bail!("usage: ternlight-bindgen MODULE FOLDER") };
    Bindgen::new()
        .input_path(module)
        .web(true)?
        .typescript(true)
        .out_name("ternlight")
        // As the command does, and unlike the library's default: without it nobody would find the module.
        .omit_default_module_path(false)
        .generate(folder)
        .with_context(|| format!("{module}: no bindings"))
}
