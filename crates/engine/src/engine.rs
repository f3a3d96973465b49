//! A loaded model with what turns text into tokens and tokens into text.

use std::sync::Arc;

use ternlight_core::{
    Error, ErrorKind, Result,
    cache::KvType,
    container::Value,
    model::{Decoder, DecoderOptions, Model, Want},
    pool::Pool,
    tune::Choice,
};

use crate::{
    info::{ExpertsInfo, LoopInfo, ModelInfo, Sampling, SparseInput, TensorInfo},
    options::EngineOptions,
    text::{
        Tokenizer,
        template::{ChatOptions, Message, Rendered, Template},
    },
};

/// How the states of a text's tokens become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The state of the last token.
    #[default]
    Last,
    /// The mean of all states.
    Mean,
}

/// A loaded model, ready to work. Cheap to clone; [`Session`](crate::Session)s and clones share
/// the weights.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub model: Arc<Model>,
    pub pool: Arc<dyn Pool>,
    pub options: EngineOptions,
    /// How keys and values are stored, unless the model has codes of its own.
    pub kv: KvType,
    /// A model can be computed without its tokenizer; whoever needs it learns why it is not there.
    pub tokenizer: Result<Tokenizer>,
    pub template: Option<Template>,
    pub sampling: Sampling,
    pub name: String,
    pub file_bytes: u64,
}

impl Engine {
    /// What this model is.
    pub fn info(&self) -> ModelInfo {
        let (inner, model, spec) = (&self.inner, &self.inner.model, &self.inner.model.spec);
        let mut kernels: Vec<String> = Vec::new();
        for tensor in &model.tensors {
            if !kernels.iter().any(|kernel| kernel == tensor.kernel) {
                kernels.push(tensor.kernel.into());
            }
        }
        let license = match model.meta.get("general.license") {
            Some(Value::Str(license)) => Some(license.clone()),
            _ => None,
        };
        // Of the first block, which speaks for all in the models at hand.
        let ((heads, kv_heads, head_dim), mlp) =
            (spec.blocks[0].mixer.body.heads(), spec.blocks[0].ffn.body.mlp());
        let tensors = model.tensors.iter().map(|tensor| TensorInfo {
            name: tensor.name.clone(),
            rows: tensor.rows,
            cols: tensor.cols,
            encoding: tensor.encoding.name().into(),
            form: format!("{:?}", tensor.form),
            kernel: tensor.kernel.into(),
            bytes: tensor.bytes,
            same_as: tensor.same_as.clone(),
            counts: tensor.trits,
        });
        ModelInfo {
            name: inner.name.clone(),
            arch: spec.arch.clone(),
            params: model.parameters(),
            context: self.context(),
            trained_context: spec.context,
            vocab: spec.vocab,
            layers: spec.blocks.len(),
            loops: spec.program.body.as_ref().map(|body| body.times),
            looped: LoopInfo::of(spec),
            experts: ExpertsInfo::of(spec),
            sparse_inputs: SparseInput::of(spec),
            hidden: spec.hidden,
            ffn: mlp.width,
            heads,
            kv_heads,
            head_dim,
            file_bytes: inner.file_bytes,
            packed_bytes: model.packed_bytes() as u64,
            shared_bytes: model.shared_bytes() as u64,
            bytes_per_token: model.bytes_per_token() as u64,
            kernels,
            threads: inner.pool.width(),
            kv: if spec.cache_codes.is_some() { "a48" } else { inner.kv.name() }.into(),
            tensors: tensors.collect(),
            tokenizer: inner.tokenizer.is_ok(),
            chat: inner.template.is_some(),
            license,
            sampling: inner.sampling.clone(),
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.inner.model
    }

    /// How products are computed on this machine, as far as that was measured while tokens were computed.
    pub fn choices(&self) -> Vec<Choice> {
        self.inner.pool.choices()
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// Why there is none: `missing-key` or `tokenizer`.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.inner.tokenizer.as_ref().map_err(Clone::clone)
    }

    /// The chat template's source, where the model has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.inner.template.as_ref().map(|t| t.source.as_str())
    }

    /// The sampling that the model's authors suggest.
    pub fn sampling(&self) -> &Sampling {
        &self.inner.sampling
    }

    /// Tokens in the context window.
    pub fn context(&self) -> usize {
        match self.inner.options.context {
            Some(context) => context as usize,
            None => self.inner.model.spec.context.clamp(1, EngineOptions::USUAL_CONTEXT as usize),
        }
    }

