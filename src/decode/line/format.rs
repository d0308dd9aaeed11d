//! Line protocol in messages: the lines of [`Lines`], shaped as their source says. Pure.

use super::{Line, Lines, Unit};
use crate::{
    decode::{
        DecodeError, Decoded, Fault, FaultKind, Format, Payload, Unfit,
        end::keep_first,
        fill::put,
        members::Members,
        repair::{BROKEN, readable, trim},
        row::PerRow,
        value::Scalar,
    },
    point::{MAX_ROWS_PER_MESSAGE, Row, Text, Value},
    settings::{Source, TimeUnit, TimeWord},
};

/// Line protocol of one source.
#[derive(Debug)]
pub(in crate::decode) struct LineProtocol {
    members: Members,
    /// Whether members are taken as they are.
    is_bare: bool,
    unit: Unit,
    per_row: PerRow,
}

impl LineProtocol {
    /// By a source's settings. The error says what is wrong: the key, and why.
    pub fn of(source: &Source, per_row: PerRow) -> Result<Self, (&'static str, String)> {
        let word = match source.timestamp.as_ref().map_or(&TimeUnit::default(), |time| &time.unit) {
            TimeUnit::Word(word) => *word,
            TimeUnit::Form(_) => TimeWord::Rfc3339,
        };
        let unit = match word {
            TimeWord::Auto => Unit::Told,
            TimeWord::S => Unit::Of(super::Precision::Seconds),
            TimeWord::Ms => Unit::Of(super::Precision::Milliseconds),
            TimeWord::Us => Unit::Of(super::Precision::Microseconds),
            TimeWord::Ns => Unit::Of(super::Precision::Nanoseconds),
            TimeWord::Rfc3339 => {
                return Err(("timestamp.unit", "a line's time is a number; write auto, s, ms, us or ns".into()));
            }
        };
        let members = Members::of(source);
        Ok(Self { is_bare: members.say_nothing(), members, unit, per_row })
    }

    /// The row as the source shapes it.
    fn shape(&mut self, row: Row, line: u64, number: usize, out: &mut Decoded) -> Row {
        let Row { symbols, fields, time, device_time, .. } = row;
        let mut shaped = Row { time, device_time, ..Row::default() };
        let mut fault = |name: &str, (kind, reason): (FaultKind, String)| {
            let error = DecodeError::new(format!("line {line}"), reason);
            out.faults.member(number, name, kind, error);
        };
        for (name, value) in symbols {
            // A symbol stays one, unless it is to be something else.
            if self.members.is_named(&name) {
                if let Err(unfit) = put(&mut shaped, &mut self.members, &name, Scalar::Text(&value)) {
                    fault(&name, unfit);
                }
            } else if let Some(column) = self.members.passes(&name) {
                shaped.symbols.push((column, value));
            }
        }
        for (name, value) in fields {
            if let Err(unfit) = self.field(&mut shaped, &name, value) {
                fault(&name, unfit);
            }
        }
        keep_first(&mut shaped, number, || format!("line {line}"), &mut out.faults);
        shaped
    }

    /// A field keeps the type that its line gives it, unless the source says otherwise.
    fn field(&mut self, row: &mut Row, name: &Text, value: Value) -> Result<(), Unfit> {
        let before = row.fields.len();
        put(row, &mut self.members, name, Scalar::of(&value))?;
        if row.fields.len() > before && !self.members.converts(name) {
            row.fields[before].1 = value;
        }
        Ok(())
    }

    fn line(&mut self, line: Line<'_>, payload: &Payload<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
        let Line { number: at, table, row, faults } = line;
        let number = out.rows.len();
        let mut row = if self.is_bare { row } else { self.shape(row, at, number, out) };
        let says_something = |(_, value): &(Text, Value)| !matches!(value, Value::Text(text) if text.is_empty());
        row.fields.retain(says_something);
        for fault in faults.iter() {
            out.faults.push(Fault { row: fault.row.map(|_| number), ..fault.clone() });
        }
        // Symbols and a time alone say nothing.
        if row.fields.is_empty() {
            out.faults.left_out(number);
            return Ok(());
        }
        if number == MAX_ROWS_PER_MESSAGE {
            let reason = format!("more than {MAX_ROWS_PER_MESSAGE} lines in one message");
            return Err(DecodeError::new(format!("line {at}"), reason));
        }
        let told = |name: &str| (name == "measurement").then_some(&*table);
        match self.per_row.give(&mut row, payload.topic, told, out) {
            Ok(()) => out.rows.push(row),
            Err(reason) => {
                let error = DecodeError::new(format!("line {at}"), reason);
                out.faults.left_out(number);
                out.faults.push(Fault { row: None, member: "table".into(), kind: FaultKind::Name, error });
            }
        }
        Ok(())
    }
}

impl Format for LineProtocol {
    fn decode(&mut self, payload: &Payload<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
        let text = readable(trim(payload.bytes));
        let mut lines = Lines::in_unit(&text, self.unit);
        while let Some(line) = lines.next() {
            match line {
                Ok(line) if text[lines.row_position()..lines.position()].contains(BROKEN) => {
                    let error = DecodeError::new(format!("line {}", line.number), "it is not UTF-8");
                    out.faults.push(Fault { row: None, member: Text::default(), kind: FaultKind::Text, error });
                }
                Ok(line) => self.line(line, payload, out)?,
                Err(error) => {
                    let place = format!("line {}, column {}", error.line, error.column);
                    let error = DecodeError::new(place, error.reason);
                    out.faults.push(Fault { row: None, member: Text::default(), kind: FaultKind::Text, error });
                    lines.skip_line();
                }
            }
        }
        Ok(())
    }

