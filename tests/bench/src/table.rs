//! Tables in Markdown whose columns line up on a terminal too, and numbers as people read them.

/// A table that grows by rows.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. The first holds words, the others numbers.
    pub(crate) fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![columns.into_iter().map(Into::into).collect()] }
    }

    pub(crate) fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The whole, with a line end behind each row.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let cell = |row: &[String], at: usize| row.get(at).cloned().unwrap_or_default();
        let width = |at| self.rows.iter().map(|row| cell(row, at).chars().count()).max().unwrap_or(0).max(3);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (at, width) in widths.iter().enumerate() {
                let cell = cell(row, at);
                let gap = " ".repeat(width - cell.chars().count());
                out.push_str(&if at == 0 { format!("| {cell}{gap} ") } else { format!("| {gap}{cell} ") });
            }
            out.push_str("|\n");
            if number == 0 {
                for (at, width) in widths.iter().enumerate() {
                    out.push_str(&if at == 0 {
                        format!("| {} ", "-".repeat(*width))
                    } else {
                        format!("| {}: ", "-".repeat(width - 1))
                    });
                }
                out.push_str("|\n");
            }
        }
        out
    }
}

/// A number with as many digits as say something, thousands apart by commas.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, fraction)| (whole, Some(fraction)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or(grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

/// A part as percent.
pub(crate) fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

/// The least, the one in the middle, the greatest; none of nothing.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64, f64)> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    Some((*values.first()?, *values.get(values.len() / 2)?, *values.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_short() {
        assert_eq!(number(1_234_567.4), "1,234,567");
        assert_eq!(number(999.0), "999");
        assert_eq!(number(3.0), "3");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(1.234), "1.23");
        assert_eq!(number(0.1234), "0.123");
        assert_eq!(percent(0.456), "46 %");
    }

    #[test]
    fn a_table_lines_up() {
        let mut table = Table::new(["row", "msg/s"]);
        table.push(vec!["a long one".to_owned(), "7".to_owned()]);
        assert_eq!(table.text(), "| row        | msg/s |\n| ---------- | ----: |\n| a long one |     7 |\n");
    }

    #[test]
    fn the_middle_of_three_is_the_median() {
        assert_eq!(spread([3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(spread([]), None);
    }
}
