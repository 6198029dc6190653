//! From what was typed to [`Args`]: the derived command line, given OpenFPC's letters and names, an environment variable
//! for every flag, and the values of the profile in the settings file. A flag goes before its variable, that before the
//! profile, that before the default.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use hindcap_args::{Nanos, ParseArgError, parse_duration};
use hindcap_events::Zone;

use crate::args::Args;
use crate::exit::Failure;

mod settings;
mod sites;
mod sources;
mod times;

pub(crate) use settings::{Machines, Wrong, data_dir, default_path, text, texts, unknown, wrong};
use settings::{Settings, Values};
use times::{TIMES, Times};

/// A flag's identifier, OpenFPC's letter, and OpenFPC's long name where it differs (client of 2010; `bpf` and `device`
/// are of the later one).
const OPENFPC: [(&str, Option<char>, Option<&str>); 14] = [
    ("at", Some('t'), Some("timestamp")),
    ("pad", Some('e'), Some("each-way")),
    ("start", Some('b'), None),
    ("end", Some('j'), None),
    ("src_addr", Some('s'), None),
    ("dst_addr", Some('d'), None),
    ("src_port", Some('u'), None),
    ("dst_port", Some('r'), None),
    ("filter", None, Some("bpf")),
    ("sensor", None, Some("device")),
    ("event", Some('a'), Some("logline")),
    ("mode", Some('m'), None),
    ("http", Some('l'), None),
    ("write", Some('w'), None),
];

/// Not to be set from a file or a variable: what to do, and where the settings are.
const NOT_SETTINGS: [&str; 4] = ["help", "version", "config", "profile"];

/// What to say when something that has no default is missing.
const TIP: &str = "\
  tip: a profile in ~/.config/hindcap/config.toml saves typing them:

    [profiles.hq]
    broker = \"mqtt://broker.example\"
    sensor = \"branch-7\"

  and every flag has its variable, such as HINDCAP_BROKER.
";

/// A duration as OpenFPC knew it: a plain number means seconds.
fn parse_seconds(text: &str) -> Result<Nanos, ParseArgError> {
    text.parse::<u32>().map(|secs| Nanos(u64::from(secs) * 1_000_000_000)).or_else(|_| parse_duration(text))
}

fn name_like_openfpc(command: Command) -> Command {
    let names = command.get_arguments().map(|arg| arg.get_id().to_string()).collect::<Vec<_>>();
    let known = |id: &str| names.iter().any(|name| name == id);
    let command =
        OPENFPC.into_iter().filter(|(id, ..)| known(id)).fold(command, |command, (id, letter, long)| {
            command.mut_arg(id, |arg| {
                let arg = letter.into_iter().fold(arg, clap::Arg::short);
                long.into_iter().fold(arg, clap::Arg::visible_alias)
            })
        });
    ["pad", "last"]
        .into_iter()
        .filter(|id| known(id))
        .fold(command, |command, id| command.mut_arg(id, |arg| arg.value_parser(parse_seconds)))
}

/// `HINDCAP_SRC_ADDR` of `src-addr`.
fn variable(long: &str) -> String {
    format!("HINDCAP_{}", long.to_ascii_uppercase().replace('-', "_"))
}

fn with_variables(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_long().filter(|long| !["help", "version"].contains(long)) {
        Some(long) => {
            let name = variable(long);
            arg.env(name).hide_env(true)
        }
        None => arg,
    })
}

fn with_values(command: Command, values: &Values) -> Command {
    command.mut_args(|arg| match arg.get_long().and_then(|long| values.get(long)) {
        Some(value) => {
            let takes = arg.get_action().takes_values();
            arg.default_value(value.clone()).hide_default_value(takes).required(false)
        }
        None => arg,
    })
}

/// The whole command line, before settings.
pub(crate) fn command() -> Command {
    let command = with_variables(Args::command());
    command.mut_subcommands(|sub| with_variables(name_like_openfpc(sub)))
}

