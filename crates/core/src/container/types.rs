//! GGUF tensor type ids → [`Encoding`], where forks of ggml use one id for two layouts.
//!
//! A file does not say which fork wrote it. What tells layouts apart is their size: writers put tensors
//! back to back, so the distance to the next tensor is the padded size. Where that leaves a choice (the
//! last tensor, tiny ones), `general.architecture` and `general.file_type` decide, else the file is refused.
//! Invariant: an id that can be read two ways is never guessed.

use alloc::vec::Vec;

use super::Meta;
use crate::{Result, bail, format::Encoding};

/// Type ids that are read, with the encoding they stand for (one row per layout where they collide).
pub(super) const KNOWN: &[(u32, Encoding)] = &[
    (0, Encoding::F32),
    (1, Encoding::F16),
    (2, Encoding::Q4_0),
    (3, Encoding::Q4_1),
    (6, Encoding::Q5_0),
    (7, Encoding::Q5_1),
    (8, Encoding::Q8_0),
    (10, Encoding::Q2_K),
    (11, Encoding::Q3_K),
    (12, Encoding::Q4_K),
    (13, Encoding::Q5_K),
    (14, Encoding::Q6_K),
    (30, Encoding::BF16),
    (34, Encoding::TQ1_0),
    (35, Encoding::TQ2_0),
    (36, Encoding::I2_S),
    (39, Encoding::MXFP4),
    (41, Encoding::Q1_0),
    (42, Encoding::Q2_0_64),
    (42, Encoding::Q2_0_128),
    (42, Encoding::STQ1_0),
    (43, Encoding::STQ1_0),
    // PrismML's own ids: PQ2_0 has the bytes of its Q2_0.
    (142, Encoding::Q2_0_128),
    (143, Encoding::PTQ1_0),
];

/// Integer and double types: never weights, but a file may carry them. Id and bytes per element.
const PLAIN: &[(u32, u64)] = &[(24, 1), (25, 2), (26, 4), (27, 8), (28, 8)];

/// `general.file_type` of bitnet.cpp for I2_S.
const FILE_TYPE_I2_S: i64 = 40;
/// `general.file_type` of llama.cpp for MXFP4.
const FILE_TYPE_MXFP4: i64 = 38;

/// What is known of a stored tensor before its type is settled.
pub(super) struct Stored<'a> {
    pub name: &'a str,
    pub type_id: u32,
    pub cols: u64,
    pub rows: u64,
    /// To the next tensor in the file; `None` for the last one.
    pub distance: Option<u64>,
}

/// A name for people, for ids that are not read.
fn unsupported_name(id: u32) -> &'static str {
    match id {
        4 | 5 => "Q4_2/Q4_3 (removed from ggml)",
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        29 => "IQ1_M",
        31..=33 => "Q4_0 repacked (removed from ggml)",
        36 => "IQ4_NL_4_4 (removed from ggml), or an I2_S variant",
        37 => "I8_S or IQ4_NL_4_8",
        // Two configurations that bitnet.cpp itself ships for one shape give files that differ in nothing else.
        38 => {
            "TL1 of bitnet.cpp (once IQ4_NL_8_8 of ggml): the order of its weights is that of the build that wrote the file, which does not say \
             it; make an I2_S file of the same model (setup_env.py -q i2_s), or load its Hugging Face folder"
        }
        39 => {
            "TL2 of bitnet.cpp: the order of its weights is that of the build that wrote the file, which does not say \
             it; make an I2_S file of the same model (setup_env.py -q i2_s), or load its Hugging Face folder"
        }
        40 => "NVFP4",
        134 | 135 | 335 => "IQ1_BN/IQ2_BN (ik_llama.cpp)",
        _ => "unknown",
    }
}

/// Ids whose meaning differs between forks.
fn collides(id: u32) -> bool {
    matches!(id, 36 | 39 | 41 | 42 | 43 | 142 | 143)
}

