//! What tools print that speak of several things: a table for people, JSON for programs.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};

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

    /// Prints it to standard output: one object for each row and line with `as_json`.
    ///
    /// # Errors
    ///
    /// When standard output is closed.
    pub fn print(&self, as_json: bool) -> Result<()> {
        let mut out = std::io::stdout();
        if as_json {
            for row in &self.0 {
                writeln!(out, "{}", json!(row))?;
            }
            return Ok(());
        }
        let Some(first) = self.0.first() else { return Ok(()) };
        let names: Vec<String> = first.keys().cloned().collect();
        let body = self.0.iter().map(|row| row.values().map(text).collect::<Vec<_>>());
        let lines: Vec<Vec<String>> = std::iter::once(names).chain(body).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..first.len()).map(width).collect();
        for line in &lines {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
