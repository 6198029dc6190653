//! `watch`: follows alert files and syslog, and fetches the whole session of every event that a rule is for into long-term
//! storage.
//!
//! One loop: lines from the sources ([`source`]) go through the formats and the rules ([`rules`], [`rule`]) and become jobs
//! ([`job`]); jobs and how far each file was read are saved together ([`state`]) before anything is asked; steps of jobs run
//! beside the loop ([`work`]), a few at a time and so many a minute; results are kept ([`store`]). All queues are bounded: while
//! there is no room, files are not read on.

mod job;
mod pace;
mod rule;
mod rules;
mod severity;
mod source;
mod state;
mod store;
mod work;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use hindcap_args::Flags;
use hindcap_events::{Context, Reading};
use hindcap_soc_api::Api;
use hindcap_wire::message::{Blob, Ulid};
use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};

use crate::args::{self, Known, PAD_NANOS};
use crate::commands::print;
use crate::exit::{Code, Failure};
use job::{Job, Stage};
use pace::Allowance;
use rule::Rule;
use rules::Rules;
use source::Feed;
use state::State;
use store::Store;
use work::{Done, Tools};

/// Lines taken from one source before the others have their turn.
const BATCH_LINES: usize = 200;
/// Between two looks at sources that have nothing.
const IDLE: Duration = Duration::from_millis(100);
/// Between two saves when nothing but places in files changed.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Steps of jobs that run at a time.
const STEPS_MAX: usize = 4;
/// Between two looks for events whose time is over.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// Between two reports about lines that could not be read.
const REFUSED_EVERY: Duration = Duration::from_secs(60);

/// What the world gives.
pub(crate) struct World<'a> {
    pub(crate) known: &'a Known,
    /// Makes a connection.
    pub(crate) api: &'a (dyn Fn() -> Box<dyn Api> + Sync),
    pub(crate) clock: &'a (dyn Fn() -> Timestamp + Sync),
    pub(crate) random: &'a dyn Fn() -> u64,
    pub(crate) interrupted: Arc<AtomicBool>,
}

/// Watches until a signal comes, or, with `--once`, until everything is read and dealt with.
///
/// # Errors
/// The rules cannot be meant, a source cannot be listened to, the store or the state cannot be written.
pub(crate) fn watch(world: &World<'_>, args: &args::Watch) -> Result<Code, Failure> {
    let rules = rules::load(&args.rules)?;
    let fail = |error: std::io::Error| Failure::new(format!("{}: {error}", rules.store.display()));
    let path = args.state.clone().unwrap_or_else(|| rules.store.join(".watch-state.json"));
    // Nothing is touched by a dry run: another process may be at work there.
    let (state, store) = if args.dry_run {
        (State::look(&path)?, Store::new(&rules.store))
    } else {
        std::fs::create_dir_all(&rules.store).map_err(fail)?;
        (State::open(&path)?, Store::open(&rules.store).map_err(fail)?)
    };
    let feeds = rules.sources.iter().map(|source| {
        let started = Feed::start(source, &state, args.once || args.from_start);
        started.map_err(|error| Failure::new(format!("{:?}: {error}", source.from)))
    });
    let feeds = feeds.collect::<Result<Vec<_>, _>>()?;
    let tools = Tools {
        sites: &world.known.sites,
        store: &store,
        clock: world.clock,
        interrupted: Arc::clone(&world.interrupted),
    };
    thread::scope(|scope| Watch::new(world, args, &rules, state, tools).run(scope, feeds))
}

struct Watch<'a> {
    world: &'a World<'a>,
    args: &'a args::Watch,
    rules: &'a Rules,
    state: State,
    tools: Tools<'a>,
    outcomes: (Sender<Done>, Receiver<Done>),
    at_work: HashSet<Ulid>,
    allowance: Allowance,
    /// What is said once the state is saved.
    news: Vec<String>,
    refused: Refused,
    /// Bytes in the store.
    stored: u64,
    full_told: bool,
}

/// Lines that could not be read.
struct Refused {
    count: u64,
    last: String,
    told: Instant,
}

impl<'a> Watch<'a> {
    fn new(
        world: &'a World<'a>,
        args: &'a args::Watch,
        rules: &'a Rules,
        state: State,
        tools: Tools<'a>,
    ) -> Self {
        Self {
            world,
            args,
            rules,
            state,
            tools,
            outcomes: channel(),
            at_work: HashSet::new(),
            allowance: Allowance::new(rules.per_minute, Instant::now()),
            news: Vec::new(),
            refused: Refused { count: 0, last: String::new(), told: Instant::now() },
            stored: 0,
            full_told: false,
        }
    }

