//! A table of cases, which prints as a whole when a cell is wrong.

use std::fmt::{Debug, Display, Write};

/// The cells of a table with what a test found in them.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

struct Row {
    case: String,
    expected: String,
    found: String,
    right: bool,
}

impl Table {
    /// Adds a cell.
    pub fn cell<E: Debug + PartialEq<F> + ?Sized, F: Debug + ?Sized>(
        &mut self,
        case: impl Display,
        expected: &E,
        found: &F,
    ) {
        let right = expected == found;
        let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
        self.rows.push(Row { case: case.to_string(), expected, found, right });
    }

    /// Fails with the whole table if a cell is wrong, or if there is none.
    #[track_caller]
    pub fn check(&self) {
        let right = self.rows.iter().all(|row| row.right);
        assert!(right && !self.rows.is_empty(), "{}", self.text());
    }

    /// The table in columns; wrong cells are marked.
    fn text(&self) -> String {
        let width = |text: fn(&Row) -> &str| self.rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
        let (case, expected) = (width(|row| &row.case).max(4), width(|row| &row.expected).max(8));
        let mut text = format!("\n  {:case$} | {:expected$} | found\n", "case", "expected");
        for row in &self.rows {
            let mark = if row.right { ' ' } else { '>' };
            let found = if row.right { "=" } else { &row.found };
            writeln!(text, "{mark} {:case$} | {:expected$} | {found}", row.case, row.expected).expect("text");
        }
        text
    }
}
