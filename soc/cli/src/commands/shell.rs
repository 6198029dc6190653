//! `completion` and `man`: made from the command line itself, so that they cannot say anything else.

use std::fs;

use crate::args;
use crate::exit::{Code, Failure};
use crate::front;

pub(crate) fn completion(args: &args::Completion) -> Result<Code, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut front::command(), "hindcap", &mut script);
    super::print_as_is(&String::from_utf8_lossy(&script))?;
    Ok(Code::Done)
}

pub(crate) fn man(args: &args::Man) -> Result<Code, Failure> {
    let fail = |error| Failure::new(format!("{}: {error}", args.directory.display()));
    fs::create_dir_all(&args.directory).map_err(fail)?;
    clap_mangen::generate_to(front::command(), &args.directory).map_err(fail)?;
    Ok(Code::Done)
}
