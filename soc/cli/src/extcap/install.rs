//! `extcap --install`: a wrapper in the folder where Wireshark looks for capture programs.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::describe::say;
use crate::args::Args;
use crate::exit::{Code, Failure};

/// The wrapper's name. Wireshark shows it in its list of capture programs.
const NAME: &str = "hindcap";

/// Installs into `directory`, or where Wireshark looks first.
pub(super) fn install(directory: Option<&Path>, all: &Args) -> Result<Code, Failure> {
    let directory = directory.map_or_else(found, |directory| Ok(directory.to_path_buf()))?;
    let program = std::env::current_exe().map_err(Failure::new)?;
    let path = directory.join(NAME);
    let fail = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
    fs::create_dir_all(&directory).map_err(|error| fail(&error))?;
    // Beside, then renamed: Wireshark never finds half a script.
    let mut beside = tempfile::NamedTempFile::new_in(&directory).map_err(|error| fail(&error))?;
    beside.write_all(script(&program, all).as_bytes()).map_err(|error| fail(&error))?;
    beside.as_file().set_permissions(fs::Permissions::from_mode(0o755)).map_err(|error| fail(&error))?;
    beside.persist(&path).map_err(|error| fail(&error.error))?;
    say(&format!(
        "Installed {}; Wireshark lists the sensors as interfaces from its next start on\n",
        path.display()
    ))
}

/// Runs us with the settings that were named when it was installed.
fn script(program: &Path, all: &Args) -> String {
    let mut words = vec![program.as_os_str(), OsStr::new("extcap")];
    let absolute =
        all.config.as_deref().map(|config| fs::canonicalize(config).unwrap_or(config.to_path_buf()));
    if let Some(config) = &absolute {
        words.extend([OsStr::new("--config"), config.as_os_str()]);
    }
    if let Some(profile) = &all.profile {
        words.extend([OsStr::new("--profile"), OsStr::new(profile)]);
    }
    let words: Vec<String> = words.into_iter().map(quoted).collect();
    format!("#!/bin/sh\n# Made by `hindcap extcap --install`.\nexec {} \"$@\"\n", words.join(" "))
}

/// A word for a shell (POSIX, 2.2.2).
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"))
}

/// Where Wireshark looks, by its own word.
fn found() -> Result<PathBuf, Failure> {
    let folders = Command::new("tshark").args(["-G", "folders"]).output();
    let folders = folders.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let home = std::env::var_os("HOME").map(PathBuf::from);
    choose(&folders.unwrap_or_default(), home.as_deref())
}

/// The personal folder; of a Wireshark that knows none, its only one, where a person can write there.
fn choose(folders: &str, home: Option<&Path>) -> Result<PathBuf, Failure> {
    let named = |name: &str| {
        let line = folders.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|path| PathBuf::from(path.trim()))
    };
    if let Some(personal) = named("Personal Extcap path") {
        return Ok(personal);
    }
    match (named("Extcap path").or_else(|| named("Global Extcap path")), home) {
        (Some(only), _) => Ok(only),
        (None, Some(home)) => Ok(home.join(".local/lib/wireshark/extcap")),
        (None, None) => Err(Failure::new("no Wireshark was found; name its folder with --directory")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn the_personal_folder_goes_before_the_only_one() {
        let old = "Temp:                \t/tmp\nExtcap path:         \t/usr/lib/wireshark/extcap\n";
        let new = format!("{old}Personal Extcap path:\t/home/ana/.local/lib/wireshark/extcap\n");
        let home = Some(Path::new("/home/ana"));
        assert_eq!(choose(&new, home).unwrap(), Path::new("/home/ana/.local/lib/wireshark/extcap"));
        assert_eq!(choose(old, home).unwrap(), Path::new("/usr/lib/wireshark/extcap"));
        assert_eq!(choose("", home).unwrap(), Path::new("/home/ana/.local/lib/wireshark/extcap"));
        assert!(choose("", None).unwrap_err().message.contains("--directory"));
    }

    #[test]
    fn the_wrapper_survives_a_shell() {
        let words = ["hindcap", "--profile", "it's $HOME", "extcap", "--broker", "mqtt://h", "--install"];
        let script = script(Path::new("/opt/a b/hindcap"), &Args::parse_from(words));
        let exec = script.lines().last().unwrap();
        assert_eq!(exec, "exec '/opt/a b/hindcap' 'extcap' '--profile' 'it'\\''s $HOME' \"$@\"");
    }
}
