//! The `hindcapd` binary: parses, runs, prints the chain of causes once, exits.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match hindcapd::run(&hindcapd::cli::Cli::parse()) {
        Ok(code) => code.into(),
        Err(failure) => {
            eprintln!("hindcapd: {failure}");
            failure.code.into()
        }
    }
}
