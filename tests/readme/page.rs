//! The blocks and commands of the README.

pub(crate) use test_support::{path, read};

/// The section that a new user follows from its first to its last command.
pub(crate) const FIRST_STEPS: &str = "First steps";

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// The heading of level two above it; empty before the first.
    pub(crate) section: String,
    /// The word behind the fence.
    pub(crate) language: String,
    /// Its text, with the last line break.
    pub(crate) text: String,
}

/// A command that a console block shows, and the output below it.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) command: String,
    pub(crate) output: String,
}

impl Block {
    /// The commands of a block of the language `sh`, one a line, without comments.
    pub(crate) fn commands(&self) -> Vec<String> {
        assert_eq!(self.language, "sh");
        let joined = self.text.replace("\\\n", "");
        let lines = joined.lines().map(|line| line.split_once(" #").map_or(line, |(command, _)| command).trim());
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
    }

    /// The commands of a block of the language `console`.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        assert_eq!(self.language, "console");
        let mut all: Vec<Shown> = Vec::new();
        for line in self.text.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                all.push(Shown { command: command.to_owned(), output: String::new() });
                continue;
            }
            let last = all.last_mut().expect("a console block begins with a command");
            last.output.push_str(line);
            last.output.push('\n');
        }
        all
    }
}

/// All fenced blocks of a page.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let (mut all, mut section) = (Vec::new(), String::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.to_owned();
        }
        if let Some(language) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            all.push(Block { section: section.clone(), language: language.to_owned(), text });
        }
    }
    all
}

/// The commands that the text of a page has between backticks.
pub(crate) fn inline_commands(page: &str) -> Vec<String> {
    let mut fenced = false;
    let mut text = String::new();
    for line in page.lines() {
        fenced ^= line.starts_with("```");
        if !fenced && !line.starts_with("```") {
            text.push_str(line);
            text.push(' ');
        }
    }
    let spans = text.split('`').skip(1).step_by(2);
    let command = |span: &&str| {
        let program = span.split(' ').next().unwrap_or_default();
        span.contains(' ') && ["kubectl", "helm", "make", "cargo"].contains(&program)
    };
    spans.filter(command).map(str::to_owned).collect()
}
