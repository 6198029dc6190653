//! `extcap`: Wireshark's capture programs (extcap(4), and doc/extcap_example.py of Wireshark). Wireshark runs this command
//! to list interfaces, to ask for the fields of its dialog, and to capture into a pipe; every sensor is an interface.
//!
//! With a time, what was recorded then is fetched once ([`capture`]). Without one, or with `--follow`, the sensor is asked
//! again and again for what it has acknowledged since ([`tail`]). Whatever is printed on stderr Wireshark shows in a
//! window, so that only what a person must know goes there.

mod capture;
mod describe;
mod install;
mod relay;
mod tail;

use hindcap_wire::limits::FILTER_BYTES_MAX;

use crate::args::{self, Args};
use crate::commands::Context;
use crate::exit::{Code, Failure};

/// Does what Wireshark, or a person who installs, asked for.
pub(crate) fn extcap(cx: &mut Context<'_>, args: &args::Extcap, all: &Args) -> Result<Code, Failure> {
    if args.install {
        return install::install(args.directory.as_deref(), all);
    }
    if args.extcap_interfaces {
        return describe::interfaces(cx, args);
    }
    if args.extcap_dlts {
        return args.chosen().and_then(|sensor| describe::link_types(&sensor));
    }
    if args.extcap_config {
        return args.chosen().and_then(|_| describe::fields(args));
    }
    if args.capture {
        return capture::capture(cx, args);
    }
    match &args.extcap_capture_filter {
        // Whatever is printed is what is wrong with the filter; its syntax is judged by the sensor, later.
        Some(filter) if filter.len() > FILTER_BYTES_MAX => {
            describe::say(&format!("the filter has {} bytes, the most is {FILTER_BYTES_MAX}\n", filter.len()))
        }
        Some(_) => Ok(Code::Done),
        None => Err(Failure::new("this command is run by Wireshark; `hindcap extcap --install` tells it so")),
    }
}