    fn run<'scope>(mut self, scope: &'scope Scope<'scope, '_>, mut feeds: Vec<Feed>) -> Result<Code, Failure>
    where
        'a: 'scope,
    {
        let (mut saved, mut swept) = (Instant::now(), None::<Instant>);
        while !self.world.interrupted.load(Ordering::Relaxed) {
            if swept.is_none_or(|swept| swept.elapsed() >= SWEEP_EVERY) {
                swept = Some(Instant::now());
                self.sweep()?;
            }
            let (idle, ended) = self.look(&mut feeds);
            // A job that was found is on the disk before it is begun; places alone can be read again.
            if !self.news.is_empty() || saved.elapsed() >= SAVE_EVERY || ended {
                saved = Instant::now();
                self.save()?;
            }
            self.begin(scope);
            let busy = self.collect()?;
            if ended && self.state.jobs().is_empty() && self.at_work.is_empty() {
                break;
            }
            if idle && !busy {
                thread::sleep(IDLE);
            }
        }
        self.finish()
    }

    /// What runs is waited for: its requests are withdrawn where a person stopped us.
    fn finish(mut self) -> Result<Code, Failure> {
        while !self.at_work.is_empty() {
            self.collect()?;
            thread::sleep(IDLE);
        }
        self.tell_refused(true);
        self.save().map(|()| Code::Done)
    }

    fn save(&mut self) -> Result<(), Failure> {
        if !self.args.dry_run {
            self.state.save()?;
        }
        for line in std::mem::take(&mut self.news) {
            print(&line)?;
        }
        Ok(())
    }

    fn say(&mut self, about: &str, text: &str) {
        let now = (self.world.clock)().to_string();
        // A second is enough for a person.
        let stamp = now.get(..19).unwrap_or(&now);
        let text = hindcap_events::visible(text.as_bytes());
        self.news.push(format!("{stamp}Z {about}: {text}\n"));
    }

    fn sweep(&mut self) -> Result<(), Failure> {
        let fail = |error| Failure::new(format!("{}: {error}", self.rules.store.display()));
        if self.args.dry_run {
            return Ok(());
        }
        let (bytes, removed) = self.tools.store.sweep((self.world.clock)()).map_err(fail)?;
        self.stored = bytes;
        for path in removed {
            self.say("keep", &format!("{}: its time is over; removed", path.display()));
        }
        Ok(())
    }

    /// Reads on where there is something; whether there was nothing, and whether nothing will come.
    fn look(&mut self, feeds: &mut [Feed]) -> (bool, bool) {
        let (mut idle, mut ended) = (true, true);
        for feed in feeds {
            let room = self.state.room(self.rules.queue).min(BATCH_LINES);
            if room == 0 {
                ended = false;
                continue;
            }
            let batch = feed.look(room, self.args.once);
            idle &= batch.lines.is_empty();
            ended &= batch.ended;
            for remark in &batch.remarks {
                self.say(&feed.name.clone(), remark);
            }
            for line in batch.lines {
                self.line(feed, &line);
            }
            if let Some((path, place)) = feed.place() {
                self.state.set_place(path, &place);
            }
        }
        self.tell_refused(false);
        (idle, ended)
    }

    /// What a line leads to.
    fn line(&mut self, feed: &Feed, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        let severity = severity::severity(text);
        let rules: Vec<&Rule> =
            self.rules.rules.iter().filter(|rule| rule.may_match(text, severity)).collect();
        if rules.is_empty() || text.is_empty() {
            return;
        }
        let now = (self.world.clock)();
        let context = Context {
            zone: feed.source.zone.clone(),
            sources: self.world.known.sources.clone(),
            site_zone: self.args.site_tz.clone(),
            format: feed.source.log_format.clone(),
            ..Context::new(now)
        };
        let whole = [feed.headers(), line].concat();
        let reading = match hindcap_events::parse(&whole, &context) {
            Ok(reading) => reading,
            Err(refusal) => {
                self.refused.count += 1;
                self.refused.last = format!("{}: {refusal}", feed.name);
                return;
            }
        };
        let rule = rules.into_iter().find(|rule| rule.matches(&reading));
        match rule {
            Some(rule) if !rule.ignore => self.event(feed, line, rule, &reading, now),
            _ => {}
        }
    }

    /// What an event leads to: jobs, unless the same was asked for.
    fn event(&mut self, feed: &Feed, line: &[u8], rule: &Rule, reading: &Reading, now: Timestamp) {
        let about = format!("{} {}", feed.name, rule.name);
        let query = match args::query_of(reading, PAD_NANOS) {
            Ok(query) => query,
            Err(failure) => return self.say(&about, &failure.message),
        };
        let at = reading.times.first().map_or(now, |time| time.start);
        let asked = Flags(&query).to_string();
        if self.state.is_known(&job::key(&query), at, self.rules.again_after) {
            return self.say(&about, &format!("asked for already: {asked}"));
        }
        let mut deed = rule.deed.clone();
        if deed.named.is_nobody() {
            deed.named = feed.source.named.clone();
        }
        let job = Job {
            id: self.new_id(now),
            rule: rule.name.clone(),
            source: feed.name.clone(),
            line: Blob(line.to_vec()),
            format: reading.format.to_owned(),
            at,
            made: now,
            query,
            sensors: Vec::new(),
            stage: Stage::Pin,
            next: now,
            looks: 0,
            until: now.plus_nanos(deed.follow_secs.saturating_mul(NANOS_PER_SEC)),
            is_host: false,
            notes: reading.assumptions.iter().map(|assumption| assumption.text.clone()).collect(),
            deed,
        };
        let host = rule.deed.host.and_then(|host| self.host_job(&job, reading, &host));
        self.add(&about, "session", job);
        if let Some(host) = host {
            self.add(&about, "host", host);
        }
    }

    fn new_id(&self, now: Timestamp) -> Ulid {
        Ulid::new(now, u128::from((self.world.random)()) << 64 | u128::from((self.world.random)()))
    }

    /// The job of a subscription beside that of the event; one of a host at a time.
    fn host_job(&mut self, job: &Job, reading: &Reading, host: &rule::Subscription) -> Option<Job> {
        let query = job::host_query(reading, host, job.at)?;
        let window = hindcap_args::Nanos(host.for_secs.saturating_mul(NANOS_PER_SEC));
        if self.state.is_known(&format!("host {}", job::key(&query)), job.at, window) {
            return None;
        }
        let until = query.time.end.max(job.made);
        let deed = rule::Deed { max_bytes: host.max_bytes, host: None, ..job.deed.clone() };
        Some(Job { id: self.new_id(job.made), query, deed, until, is_host: true, ..job.clone() })
    }

    fn add(&mut self, about: &str, what: &str, job: Job) {
        let asked = Flags(&job.query).to_string();
        if self.args.dry_run {
            let named = job.deed.named.whom();
            let mut api = (self.world.api)();
            let chosen =
                crate::gather::choose(api.as_mut(), &self.world.known.sites, &named, Some(&job.query));
            let whom = match chosen {
                Ok(chosen) => chosen.sensors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                Err(failure) => format!("nobody: {}", failure.message),
            };
            return self.say(about, &format!("would ask {whom} for the {what}: {asked}"));
        }
        self.say(about, &format!("{what} {}: {asked}", job.id));
        self.state.add(job);
    }

    fn tell_refused(&mut self, now: bool) {
        if self.refused.count == 0 || !(now || self.refused.told.elapsed() >= REFUSED_EVERY) {
            return;
        }
        let Refused { count, last, .. } = std::mem::replace(
            &mut self.refused,
            Refused { count: 0, last: String::new(), told: Instant::now() },
        );
        let lines = hindcap_wire::counted::Counted(count, "line");
        self.say("watch", &format!("{lines} could not be read; the last: {last}"));
    }

    /// Begins steps of jobs whose time has come.
    fn begin<'scope>(&mut self, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        let now = (self.world.clock)();
        let due = |job: &&Job| job.next <= now && !self.at_work.contains(&job.id);
        let due: Vec<Ulid> = self.state.jobs().iter().filter(due).map(|job| job.id).collect();
        for id in due {
            if self.at_work.len() >= STEPS_MAX || self.world.interrupted.load(Ordering::Relaxed) {
                return;
            }
            let Some(job) = self.state.jobs().iter().find(|job| job.id == id).cloned() else { continue };
            if job.stage == Stage::Fetch && !self.has_room(&job) {
                continue;
            }
            if job.stage == Stage::Pin && job.looks == 0 && !self.allowance.take(Instant::now()) {
                continue;
            }
            self.at_work.insert(job.id);
            let (tools, make, done) = (self.tools.clone(), self.world.api, self.outcomes.0.clone());
            scope.spawn(move || {
                // The loop waits for everything that it began.
                let _ = done.send(tools.step(make().as_mut(), job));
            });
        }
    }

    /// Whether the store may take the most that `job` can bring.
    fn has_room(&mut self, job: &Job) -> bool {
        let fits = self.stored.saturating_add(job.deed.max_bytes) <= self.rules.max_store;
        if !fits && !self.full_told {
            self.say("watch", "the store is as large as max-store lets it be: sessions wait for room");
        }
        self.full_told = !fits;
        fits
    }

    /// Takes in what steps brought; whether there was something.
    fn collect(&mut self) -> Result<bool, Failure> {
        let mut some = false;
        while let Ok(done) = self.outcomes.1.try_recv() {
            some = true;
            let (job, told, over) = match done {
                Done::Later(job, told) => (job, told, false),
                Done::Over(job, told) => (job, told, true),
            };
            self.at_work.remove(&job.id);
            if !told.is_empty() {
                self.say(&job.rule.clone(), &format!("{}: {told}", job.id));
            }
            if over {
                self.stored += size(&self.tools.store.place(&job));
                self.state.remove(&job);
            } else {
                self.state.replace(job);
            }
        }
        if some {
            self.save()?;
        }
        Ok(some)
    }
}

/// Bytes of the files in a directory, 0 where there is none.
fn size(path: &Path) -> u64 {
    store::files(path).unwrap_or(0)
}