/// The long flags that a profile may set, sorted.
fn settable(command: &Command) -> Vec<String> {
    let all = command.get_subcommands().chain([command]).flat_map(Command::get_arguments);
    let longs = all.filter_map(clap::Arg::get_long).filter(|long| !NOT_SETTINGS.contains(long));
    let mut longs = longs.map(String::from).collect::<Vec<_>>();
    longs.sort_unstable();
    longs.dedup();
    longs
}

/// What can be told before everything is read.
#[derive(Default)]
struct Early {
    /// Where the settings are.
    config: Option<PathBuf>,
    /// Which profile is meant.
    profile: Option<String>,
    /// Where sensors are named nearest by.
    whom: Option<ValueSource>,
    /// How times are read.
    times: Times,
}

impl Early {
    fn read(command: &Command, words: &[OsString]) -> Self {
        // A time that cannot be read yet must not end the reading.
        let unread = |arg: clap::Arg| {
            if TIMES.contains(&arg.get_id().as_str()) {
                arg.value_parser(clap::value_parser!(String))
            } else {
                arg
            }
        };
        let command = command.clone().mut_subcommands(|sub| sub.mut_args(unread));
        let Ok(matches) = command.ignore_errors(true).try_get_matches_from(words) else {
            return Self::default();
        };
        let last = matches.subcommand().map_or(&matches, |(_, sub)| sub);
        let config = last.try_get_one::<PathBuf>("config").ok().flatten();
        let profile = last.try_get_one::<String>("profile").ok().flatten();
        let whom = WHOM.into_iter().filter_map(|id| source_of(&matches, id)).max();
        let zone = last.try_get_one::<Zone>("tz").ok().flatten().cloned();
        let sourcefire = last.try_get_one::<bool>("sf").ok().flatten().is_some_and(|sf| *sf);
        let times = Times { zone, sourcefire, now: crate::now() };
        Self { config: config.cloned(), profile: profile.cloned(), whom, times }
    }
}

/// The flags that name sensors: the nearest place that has one of them says it all, so that a group that was typed is not
/// joined by the profile's sensor.
const WHOM: [&str; 3] = ["sensor", "group", "all_sensors"];

