//! The `ternlight` command line: reads arguments, calls one [`command`], turns its outcome into an exit code.
//!
//! Exit codes: 0 done, 1 failed (stderr names the stable code), 2 wrong usage, 130 interrupted.
#![deny(unsafe_code)]

mod command;
mod console;
mod failure;
mod fetch;
mod generate;
mod interrupt;
mod machine;
mod model_file;
mod options;
mod place;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::{command::Command, console::Console, failure::Failure};

/// Run ternary (BitNet b1.58) and low-bit language models on a plain CPU.
#[derive(Parser)]
#[command(name = "ternlight", version, about, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed (stderr says `error[code]`), 2 wrong usage, 130 interrupted.\n\
    Without --model, commands use the default model: see `ternlight fetch --help`."
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