    fn members(&mut self) -> &mut Members {
        &mut self.members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Decoder;

    fn decoded(source: &str, payload: &str) -> Decoded {
        let text = format!("topic = \"t/{{host}}/{{m}}\"\nformat = \"line\"\n{source}");
        let mut decoder = Decoder::new("s", &toml::from_str(&text).expect("a source")).expect("a decoder");
        let topic = decoder.resolve("t/pi/x").expect("match").expect("valid");
        let mut out = Decoded::default();
        decoder.decode(&Payload::of(&topic, payload.as_bytes()), &mut out).expect("rows");
        decoder.finish(&mut out.rows, &topic, &mut out.faults);
        out
    }

    fn told(out: &Decoded) -> Vec<String> {
        let row = |row: &Row| {
            let table = usize::from(row.table).checked_sub(1).map_or("(topic)", |at| &out.tables[at]);
            let symbols: Vec<String> = row.symbols.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let seconds = row.time.map(|time| time.0 / 1_000_000_000);
            format!("{table} {} {:?} {seconds:?}", symbols.join(","), row.fields)
        };
        out.rows.iter().map(row).collect()
    }

    #[test]
    fn lines_name_their_tables_unless_the_source_does() {
        let text = "cpu,cpu=cpu0,host=pi idle=98.5 1780228800000000000\nmem,host=pi used=2i 1780228800\ncpu idle=1";
        let out = decoded("", text);
        assert!(out.faults.is_empty(), "{}", out.faults.reason());
        assert_eq!(
            told(&out),
            [
                "cpu cpu=cpu0,host=pi,m=x [(\"idle\", Double(98.5))] Some(1780228800)",
                "mem host=pi,m=x [(\"used\", Long(2))] Some(1780228800)",
                "cpu host=pi,m=x [(\"idle\", Double(1.0))] None",
            ]
        );
        let out = decoded("table = \"all\"", "cpu idle=1");
        assert_eq!(told(&out), ["(topic) host=pi,m=x,measurement=cpu [(\"idle\", Double(1.0))] None"]);
        let out = decoded("table = \"t_{measurement}\"\ntags = { of = \"{measurement}\" }", "cpu idle=1\nCPU idle=2");
        assert_eq!((out.tables.len(), out.tables[0].as_str()), (1, "t_cpu"));
        assert_eq!(out.rows[1].symbols[2], ("of".into(), "CPU".into()));
    }

    #[test]
    fn a_bad_line_costs_itself() {
        let out = decoded("", "a v=1\nb v=\nc,x=y\nd v=\"x\ny\",w=2\ne v=1 nonsense\nf v=3\n");
        let tables: Vec<_> = out.tables.iter().map(Text::as_str).collect();
        assert_eq!(tables, ["a", "d", "f"]);
        assert_eq!(out.faults.count(), 2, "{}", out.faults.reason());
        assert!(out.faults.reason().starts_with("at line 2, column 5: field \"v\": it has no value; at line 6"));
    }

    #[test]
    fn an_open_string_costs_its_line_alone() {
        let out = decoded("", "a s=\"open\nb v=1\nc v=2");
        assert_eq!((out.tables.len(), out.faults.count()), (2, 1), "{}", out.faults.reason());
        let mut decoder = Decoder::new("s", &toml::from_str("topic = \"t\"\nformat = \"line\"").expect("a source"))
            .expect("a decoder");
        let topic = decoder.resolve("t").expect("match").expect("valid");
        let mut out = Decoded::default();
        decoder.decode(&Payload::of(&topic, b"# \xb0\na v=1\nb s=\"\xb0C\"\nc v=2"), &mut out).expect("rows");
        assert_eq!(
            (out.tables.as_slice(), out.faults.reason().as_str()),
            (&["a".into(), "c".into()][..], "at line 3: it is not UTF-8")
        );
        let long = "n".repeat(200);
        let out = decoded("", &format!("{long} v=1\nb v=2"));
        assert_eq!((out.rows.len(), out.faults.count()), (1, 1), "{}", out.faults.reason());
    }

    #[test]
    fn the_sources_keys_shape_lines_too() {
        let source = "timestamp = { unit = \"s\" }\nrename = { idle = \"free\", host = \"machine\" }\nignore = [\"x*\"]\n\
            fields = { n = \"double\" }\nscale = { p = 0.1 }\nsymbols = [\"kind\"]\nnull_values = [\"-1\"]";
        let out = decoded(source, "cpu,host=a,x1=b idle=5i,n=3i,p=30,xy=1,kind=\"k\",u=-1 1780228800");
        assert_eq!(
            told(&out),
            [
                "cpu host=pi,kind=k,m=x,machine=a [(\"free\", Long(5)), (\"n\", Double(3.0)), (\"p\", Double(3.0))] Some(1780228800)"
            ]
        );
        let text = "topic = \"t\"\nformat = \"line\"\ntimestamp = { unit = \"rfc3339\" }";
        let errors = Decoder::check("s", &toml::from_str(text).expect("a source")).expect_err("a line's time");
        assert_eq!(errors[0].key, "timestamp.unit");
    }
}
