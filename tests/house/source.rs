//! What a file imports, read from its text.

/// A file of src/ and what it imports.
#[derive(Debug)]
pub struct Source {
    /// Its path under src/.
    pub file: String,
    /// Its module's path; empty for lib.rs and main.rs.
    pub module: Vec<String>,
    /// Paths it imports, from the crate's root.
    pub imports: Vec<Vec<String>>,
    /// Modules that it declares for tests alone.
    pub test_modules: Vec<Vec<String>>,
}

/// Reads a file.
pub fn read(file: &str, text: &str) -> Source {
    let mut module: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    module.pop_if(|name| name == "mod");
    if module == ["lib"] || module == ["main"] {
        module.clear();
    }
    let mut reading = Reading { tokens: tokens(text), at: 0, module, imports: Vec::new(), test_modules: Vec::new() };
    reading.items();
    let Reading { module, imports, test_modules, .. } = reading;
    Source { file: file.to_owned(), module, imports, test_modules }
}

/// Words and signs of a text, without comments; a literal is one sign.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens: Vec<String> = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let from = i;
        match (at(i), at(i + 1)) {
            ('/', '/') => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
                continue;
            }
            ('/', '*') => {
                i = block_comment_end(&chars, i);
                continue;
            }
            ('"', _) => i = string_end(&chars, i),
            ('\'', '\\') => {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            (':', ':') => i += 2,
            (c, _) if is_word(c) => {
                while is_word(at(i)) {
                    i += 1;
                }
                let word: String = chars[from..i].iter().collect();
                if matches!(word.as_str(), "r" | "br" | "cr") && matches!(at(i), '"' | '#') {
                    i = raw_string_end(&chars, i);
                    tokens.push("\"".to_owned());
                    continue;
                }
            }
            (c, _) => {
                i += 1;
                if c.is_whitespace() {
                    continue;
                }
            }
        }
        tokens.push(if at(from) == '"' { "\"".to_owned() } else { chars[from..i.min(chars.len())].iter().collect() });
    }
    tokens
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let (mut depth, mut i) = (0, from);
    while i < chars.len() {
        match &chars[i..chars.len().min(i + 2)] {
            ['/', '*'] => (depth, i) = (depth + 1, i + 2),
            ['*', '/'] => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The end of a raw string whose hashes, or whose quote, stand at `from`; a raw name (`r#type`)
/// ends with its hash.
fn raw_string_end(chars: &[char], from: usize) -> usize {
    let hashes = chars[from..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + hashes) != Some(&'"') {
        return from + hashes;
    }
    let is_end =
        |i: &usize| chars[*i] == '"' && chars[*i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (from + hashes + 1..chars.len()).find(is_end).map_or(chars.len(), |i| i + 1 + hashes)
}

/// A file half read.
struct Reading {
    tokens: Vec<String>,
    at: usize,
    /// The module at this place.
    module: Vec<String>,
    imports: Vec<Vec<String>>,
    test_modules: Vec<Vec<String>>,
}

impl Reading {
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", String::as_str)
    }

    /// Reads to the end of the file, or of the block that has begun.
    fn items(&mut self) {
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "}" => {
                    self.at += 1;
                    return;
                }
                "{" => {
                    self.at += 1;
                    self.items();
                }
                "#" => self.attribute(),
                "mod" if self.peek(2) == "{" => {
                    let name = self.peek(1).to_owned();
                    self.at += 3;
                    self.module.push(name);
                    self.items();
                    self.module.pop();
                }
                "use" if self.peek(1) != "<" => {
                    self.at += 1;
                    self.tree(&[]);
                }
                "crate" | "super" if self.peek(1) == "::" => self.path(),
                _ => self.at += 1,
            }
        }
    }

    /// Passes over what an attribute keeps for tests alone; what another attribute names is read
    /// like any code.
    fn attribute(&mut self) {
        const FOR_TESTS: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
        if self.tokens[self.at..].iter().take(FOR_TESTS.len()).eq(&FOR_TESTS) {
            self.at += FOR_TESTS.len();
            self.test_item();
        } else {
            self.at += 1;
        }
    }

    /// Passes over a bracket and all in it.
    fn block(&mut self) {
        let mut depth = 0;
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// Passes over an item, a field or a statement.
    fn test_item(&mut self) {
        while self.peek(0) == "#" {
            self.at += 1;
            self.block();
        }
        let is_value = |word: &str| matches!(word, "use" | "const" | "static" | "type" | "let");
        let mut ends_with_block = true;
        let mut is_item = false;
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "mod" if self.peek(2) == ";" => {
                    let name = self.peek(1).to_owned();
                    self.test_modules.push([self.module.as_slice(), &[name]].concat());
                }
                "fn" | "impl" | "struct" | "enum" | "trait" | "mod" => (is_item, ends_with_block) = (true, true),
                word if is_value(word) => (is_item, ends_with_block) = (true, false),
                _ => {}
            }
            match self.peek(0) {
                ";" => {
                    self.at += 1;
                    return;
                }
                // The last field or variant of a block.
                "}" => return,
                "," if !is_item => {
                    self.at += 1;
                    return;
                }
                "{" => {
                    self.block();
                    if ends_with_block {
                        return;
                    }
                }
                "(" | "[" => self.block(),
                _ => self.at += 1,
            }
        }
    }

    /// Reads the tree of a `use` up to what ends it.
    fn tree(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        loop {
            match self.peek(0) {
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(0), "}" | "") {
                        self.tree(&path);
                        self.at += usize::from(self.peek(0) == ",");
                    }
                    self.at += 1;
                    return;
                }
                "::" => self.at += 1,
                "as" => self.at += 2,
                "," | "}" | ";" | "" => break,
                word => {
                    path.push(word.to_owned());
                    self.at += 1;
                }
            }
        }
        self.import(&path);
    }

    /// Reads a path outside a `use`.
    fn path(&mut self) {
        let mut path = vec![self.peek(0).to_owned()];
        self.at += 1;
        while self.peek(0) == "::" && self.peek(1).starts_with(|c: char| c.is_alphabetic() || c == '_') {
            path.push(self.peek(1).to_owned());
            self.at += 2;
        }
        self.import(&path);
    }

    /// Takes note of a path that leads somewhere in the crate.
    fn import(&mut self, path: &[String]) {
        let ups = path.iter().take_while(|word| *word == "super").count();
        let rest = &path[ups..];
        let import = match path.first().map(String::as_str) {
            Some("crate") => path[1..].to_vec(),
            Some("super") => [&self.module[..self.module.len().saturating_sub(ups)], rest].concat(),
            _ => return,
        };
        self.imports.push(import.into_iter().filter(|word| word != "self" && word != "*").collect());
    }
}
