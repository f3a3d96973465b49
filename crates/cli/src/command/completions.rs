//! `ternlight completions`: scripts that let a shell complete commands and options.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Result;

/// Print a completion script for your shell.
#[derive(Args)]
#[command(
    after_help = "bash: ternlight completions bash > ~/.local/share/bash-completion/completions/ternlight\n\
    zsh:  ternlight completions zsh > \"${fpath[1]}/_ternlight\"\n\
    fish: ternlight completions fish > ~/.config/fish/completions/ternlight.fish"
)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    pub fn execute(self) -> Result<()> {
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "ternlight", &mut std::io::stdout());
        Ok(())
    }
}
