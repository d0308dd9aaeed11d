//! Writing one metric after the other, one method a kind.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use crate::observe::histogram::Distribution;

/// Labels and value of one sample.
pub(super) type Sample<'a> = (&'a [(&'a str, &'a str)], f64);

/// The page being written.
pub(super) struct Page<'e, 'p> {
    encoder: &'e mut DescriptorEncoder<'p>,
}

impl<'e, 'p> Page<'e, 'p> {
    pub fn new(encoder: &'e mut DescriptorEncoder<'p>) -> Self {
        Self { encoder }
    }

    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let encoder = self.encoder.encode_descriptor(name, &sentence(help), None, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    pub fn counter_of_seconds(&mut self, name: &str, help: &str, seconds: f64) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let encoder = self.encoder.encode_descriptor(name, &sentence(help), unit, MetricType::Counter)?;
        ConstCounter::new(seconds).encode(encoder)
    }

    pub fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let encoder = self.encoder.encode_descriptor(name, &sentence(help), unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    pub fn labelled(&mut self, name: &str, help: &str, samples: &[Sample<'_>]) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, samples)
    }

    pub fn labelled_counters(&mut self, name: &str, help: &str, samples: &[Sample<'_>]) -> fmt::Result {
        self.family(name, help, MetricType::Counter, samples)
    }

    /// Seconds, as a histogram.
    pub fn latency(&mut self, name: &str, help: &str, measured: &Distribution) -> fmt::Result {
        let encoder =
            self.encoder.encode_descriptor(name, &sentence(help), Some(&Unit::Seconds), MetricType::Histogram)?;
        Measured(measured).encode(encoder)
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType, samples: &[Sample<'_>]) -> fmt::Result {
        if samples.is_empty() {
            return Ok(());
        }
        let mut encoder = self.encoder.encode_descriptor(name, &sentence(help), None, kind)?;
        for (labels, value) in samples {
            let sample = encoder.encode_family(labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(*value).encode(sample)?,
                _ => ConstGauge::new(*value).encode(sample)?,
            }
        }
        Ok(())
    }
}

struct Measured<'a>(&'a Distribution);

impl EncodeMetric for Measured<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let buckets: Vec<(f64, u64)> = self.0.buckets().collect();
        encoder.encode_histogram::<NoLabelSet>(self.0.sum_s(), self.0.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn sentence(help: &str) -> String {
    format!("{help}.")
}
