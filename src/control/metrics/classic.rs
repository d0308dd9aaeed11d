//! The two text formats, and the way from one to the other (prometheus.io, "Exposition formats").

use std::fmt::Write as _;

/// What the page is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.0, which Prometheus asks for first.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, for everything else: `promtool`, Telegraf, people.
    Classic,
}

impl Format {
    /// What an `Accept` header (RFC 9110, section 12.5.1) asks for: `OpenMetrics` only when it is named, with a weight that plain
    /// text does not exceed.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let weight = |wanted: &str| accept.split(',').filter_map(|range| weight(range, wanted)).reduce(f64::max);
        match (weight("application/openmetrics-text"), weight("text/plain")) {
            (Some(open), plain) if open > 0.0 && plain.is_none_or(|plain| plain <= open) => Self::OpenMetrics,
            _ => Self::Classic,
        }
    }

    /// The page's media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The weight of a media range, if it is of the wanted type and of a version that is written here.
fn weight(range: &str, wanted: &str) -> Option<f64> {
    let mut parts = range.split(';').map(str::trim);
    let is_wanted = parts.next()?.eq_ignore_ascii_case(wanted);
    let mut weight = 1.0;
    for part in parts {
        match part.split_once('=') {
            Some(("q", q)) => weight = q.parse().unwrap_or(0.0),
            Some(("version", version)) if !matches!(version, "1.0.0" | "0.0.4") => return None,
            _ => {}
        }
    }
    is_wanted.then_some(weight)
}

/// The same page in the older format: there a counter's name has its `_total` everywhere, and units and the end are not told.
pub(super) fn from_open_metrics(page: &str) -> String {
    let mut classic = String::with_capacity(page.len());
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(help) = line.strip_prefix("# HELP ") else {
            if !line.starts_with("# ") {
                let _ = writeln!(classic, "{line}");
            }
            continue;
        };
        // The library writes HELP, then TYPE, then UNIT.
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        let kind = lines.next_if(|line| line.starts_with("# TYPE ")).and_then(|line| line.rsplit(' ').next());
        let kind = kind.unwrap_or("untyped");
        let suffix = if kind == "counter" { "_total" } else { "" };
        let _ = writeln!(classic, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        for open in
            [prometheus_2, prometheus_3, "application/openmetrics-text", "text/html, application/openmetrics-text"]
        {
            assert_eq!(Format::wanted(open), Format::OpenMetrics, "{open}");
        }
        let old = "application/openmetrics-text;version=0.0.1";
        let rather = "application/openmetrics-text;q=0.1, text/plain";
        for classic in ["", "*/*", "text/html", "text/plain", old, rather, "application/openmetrics-text;q=0", ";;,=;q"]
        {
            assert_eq!(Format::wanted(classic), Format::Classic, "{classic}");
        }
    }

    #[test]
    fn only_the_heads_differ() {
        let open = "# HELP f_rows Rows.\n# TYPE f_rows counter\nf_rows_total 3\n\
                    # HELP f_up Time.\n# TYPE f_up gauge\n# UNIT f_up seconds\nf_up{a=\"# x\"} 1.5\n# EOF\n";
        let classic = "# HELP f_rows_total Rows.\n# TYPE f_rows_total counter\nf_rows_total 3\n\
                       # HELP f_up Time.\n# TYPE f_up gauge\nf_up{a=\"# x\"} 1.5\n";
        assert_eq!(from_open_metrics(open), classic);
    }
}
