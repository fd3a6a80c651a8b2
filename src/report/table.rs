//! Tables for the terminal and the log.

use std::fmt;

/// A text table: columns as wide as their widest cell, numbers to the right, words to the left.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headers: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
enum Row {
    Cells(Vec<String>),
    Rule,
}

/// What stands where there is no value.
pub const NO_VALUE: &str = "-";

impl Table {
    pub fn new<S: Into<String>>(headers: impl IntoIterator<Item = S>) -> Self {
        Self { headers: headers.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row; missing cells at its end stay empty.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) -> &mut Self {
        self.rows.push(Row::Cells(cells.into_iter().map(Into::into).collect()));
        self
    }

    /// Adds a line across the table.
    pub fn rule(&mut self) -> &mut Self {
        self.rows.push(Row::Rule);
        self
    }

    /// A percentage with two decimals, or a dash.
    pub fn percent(value: Option<f64>) -> String {
        value.map_or_else(|| NO_VALUE.to_owned(), |value| format!("{value:.2}"))
    }

    /// The same in Markdown; lines across the table are left out.
    pub fn markdown(&self) -> String {
        let columns = self.cells().map(Vec::len).max().unwrap_or(0).max(self.headers.len());
        let aligned =
            |column: usize| self.cells().all(|cells| cells.get(column).is_none_or(|cell| is_number(cell)));
        let rule = (0..columns).map(|column| if aligned(column) { "---:" } else { "---" }.to_owned());
        let mut text = String::new();
        for cells in [self.headers.clone(), rule.collect()].iter().chain(self.cells()) {
            let cell = |i: usize| cells.get(i).map_or(String::new(), |cell| cell.replace('|', "\\|"));
            text += &format!("| {} |\n", (0..columns).map(cell).collect::<Vec<_>>().join(" | "));
        }
        text
    }

    fn cells(&self) -> impl Iterator<Item = &Vec<String>> {
        self.rows.iter().filter_map(|row| match row {
            Row::Cells(cells) => Some(cells),
            Row::Rule => None,
        })
    }
}

fn is_number(cell: &str) -> bool {
    cell.is_empty()
        || cell == NO_VALUE
        || cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+')
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.cells().map(Vec::len).max().unwrap_or(0).max(self.headers.len());
        let mut widths = vec![0; columns];
        let mut numeric = vec![true; columns];
        for cells in std::iter::once(&self.headers).chain(self.cells()) {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for cells in self.cells() {
            for (numeric, cell) in numeric.iter_mut().zip(cells) {
                *numeric &= is_number(cell);
            }
        }
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            let mut text = String::new();
            for (i, cell) in cells.iter().enumerate() {
                let gap = " ".repeat(widths[i] - cell.chars().count());
                text += if i > 0 { "  " } else { "" };
                text += &if numeric[i] { gap + cell } else { format!("{cell}{gap}") };
            }
            writeln!(f, "{}", text.trim_end())
        };
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1));
        line(f, &self.headers)?;
        writeln!(f, "{rule}")?;
        for row in &self.rows {
            match row {
                Row::Cells(cells) => line(f, cells)?,
                Row::Rule => writeln!(f, "{rule}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut table = Table::new(["split", "mIoU"]);
        table.row(["val".to_owned(), Table::percent(Some(7.0))]);
        table.rule();
        table.row(["testA".to_owned(), Table::percent(None)]);
        let expected = "split  mIoU\n-----------\nval    7.00\n-----------\ntestA     -\n";
        assert_eq!(table.to_string(), expected);
        let expected = "| split | mIoU |\n| --- | ---: |\n| val | 7.00 |\n| testA | - |\n";
        assert_eq!(table.markdown(), expected);
    }
}
