//! Several exchanges over one connection, in one thread: what arrives is given to whom it is for, and what they want to say
//! is sent. A sensor that fails, or is silent, leaves the others alone.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hindcap_link::{Link, LinkEvent, Token};
use hindcap_wire::message::{SensorId, Ulid};
use hindcap_wire::time::Timestamp;

use crate::exchange::{Exchange, Step};
use crate::{Answers, ApiError, Event};

/// Longest wait inside one round, so that signals are noticed.
const STEP_MAX: Duration = Duration::from_millis(100);

/// What becomes of one exchange's messages.
pub(crate) trait Follow {
    /// What it ends with.
    type Answer;

    /// Takes in what a step brought; [`Step::Nothing`] comes in between, for what time brings.
    ///
    /// # Errors
    /// Why there will be no answer.
    fn take(
        &mut self,
        exchange: &mut Exchange<'_>,
        step: Step,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Option<Self::Answer>, ApiError>;
}

/// One exchange, and what becomes of it.
pub(crate) struct Member<'a, F: Follow> {
    exchange: Exchange<'a>,
    follow: F,
    /// What was sent last, to be recognised when the broker refuses it.
    sent: Option<Token>,
    answer: Option<Result<F::Answer, ApiError>>,
    /// Its sensor was told that nobody waits for the answer any more.
    withdrawn: bool,
}

impl<'a, F: Follow> Member<'a, F> {
    pub(crate) const fn new(exchange: Exchange<'a>, follow: F) -> Self {
        Self { exchange, follow, sent: None, answer: None, withdrawn: false }
    }

    fn is_open(&self) -> bool {
        self.answer.is_none()
    }

    fn step(&mut self, step: Step, watch: &mut dyn FnMut(&SensorId, Event)) {
        let sensor = &self.exchange.ask().sensor;
        let watch = &mut |event| watch(sensor, event);
        let result = self.follow.take(&mut self.exchange, step, watch);
        self.answer = result.transpose();
    }

    fn tick(&mut self, watch: &mut dyn FnMut(&SensorId, Event)) {
        let sensor = &self.exchange.ask().sensor;
        match self.exchange.tick(&mut |event| watch(sensor, event)) {
            Ok(()) => self.step(Step::Nothing, watch),
            Err(error) => self.answer = Some(Err(error)),
        }
    }

    /// Whether its sensor should be told that nobody waits for the answer any more.
    fn is_given_up(&self) -> bool {
        let over = matches!(
            self.answer,
            Some(
                Ok(_)
                    | Err(ApiError::Rejected(..)
                        | ApiError::Ended(..)
                        | ApiError::Denied(_)
                        | ApiError::Queued { .. })
            )
        );
        !over
    }
}

/// A new identifier, and the present.
type Stamp<'a> = &'a dyn Fn() -> (Ulid, Timestamp);

/// Runs all of `members` to their ends.
///
/// # Errors
/// What concerns all of them: the broker does not want us; interrupted. Requests that were not answered are withdrawn.
pub(crate) fn run<F: Follow>(
    mut link: Link,
    mut members: Vec<Member<'_, F>>,
    stamp: Stamp<'_>,
    watch: &mut dyn FnMut(&SensorId, Event),
) -> Result<Answers<F::Answer>, ApiError> {
    while members.iter().any(Member::is_open) {
        if let Err(error) = round(&mut link, &mut members, stamp, watch) {
            let denied = matches!(error, ApiError::Denied(_));
            for member in members.iter_mut().filter(|member| member.is_open() && !denied) {
                withdraw(&mut link, member, stamp);
            }
            link.close(None);
            return Err(error);
        }
    }
    link.close(None);
    let answers = members.into_iter().map(|member| member.answer.unwrap_or(Err(ApiError::Interrupted)));
    Ok(answers.collect())
}

fn round<F: Follow>(
    link: &mut Link,
    members: &mut [Member<'_, F>],
    stamp: Stamp<'_>,
    watch: &mut dyn FnMut(&SensorId, Event),
) -> Result<(), ApiError> {
    if members.iter().any(|member| member.exchange.ask().interrupted.load(Ordering::Relaxed)) {
        return Err(ApiError::Interrupted);
    }
    if let Some(event) = link.wait(STEP_MAX) {
        take(link, event, members, watch)?;
    }
    for member in members.iter_mut().filter(|member| member.is_open()) {
        member.tick(watch);
    }
    leave_queued(link, members);
    for member in members.iter_mut() {
        for message in member.exchange.outgoing() {
            // A full outbox means that the broker does not answer; repeating takes care of it.
            member.sent = link.send(message).ok();
        }
        if !member.is_open() && member.is_given_up() && !member.withdrawn {
            member.withdrawn = true;
            withdraw(link, member, stamp);
        }
    }
    Ok(())
}

fn withdraw<F: Follow>(link: &mut Link, member: &mut Member<'_, F>, stamp: Stamp<'_>) {
    let (id, now) = stamp();
    member.exchange.give_up(id, now);
    for message in member.exchange.outgoing() {
        let _ = link.send(message);
    }
}

/// Once nobody is left but sensors that are away, and the broker has their requests, there is nothing to wait for.
fn leave_queued<F: Follow>(link: &Link, members: &mut [Member<'_, F>]) {
    let waiting = |member: &Member<'_, F>| !member.is_open() || member.exchange.may_stay_queued();
    if link.is_idle() && members.iter().all(waiting) {
        for member in members.iter_mut().filter(|member| member.is_open()) {
            member.answer = Some(Err(member.exchange.queued()));
        }
    }
}

fn take<F: Follow>(
    link: &mut Link,
    event: LinkEvent,
    members: &mut [Member<'_, F>],
    watch: &mut dyn FnMut(&SensorId, Event),
) -> Result<(), ApiError> {
    let open = members.iter_mut().filter(|member| member.is_open());
    match event {
        LinkEvent::Connected { .. } => {
            for member in open {
                watch(&member.exchange.ask().sensor, Event::Connected);
                member.exchange.connected();
                member.step(Step::Connected, watch);
            }
        }
        LinkEvent::Disconnected { reason, denied: true, .. } => return Err(ApiError::Denied(reason)),
        LinkEvent::Disconnected { reason, .. } => {
            for member in open {
                watch(&member.exchange.ask().sensor, Event::Disconnected(reason.clone()));
                member.exchange.disconnected();
            }
        }
        LinkEvent::Received(received) => {
            for member in open {
                match member.exchange.received(&received) {
                    Step::Nothing => {}
                    step => member.step(step, watch),
                }
            }
            link.acknowledge(&received.receipt);
        }
        LinkEvent::SubscriptionRefused(reason) => {
            return Err(ApiError::Denied(format!("the broker refused the subscription: {reason}")));
        }
        LinkEvent::Refused(token, reason) => {
            for member in open.filter(|member| member.sent == Some(token)) {
                let reason = format!("the broker refused the request: {reason}");
                member.answer = Some(Err(ApiError::Denied(reason)));
            }
        }
        _ => {}
    }
    Ok(())
}
