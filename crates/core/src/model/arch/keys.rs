//! Look-ups in the metadata of either container, and the rule that no key is ignored unseen.
//!
//! Every look-up is noted. A key that nobody looked up may change the arithmetic, so [`Keys::refuse_unread`] refuses
//! it by name, unless its value is neutral, it is known to be harmless, or the caller allowed it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
};
use core::cell::RefCell;

use crate::{
    Result, bail,
    container::{Container, Meta, TensorInfo, Value},
    error::short,
    format::Encoding,
};

/// The tensors of all headers seen so far; `None` where only the name is known (from an index of shards).
pub type KnownTensors = BTreeMap<String, Option<TensorInfo>>;

/// One fact's key in each container; GGUF keys come after the architecture's prefix.
#[derive(Clone, Copy)]
pub(super) struct Key {
    gguf: Option<&'static str>,
    hf: Option<&'static str>,
}

/// A fact that both containers have.
pub(super) const fn key(gguf: &'static str, hf: &'static str) -> Key {
    Key { gguf: Some(gguf), hf: Some(hf) }
}

/// A fact that GGUF files have.
pub(super) const fn gguf(key: &'static str) -> Key {
    Key { gguf: Some(key), hf: None }
}

/// A fact that Hugging Face configurations have.
pub(super) const fn hf(key: &'static str) -> Key {
    Key { gguf: None, hf: Some(key) }
}

/// The metadata of one model, and what was read of it.
pub(super) struct Keys<'a> {
    pub container: Container,
    /// The architecture's name, which prefixes its GGUF keys.
    pub arch: &'a str,
    meta: &'a Meta,
    tensors: &'a KnownTensors,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Keys<'a> {
    pub fn new(container: Container, meta: &'a Meta, tensors: &'a KnownTensors) -> Result<Self> {
        let key = match container {
            Container::Gguf => "general.architecture",
            Container::Safetensors => "model_type",
        };
        let keys = Self { container, arch: meta.str(key)?, meta, tensors, read: RefCell::default() };
        keys.note(key);
        Ok(keys)
    }

    pub fn is_gguf(&self) -> bool {
        self.container == Container::Gguf
    }

    /// Whether a tensor of this name is in any header.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape and encoding of a tensor whose header was seen.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)?.as_ref()
    }

    /// Whether a tensor has this encoding.
    pub fn has_encoding(&self, encoding: Encoding) -> bool {
        self.tensors.values().flatten().any(|tensor| tensor.encoding == encoding)
    }

    fn note(&self, name: &str) {
        self.read.borrow_mut().insert(name.to_string());
    }

    /// The key's full name in this container; noted as read.
    fn name(&self, key: Key) -> Option<String> {
        let name = match self.container {
            Container::Gguf => format!("{}.{}", self.arch, key.gguf?),
            Container::Safetensors => key.hf?.to_string(),
        };
        self.note(&name);
        Some(name)
    }

    pub fn has(&self, key: Key) -> bool {
        self.name(key).is_some_and(|name| self.meta.has(&name))
    }

    pub fn usize(&self, key: Key) -> Result<Option<usize>> {
        self.name(key).map_or(Ok(None), |name| self.meta.opt_usize(&name))
    }

    pub fn need(&self, key: Key) -> Result<usize> {
        match self.name(key) {
            Some(name) => self.meta.usize(&name),
            None => bail!(MissingKey, "this container has no key for a needed number"),
        }
    }

    pub fn float(&self, key: Key) -> Result<Option<f32>> {
        let value = self.name(key).map_or(Ok(None), |name| self.meta.opt_float(&name))?;
        Ok(value.map(|x| x as f32))
    }

    pub fn text(&self, key: Key) -> Result<Option<&'a str>> {
        self.name(key).map_or(Ok(None), |name| self.meta.opt_str(&name))
    }

    pub fn flag(&self, key: Key) -> Result<Option<bool>> {
        self.name(key).map_or(Ok(None), |name| self.meta.opt_bool(&name))
    }

    /// An array of integers; arrays of booleans are stored as 0 and 1.
    pub fn ints(&self, key: Key) -> Result<Option<&'a [i64]>> {
        self.name(key).map_or(Ok(None), |name| self.meta.opt_ints(&name))
    }

    pub fn texts(&self, key: Key) -> Result<Option<&'a [String]>> {
        self.name(key).map_or(Ok(None), |name| self.meta.opt_strs(&name))
    }

    /// Looks up a key that is spelled in full, whatever the container.
    pub fn raw(&self, name: &str) -> Option<&'a Value> {
        self.note(name);
        self.meta.get(name)
    }

    /// Takes a key for read although its value is not needed: only `accepted` values mean what is computed anyway.
    pub fn expect(&self, key: Key, accepted: &[Value]) -> Result<()> {
        let Some(name) = self.name(key) else { return Ok(()) };
        match self.meta.get(&name) {
            Some(value) if !accepted.contains(value) => {
                bail!(UnsupportedArch, "'{}' is {}: this value is not supported", short(&name), shown(value))
            }
            _ => Ok(()),
        }
    }

    /// Refuses keys that were not read and could change what the model computes.
    ///
    /// # Errors
    /// `unsupported-arch`, naming the first such key.
    pub fn refuse_unread(&self, allowed: &[String]) -> Result<()> {
        let read = self.read.borrow();
        let unread = self.meta.0.iter().filter(|(name, _)| !read.contains(*name));
        for (name, value) in unread {
            if is_harmless(self.container, self.arch, name)
                || is_neutral(name, value)
                || allowed.contains(name)
            {
                continue;
            }
            bail!(
                UnsupportedArch,
                "the key '{}' ({}) is not known for architecture '{}' and could change what the model computes: {} \
                 (allow it by name to load the model without it)",
                short(name),
                shown(value),
                short(self.arch),
                super::effect(name)
            );
        }
        Ok(())
    }
}

