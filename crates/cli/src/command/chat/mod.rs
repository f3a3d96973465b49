//! `ternlight chat`: a conversation in the terminal.
//!
//! Invariant: what is on the screen is what the model sees; a Ctrl-C stops an answer, a second
//! one before it has stopped ends the program.

mod line;

use std::path::Path;

use clap::Args;
use ternlight_core::ErrorKind;
use ternlight_engine::{ChatOptions, GenerateOptions, Message, Overflow, Prompt, Session};

use crate::{
    Result,
    answer::{self, Answer, ContextOptions, Opened, SampleArgs},
    console::{ACCENT, Console, DIM, STRONG},
    failure::{Failure, IO},
    interrupt,
    options::{ComputeOptions, ModelOptions},
    terminal,
};
use line::{Command, Entry, Lines};

/// Chat in the terminal.
#[derive(Args)]
#[command(
    after_help = "In the chat: /help lists commands, Tab completes them, Ctrl-C stops an answer, Ctrl-D ends."
)]
pub struct Chat {
    #[command(flatten)]
    model: ModelOptions,

    /// System message
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    #[command(flatten)]
    sample: SampleArgs,

    #[command(flatten)]
    context: ContextOptions,

    #[command(flatten)]
    compute: ComputeOptions,
}

impl Chat {
    pub fn execute(self, console: &Console) -> Result<()> {
        let Opened { engine, load_ms, title } =
            answer::open(&self.model.locate(console)?, &self.compute, &self.context, console)?;
        if engine.chat_template().is_none() {
            let failure = Failure::kind(ErrorKind::Template, "the model has no chat template");
            return Err(failure.hint("ternlight run --raw continues a text instead."));
        }
        let info = engine.info();
        console.remark(format_args!(
            "{STRONG}{title}{STRONG:#}{DIM} · {} parameters · {} tokens of context · loaded in {:.1} s · /help",
            crate::console::count(info.params),
            engine.context(),
            load_ms / 1e3
        ));
        let options = GenerateOptions { overflow: Overflow::Slide, ..self.sample.options(engine.sampling()) };
        let mut talk = Talk { session: engine.session()?, messages: Vec::new(), options, console };
        talk.set_system(self.system);
        let mut lines = Lines::new();
        loop {
            let entry = lines.next()?;
            match entry {
                Entry::End => break,
                Entry::Nothing => {}
                Entry::Message(text) => interrupt::separately(|| talk.say(text))?,
                Entry::Command(Command::Quit, _) => break,
                Entry::Command(command, argument) => {
                    interrupt::separately(|| talk.command(command, &argument))?
                }
                Entry::Unknown(name) => talk.note(format!("/{name} is no command; /help lists them")),
            }
        }
        Ok(())
    }
}

struct Talk<'a> {
    session: Session,
    messages: Vec<Message>,
    options: GenerateOptions,
    console: &'a Console,
}

impl Talk<'_> {
    fn note(&self, words: impl std::fmt::Display) {
        crate::tell!("{DIM}{words}{DIM:#}");
    }

    fn set_system(&mut self, text: Option<String>) {
        self.messages.retain(|message| message.role != "system");
        if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
            self.messages.insert(0, Message::new("system", text));
        }
    }

    fn command(&mut self, command: Command, argument: &str) -> Result<()> {
        match command {
            Command::Help => line::HELP.lines().for_each(|help| self.note(help)),
            Command::Quit => {}
            Command::Reset => {
                self.messages.retain(|message| message.role == "system");
                self.note("a new conversation");
            }
            Command::System => {
                let text = Some(argument.to_owned()).filter(|text| !text.is_empty());
                self.note(if text.is_some() { "system message set" } else { "system message removed" });
                self.set_system(text);
            }
            Command::Save => match self.save(argument) {
                Ok(place) => self.note(format_args!("saved to {place}")),
                Err(failure) => self.console.report(&failure),
            },
            Command::Regen => {
                while self.messages.last().is_some_and(|message| message.role == "assistant") {
                    self.messages.pop();
                }
                match self.messages.last() {
                    Some(last) if last.role == "user" => {
                        // Greedy decoding would say the same again.
                        let usual = self.options.temperature;
                        if usual == Some(0.0) {
                            self.options.temperature = Some(0.8);
                        }
                        let result = self.answer();
                        self.options.temperature = usual;
                        result?;
                    }
                    _ => self.note("there is no answer yet"),
                }
            }
        }
        Ok(())
    }

    fn say(&mut self, text: String) -> Result<()> {
        self.messages.push(Message::new("user", text));
        self.answer()
    }

    /// Answers the last message. Errors of this answer are told and leave the chat going.
    fn answer(&mut self) -> Result<()> {
        match self.generate() {
            Ok(answer) => {
                crate::say!("");
                self.console.remark(answer::remark(&answer));
                let mut text = answer.text;
                // A stopped answer counts as far as it went; one that never began is not part of the talk.
                if text.trim().is_empty() && answer.summary.finish_reason.name() == "cancelled" {
                    self.messages.pop();
                    return Ok(());
                }
                text.truncate(text.trim_end().len());
                self.messages.push(Message::new("assistant", text));
            }
            Err(failure) => {
                crate::say!("");
                self.messages.pop();
                self.console.report(&failure);
            }
        }
        Ok(())
    }

    /// One answer. The engine drops the oldest turns when the context has no room for all.
    fn generate(&mut self) -> Result<Answer> {
        terminal::prompt(ACCENT, "‹");
        let prompt = Prompt::Chat(self.messages.clone(), ChatOptions::default());
        answer::answer(&mut self.session, &prompt, &self.options, self.console, &mut terminal::stream)
    }

    /// Writes the conversation as JSON (the messages) for `.json`, else as Markdown.
    fn save(&self, argument: &str) -> Result<String> {
        let name = if argument.is_empty() { "chat.md" } else { argument };
        let path = Path::new(name);
        let text = if path.extension().is_some_and(|e| e == "json") {
            serde_json::to_string_pretty(&self.messages).map_err(|e| Failure::new(IO, e.to_string()))?
        } else {
            let mut text = String::new();
            for message in &self.messages {
                text.push_str(&format!("**{}**\n\n{}\n\n", message.role, message.content));
            }
            text
        };
        std::fs::write(path, text).map_err(|e| Failure::io(path, &e))?;
        Ok(path.display().to_string())
    }
}
