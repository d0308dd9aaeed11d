//! Listening at a broker, beside whoever else does.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Notes;
use crate::{
    clock::Clock,
    mqtt::{
        ConnectError, Subscription,
        listener::{Listener, News},
    },
    settings::Mqtt,
};

/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// What to listen to, and for how long.
#[derive(Debug, Clone)]
pub struct Listening<'a> {
    /// The broker.
    pub mqtt: &'a Mqtt,
    /// MQTT filters.
    pub filters: Vec<String>,
    /// For how long, from when the subscriptions are confirmed.
    pub span: Duration,
}

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// The time is over.
    InTime,
    /// It was told to.
    Told,
    /// The broker refuses all subscriptions; in words.
    Refused(String),
    /// The connection could not be made, or was lost after so much was heard.
    Lost(ConnectError),
}

/// Listens and takes note until the time is over or `stop` is. `tell` is called every now and then
/// with what was heard and the time that is left.
pub async fn listen(
    listening: &Listening<'_>,
    notes: &mut Notes,
    clock: &dyn Clock,
    stop: impl Future<Output = ()>,
    tell: &mut dyn FnMut(&Notes, Duration),
) -> Ended {
    let subscriptions: Vec<Subscription> =
        listening.filters.iter().map(|filter| Subscription { filter: filter.clone(), qos: 0, id: None }).collect();
    let mut listener = match Listener::new(listening.mqtt, subscriptions) {
        Ok(listener) => listener,
        Err(error) => return Ended::Lost(error),
    };
    let mut stop = std::pin::pin!(stop);
    let mut began = Instant::now();
    let mut is_subscribed = false;
    let ended = loop {
        let until = began.checked_add(listening.span).unwrap_or(began);
        let tick = (Instant::now() + TELL_EVERY).min(until);
        // A wait for news that is given up may lose what was read, so it goes on beside the ticks.
        let news = {
            let mut next = std::pin::pin!(listener.next());
            let mut tick = tick;
            loop {
                tokio::select! {
                    biased;
                    () = &mut stop => break None,
                    news = &mut next => break Some(news),
                    () = sleep_until(tick) => {
                        let now = Instant::now();
                        if now >= until {
                            break None;
                        }
                        tell(notes, until.saturating_duration_since(now));
                        tick = (now + TELL_EVERY).min(until);
                    }
                }
            }
        };
        match news {
            None if Instant::now() >= until => break Ended::InTime,
            None => break Ended::Told,
            Some(Err(error)) => break Ended::Lost(error),
            Some(Ok(News::Subscribed)) => {
                if !is_subscribed {
                    (is_subscribed, began) = (true, Instant::now());
                }
            }
            Some(Ok(News::Refused(why))) if !is_subscribed && notes.messages == 0 => break Ended::Refused(why),
            Some(Ok(News::Connected | News::Refused(_))) => {}
            Some(Ok(News::Message(heard))) => {
                notes.note(&heard, clock.now().wall);
                if Instant::now() >= until {
                    break Ended::InTime;
                }
            }
        }
    };
    notes.listened = Some(notes.listened.unwrap_or_default() + began.elapsed().min(listening.span));
    listener.leave().await;
    ended
}
