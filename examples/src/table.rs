//! What tools print that speak of several things: a table for people, JSON for programs.

use serde_json::{Map, Value, json};

use crate::report::Said;

/// Rows with the same columns.
#[derive(Debug, Default)]
pub struct Table(Vec<Map<String, Value>>);

impl Table {
    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [(&str, Value); N]) {
        self.0.push(cells.map(|(name, value)| (name.to_owned(), value)).into_iter().collect());
    }

    /// A table of one row.
    pub fn of<const N: usize>(cells: [(&str, Value); N]) -> Self {
        let mut table = Self::default();
        table.row(cells);
        table
    }

    /// The rows.
    pub fn rows(&self) -> &[Map<String, Value>] {
        &self.0
    }
}

impl Said for Table {
    fn lines(&self, as_json: bool) -> Vec<String> {
        if as_json {
            return self.0.iter().map(|row| json!(row).to_string()).collect();
        }
        let Some(first) = self.0.first() else { return Vec::new() };
        let names: Vec<String> = first.keys().cloned().collect();
        let body = self.0.iter().map(|row| row.values().map(text).collect::<Vec<_>>());
        let lines: Vec<Vec<String>> = std::iter::once(names).chain(body).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..first.len()).map(width).collect();
        let joined = |line: &Vec<String>| {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        lines.iter().map(joined).collect()
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
