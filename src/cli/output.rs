//! What commands print: aligned text for people, JSON for programs. Decides no content.

use super::Answer;
use serde_json::Value;
use std::io::Write;

/// Standard output in the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether JSON was asked for.
    pub(super) const fn json(self) -> bool {
        self.json
    }

    /// The answer itself as one line of JSON, or the text.
    pub(super) fn answer(self, value: &Value, text: impl AsRef<str>) -> Answer {
        if self.json { self.line(value.to_string()) } else { self.line(text) }
    }

    /// The answer itself as one line of JSON, or a table of these rows under these headings.
    pub(super) fn table(self, value: &Value, headings: &[&str], rows: &[Vec<String>]) -> Answer {
        if self.json { self.line(value.to_string()) } else { self.text(table(headings, rows)) }
    }

    /// One line as it is.
    pub(super) fn line(self, text: impl AsRef<str>) -> Answer {
        self.bytes(text.as_ref().as_bytes(), b"\n")
    }

    /// Text that ends its own lines.
    fn text(self, text: String) -> Answer {
        self.bytes(text.as_bytes(), b"")
    }

    /// Bytes as they are.
    pub(super) fn bytes(self, bytes: &[u8], end: &[u8]) -> Answer {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.write_all(end)?;
        Ok(stdout.flush()?)
    }
}

/// Columns as wide as their widest cell, two blanks between them.
fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([heading.len()]).max().unwrap_or_default()
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut headings.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["longer".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["NAME", "N"], &rows), "NAME    N\na       1\nlonger  22\n");
    }
}
