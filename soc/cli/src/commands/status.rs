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

pub(crate) fn status(cx: &mut Context<'_>, args: &args::Status) -> Result<Code, Failure> {
    let views = cx.api.sensors(args.sensor.as_ref(), args.timeout.into())?;
    for view in &views {
        let SensorView { sensor, online, state, status } = view;
        if args.json {
            let (sensor, last_heard) = (sensor.as_str(), view.last_heard());
            print_json(&SensorJson { sensor, online: *online, last_heard, state, status })?;
        } else {
            print(&report::sensor(view, cx.now))?;
        }
    }
    match (&args.sensor, views.first()) {
        (Some(sensor), None) => Err(Failure {
            message: format!("no sensor {sensor} has ever been seen at this broker"),
            exit: Code::Offline,
        }),
        (Some(_), Some(view)) if !view.online => Ok(Code::Offline),
        (None, None) => {
            eprintln!("hindcap: no sensor has ever been seen at this broker");
            Ok(Code::NothingMatched)
        }
        _ => Ok(Code::Done),
    }
}
