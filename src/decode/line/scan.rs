//! A cursor over the text: words, names with their escapes, and where it is.

use std::borrow::Cow;

use super::LineError;

/// What a backslash takes the meaning off.
const ESCAPABLE: &[u8] = b",= \"\\\n\r";

/// Bytes that may end a name or word, or change what comes next.
const IS_SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let bytes = b"\\,= \n\r";
    let mut i = 0;
    while i < bytes.len() {
        special[bytes[i] as usize] = true;
        i += 1;
    }
    special
};

/// The cursor. It stands on a character's first byte at all times: what it stops at is ASCII.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The line the cursor is on, from 1, and its first byte.
    line: u64,
    line_start: usize,
    /// The line the row in hand begins on.
    row_line: u64,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1, line_start: 0, row_line: 1 }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    /// The line the row in hand begins on.
    pub fn row_line(&self) -> u64 {
        self.row_line
    }

    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over `byte` if it is next.
    pub fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Goes to the first character of the next line that holds a row; false at the end of the text.
    pub fn next_line(&mut self) -> bool {
        loop {
            match self.peek() {
                None => return false,
                Some(b'\n') => {
                    self.at += 1;
                    self.new_line();
                }
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b'#') => {
                    let rest = &self.text.as_bytes()[self.at..];
                    self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                }
                Some(_) => {
                    self.row_line = self.line;
                    return true;
                }
            }
        }
    }

    /// Goes to the end of the line that the cursor is on.
    pub fn skip_line(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }

    fn new_line(&mut self) {
        self.line += 1;
        self.line_start = self.at;
    }

    pub fn skip_spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// Whether the line ends here, with or without a carriage return.
    pub fn at_end_of_line(&self) -> bool {
        self.ends_line(self.at)
    }

    fn ends_line(&self, at: usize) -> bool {
        let bytes = self.text.as_bytes();
        match bytes.get(at) {
            None | Some(b'\n') => true,
            Some(b'\r') => matches!(bytes.get(at + 1), None | Some(b'\n')),
            Some(_) => false,
        }
    }

    /// Whether what comes next is a time rather than a field: a word without an equals sign that begins as a number does.
    pub fn at_time(&self) -> bool {
        let rest = &self.text.as_bytes()[self.at..];
        if !matches!(rest.first(), Some(b'0'..=b'9' | b'-')) {
            return false;
        }
        let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'=' | b',' | b'\\'));
        end.is_none_or(|end| !matches!(rest[end], b'=' | b',' | b'\\'))
    }

    /// Everything up to a space, a comma or the end of the line, as it stands.
    pub fn word(&mut self) -> &'a str {
        let start = self.at;
        loop {
            self.skip_plain();
            if matches!(self.peek(), Some(b' ' | b',')) || self.at_end_of_line() {
                return &self.text[start..self.at];
            }
            self.at += 1;
        }
    }

    fn skip_plain(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| IS_SPECIAL[usize::from(*byte)]).unwrap_or(rest.len());
    }

    /// Everything up to one of `stops`, which are among `,`, `=` and the space, or the end of the line; escapes are resolved.
    pub fn name(&mut self, stops: &[u8]) -> Cow<'a, str> {
        let bytes = self.text.as_bytes();
        let mut copied = self.at;
        let mut name: Option<String> = None;
        loop {
            self.skip_plain();
            match bytes.get(self.at) {
                Some(b'\\') if bytes.get(self.at + 1).is_some_and(|next| ESCAPABLE.contains(next)) => {
                    name.get_or_insert_default().push_str(&self.text[copied..self.at]);
                    copied = self.at + 1;
                    self.step_over_escape();
                }
                Some(byte) if !stops.contains(byte) && !self.at_end_of_line() => self.at += 1,
                _ => break,
            }
        }
        joined(name, &self.text[copied..self.at])
    }

    fn step_over_escape(&mut self) {
        let is_line_break = self.text.as_bytes()[self.at + 1] == b'\n';
        self.at += 2;
        if is_line_break {
            self.new_line();
        }
    }

    /// A string behind its opening quote; the cursor is left behind the closing one. None where that is missing.
    pub fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let bytes = self.text.as_bytes();
        let mut copied = self.at;
        let mut text: Option<String> = None;
        loop {
            match bytes.get(self.at)? {
                b'"' => break,
                b'\\' if matches!(bytes.get(self.at + 1), Some(b'"' | b'\\' | b'\n' | b'\r')) => {
                    text.get_or_insert_default().push_str(&self.text[copied..self.at]);
                    copied = self.at + 1;
                    self.step_over_escape();
                }
                b'\n' => {
                    self.at += 1;
                    self.new_line();
                }
                _ => self.at += 1,
            }
        }
        let last = &self.text[copied..self.at];
        self.at += 1;
        Some(joined(text, last))
    }

    /// What is wrong at the cursor.
    pub fn fault(&self, reason: impl Into<String>) -> LineError {
        LineError { line: self.line, column: self.at - self.line_start + 1, reason: reason.into() }
    }

    /// What is wrong with the row in hand as a whole.
    pub fn line_fault(&self, reason: impl Into<String>) -> LineError {
        LineError { line: self.row_line, column: 1, reason: reason.into() }
    }
}

/// What had escapes, with what follows the last of them; borrowed where there was none.
fn joined(before: Option<String>, last: &str) -> Cow<'_, str> {
    match before {
        None => Cow::Borrowed(last),
        Some(mut text) => {
            text.push_str(last);
            Cow::Owned(text)
        }
    }
}
