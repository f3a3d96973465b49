//! Rust errors as JavaScript `Error`s with a stable `code`; panics as an error that says where.
//!
//! Invariant: whatever is thrown with a `code` leaves the instance usable; anything else (a panic, a
//! trap) means it must never be called again.

use js_sys::Reflect;
use ternlight_core::Error;
use wasm_bindgen::prelude::*;

/// The JavaScript `Error` for `error`: `message` is the detail, `code` the stable code.
pub fn to_js_error(error: Error) -> JsValue {
    let js = js_sys::Error::new(&error.detail);
    // Setting a plain property on a fresh object cannot fail.
    let _ = Reflect::set(&js, &"code".into(), &error.kind.code().into());
    js.into()
}

/// Makes a panic throw its message and place instead of a bare `unreachable` trap.
#[wasm_bindgen(start)]
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| wasm_bindgen::throw_str(&info.to_string())));
}
