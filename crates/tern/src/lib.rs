//! Tern, a very small ternary language model, as constants.
//!
//! It is a BitNet b1.58 of 3.4 million parameters that makes small talk, answers picture-book questions and tells
//! short stories. Its model card is `tern/README.md`.
//!
//! ```
//! let config = ternlight_tern::file("config.json").unwrap();
//! assert!(std::str::from_utf8(config).unwrap().contains("BitNetForCausalLM"));
//! ```
#![no_std]
#![forbid(unsafe_code)]

/// The name of the model and of its folder.
pub const NAME: &str = "tern";

/// The files of the model in the Hugging Face layout: name and contents, `config.json` first.
pub const FILES: [(&str, &[u8]); 5] = [
    ("config.json", include_bytes!("../tern/config.json")),
    ("generation_config.json", include_bytes!("../tern/generation_config.json")),
    ("tokenizer.json", include_bytes!("../tern/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../tern/tokenizer_config.json")),
    ("model.safetensors", include_bytes!("../tern/model.safetensors")),
];

/// The contents of one of [`FILES`].
#[must_use]
pub fn file(name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, contents)| *contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_files_parse_and_the_weights_have_a_header() {
        for (name, contents) in FILES {
            let json = match name.strip_suffix(".safetensors") {
                None => contents,
                Some(_) => {
                    let len = u64::from_le_bytes(contents[..8].try_into().unwrap());
                    &contents[8..][..usize::try_from(len).unwrap()]
                }
            };
            serde_json::from_slice::<serde_json::Value>(json).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        assert_eq!(file("README.md"), None);
    }
}
