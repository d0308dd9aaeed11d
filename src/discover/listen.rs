//! Listening at a broker, beside whoever else does.

use std::{pin::Pin, time::Duration};

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
    let mut hearing = Hearing { span: listening.span, began: Instant::now(), is_subscribed: false };
    let mut tick = hearing.began + TELL_EVERY;
    let ended = loop {
        let until = hearing.until();
        let mut tell_left = |left| tell(notes, left);
        let ended = match next(&mut listener, until, stop.as_mut(), &mut tick, &mut tell_left).await {
            Some(Ok(news)) => hearing.take(news, Instant::now(), notes, clock),
            Some(Err(error)) => Some(Ended::Lost(error)),
            None if Instant::now() >= until => Some(Ended::InTime),
            None => Some(Ended::Told),
        };
        if let Some(ended) = ended {
            break ended;
        }
    };
    let heard = hearing.began.elapsed().min(listening.span);
    notes.listened = Some(notes.listened.unwrap_or_default() + heard);
    listener.leave().await;
    ended
}

/// What the listener brings next; none where the time is over before, or `stop` is. `tell` is
/// called at each `tick`, which then moves on, with the time that is left.
///
/// A wait for news that is given up may lose what was read, so one wait goes on beside all ticks.
async fn next(
    listener: &mut Listener,
    until: Instant,
    mut stop: Pin<&mut impl Future<Output = ()>>,
    tick: &mut Instant,
    tell: &mut dyn FnMut(Duration),
) -> Option<Result<News, ConnectError>> {
    let mut news = std::pin::pin!(listener.next());
    loop {
        // A busy broker brings news before every tick.
        let now = Instant::now();
        if now >= *tick {
            tell(until.saturating_duration_since(now));
            *tick = now + TELL_EVERY;
        }
        tokio::select! {
            biased;
            () = &mut stop => return None,
            news = &mut news => return Some(news),
            () = sleep_until((*tick).min(until)) => if Instant::now() >= until {
                return None;
            },
        }
    }
}

/// How far the listening is.
struct Hearing {
    span: Duration,
    /// From when the time counts: the subscriptions' confirmation, once it is there.
    began: Instant,
    is_subscribed: bool,
}

impl Hearing {
    /// When the time is over.
    fn until(&self) -> Instant {
        self.began.checked_add(self.span).unwrap_or(self.began)
    }

    /// Takes note of news; the end where it comes of them.
    fn take(&mut self, news: News, now: Instant, notes: &mut Notes, clock: &dyn Clock) -> Option<Ended> {
        match news {
            News::Subscribed if !self.is_subscribed => {
                (self.is_subscribed, self.began) = (true, now);
                None
            }
            News::Refused(why) if !self.is_subscribed && notes.messages == 0 => Some(Ended::Refused(why)),
            News::Connected | News::Subscribed | News::Refused(_) => None,
            News::Message(heard) => {
                notes.note(&heard, clock.now().wall);
                (now >= self.until()).then_some(Ended::InTime)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::SystemClock, mqtt::listener::Heard};

    fn message() -> News {
        News::Message(Heard { topic: "a".into(), payload: b"1".to_vec(), payload_bytes: 1, ..Heard::default() })
    }

    #[test]
    fn the_time_counts_from_the_first_confirmation() {
        let mut notes = Notes::default();
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut hearing = Hearing { span: Duration::from_secs(10), began, is_subscribed: false };
        let mut take = |news, seconds| hearing.take(news, at(seconds), &mut notes, &SystemClock);
        assert!(take(News::Connected, 1).is_none() && take(News::Subscribed, 8).is_none());
        assert!(take(News::Subscribed, 16).is_none() && take(message(), 17).is_none());
        assert!(matches!(take(message(), 18), Some(Ended::InTime)));
        assert_eq!((hearing.until(), notes.messages), (at(18), 2));
    }

    #[test]
    fn a_refusal_ends_it_only_where_nothing_else_came() {
        let mut notes = Notes::default();
        let began = Instant::now();
        let mut hearing = Hearing { span: Duration::from_secs(10), began, is_subscribed: false };
        let mut take = |news| hearing.take(news, began, &mut notes, &SystemClock);
        let refused = || News::Refused("no".into());
        assert!(matches!(take(refused()), Some(Ended::Refused(_))));
        assert!(take(News::Subscribed).is_none() && take(refused()).is_none());
    }
}
