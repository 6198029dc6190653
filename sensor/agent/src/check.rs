//! `hindcapd check-config`: reads a configuration as `run` would and says whether it can be used.

use crate::cli::CheckConfigArgs;
use crate::config::{self, Config};
use crate::exit::{Code, Failure};

/// Checks the file, or prints the reference of all keys.
pub fn check_config(args: &CheckConfigArgs) -> Result<Code, Failure> {
    let Some(path) = &args.file else {
        say_text!("{}", config::reference());
        return Ok(Code::Done);
    };
    match (Config::load(path), args.json) {
        (Ok(_), false) => say!("{}: ok", path.display()),
        (Ok(_), true) => say!("{}", serde_json::json!({ "file": path, "ok": true })),
        (Err(error), false) => return Err(error.into()),
        (Err(error), true) => {
            say!("{}", serde_json::json!({ "file": path, "ok": false, "error": error.to_string() }));
            return Ok(Code::Error);
        }
    }
    Ok(Code::Done)
}
