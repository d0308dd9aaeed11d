//! `forebay decode --follow`: what becomes of the messages that come, beside the running daemon.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use super::{
    DecodeArgs,
    printer::{Printed, Printer},
    queue::Queue,
};
use crate::{
    cli::{Exit, Failure, block_on, out::say},
    clock::{Clock, SystemClock},
    decode::pattern::Pattern,
    ingest::{filters, preview::Previewer},
    mqtt::{
        ConnectError, Subscription,
        backoff::Backoff,
        listener::{Listener, News},
        url::shown,
    },
    settings::{Mqtt, Settings},
};

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LAST_WAIT: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one: the next failure is a first one.
const GOOD_AFTER: Duration = Duration::from_secs(1);
/// Filters named when it begins.
const MAX_NAMED: usize = 4;

/// Shows what comes until a signal, `--count` or `--for` ends it.
///
/// Exit codes: 0 done; 1 something was set aside, where `--count` or `--for` ended it; 2 the broker
/// refuses the settings; 3 no source takes what was asked for; 4 the broker was never reached.
pub fn run(args: &DecodeArgs, settings: &Settings, json: bool) -> Result<(), Failure> {
    let began = Instant::now();
    let within = args.topic.as_deref().map(filter).transpose()?;
    let subscriptions = subscriptions(args, settings, within.as_deref())?;
    let previewer = Previewer::new(settings, args.source.as_deref());
    let previewer = previewer.map_err(|error| Failure::new(Exit::Usage, error))?;
    let previewer = if args.explain { previewer.explaining() } else { previewer };
    let printer = Printer { previewer, only: args.source.clone(), within, count: args.count, json };
    let queue = Arc::new(Queue::default());
    let failed = |why: io::Error| Failure::new(Exit::Failed, format!("can't begin to listen: {why}"));
    let printed = printer.start(Arc::clone(&queue)).map_err(failed)?;
    block_on(async {
        let until = args.span.and_then(|span| began.checked_add(span));
        let mut ends = Ends::new(printed, until).map_err(failed)?;
        let mut follow = Follow::new(&settings.mqtt, subscriptions, &queue);
        match follow.run(&mut ends).await? {
            End::Told => Ok(()),
            End::Printed(printed) => conclude(printed),
            End::Over => {
                queue.close();
                ends.until = None;
                match ends.wait().await {
                    End::Printed(printed) => conclude(printed),
                    End::Told | End::Over => Ok(()),
                }
            }
        }
    })
}

/// A filter as `--topic` has it; names of levels, as in a source, are taken for any level.
fn filter(topic: &str) -> Result<String, Failure> {
    let pattern = Pattern::parse(topic).map_err(|error| Failure::new(Exit::Usage, format!("--topic: {error}")))?;
    Ok(pattern.filter())
}

fn subscriptions(args: &DecodeArgs, settings: &Settings, within: Option<&str>) -> Result<Vec<Subscription>, Failure> {
    let wanted = filters::to_look_on(&settings.source, args.source.as_deref(), within);
    let wanted = wanted.map_err(|error| Failure::new(Exit::Usage, error))?;
    if wanted.is_empty() {
        let who =
            args.source.as_ref().map_or("no source takes".to_owned(), |name| format!("source.{name} does not take"));
        let what =
            within.map_or("messages from a broker".to_owned(), |within| format!("a topic that {within:?} matches"));
        return Err(Failure::new(Exit::NotFound, format!("{who} {what}")));
    }
    Ok(wanted.into_iter().map(Subscription::from).collect())
}

/// How the command ends once the printing has ended.
fn conclude(printed: Printed) -> Result<(), Failure> {
    if printed? { Err(Failure::silent(Exit::Failed)) } else { Ok(()) }
}

/// Why it ends.
enum End {
    /// A signal.
    Told,
    /// The time is over.
    Over,
    /// The printing has ended.
    Printed(Printed),
}

/// What ends it.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    until: Option<Instant>,
    printed: oneshot::Receiver<Printed>,
}

impl Ends {
    fn new(printed: oneshot::Receiver<Printed>, until: Option<Instant>) -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, until, printed })
    }

    /// Waits for the first of them.
    async fn wait(&mut self) -> End {
        let (until, is_limited) = (self.until.unwrap_or_else(Instant::now), self.until.is_some());
        tokio::select! {
            biased;
            _ = self.terminate.recv() => End::Told,
            _ = self.interrupt.recv() => End::Told,
            printed = &mut self.printed => {
                let broken = |_| Err(Failure::new(Exit::Failed, "the printing broke off"));
                End::Printed(printed.unwrap_or_else(broken))
            }
            () = sleep_until(until), if is_limited => End::Over,
        }
    }
}

/// Keeps a connection with the broker, and has what comes printed.
struct Follow<'a> {
    mqtt: &'a Mqtt,
    subscriptions: Vec<Subscription>,
    queue: &'a Queue,
    backoff: Backoff,
    /// When the broker accepted the connection.
    since: Option<Instant>,
    /// Whether it ever did.
    was_connected: bool,
    /// What was last said of the connection.
    said: String,
}