/// Settles the encoding and byte length of each tensor; `stored` is sorted by offset.
///
/// # Errors
/// `unsupported-format`, `shape` (columns that the encoding cannot have), `too-large`; all name the tensor.
pub(super) fn resolve(meta: &Meta, alignment: u64, stored: &[Stored<'_>]) -> Result<Vec<(Encoding, u64)>> {
    // One answer per id and file: a fork writes all its tensors in its own layout.
    let mut settled: Vec<(u32, Encoding)> = Vec::new();
    let mut out = Vec::new();
    out.try_reserve_exact(stored.len())?;
    for tensor in stored {
        let id = tensor.type_id;
        if let Some((_, size)) = PLAIN.iter().find(|(plain, _)| *plain == id) {
            let Some(bytes) = tensor.rows.checked_mul(tensor.cols).and_then(|n| n.checked_mul(*size)) else {
                bail!(TooLarge, "tensor {:?} has more than 2^64 bytes", tensor.name)
            };
            out.push((Encoding::Other, bytes));
            continue;
        }
        let encoding = if collides(id) {
            match settled.iter().find(|(known, _)| *known == id) {
                Some((_, encoding)) => *encoding,
                None => {
                    let encoding = settle(meta, alignment, stored, id)?;
                    settled.push((id, encoding));
                    encoding
                }
            }
        } else {
            match KNOWN.iter().find(|(known, _)| *known == id) {
                Some((_, encoding)) => *encoding,
                None => bail!(
                    UnsupportedFormat,
                    "tensor {:?} has type {id} ({}), which is not supported",
                    tensor.name,
                    unsupported_name(id)
                ),
            }
        };
        let bytes =
            encoding.tensor_bytes(tensor.rows, tensor.cols).map_err(|e| super::about(tensor.name, e))?;
        out.push((encoding, bytes));
    }
    Ok(out)
}

/// Picks the layout that a colliding id has in this file.
fn settle(meta: &Meta, alignment: u64, stored: &[Stored<'_>], id: u32) -> Result<Encoding> {
    let of_id = || stored.iter().filter(move |t| t.type_id == id);
    let first = of_id().next().map_or("", |t| t.name);
    // A candidate must explain every distance.
    let fits = |encoding: Encoding| {
        of_id().all(|t| match (encoding.tensor_bytes(t.rows, t.cols), t.distance) {
            (Ok(bytes), Some(distance)) => bytes.checked_next_multiple_of(alignment) == Some(distance),
            (Ok(_), None) => true,
            (Err(_), _) => false,
        })
    };
    let candidates =
        Vec::from_iter(KNOWN.iter().filter(|(known, e)| *known == id && fits(*e)).map(|(_, e)| *e));
    let [encoding] = candidates[..] else {
        if candidates.is_empty() {
            bail!(
                UnsupportedFormat,
                "tensor {first:?} has type {id}, but not the length of any supported layout of it: {}",
                unsupported_name(id)
            );
        }
        bail!(
            UnsupportedFormat,
            "tensor {first:?} has type {id}, whose layout differs between ggml forks, and its length does not tell which one it is"
        );
    };
    // For the ids that an unsupported layout shares, silence (no distance at all) is no evidence.
    let measured = of_id().any(|t| t.distance.is_some());
    let file_type = meta.opt_int("general.file_type").ok().flatten();
    let told = match encoding {
        Encoding::I2_S => file_type == Some(FILE_TYPE_I2_S) || architecture(meta).starts_with("bitnet"),
        Encoding::MXFP4 => file_type == Some(FILE_TYPE_MXFP4) || !architecture(meta).starts_with("bitnet"),
        _ => true,
    };
    if measured || told {
        return Ok(encoding);
    }
    bail!(
        UnsupportedFormat,
        "tensor {first:?} has type {id}, which is {} or {}, and nothing in the file tells which",
        encoding.name(),
        unsupported_name(id)
    )
}

fn architecture(meta: &Meta) -> &str {
    meta.opt_str("general.architecture").ok().flatten().unwrap_or("")
}
