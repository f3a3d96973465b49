//! `ternlight run`: one prompt, one answer.

use std::{io::Read, path::PathBuf};

use clap::Args;
use serde_json::json;
use ternlight_engine::{ChatOptions, Engine, GenerateOptions, Message, Prompt};

use crate::{
    Result,
    answer::{self, ContextOptions, Opened, SampleArgs},
    console::Console,
    failure::{Failure, USAGE},
    hardware,
    options::{ComputeOptions, ModelOptions},
    terminal,
};

/// Answer one prompt.
#[derive(Args)]
#[command(
    after_help = "A prompt is a message to models with a chat template, and a beginning to continue for others.\n\
    --raw and --chat settle it: --raw takes special tokens in the text as what they spell.\n\n\
    Examples:\n  \
    ternlight run --prompt \"Why is the sky blue?\" --max-tokens 100\n  \
    ternlight run --raw --prompt \"Once upon a time\" --temperature 0 --json\n  \
    cat letter.txt | ternlight run --prompt -"
)]
pub struct Run {
    #[command(flatten)]
    model: ModelOptions,

    /// The prompt; - reads it from standard input
    #[arg(long, short, value_name = "TEXT", required_unless_present = "file")]
    prompt: Option<String>,

    /// Read the prompt from this file
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    file: Option<PathBuf>,

    /// Continue the text instead of answering it; special tokens in it are parsed
    #[arg(long, conflicts_with = "chat")]
    raw: bool,

    /// Answer the text as a message, with the model's chat template
    #[arg(long)]
    chat: bool,

    /// System message for the chat template
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,

    /// Report the N likeliest tokens of each step (with --json)
    #[arg(long, value_name = "N", default_value_t = 0)]
    logprobs: usize,

    /// Continue past the model's stop tokens
    #[arg(long)]
    ignore_stop: bool,

    #[command(flatten)]
    sample: SampleArgs,

    #[command(flatten)]
    context: ContextOptions,

    #[command(flatten)]
    compute: ComputeOptions,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl Run {
    pub fn execute(self, console: &Console) -> Result<()> {
        let text = self.text()?;
        let Opened { engine, load_ms, .. } =
            answer::open(&self.model.locate(console)?, &self.compute, &self.context, console)?;
        let options = GenerateOptions {
            top_logprobs: self.logprobs,
            ignore_stop_tokens: self.ignore_stop,
            ..self.sample.options(engine.sampling())
        };
        let prompt = self.prompt(text, &engine)?;
        let mut session = engine.session()?;
        let stream = !console.json();
        let mut show = |text: &str| {
            if stream {
                terminal::stream(text);
            }
        };
        let answer = answer::answer(&mut session, &prompt, &options, console, &mut show)?;
        let summary = &answer.summary;
        let t = &summary.timings;
        let ids: Vec<u32> = answer.tokens.iter().map(|token| token.id).collect();
        let mut report = json!({
            "prompt_tokens": session.tokens()[..summary.prompt_tokens],
            "tokens": ids,
            "text": answer.text,
            "finish_reason": summary.finish_reason,
            "timings": {
                "load_ms": load_ms,
                "prefill_tokens": t.prefill_tokens,
                "prefill_tok_s": t.prefill_tok_s,
                "decode_tokens": t.decode_tokens,
                "decode_tok_s": t.decode_tok_s,
                "peak_rss_bytes": hardware::peak_rss(),
            }
        });
        if let Some(string) = &summary.stop_string {
            report["stop_string"] = json!(string);
        }
        let loops: Vec<usize> = answer.tokens.iter().filter_map(|token| token.loops).collect();
        if !loops.is_empty() {
            report["loops"] = json!(loops);
        }
        if let Some(speculation) = &summary.speculation {
            report["speculation"] = json!(speculation);
        }
        if self.logprobs > 0 {
            report["logprobs"] = json!(answer.tokens);
        }
        console.result(&report, || {
            if !answer.text.ends_with('\n') {
                crate::say!("");
            }
            let words = format!("[loaded in {:.2} s] {}", load_ms / 1e3, answer::remark(&answer));
            console.remark(words);
        });
        // Only after the report: a partial answer is still useful.
        if summary.finish_reason.name() == "cancelled" { Err(Failure::interrupted()) } else { Ok(()) }
    }

    fn text(&self) -> Result<String> {
        match (&self.file, self.prompt.as_deref()) {
            (Some(path), _) => std::fs::read_to_string(path).map_err(|e| Failure::io(path, &e)),
            (None, Some("-")) => {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .map_err(|e| Failure::io("standard input".as_ref(), &e))?;
                Ok(text)
            }
            (None, Some(text)) => Ok(text.to_owned()),
            (None, None) => Err(Failure::new(USAGE, "there is no prompt")),
        }
    }

    fn prompt(&self, text: String, engine: &Engine) -> Result<Prompt> {
        if self.raw {
            return Ok(Prompt::Text { text, special: true, add_bos: true });
        }
        let has_template = engine.chat_template().is_some();
        if !(self.chat || has_template) {
            if self.system.is_some() {
                return Err(Failure::new(USAGE, "--system needs a model with a chat template"));
            }
            return Ok(Prompt::Text { text, special: false, add_bos: true });
        }
        let system = self.system.iter().map(|system| Message::new("system", system.clone()));
        let messages = system.chain([Message::new("user", text)]).collect();
        Ok(Prompt::Chat(messages, ChatOptions::default()))
    }
}