/// A value in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Int(i) => format!("{i}"),
        Value::Float(x) => format!("{x}"),
        Value::Bool(b) => format!("{b}"),
        Value::Str(s) => format!("\"{}\"", short(s)),
        Value::Ints(_) | Value::Floats(_) | Value::Strs(_) => value.type_name().to_string(),
    }
}

/// What every decoder has unless its configuration says that it has not.
const ON_BY_DEFAULT: [&str; 3] = ["is_causal", "use_rope", "use_rotary_pos_emb"];

/// Whether a value says that a feature is absent: false, nothing, a factor of 1.
fn is_neutral(name: &str, value: &Value) -> bool {
    let factor =
        ["scale", "scaling", "multiplier", "factor", "temperature"].iter().any(|word| name.contains(word));
    match value {
        Value::Bool(b) => *b == ON_BY_DEFAULT.contains(&name),
        Value::Int(i) => *i == i64::from(factor),
        Value::Float(x) => *x == if factor { 1.0 } else { 0.0 },
        Value::Str(s) => matches!(s.as_str(), "" | "none" | "default"),
        Value::Ints(v) => v.iter().all(|i| *i == 0),
        Value::Floats(v) => v.is_empty(),
        Value::Strs(v) => v.is_empty(),
    }
}

/// Keys that no forward pass depends on.
fn is_harmless(container: Container, arch: &str, name: &str) -> bool {
    match container {
        Container::Gguf => {
            // What describes the file, its tokenizer, its parts, or who quantised it and with which data.
            const PREFIXES: [&str; 6] =
                ["general.", "tokenizer.", "split.", "quantize.", "imatrix.", "mradermacher."];
            const OWN: [&str; 3] = ["rope.scaling.finetuned", "tensor_data_layout", "pooling_type"];
            PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                || name
                    .strip_prefix(arch)
                    .and_then(|rest| rest.strip_prefix('.'))
                    .is_some_and(|rest| OWN.contains(&rest))
        }
        Container::Safetensors => {
            name.starts_with('_')
                || name.starts_with("oracle_")
                || HARMLESS.contains(&name)
                || HARMLESS_GROUPS.iter().any(|group| name.starts_with(group))
        }
    }
}

/// Groups of keys of a Hugging Face configuration that only describe it.
const HARMLESS_GROUPS: [&str; 7] = [
    "general.",
    "auto_map.",
    "id2label.",
    "label2id.",
    "task_specific_params.",
    "transformers.js_config.",
    "architectures",
];

/// Keys of a Hugging Face configuration that are about training, generation, classification heads or the library.
const HARMLESS: [&str; 87] = [
    "add_cross_attention",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_implementation",
    "attn_pdrop",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "image_token_id",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "is_llama_config",
    "language",
    "length_penalty",
    "max_length",
    "min_length",
    "model_max_length",
    "model_type",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "pad_token",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sep_token_id",
    "suppress_tokens",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_flash_attn",
    "use_flash_attention_2",
    "use_return_dict",
    "use_seq_len_scale",
    "use_sdpa",
    "quantization_config.modules_to_not_convert",
    "z_loss_coefficient",
];
