//! `status`: how sensors do.

use hindcap_soc_api::SensorView;
use hindcap_wire::message::{State, Status};
use hindcap_wire::time::Timestamp;
use serde::Serialize;

use super::{Context, print, print_json};
use crate::args;
use crate::exit::{Code, Failure};
use crate::report;

/// A sensor in JSON.
#[derive(Serialize)]
struct SensorJson<'a> {
    sensor: &'a str,
    online: bool,
    last_heard: Option<Timestamp>,
    state: &'a Option<State>,
    status: &'a Option<Status>,
}

/// As a line of JSON.
pub(super) fn print_view(view: &SensorView) -> Result<(), Failure> {
    let SensorView { sensor, online, state, status } = view;
    let (sensor, last_heard) = (sensor.as_str(), view.last_heard());
    print_json(&SensorJson { sensor, online: *online, last_heard, state, status })
}

/// Where no sensor is known.
pub(super) fn nobody() -> Code {
    eprintln!("hindcap: no sensor has ever been seen at this broker");
    Code::NothingMatched
}

pub(crate) fn status(cx: &mut Context<'_>, args: &args::Status) -> Result<Code, Failure> {
    let views = cx.api.sensors(args.sensor.as_ref(), args.look.timeout.into())?;
    for view in &views {
        if args.look.json {
            print_view(view)?;
        } else {
            print(&report::sensor(view, cx.known.now))?;
        }
    }
    match (&args.sensor, views.first()) {
        (Some(sensor), None) => Err(Failure {
            message: format!("no sensor {sensor} has ever been seen at this broker"),
            exit: Code::Offline,
        }),
        (Some(_), Some(view)) if !view.online => Ok(Code::Offline),
        (None, None) => Ok(nobody()),
        _ => Ok(Code::Done),
    }
}
