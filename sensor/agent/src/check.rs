//! `hindcapd check-config`: reads a configuration as `run` would and says whether it can be used.

use hindcap_uplink::{Broker, Tls};

use crate::cli::CheckConfigArgs;
use crate::config::{self, Config};
use crate::exit::{Code, Failure};
use crate::tls;

/// Checks the file, or prints the reference of all keys.
pub fn check_config(args: &CheckConfigArgs) -> Result<Code, Failure> {
    let Some(path) = &args.file else {
        say_text!("{}", config::reference());
        return Ok(Code::Done);
    };
    let checked = Config::load(path).map_err(Failure::from).and_then(|config| {
        let name = |failure: Failure| failure.doing(path.display().to_string());
        if args.keys_only { Ok(None) } else { doubt(&config).map_err(name) }
    });
    match (checked, args.json) {
        (Ok(doubt), false) => {
            if let Some(doubt) = doubt {
                log::warn!("{doubt}");
            }
            say!("{}: ok", path.display());
        }
        (Ok(doubt), true) => {
            say!("{}", serde_json::json!({ "file": path, "ok": true, "warning": doubt }))
        }
        (Err(error), false) => return Err(error),
        (Err(error), true) => {
            say!("{}", serde_json::json!({ "file": path, "ok": false, "error": error.to_string() }));
            return Ok(Code::Error);
        }
    }
    Ok(Code::Done)
}

/// Looks at the files of TLS: what may be wrong with them although they can be used.
fn doubt(config: &Config) -> Result<Option<String>, Failure> {
    if config.broker.is_empty() {
        return Ok(None);
    }
    let broker: Broker = config.broker.parse()?;
    let tls = tls::load(config, broker.is_tls())?;
    Ok(tls.as_ref().and_then(Tls::doubt).map(str::to_owned))
}
