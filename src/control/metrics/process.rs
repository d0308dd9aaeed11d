//! What every program's page has, under the names that Prometheus' client libraries share ("Writing
//! client libraries", process metrics). Dashboards and alerts for any program find them.

use std::fmt;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Unit};

use super::Page;
use crate::observe::process::Process;

/// Writes the metrics; to be registered under the prefix `process`.
#[derive(Debug)]
pub(super) struct Standard(pub Process);

impl Collector for Standard {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut page, told) = (Page::new(&mut encoder), &self.0);
        if let Some(cpu_s) = told.cpu_s {
            page.counter_of_seconds("cpu", "Time the process has run on a core, in the kernel too", cpu_s)?;
        }
        let bytes = Some(&Unit::Bytes);
        let known = [
            ("open_fds", "Descriptors that are open", None, told.open_fds),
            ("max_fds", "Most descriptors that may be open at a time", None, told.max_fds),
            ("virtual_memory", "Address space of the process, the mapped ring included", bytes, told.virtual_bytes),
            (
                "resident_memory",
                "Memory of the process, pages of the mapped ring that are in memory included",
                bytes,
                told.resident_bytes,
            ),
            ("threads", "Threads of the process", None, told.threads),
        ];
        for (name, help, unit, value) in known {
            if let Some(value) = value {
                page.gauge(name, help, unit, value as f64)?;
            }
        }
        let started = "When the process started, in seconds since 1970, by the system clock as it is set now";
        told.started_s.map_or(Ok(()), |started_s| page.gauge("start_time", started, Some(&Unit::Seconds), started_s))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, encode_as};
    use super::*;
    use crate::control::api::Status;

    #[test]
    fn the_names_are_the_standard_ones_in_both_formats() {
        let process = Process {
            cpu_s: Some(3.25),
            open_fds: Some(12),
            max_fds: Some(4096),
            virtual_bytes: Some(1 << 30),
            resident_bytes: Some(1 << 20),
            threads: Some(9),
            started_s: Some(1_700_000_123.45),
        };
        let samples = [
            "process_cpu_seconds_total 3.25",
            "process_open_fds 12.0",
            "process_max_fds 4096.0",
            "process_virtual_memory_bytes 1073741824.0",
            "process_resident_memory_bytes 1048576.0",
            "process_threads 9.0",
            "process_start_time_seconds 1700000123.45",
        ];
        for (format, cpu) in [(Format::OpenMetrics, "process_cpu_seconds"), (Format::Classic, samples[0])] {
            let page = encode_as(Status::default(), process, format);
            let cpu = format!("# TYPE {} counter", cpu.split(' ').next().unwrap_or_default());
            for line in samples.into_iter().chain([cpu.as_str(), "# TYPE process_start_time_seconds gauge"]) {
                assert!(page.lines().any(|have| have == line), "{line} in\n{page}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let page = encode_as(Status::default(), Process::default(), Format::Classic);
        assert!(!page.contains("process_") && page.contains("forebay_uptime_seconds"), "{page}");
    }
}
