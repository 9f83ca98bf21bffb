//! Whether output that the README shows is the output of today.

/// Columns with values that depend on the time. Both outputs must have ages there.
const OF_THE_MOMENT: [&str; 3] = ["MAX LAG", "AGE", "LAST SYNC"];

/// Compares what is shown with what was printed: a table by its header and its stable values, other text by its lines, in any
/// order, since conditions have none.
pub(crate) fn compare(command: &str, shown: &str, printed: &str) -> Result<(), String> {
    let differ = |what: String| Err(format!("README: `{command}` {what}\nshown:\n{shown}\nprinted:\n{printed}"));
    let (Some(header), Some(printed_header)) = (shown.lines().next(), printed.lines().next()) else {
        return differ("shows or prints nothing".into());
    };
    if !is_header(header) {
        return if sorted(shown) == sorted(printed) { Ok(()) } else { differ("prints something else".into()) };
    }
    let (columns, printed_columns) = (columns(header), columns(printed_header));
    let names = |columns: &[(usize, String)]| columns.iter().map(|it| it.1.clone()).collect::<Vec<_>>();
    if names(&columns) != names(&printed_columns) {
        return differ(format!("has the columns {:?}", names(&printed_columns)));
    }
    if shown.lines().count() != printed.lines().count() {
        return differ(format!("has {} rows", printed.lines().count() - 1));
    }
    for (row, printed_row) in shown.lines().zip(printed.lines()).skip(1) {
        for (index, (_, name)) in columns.iter().enumerate() {
            let (cell, printed_cell) = (cell(row, &columns, index), cell(printed_row, &printed_columns, index));
            let same = match OF_THE_MOMENT.contains(&name.as_str()) {
                true => is_age(cell) && is_age(printed_cell),
                false => cell == printed_cell,
            };
            if !same {
                return differ(format!("has {printed_cell:?} as {name}, not {cell:?}"));
            }
        }
    }
    Ok(())
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

fn is_header(line: &str) -> bool {
    line.contains("   ") && line.chars().all(|c| c.is_ascii_uppercase() || " -".contains(c))
}

/// Where each column begins, and its name. kubectl leaves three blanks between columns.
fn columns(header: &str) -> Vec<(usize, String)> {
    let names = header.split("   ").map(str::trim).filter(|name| !name.is_empty());
    let mut from = 0;
    names
        .map(|name| {
            let at = from + header[from..].find(name).expect("it is in the header");
            from = at + name.len();
            (at, name.to_owned())
        })
        .collect()
}

fn cell<'a>(row: &'a str, columns: &[(usize, String)], index: usize) -> &'a str {
    let end = columns.get(index + 1).map_or(row.len(), |next| next.0.min(row.len()));
    row.get(columns[index].0..end).unwrap_or_default().trim()
}

/// An age as kubectl and the status have it, such as `0s`, `5m10s` or `2d`.
fn is_age(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| "smhdy".contains(c))
        && text.chars().all(|c| c.is_ascii_digit() || "smhdy".contains(c))
}

#[test]
fn output_that_differs_is_found() {
    let shown = "NAME     READY   AGE\norders   True    24s\n";
    assert_eq!(compare("get", shown, "NAME     READY   AGE\norders   True    1m2s\n"), Ok(()));
    for printed in [
        "",
        "NAME     PROTECTED   AGE\norders   True        24s\n",
        "NAME     READY   AGE\norders   False   24s\n",
        "NAME     READY   AGE\norders   True    <unknown>\n",
        "NAME     READY   AGE\norders   True    24s\npayments   True    24s\n",
    ] {
        assert!(compare("get", shown, printed).is_err(), "{printed}");
    }
    assert!(compare("get", "Ready=True\n", "Ready=False\n").is_err());
}