    /// The tokens of `text` with nothing added. With `special`, spellings of control tokens are those
    /// tokens; without, they are plain text.
    ///
    /// # Errors
    /// As [`Engine::tokenizer`].
    pub fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        self.tokenizer()?.encode(text, special)
    }

    /// The text of tokens, control tokens included.
    ///
    /// # Errors
    /// As [`Engine::tokenizer`].
    pub fn detokenize(&self, tokens: &[u32]) -> Result<String> {
        Ok(self.tokenizer()?.decode(tokens))
    }

    /// One token's text, with U+FFFD for bytes that are no character on their own.
    ///
    /// # Errors
    /// As [`Engine::tokenizer`].
    pub fn token_text(&self, token: u32) -> Result<String> {
        Ok(String::from_utf8_lossy(self.tokenizer()?.token_bytes(token)).into_owned())
    }

    /// The text that the chat template makes of a conversation, as the tokenizer sees it.
    ///
    /// # Errors
    /// `template`; as [`Engine::tokenizer`].
    pub fn render_chat(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        Ok(self.render(messages, options)?.text)
    }

    /// A conversation as tokens: rendered by the chat template, with BOS once if the model wants it. What
    /// a message says never becomes a control token.
    ///
    /// # Errors
    /// `template` when the model has no chat template, or it fails; as [`Engine::tokenizer`].
    pub fn chat_tokens(&self, messages: &[Message], options: &ChatOptions) -> Result<Vec<u32>> {
        let rendered = self.render(messages, options)?;
        let tokenizer = self.tokenizer()?;
        Ok(tokenizer.add_bos(tokenizer.encode_said(&rendered.text, &rendered.said)?))
    }

    fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<Rendered> {
        // A text that nothing can turn into tokens is of no use.
        self.tokenizer()?;
        let template = self.inner.template.as_ref();
        let template =
            template.ok_or_else(|| Error::new(ErrorKind::Template, "the model has no chat template"))?;
        template.render(messages, options, now())
    }

    /// The logits of every token of a sequence, `(tokens, vocab)`.
    ///
    /// # Errors
    /// `bad-option` for a token outside the vocabulary, `context-full`, `out-of-memory`.
    pub fn logits(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        self.fits(tokens)?;
        Ok(self.decoder(tokens.len().max(1))?.forward(tokens, Want::All)?.to_vec())
    }

    /// The embedding of a text, `(hidden)`: see [`Engine::embed_tokens`]. The text ends with the token that the
    /// model's tokenizer puts there, else with `<|endoftext|>` or EOS: models that pool the last token are trained so.
    ///
    /// # Errors
    /// As [`Engine::tokenizer`] and [`Engine::embed_tokens`].
    pub fn embed(&self, text: &str, pooling: Pooling) -> Result<Vec<f32>> {
        let tokenizer = self.tokenizer()?;
        let mut tokens = tokenizer.add_bos(tokenizer.encode(text, false)?);
        let framed = tokenizer.add_special_tokens(tokens.clone());
        if framed.len() > tokens.len() {
            tokens = framed;
        } else {
            let end = tokenizer.control("<|endoftext|>").or(tokenizer.eos());
            tokens.extend(end.filter(|end| tokens.last() != Some(end)));
        }
        self.embed_tokens(&tokens, pooling)
    }

    /// The states of tokens after the final norm, pooled and scaled to length 1, `(hidden)`.
    ///
    /// # Errors
    /// `bad-option` for no tokens or one outside the vocabulary, `context-full`, `out-of-memory`; `bad-data` where the
    /// states are not finite.
    pub fn embed_tokens(&self, tokens: &[u32], pooling: Pooling) -> Result<Vec<f32>> {
        if tokens.is_empty() {
            return Err(Error::new(ErrorKind::BadOption, "the text has no tokens"));
        }
        self.fits(tokens)?;
        // Keys and values are needed for this one pass only: kept exactly.
        let options =
            DecoderOptions { context: tokens.len(), kv: KvType::F32, block: self.inner.options.block };
        let mut decoder = Decoder::new(self.inner.model.clone(), options, self.inner.pool.clone())?;
        let hidden = self.inner.model.spec.hidden;
        let states = decoder.hidden(tokens)?;
        let mut pooled = match pooling {
            Pooling::Last => states[states.len() - hidden..].to_vec(),
            // The length is scaled anyway, so the sum is as good as the mean.
            Pooling::Mean => {
                let sum =
                    |i| states.iter().skip(i).step_by(hidden).map(|&x| f64::from(x)).sum::<f64>() as f32;
                (0..hidden).map(sum).collect()
            }
        };
        let squares: f64 = pooled.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let norm = squares.sqrt();
        if !norm.is_finite() {
            return Err(Error::new(ErrorKind::BadData, "the embedding is not finite"));
        }
        // As torch.nn.functional.normalize has it.
        let norm = norm.max(1e-12) as f32;
        pooled.iter_mut().for_each(|x| *x /= norm);
        Ok(pooled)
    }

    fn fits(&self, tokens: &[u32]) -> Result<()> {
        let trained = self.inner.model.spec.context;
        let limit = self.inner.options.context.map_or(trained, |c| c as usize);
        if limit > 0 && tokens.len() > limit {
            return Err(Error::new(
                ErrorKind::ContextFull,
                format!("{} tokens do not fit a context of {limit}", tokens.len()),
            ));
        }
        Ok(())
    }

    pub(crate) fn decoder(&self, context: usize) -> Result<Decoder> {
        let options = DecoderOptions { context, kv: self.inner.kv, block: self.inner.options.block.max(1) };
        Decoder::new(Arc::clone(&self.inner.model), options, Arc::clone(&self.inner.pool))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

/// Seconds since 1970, for templates that print the date.
fn now() -> Option<i64> {
    let since = web_time::SystemTime::now().duration_since(web_time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}
