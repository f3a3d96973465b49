//! `prism.hadamard.*`: weights that PrismML's converter multiplied by a Walsh–Hadamard matrix, so that activations must
//! be rotated before they meet them (versions 1 and 2, of the PrismML fork of llama.cpp).
//!
//! A reader that passes these keys by prints noise without an error. So every key of the group is read or refused.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use super::keys::Keys;
use crate::{
    Result, bail,
    container::Value,
    error::short,
    model::{
        spec::{Attention, Rotation, Spec},
        tensor_names::{Field, LinearRole, Names, TensorRole},
    },
};

const GROUP: &str = "prism.hadamard.";

/// Reads the group, if it is there, and marks what it rotates.
pub(super) fn rotate(keys: &Keys<'_>, names: Names, spec: &mut Spec) -> Result<()> {
    let value = |key: &str| keys.raw(&alloc::format!("{GROUP}{key}"));
    let version = match value("version") {
        None => return Ok(()),
        Some(Value::Int(version @ (1 | 2))) => *version,
        Some(_) => bail!(UnsupportedArch, "'{GROUP}version' is neither 1 nor 2"),
    };
    let text = |key: &str, wanted: &str| match value(key) {
        Some(Value::Str(text)) if text == wanted => Ok(()),
        Some(Value::Str(text)) => {
            bail!(UnsupportedArch, "'{GROUP}{key}' is '{}', not '{wanted}'", short(text))
        }
        _ => bail!(MissingKey, "'{GROUP}{key}' is missing"),
    };
    text("transform", "normalized-sylvester-walsh-hadamard")?;
    text("axis", "input-last-dimension")?;
    let block = match value("block_size") {
        Some(Value::Int(n)) if *n > 0 && n.count_ones() == 1 && *n <= 1 << 16 => *n as usize,
        _ => bail!(BadHeader, "'{GROUP}block_size' is no power of two"),
    };
    let folded = name_set(value("weight_names"), "weight_names")?;
    if folded.is_empty() {
        bail!(BadHeader, "'{GROUP}weight_names' is empty");
    }
    let widths = mark_linears(&folded, names, spec)?;
    if let Some(width) = widths.iter().find(|width| !width.is_multiple_of(block)) {
        bail!(BadHeader, "'{GROUP}block_size' {block} does not divide the input width {width}");
    }
    let signs = match value("sign_mode") {
        Some(Value::Str(mode)) if mode == "identity" => BTreeMap::new(),
        Some(Value::Str(mode)) if mode == "explicit" => {
            signs(value("sign_widths"), value("sign_values"), &widths)?
        }
        _ => bail!(UnsupportedArch, "'{GROUP}sign_mode' is neither 'identity' nor 'explicit'"),
    };
    mark_embedding(value("inverse_weight_names"), value("tied_output"), version, names, spec)?;
    if !matches!(value("gdn_v_grouped"), None | Some(Value::Bool(false))) {
        bail!(UnsupportedArch, "'{GROUP}gdn_v_grouped' is for gated delta networks");
    }
    spec.rotation = Some(Rotation { block, signs });
    Ok(())
}

/// A list of names without repetition.
fn name_set<'a>(value: Option<&'a Value>, key: &str) -> Result<BTreeSet<&'a str>> {
    let names = match value {
        None => return Ok(BTreeSet::new()),
        Some(Value::Strs(names)) => names,
        // An empty list has no type.
        Some(Value::Ints(none)) if none.is_empty() => return Ok(BTreeSet::new()),
        Some(_) => bail!(MissingKey, "'{GROUP}{key}' is no list of names"),
    };
    let set: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    if set.len() != names.len() {
        bail!(BadHeader, "'{GROUP}{key}' names a tensor twice");
    }
    Ok(set)
}

