//! How `get` and `watch` name series: a table and symbols.

use std::fmt::Write;

use clap::Args;

use super::{Exit, Failure};
use crate::names;

/// Which series.
#[derive(Debug, Clone, Default, Args)]
pub struct QueryArgs {
    /// A table, symbols as NAME=VALUE, or both; every series when absent.
    #[arg(value_name = "TABLE or SYMBOL=VALUE")]
    pub terms: Vec<String>,
    /// The table, in place of naming it bare.
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Only these fields; may be given several times.
    #[arg(long = "field", short = 'f', value_name = "NAME")]
    pub fields: Vec<String>,
}

impl QueryArgs {
    /// The query part of the request, with its question mark; empty for every series.
    pub fn to_query(&self, limit: Option<usize>) -> Result<String, Failure> {
        let mut parts = Vec::new();
        let mut table = self.table.as_ref();
        for term in &self.terms {
            match term.split_once('=') {
                Some((name, value)) => parts.push(format!("symbol.{}={}", escape(name), escape(value))),
                None if table.is_none() => table = Some(term),
                None => {
                    let what = format!("{term:?}: one table can be named; write symbols as NAME=VALUE");
                    return Err(Failure::new(Exit::Usage, what));
                }
            }
        }
        parts.extend(table.map(|table| format!("table={}", escape(table))));
        parts.extend(limit.map(|limit| format!("limit={limit}")));
        Ok(if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) })
    }

    /// Whether a field is wanted.
    pub fn wants(&self, field: &str) -> bool {
        self.fields.is_empty() || self.fields.iter().any(|wanted| names::same(wanted, field))
    }
}

/// Percent-encoding (RFC 3986, section 2.1) of all but unreserved characters.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(byte as char);
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(terms: &[&str], table: Option<&str>) -> Result<String, Failure> {
        let terms = terms.iter().map(|term| (*term).to_owned()).collect();
        QueryArgs { terms, table: table.map(str::to_owned), fields: vec![] }.to_query(None)
    }

    fn query(terms: &[&str]) -> Result<String, Failure> {
        asked(terms, None)
    }

    #[test]
    fn a_table_can_be_named_with_an_option() {
        assert_eq!(asked(&["device=1"], Some("a=b")).unwrap(), "?symbol.device=1&table=a%3Db");
        assert_eq!(asked(&["a"], Some("b")).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn terms_become_a_query() {
        assert_eq!(query(&[]).unwrap(), "");
        assert_eq!(query(&["sensors", "device=a b&c"]).unwrap(), "?symbol.device=a%20b%26c&table=sensors");
        assert_eq!(query(&["a", "b"]).unwrap_err().exit, Exit::Usage);
    }
}
