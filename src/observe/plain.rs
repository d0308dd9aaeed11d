//! Log events without characters that a terminal obeys or nobody sees, whoever wrote the text: the one place that all of the log passes.

use std::{error::Error, fmt};

use tracing::{
    Event, Subscriber,
    field::{Field, Value, Visit, display},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::shown::harmless;

/// A layer that is given every event with its texts made harmless, each on one line.
pub struct Plain<L>(pub L);

impl<S, L> Layer<S> for Plain<L>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    L: Layer<S>,
{
    fn on_layer(&mut self, subscriber: &mut S) {
        self.0.on_layer(subscriber);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let fields = event.metadata().fields();
        let mut texts = Texts(fields.iter().map(|_| None).collect());
        event.record(&mut texts);
        let values: Vec<Option<&dyn Value>> =
            texts.0.iter().map(|text| text.as_ref().map(|text| &**text as &dyn Value)).collect();
        let values = fields.value_set_all(&values);
        self.0.on_event(&Event::new(event.metadata(), &values), context);
    }
}

/// The fields' texts by their numbers; none of what has no value.
struct Texts(Vec<Option<Box<dyn Value>>>);

impl Texts {
    fn put(&mut self, field: &Field, text: Box<dyn Value>) {
        if let Some(place) = self.0.get_mut(field.index()) {
            *place = Some(text);
        }
    }
}

impl Visit for Texts {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Of another type than what was formatted: it is shown with quotes.
        self.put(field, Box::new(harmless(value).into_owned()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, Box::new(display(harmless(&value.to_string()).into_owned())));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Box::new(display(harmless(&format!("{value:?}")).into_owned())));
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
        let subscriber = tracing_subscriber::registry().with(Plain(layer));
        tracing::subscriber::with_default(subscriber, || {
            let error = io::Error::other(BAD);
            tracing::warn!(shown = %BAD, text = BAD, number = 7, error = &error as &dyn Error, "{BAD} {}", 1);
            tracing::error!(debugged = ?Some(1.5), flag = true, "plain");
        });
        let text = String::from_utf8(lock(&written.0).clone()).unwrap();
        let clean = "a\\u{1b}[2J\\u{202e}b\\nforged\\u{9b}";
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(text.matches(clean).count(), 3, "{text}");
        assert!(text.contains(&format!("text={:?}", clean)), "{text}");
        assert!(text.contains("number=7") && text.contains("debugged=Some(1.5) flag=true"), "{text}");
        assert!(!text.replace('\n', "").contains(crate::shown::is_harmful), "{text}");
    }
}
