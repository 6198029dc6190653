//! What several sensors answered: one after the other for people, with a table ahead that says who answered what.

use std::fmt::{Display, Write as _};

use hindcap_soc_api::{Answers, ApiError, Ask};
use hindcap_wire::message::SensorId;
use serde::Serialize;

use super::{answer, print, print_json};
use crate::args;
use crate::exit::{Code, Failure, of_error};
use crate::gather::{state, together};
use crate::report::columns;

/// An answer that can stand in a table.
pub(super) trait Told: Serialize + Display {
    /// What its columns are called.
    const HEAD: &'static [&'static str];

    /// Its row.
    fn cells(&self) -> Vec<String>;

    /// How it went, as an exit code.
    fn code(&self) -> Code;

    /// What else there is to know of it, in a sentence; may be empty.
    fn note(&self) -> String {
        String::new()
    }

    /// The one thing that `--quiet` leaves, where there is one.
    fn brief(&self) -> Option<String> {
        None
    }
}

/// What one of several sensors answered.
struct One<'a, T> {
    sensor: &'a SensorId,
    result: Result<T, ApiError>,
}

/// The same in JSON.
#[derive(Serialize)]
struct OneJson<'a, T> {
    sensor: &'a SensorId,
    state: &'static str,
    note: String,
    answer: Option<&'a T>,
}

#[derive(Serialize)]
struct AllJson<'a, T> {
    sensors: Vec<OneJson<'a, T>>,
}

impl<T: Told> One<'_, T> {
    fn code(&self) -> Code {
        self.result.as_ref().map_or_else(of_error, T::code)
    }

    fn note(&self) -> String {
        self.result.as_ref().map_or_else(ToString::to_string, T::note)
    }

    fn json(&self) -> OneJson<'_, T> {
        let (state, note) = (state(self.code()), self.note());
        OneJson { sensor: self.sensor, state, note, answer: self.result.as_ref().ok() }
    }

    fn row(&self) -> Vec<String> {
        let unknown = || vec!["-".to_owned(); T::HEAD.len()];
        let mut row = vec![self.sensor.to_string(), state(self.code()).to_owned()];
        row.extend(self.result.as_ref().map_or_else(|_| unknown(), T::cells));
        row.push(self.note());
        row
    }
}

/// Prints what `asks` answered, of one as if there were no others; the exit code for all of it.
///
/// # Errors
/// The only one failed; stdout cannot be written.
pub(super) fn tell<T: Told>(
    output: &args::Output,
    asks: &[Ask],
    answers: Answers<T>,
) -> Result<Code, Failure> {
    if let [_] = asks {
        let alone = answers.into_iter().next();
        let document = alone.unwrap_or_else(|| Err(ApiError::Protocol("nobody answered".into())))?;
        match document.brief().filter(|_| output.quiet && !output.json) {
            Some(brief) => print(&format!("{brief}\n"))?,
            None => answer(output.json, &document)?,
        }
        return Ok(document.code());
    }
    let all = asks.iter().zip(answers).map(|(ask, result)| One { sensor: &ask.sensor, result });
    let all: Vec<One<'_, T>> = all.collect();
    if output.json {
        print_json(&AllJson { sensors: all.iter().map(One::json).collect() })?;
    } else {
        print(&text(&all, output.quiet))?;
    }
    Ok(together(&all.iter().map(One::code).collect::<Vec<_>>()))
}

fn text<T: Told>(all: &[One<'_, T>], quiet: bool) -> String {
    let mut head = vec!["SENSOR".to_owned(), "STATE".to_owned()];
    head.extend(T::HEAD.iter().map(|name| (*name).to_owned()));
    head.push("NOTE".to_owned());
    let mut text = if quiet {
        String::new()
    } else {
        columns([vec![head], all.iter().map(One::row).collect()].concat())
    };
    for One { sensor, result } in all {
        let Ok(document) = result else { continue };
        match document.brief().filter(|_| quiet) {
            Some(brief) => drop(writeln!(text, "{sensor} {brief}")),
            None => drop(write!(text, "\n{sensor}:\n{document}")),
        }
    }
    text
}
