//! The times of flags: `--tz` says in which zone a wall clock showed them, `--sf` that they are written as Sourcefire does.

use clap::Command;
use hindcap_args::{When, parse_when};
use hindcap_events::{TimeStyle, Zone, typed_time};
use hindcap_wire::time::Timestamp;

/// The flags that are times.
pub(super) const TIMES: [&str; 3] = ["at", "start", "end"];

/// How they are read.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub(super) zone: Option<Zone>,
    pub(super) sourcefire: bool,
    pub(super) now: Timestamp,
}

impl Times {
    /// Has `command` read its times this way.
    pub(super) fn apply(&self, command: Command) -> Command {
        if self.zone.is_none() && !self.sourcefire {
            return command;
        }
        let known: Vec<String> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
        TIMES.into_iter().filter(|id| known.iter().any(|known| known == id)).fold(command, |command, id| {
            let times = self.clone();
            command.mut_arg(id, |arg| arg.value_parser(move |text: &str| times.read(id, text)))
        })
    }

    /// The time `text` of the flag `id`. One that was shown twice begins with the first and ends with the second.
    fn read(&self, id: &str, text: &str) -> Result<When, String> {
        let style = if self.sourcefire { TimeStyle::Sourcefire } else { TimeStyle::Iso };
        match (typed_time(text, style, self.zone.as_ref(), self.now), id) {
            (Ok(times), "at") if times.len() > 1 => {
                Err("a clock change makes it two times: give it with its offset, or --start and --end".into())
            }
            (Ok(times), id) => {
                let time = if id == "end" { times.last() } else { times.first() };
                time.copied().map(When::At).ok_or_else(|| "there is no such time".into())
            }
            (Err(error), _) if self.sourcefire => Err(error),
            // Seconds since 1970, or how long ago: no zone matters to them.
            (Err(_), _) => parse_when(text).map_err(|error| error.to_string()),
        }
    }
}
