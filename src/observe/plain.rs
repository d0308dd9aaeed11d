//! Log events without characters that a terminal obeys or nobody sees, whoever wrote the text: the one place that all of the log passes.
//! And each fact once where it is read: the journal shows the message alone, so that it has to tell the fields; a terminal shows the
//! fields beside the message, which need not repeat what it tells.

use std::{error::Error, fmt};

use tracing::{
    Event, Subscriber,
    field::{Field, FieldSet, Value, Visit, display},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::shown::harmless;

/// A layer that is given every event with its texts made harmless, each on one line.
pub struct Plain<L> {
    layer: L,
    shows: Shows,
}

/// What a reader of the log sees of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// The message; the fields only on demand.
    Message,
    /// The message and the fields.
    Fields,
}

impl<L> Plain<L> {
    /// That layer, which shows so much.
    pub fn new(layer: L, shows: Shows) -> Self {
        Self { layer, shows }
    }
}

impl<S, L> Layer<S> for Plain<L>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    L: Layer<S>,
{
    fn on_layer(&mut self, subscriber: &mut S) {
        self.layer.on_layer(subscriber);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.layer.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.layer.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.layer.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.layer.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.layer.on_close(id, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let fields = event.metadata().fields();
        let mut texts = Texts(fields.iter().map(|_| None).collect());
        event.record(&mut texts);
        texts.tell_once(fields, self.shows);
        let values: Vec<Option<&dyn Value>> =
            texts.0.iter().map(|text| text.as_ref().map(|text| &*text.value as &dyn Value)).collect();
        let values = fields.value_set_all(&values);
        self.layer.on_event(&Event::new(event.metadata(), &values), context);
    }
}

/// Shorter texts may stand in a message by chance, such as a 1.
const LEAST_TOLD_CHARS: usize = 4;

/// A field's value, and what it reads like.
struct Text {
    value: Box<dyn Value>,
    shown: String,
}

/// The fields' texts by their numbers; none of what has no value.
struct Texts(Vec<Option<Text>>);

impl Texts {
    fn put(&mut self, field: &Field, value: Box<dyn Value>, shown: String) {
        if let Some(place) = self.0.get_mut(field.index()) {
            *place = Some(Text { value, shown });
        }
    }

    /// Has each fact stand where it is shown, once.
    fn tell_once(&mut self, fields: &FieldSet, shows: Shows) {
        let Some(at) = fields.field("message").map(|field| field.index()) else { return };
        let Some(message) = self.0.get(at).and_then(Option::as_ref).map(|text| text.shown.clone()) else { return };
        let tells = |shown: &str| shown.chars().count() >= LEAST_TOLD_CHARS && message.contains(shown);
        match shows {
            Shows::Fields => {
                for text in &mut self.0 {
                    if text.as_ref().is_some_and(|text| text.shown != message && tells(&text.shown)) {
                        *text = None;
                    }
                }
            }
            Shows::Message => {
                let mut facts = Vec::new();
                for (field, text) in fields.iter().zip(&self.0) {
                    let Some(Text { shown, .. }) = text else { continue };
                    if field.index() != at && !field.name().starts_with("log.") && !tells(shown) {
                        facts.push(format!("{}={shown}", field.name()));
                    }
                }
                if !facts.is_empty() {
                    let told = format!("{message} ({})", facts.join(", "));
                    self.0[at] = Some(Text { value: Box::new(display(told.clone())), shown: told });
                }
            }
        }
    }
}

impl Visit for Texts {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Of another type than what was formatted: it is shown with quotes.
        let text = harmless(value).into_owned();
        self.put(field, Box::new(text.clone()), text);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let text = harmless(&value.to_string()).into_owned();
        self.put(field, Box::new(display(text.clone())), text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = harmless(&format!("{value:?}")).into_owned();
        self.put(field, Box::new(display(text.clone())), text);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::sync::lock;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_field_of_every_kind_is_made_harmless_and_stays_on_one_line() {
        const BAD: &str = "a\u{1b}[2J\u{202e}b\nforged\u{9b}";
        let written = Written::default();
        let writer = written.clone();
        let layer =
            tracing_subscriber::fmt::layer().with_ansi(false).without_time().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(Plain::new(layer, Shows::Message));
        tracing::subscriber::with_default(subscriber, || {
            let error = io::Error::other(BAD);
            tracing::warn!(shown = %BAD, text = BAD, number = 7, error = &error as &dyn Error, "{BAD} {}", 1);
            tracing::error!(debugged = ?Some(1.5), flag = true, "plain");
        });
        let text = String::from_utf8(lock(&written.0).clone()).unwrap();
        let clean = "a\\u{1b}[2J\\u{202e}b\\nforged\\u{9b}";
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(text.matches(clean).count(), 3, "{text}");
        assert!(text.contains(&format!("text={clean:?}")), "{text}");
        assert!(text.contains("number=7") && text.contains("debugged=Some(1.5) flag=true"), "{text}");
        assert!(!text.replace('\n', "").contains(crate::shown::is_harmful), "{text}");
    }

    fn told(shows: Shows) -> String {
        let written = Written::default();
        let writer = written.clone();
        let layer =
            tracing_subscriber::fmt::layer().with_ansi(false).without_time().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(Plain::new(layer, shows));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(topic = %"plant/a", lane = 1, "a message on plant/a is odd");
        });
        String::from_utf8(lock(&written.0).clone()).unwrap()
    }

    #[test]
    fn each_fact_stands_where_it_is_read() {
        let fields = told(Shows::Fields);
        assert!(fields.trim_end().ends_with("a message on plant/a is odd lane=1"), "{fields}");
        let message = told(Shows::Message);
        assert!(message.contains("a message on plant/a is odd (lane=1)"), "{message}");
        assert!(message.contains("topic=plant/a lane=1"), "the fields stay: {message}");
    }
}
