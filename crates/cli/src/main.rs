//! The `ternlight` command line: it parses arguments, runs one [`command`] and turns its outcome into an exit code.
//!
//! Exit codes: 0 done, 1 failed (stderr names the stable code), 2 wrong usage, 130 interrupted.
#![deny(unsafe_code)]

mod answer;
mod catalogue;
mod command;
mod console;
mod failure;
mod fetch;
mod hardware;
mod interrupt;
mod model_file;
mod model_ref;
mod options;
mod scaling;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::{command::Command, console::Console, failure::Failure};

/// Run ternary (BitNet b1.58) and low-bit language models on a plain CPU.
#[derive(Parser)]
#[command(name = "ternlight", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Without a model, commands use the one that TERNLIGHT_MODEL names, else Tern, a tiny one that is\n\
    part of the program. `ternlight list --remote` names others.\n\n\
    Exit codes: 0 done, 1 failed (stderr says `error[code]`), 2 wrong usage, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// No progress bars, no remarks: only the result and errors.
    #[arg(long, short, global = true)]
    quiet: bool,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let console = Console::new(cli.command.json(), cli.quiet);
    interrupt::install();
    match cli.command.execute(&console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.report(&failure);
            failure.exit_code()
        }
    }
}

/// Help, or what is wrong with the arguments: they may be names of files that nobody looked at (`*`).
fn misused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    error.render().to_string().lines().for_each(|line| tell!("{line}"));
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// What commands return.
type Result<T, E = Failure> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    /// What a newcomer reads first: each command and each option says what it does, shared options stand under
    /// their heading, and what is a command's own does not.
    #[test]
    fn help_is_whole() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                assert!(argument.get_help().is_some() || id == "shell", "{name}: {id} has no help");
                let heading = match id {
                    "model" | "cache_dir" | "hf_endpoint" if name != "serve-demo" || id != "model" => {
                        Some("Model")
                    }
                    "threads" | "head" | "kernel" if name != "inspect" => Some("Computation"),
                    "temperature" | "seed" if name == "run" || name == "chat" => Some("Sampling"),
                    "json" | "prompt" | "text" | "out" => None,
                    _ => continue,
                };
                assert_eq!(argument.get_help_heading(), heading, "{name}: {id}");
            }
        }
    }
}