fn name_sensors_in_one_place(command: Command, values: &mut Values, place: Option<ValueSource>) -> Command {
    let Some(place) = place.filter(|place| *place > ValueSource::DefaultValue) else { return command };
    WHOM.into_iter().for_each(|id| drop(values.remove(&id.replace('_', "-"))));
    if place == ValueSource::EnvVariable {
        return command;
    }
    let is_whom = |arg: &clap::Arg| WHOM.contains(&arg.get_id().as_str());
    command.mut_subcommands(|sub| {
        sub.mut_args(|arg| if is_whom(&arg) { arg.env(None::<&'static str>) } else { arg })
    })
}

/// Where a value came from, in the command that was given.
fn source_of(matches: &ArgMatches, id: &str) -> Option<ValueSource> {
    let sub = matches.subcommand().map_or(matches, |(_, sub)| sub);
    sub.try_contains_id(id).unwrap_or(false).then(|| sub.value_source(id)).flatten()
}

/// Reads `words`, the program's name first, and what the settings know of machines and sites. Help, version and mistakes are printed here and end the process.
///
/// # Errors
/// The settings file cannot be used; a password stands on the command line.
pub(crate) fn parse(words: Vec<OsString>, default: Option<&Path>) -> Result<(Args, Machines), Failure> {
    let command = command();
    let Early { config, profile, whom, mut times } = Early::read(&command, &words);
    // Without a profile asked for, a missing file in the usual place is no mistake.
    let path =
        config.as_deref().or(default).filter(|path| config.is_some() || profile.is_some() || path.exists());
    let Settings { mut values, machines } = match path {
        Some(path) => settings::load(path, profile.as_deref(), &settable(&command))?,
        None => Settings::default(),
    };
    if let (None, Some(zone)) = (&times.zone, values.get("tz")) {
        times.zone = Zone::new(zone).ok();
    }
    times.sourcefire |= values.get("sf").is_some_and(|sf| sf == "true");
    let command = command.mut_subcommands(|sub| times.apply(sub));
    let command = name_sensors_in_one_place(command, &mut values, whom);
    let command = command.mut_subcommands(|sub| with_values(sub, &values));
    let mut command = with_values(command, &values);
    let read = command.try_get_matches_from_mut(words).and_then(|matches| {
        let args = Args::from_arg_matches(&matches)?;
        Ok((matches, args))
    });
    let (matches, args) = read.unwrap_or_else(|error| {
        let _ = error.print();
        if error.kind() == ErrorKind::MissingRequiredArgument {
            eprint!("\n{TIP}");
        }
        std::process::exit(error.exit_code());
    });
    if source_of(&matches, "broker") == Some(ValueSource::CommandLine)
        && args.command.connection().is_some_and(|connection| connection.broker.has_password())
    {
        return Err(Failure::new(
            "a password on the command line is seen by everybody on this machine; write mqtt://user@host and give the \
             password in a file with --password-file, or the whole address in HINDCAP_BROKER or a profile",
        ));
    }
    Ok((args, machines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable() {
        let command = command();
        for sub in command.get_subcommands() {
            for arg in sub.get_arguments().filter(|arg| arg.get_long().is_some_and(|long| long != "help")) {
                let long = arg.get_long().unwrap();
                let expected = OsString::from(variable(long));
                assert_eq!(arg.get_env(), Some(expected.as_os_str()), "{} {long}", sub.get_name());
            }
        }
    }

    #[test]
    fn openfpc_letters_mean_what_they_meant() {
        let words = "hindcap fetch --broker mqtt://h --device s -m at -t 1269259953 -e 60 -s 192.0.2.1 -d 192.0.2.2 -u 1024 -r 80 -w x.pcap";
        let words = words.split(' ').map(OsString::from).collect::<Vec<_>>();
        let Ok((args, _)) = parse(words, None) else { panic!() };
        let crate::args::Command::Fetch(fetch) = args.command else { panic!() };
        let known = crate::args::Known {
            now: hindcap_wire::time::Timestamp(0),
            sources: Vec::new(),
            sites: crate::gather::Sites::default(),
        };
        let query = fetch.query.query(&known).ok().unwrap().0;
        assert_eq!(query.time.start.0, 1_269_259_893_000_000_000);
        assert_eq!(query.time.end.0, 1_269_260_013_000_000_001);
        assert_eq!((query.src.port, query.dst.port), (Some(1024), Some(80)));
        assert_eq!(query.src.net.unwrap().to_string(), "192.0.2.1");
    }

    #[test]
    fn a_profile_fills_in_and_a_flag_goes_before_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[profiles.a]\nbroker = 'mqtt://h'\nsensor = 'one'\nquiet = true\n")
            .unwrap();
        let read = |words: &str| {
            let words = words.split(' ').map(OsString::from).collect::<Vec<_>>();
            let Ok((args, _)) = parse(words, Some(file.path())) else { panic!() };
            let crate::args::Command::Fetch(fetch) = args.command else { panic!() };
            fetch.ask
        };
        let whom = |words: &str| read(words).target.whom;
        let fetch = |words: &str| (whom(words).sensor[0].to_string(), read(words).output.quiet);
        assert_eq!(fetch("hindcap fetch --last 1h"), ("one".into(), true));
        assert_eq!(fetch("hindcap fetch --last 1h --sensor two"), ("two".into(), true));
        assert_eq!(whom("hindcap fetch --sensor two,three-*").sensor.len(), 2);
        // A group goes before the profile's sensor, and is not joined by it.
        let named = whom("hindcap fetch --group south");
        assert!(named.sensor.is_empty() && named.group == ["south"]);
        let named = whom("hindcap fetch --all-sensors");
        assert!(named.sensor.is_empty() && named.all_sensors);
    }

    #[test]
    fn a_password_on_the_command_line_is_refused() {
        let words = "hindcap status --broker mqtt://ana:secret@h".split(' ').map(OsString::from);
        let Err(failure) = parse(words.collect(), None) else { panic!() };
        assert!(failure.message.contains("--password-file"), "{}", failure.message);
    }
}
