//! The pre-tokenisers that GGUF names and `tokenizer.json` spells out.

/// `tokenizer.ggml.pre`, and the pattern a `tokenizer.json` splits by (`None`: GPT-2's, built into the
/// byte-level step).
pub const PRE_TOKENIZERS: &[(&str, Option<&str>)] = &[
    (
        "llama-bpe",
        Some(
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        ),
    ),
    (
        "qwen2",
        Some(
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        ),
    ),
    ("gpt-2", None),
];
