//! Lines of text in groups, each with a word in front.

use std::fmt::Write as _;

/// What is shown, in the making.
#[derive(Default)]
pub struct Screen(String);

impl Screen {
    /// A line at the very left, with a word in front.
    pub fn head(&mut self, word: &str, text: &str) {
        let _ = writeln!(self.0, "{word:10}  {text}");
    }

    /// A group of lines, under its name.
    pub fn group(&mut self, name: &str) {
        let _ = writeln!(self.0, "\n{name}");
    }

    /// A line of a group, with a word in front.
    pub fn line(&mut self, word: &str, text: &str) {
        let _ = writeln!(self.0, "  {word:10}  {text}");
    }

    /// A further line under the same word.
    pub fn more(&mut self, text: &str) {
        self.line("", text);
    }

    /// A table, moved in like the lines of a group.
    pub fn table(&mut self, table: &str) {
        for line in table.lines() {
            let _ = writeln!(self.0, "  {line}");
        }
    }

    /// All of it.
    pub fn text(self) -> String {
        self.0
    }
}