impl<'a> Follow<'a> {
    fn new(mqtt: &'a Mqtt, subscriptions: Vec<Subscription>, queue: &'a Queue) -> Self {
        let backoff = Backoff::new(FIRST_WAIT, LAST_WAIT);
        Self { mqtt, subscriptions, queue, backoff, since: None, was_connected: false, said: String::new() }
    }

    /// Connects, and again where the connection is lost.
    async fn run(&mut self, ends: &mut Ends) -> Result<End, Failure> {
        loop {
            let error = match self.connection(ends).await {
                Ok(end) => return Ok(end),
                Err(error) if !self.was_connected => return Err(self.never(&error)),
                Err(error) => error,
            };
            let wait = self.lost(&error);
            tokio::select! {
                end = ends.wait() => return Ok(end),
                () = sleep(wait) => {}
            }
        }
    }

    /// One connection.
    async fn connection(&mut self, ends: &mut Ends) -> Result<End, ConnectError> {
        let mut listener = Listener::new(self.mqtt, self.subscriptions.clone())?;
        loop {
            // A wait for news is given up only with the connection.
            let news = tokio::select! {
                biased;
                end = ends.wait() => {
                    listener.leave().await;
                    return Ok(end);
                }
                news = listener.next() => news?,
            };
            match news {
                News::Connected => (self.since, self.was_connected) = (Some(Instant::now()), true),
                News::Subscribed => self.say(self.following()),
                News::Refused(why) => self.say(self.at_broker(&why)),
                News::Message(heard) => self.queue.put(heard, SystemClock.now()),
            }
        }
    }

    /// Takes note of a lost connection, and gives the time to wait. A repeated failure is told at
    /// the 1st, 2nd, 4th, 8th … time.
    fn lost(&mut self, error: &ConnectError) -> Duration {
        if self.since.take().is_some_and(|since| since.elapsed() >= GOOD_AFTER) {
            self.backoff.reset();
        }
        let wait = self.backoff.next(fastrand::f64());
        let what = self.at_broker(&format!("{error}; trying again"));
        if self.backoff.failures().is_power_of_two() {
            self.said.clear();
        }
        self.say(what);
        wait
    }

    /// What ends the command where there never was a connection.
    fn never(&self, error: &ConnectError) -> Failure {
        let exit = if error.needs_hands() { Exit::Usage } else { Exit::Unreachable };
        Failure::new(exit, self.at_broker(&error.to_string()))
    }

    fn following(&self) -> String {
        let named: Vec<&str> = self.subscriptions.iter().take(MAX_NAMED).map(|of| of.filter.as_str()).collect();
        let more = self.subscriptions.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        self.at_broker(&format!("listening to {}{more}", named.join(", ")))
    }

    fn at_broker(&self, what: &str) -> String {
        format!("broker {}: {what}", shown(&self.mqtt.url))
    }

    /// Says something on standard error, unless it was the last thing said.
    fn say(&mut self, what: String) {
        if self.said != what {
            say(&what);
            self.said = what;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow<'a>(mqtt: &'a Mqtt, queue: &'a Queue) -> Follow<'a> {
        let of = |filter: &str| Subscription { filter: filter.into(), qos: 0, id: None };
        Follow::new(mqtt, ["a", "b", "c", "d", "e"].map(of).into(), queue)
    }

    #[test]
    fn a_broker_that_was_never_reached_ends_it_by_what_is_wrong() {
        let (mqtt, queue) = (Mqtt::default(), Queue::default());
        let exit = |error| follow(&mqtt, &queue).never(&error).exit;
        assert_eq!(exit(ConnectError::Unreachable("x".into())), Exit::Unreachable);
        assert_eq!(exit(ConnectError::BadCredentials), Exit::Usage);
        assert_eq!(exit(ConnectError::Settings("x".into())), Exit::Usage);
    }

    #[test]
    fn a_lost_connection_is_told_with_its_remedy_and_waited_for() {
        let (mqtt, queue) = (Mqtt::default(), Queue::default());
        let mut follow = follow(&mqtt, &queue);
        assert!(follow.lost(&ConnectError::Unreachable("x".into())) <= FIRST_WAIT);
        assert!(follow.said.contains("check mqtt.url and that the broker runs; trying again"), "{}", follow.said);
        assert!(follow.following().ends_with("listening to a, b, c, d and 1 more"));
    }

    #[test]
    fn a_topic_is_a_filter() {
        assert_eq!(filter("a/{x}/+/#").expect("a filter"), "a/+/+/#");
        let refused = filter("a/#/b").expect_err("refused");
        assert!(
            refused.exit == Exit::Usage && refused.error.is_some_and(|why| why.to_string().starts_with("--topic: "))
        );
    }
}
