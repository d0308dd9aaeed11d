//! What is written for pages that come one after the other.

use clap::Parser;

use super::*;
use crate::marks::State;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    get: GetArgs,
}

fn args(arguments: &[&str]) -> GetArgs {
    Cli::parse_from([&["get"], arguments].concat()).get
}

fn series(device: &str) -> SeriesView {
    SeriesView {
        table: "sensors".into(),
        symbols: [("device".to_owned(), device.to_owned())].into(),
        fields: [("hum".to_owned(), 40.into()), ("note".to_owned(), "a\nb".into())].into(),
        time: "2024-01-01T00:01:00Z".into(),
        field_times: [("hum".to_owned(), "2024-01-01T00:00:00Z".to_owned())].into(),
        received: "2024-01-01T00:01:00Z".into(),
        age_ms: 12,
        stale: true,
        state: State::Durable,
        source: "memory".into(),
        ..SeriesView::default()
    }
}

/// A daemon with so many series, asked through `forebay get`: what it was asked, and what was written, part by part.
async fn got(form: Form, of: usize, arguments: &[&str]) -> Result<(Vec<String>, Vec<String>), Failure> {
    let args = args(arguments);
    let (mut asked, mut written) = (Vec::new(), Vec::new());
    let first = request(&args, args.limit.unwrap_or(PAGE), None)?;
    let ask = async |target: String| {
        let number =
            |name: &str| target.split(['?', '&']).find_map(|term| term.strip_prefix(name)?.parse::<usize>().ok());
        let from = number("cursor=").unwrap_or(0);
        let end = of.min(from + number("limit=").expect("a limit"));
        let page = (from..end).map(|n| series(&format!("dev-{n:04}"))).collect();
        let seq = 100 + asked.len() as u64;
        asked.push(target);
        Ok(LatestAnswer { series: page, truncated: end < of, next: (end < of).then(|| end.to_string()), seq })
    };
    let emit = |text: &str| {
        written.push(text.to_owned());
        Ok(())
    };
    list(&args, first, Output { form, seq: None }, ask, emit).await?;
    Ok((asked, written))
}

fn table() -> Form {
    Form::Table(Columns::new(HEAD, RIGHT))
}

#[tokio::test]
async fn each_field_has_its_own_time_and_age() {
    let (_, written) = got(table(), 2, &["--limit", "1"]).await.unwrap();
    let text = written.concat();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "TABLE    SERIES           FIELD   VALUE  TIME                     AGE  STATE");
    assert_eq!(lines[1], "sensors  device=dev-0000  hum        40  2024-01-01T00:00:00Z  60.0 s  durable (stale)");
    assert_eq!(lines[2], "sensors  device=dev-0000  note   \"a\\nb\"  2024-01-01T00:01:00Z   12 ms  durable (stale)");
    assert!(lines[3].starts_with("… and more"), "{text}");
}

#[test]
fn whole_numbers_are_shown_without_a_fraction() {
    let cells = [r"21.0", "21.5", "-3.0", "0.0", "7", "1e300", "1.0e-7", "9007199254740993", "null", r#""v1.0""#];
    let cells = cells.map(|json| shown(&serde_json::from_str(json).unwrap()));
    let wanted = ["21", "21.5", "-3", "0", "7", "1e+300", "1e-7", "9007199254740993", "NaN", r#""v1.0""#];
    assert_eq!(cells, wanted);
}

#[tokio::test]
async fn json_and_csv_keep_numbers_as_they_are_answered() {
    let answer = || {
        let mut series = series("dev-1");
        series.fields.insert("hum".to_owned(), 21.0.into());
        LatestAnswer { series: vec![series], ..LatestAnswer::default() }
    };
    for (form, part) in [(Form::Json, "\"hum\":21.0"), (Form::Csv, ",hum,21.0,")] {
        let text = Output { form, seq: None }.page(&answer()).unwrap();
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn pages_are_followed_to_the_end_and_never_held_together() {
    let (asked, written) = got(table(), 1_234, &["sensors", "--field", "hum"]).await.unwrap();
    let begin = "/v1/latest?table=sensors&limit=500&field=hum";
    assert_eq!(asked, [begin.to_owned(), format!("{begin}&cursor=500"), format!("{begin}&cursor=1000")]);
    assert_eq!(written.iter().map(|part| part.lines().count()).collect::<Vec<_>>(), [501, 500, 234, 0]);
    assert_eq!(written.concat().matches("TABLE").count(), 1);
}

#[tokio::test]
async fn a_limit_ends_it_on_any_page() {
    for (limit, of, pages) in [("700", 1_234, &["500", "200"][..]), ("500", 1_234, &["500"]), ("9", 5, &["9"])] {
        let (asked, written) = got(table(), of, &["--limit", limit]).await.unwrap();
        let limits: Vec<&str> =
            asked.iter().filter_map(|target| target.split("limit=").nth(1)?.split('&').next()).collect();
        assert_eq!(limits, pages, "{limit} of {of}");
        assert_eq!(written.concat().contains("… and more"), of > 9, "{limit} of {of}");
    }
}

#[tokio::test]
async fn json_is_one_document_and_csv_one_table() {
    let (_, written) = got(Form::Json, 1_001, &[]).await.unwrap();
    let answer: LatestAnswer = serde_json::from_str(&written.concat()).unwrap();
    assert_eq!((answer.series.len(), answer.truncated, answer.next, answer.seq), (1_001, false, None, 100));
    let (_, written) = got(Form::Json, 1_001, &["--limit", "501"]).await.unwrap();
    let answer: LatestAnswer = serde_json::from_str(&written.concat()).unwrap();
    assert_eq!((answer.series.len(), answer.truncated, answer.next.as_deref()), (501, true, Some("501")));

    let (_, written) = got(Form::Csv, 501, &[]).await.unwrap();
    let text = written.concat();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.records().map(Result::unwrap).filter(|line| &line[0] == "sensors").count(), 1_002);
}

#[test]
fn a_misspelled_option_is_told_of_and_the_right_one_named() {
    for (line, similar) in [
        (&["get", "--tabel", "x"][..], "--table"),
        (&["get", "--feild=x"], "--field"),
        (&["get", "--lmit", "1"], "--limit"),
    ] {
        let error = Cli::try_parse_from(line).err().expect("a usage error");
        assert_eq!(error.exit_code(), 2);
        let told = error.to_string();
        assert!(told.contains(&format!("a similar argument exists: '{similar}'")), "{told}");
    }
}

#[tokio::test]
async fn a_field_that_no_series_has_is_nothing_found() {
    let failure = got(Form::Json, 1_001, &["--field", "none"]).await.unwrap_err();
    assert_eq!(failure.exit, Exit::NotFound);
}
