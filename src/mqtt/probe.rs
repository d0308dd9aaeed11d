//! `forebay check --connect`: a look at the broker, with a client id and a session of its own.

use tokio::time::timeout;

use super::{
    connection::{Poller, Requests, connection},
    error::ConnectError,
    protocol::{CONNECT_TIMEOUT, Event, Subscription},
    status::{Lowered, Shortened},
    subscribe::{Answer, Subscriber},
};
use crate::settings::Mqtt;

/// Added to `mqtt.client_id`.
const CLIENT_SUFFIX: &str = "-check";

/// What the broker lets a client do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// What it said of subscriptions that it refused.
    pub refused: Option<String>,
    /// Subscriptions that it grants a lower QoS than asked for.
    pub lowered: Vec<Lowered>,
    /// There when it keeps a session for a shorter time than asked for.
    pub shortened: Option<Shortened>,
}

/// Connects once, subscribes, and disconnects. Nothing that comes is taken: the session goes with the connection. What is shared is
/// asked for by its plain filter, since a member of the group would be sent what others are waiting for.
pub async fn probe(settings: &Mqtt, subscriptions: &[Subscription]) -> Result<Probe, ConnectError> {
    let mut settings = settings.clone();
    settings.client_id.push_str(CLIENT_SUFFIX);
    let shortened = if settings.protocol == 5 {
        // First with a session like the daemon's, to be told how long it is kept. The next
        // connection ends it.
        let (requests, mut poller, shortened) = connect(&settings, false).await?;
        disconnect(&requests, &mut poller).await;
        shortened
    } else {
        None
    };
    let (requests, mut poller, _) = connect(&settings, true).await?;
    let plain = |of: &Subscription| Subscription { filter: unshared(&of.filter).to_owned(), id: None, ..of.clone() };
    let subscriptions: Vec<Subscription> = subscriptions.iter().map(plain).collect();
    let mut found = Probe { shortened, ..Probe::default() };
    // A SUBSCRIBE without a filter is malformed (section 3.8.3).
    let asked = if subscriptions.is_empty() { None } else { requests.subscribe(None, subscriptions.iter()) };
    if let Some(id) = asked {
        let codes = timeout(CONNECT_TIMEOUT, async {
            loop {
                if let Event::SubAck { codes, .. } = poller.poll().await? {
                    return Ok::<_, ConnectError>(codes);
                }
            }
        });
        let silent = || ConnectError::Lost(format!("no answer to SUBSCRIBE within {CONNECT_TIMEOUT:?}"));
        let codes = codes.await.map_err(|_| silent())??;
        let mut subscriber = Subscriber::new(subscriptions.len());
        subscriber.asked([(id, (0..subscriptions.len()).collect())], CONNECT_TIMEOUT);
        if let Answer::Refused(why) = subscriber.answered(id, &subscriptions, &codes, CONNECT_TIMEOUT, 0.0) {
            found.refused = Some(why);
        }
        found.lowered = subscriber.lowered(&subscriptions);
    }
    disconnect(&requests, &mut poller).await;
    Ok(found)
}

async fn connect(settings: &Mqtt, clean: bool) -> Result<(Requests, Poller, Option<Shortened>), ConnectError> {
    let (requests, mut poller) = connection(settings, clean)?;
    match poller.poll().await? {
        Event::ConnAck { shortened, .. } => Ok((requests, poller, shortened)),
        other => Err(ConnectError::Refused(format!("it answered CONNECT with {other:?}"))),
    }
}

async fn disconnect(requests: &Requests, poller: &mut Poller) {
    if requests.disconnect() {
        // The connection has shown what it was for; how its end goes says nothing about the settings.
        let _ = timeout(CONNECT_TIMEOUT, async {
            while !matches!(poller.poll().await, Ok(Event::DisconnectSent) | Err(_)) {}
        })
        .await;
    }
}

/// A filter without its `$share/group/`.
fn unshared(filter: &str) -> &str {
    let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    shared.map_or(filter, |(_, plain)| plain)
}
