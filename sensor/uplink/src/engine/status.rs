//! What the sensor says of itself: state and status, when they are due or something noteworthy has changed.

use std::time::Instant;

use hindcap_link::Message;
use hindcap_wire::message::{
    Channel, Encoding, Event, JobStatus, MqttSession, SCHEMA, SensorId, Severity, State, Status,
};
use hindcap_wire::time::Timestamp;

use super::{Active, Engine, Outlet, Stage};
use crate::limits::{EVENT_EXPIRY, EVENTS_A_TICK, STATUS_LOOK_INTERVAL};
use crate::outgoing;

impl Engine {
    pub(super) fn status(&self, now: Timestamp) -> Status {
        let count = |wanted: fn(&Active) -> bool| {
            u32::try_from(self.active.iter().filter(|active| wanted(active)).count()).unwrap_or(u32::MAX)
        };
        let status = self.handler.status();
        let status = Status {
            schema: SCHEMA,
            sensor: self.settings.sensor.clone(),
            sent: now,
            mqtt_session: self.mqtt_session,
            unsigned_requests: self.settings.unsigned_requests,
            jobs: JobStatus {
                queued: count(|active| matches!(active.stage, Stage::Queued)),
                running: count(|active| matches!(active.stage, Stage::Running { .. })),
                delivering: count(Active::is_delivering),
                ended: self.ended,
                rejected: self.rejected,
            },
            ..status
        };
        status.fit()
    }

    /// Status, then state: a state about another connection than the status is late (see `message::status::is_online`).
    /// Repeating the state overwrites a late last will.
    pub(super) fn publish_status(&mut self, out: &mut dyn Outlet, now: Timestamp, instant: Instant) {
        let status = self.status(now);
        let sensor = &self.settings.sensor;
        let state = state(sensor, self.mqtt_session, true, now);
        for message in [
            outgoing::document(sensor, Channel::Status, &status, Encoding::Json, None),
            outgoing::document(sensor, Channel::State, &state, Encoding::Json, None),
        ] {
            if message.is_ok_and(|message| out.send(message).is_err()) {
                log::warn!("the status was not sent: the outbox is full");
            }
        }
        self.status_shown = Some(status);
        self.status_due = instant + self.settings.status_interval;
        self.status_look = instant + STATUS_LOOK_INTERVAL;
    }

    pub(super) fn status_if_due(&mut self, out: &mut dyn Outlet, now: Timestamp, instant: Instant) {
        if instant >= self.status_due {
            return self.publish_status(out, now, instant);
        }
        if instant >= self.status_look {
            self.status_look = instant + STATUS_LOOK_INTERVAL;
            let status = self.status(now);
            if self.status_shown.as_ref().is_none_or(|shown| noteworthy(shown) != noteworthy(&status)) {
                self.publish_status(out, now, instant);
            }
        }
    }

    /// Sends what happened; the outbox keeps it until the broker has it. What finds the outbox full is sent next time.
    pub(super) fn send_events(&mut self, out: &mut dyn Outlet) {
        for _ in 0..EVENTS_A_TICK {
            let waiting = self.event_waiting.take().or_else(|| {
                let (at, body) = self.handler.next_event()?;
                let event = Event { schema: SCHEMA, sensor: self.settings.sensor.clone(), at, body };
                let (sensor, expiry) = (&self.settings.sensor, Some(EVENT_EXPIRY));
                outgoing::document(sensor, Channel::Event, &event, Encoding::Json, expiry).ok()
            });
            let Some(message) = waiting else { return };
            if out.send(message.clone()).is_err() {
                self.event_waiting = Some(message);
                return;
            }
        }
    }

    /// The farewell: the last will in our own words.
    pub(crate) fn farewell(&self, now: Timestamp) -> Option<Message> {
        offline(&self.settings.sensor, self.mqtt_session, now)
    }
}

/// What of a status is worth a message at once.
fn noteworthy(status: &Status) -> impl PartialEq {
    let alarms: Vec<(String, Severity)> =
        status.alarms.iter().map(|alarm| (alarm.code.clone(), alarm.severity)).collect();
    let link_up = status.capture.as_ref().and_then(|capture| capture.link_up);
    (alarms, link_up, status.clock.state, status.jobs)
}

fn state(sensor: &SensorId, mqtt_session: MqttSession, online: bool, now: Timestamp) -> State {
    State { schema: SCHEMA, sensor: sensor.clone(), online, mqtt_session, sent: now }
}

/// The last will of one connection.
pub(crate) fn offline(sensor: &SensorId, mqtt_session: MqttSession, now: Timestamp) -> Option<Message> {
    let state = state(sensor, mqtt_session, false, now);
    outgoing::document(sensor, Channel::State, &state, Encoding::Json, None).ok()
}