/// Marks the folded linear layers and head; gives their input widths.
fn mark_linears(folded: &BTreeSet<&str>, names: Names, spec: &mut Spec) -> Result<BTreeSet<usize>> {
    let mut left = folded.clone();
    let mut widths = BTreeSet::new();
    let hidden = spec.hidden;
    for (i, block) in spec.blocks.iter_mut().enumerate() {
        for linear in LinearRole::ALL {
            if !left.remove(names.of(TensorRole::Linear(i, linear, Field::Weight)).as_str()) {
                continue;
            }
            widths.insert(match linear {
                LinearRole::O => block.mixer.body.attention().map_or(hidden, Attention::q_width),
                LinearRole::Down => block.ffn.body.mlp().width,
                _ => hidden,
            });
            let Some(layer) = block.linear_mut(linear) else { continue };
            if layer.norm.is_some() {
                bail!(UnsupportedArch, "a rotated projection with a norm of its own");
            }
            layer.rotated = true;
        }
    }
    if left.remove(names.of(TensorRole::Head).as_str()) {
        // So there is one, even if the part of the file that has it is still to come.
        (spec.output.rotated, spec.output.tied) = (true, false);
        widths.insert(hidden);
    }
    match left.first() {
        None => Ok(widths),
        Some(name) => {
            bail!(UnsupportedArch, "'{GROUP}weight_names' has '{}', which is not rotated here", short(name))
        }
    }
}

/// The signs of each input width.
fn signs(
    widths: Option<&Value>,
    values: Option<&Value>,
    needed: &BTreeSet<usize>,
) -> Result<BTreeMap<usize, Vec<i8>>> {
    let (Some(Value::Ints(widths)), Some(Value::Ints(values))) = (widths, values) else {
        bail!(MissingKey, "'{GROUP}sign_widths' or '{GROUP}sign_values' is missing");
    };
    let mut signs = BTreeMap::new();
    let mut rest = &values[..];
    for &width in widths {
        let Some((own, after)) = usize::try_from(width).ok().and_then(|width| rest.split_at_checked(width))
        else {
            bail!(BadHeader, "'{GROUP}sign_values' has {} values, fewer than its widths", values.len());
        };
        rest = after;
        if let Some(value) = own.iter().find(|value| value.abs() != 1) {
            bail!(BadHeader, "'{GROUP}sign_values' has a {value}");
        }
        if signs.insert(own.len(), own.iter().map(|&value| value as i8).collect()).is_some() {
            bail!(BadHeader, "'{GROUP}sign_widths' has {width} twice");
        }
    }
    if !rest.is_empty() {
        bail!(BadHeader, "'{GROUP}sign_values' has {} values more than its widths", rest.len());
    }
    match needed.iter().find(|width| !signs.contains_key(width)) {
        Some(width) => bail!(BadHeader, "'{GROUP}sign_widths' lacks the input width {width}"),
        None => Ok(signs),
    }
}

/// The embedding may be stored rotated; in version 2 it then is the head as well.
fn mark_embedding(
    inverse: Option<&Value>,
    tied: Option<&Value>,
    version: i64,
    names: Names,
    spec: &mut Spec,
) -> Result<()> {
    let mut inverse = name_set(inverse, "inverse_weight_names")?;
    spec.embed.rotated = inverse.remove(names.of(TensorRole::Embedding).as_str());
    if let Some(name) = inverse.first() {
        bail!(UnsupportedArch, "'{GROUP}inverse_weight_names' has '{}'", short(name));
    }
    let says_tied = match tied {
        None => false,
        Some(Value::Bool(tied)) => *tied,
        Some(_) => bail!(MissingKey, "'{GROUP}tied_output' is no boolean"),
    };
    match version {
        2 if says_tied && spec.output.tied && spec.embed.rotated => spec.output.rotated = true,
        2 => {
            bail!(BadHeader, "'{GROUP}version' 2 wants a rotated embedding that is the head ('tied_output')")
        }
        _ if says_tied => bail!(BadHeader, "'{GROUP}tied_output' in version 1"),
        _ if spec.output.tied && spec.embed.rotated => {
            bail!(BadHeader, "'{GROUP}version' 1: the rotated embedding cannot be the head");
        }
        _ => {}
    }
    Ok(())
}
