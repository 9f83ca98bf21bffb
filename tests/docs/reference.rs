//! Writes the reference of metrics into docs/metrics.md, between its two marks.

use std::path::Path;

use anyhow::Context;
use disaster_recovery_operator::telemetry::metrics::reference;

/// What stands around the reference.
const MARKS: [&str; 2] =
    ["<!-- Written by make docs, from src/telemetry. -->\n", "<!-- The end of what make docs writes. -->\n"];

fn main() -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let marked = page.split_once(MARKS[0]).and_then(|(head, rest)| Some((head, rest.split_once(MARKS[1])?.1)));
    let (head, tail) = marked.context("docs/metrics.md has no marks")?;
    let [begin, end] = MARKS;
    std::fs::write(&path, format!("{head}{begin}{}{end}{tail}", reference())).context("writing docs/metrics.md")
}
