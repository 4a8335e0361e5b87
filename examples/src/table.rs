//! What tools print that speak of several things: a table for people, JSON for programs.

use serde_json::{Map, Value, json};

use crate::report::Said;

/// Rows with the same columns.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Map<String, Value>>,
    /// What programs read instead, row by row.
    programs: Vec<Map<String, Value>>,
    /// What people read instead.
    people: Option<Vec<String>>,
    failed: bool,
}

impl Table {
    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [(&str, Value); N]) {
        let row: Map<_, _> = cells.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        self.programs.push(row.clone());
        self.rows.push(row);
    }

    /// Has programs read these cells of the last row too, or instead of those of the same name.
    pub fn for_programs<const N: usize>(&mut self, cells: [(&str, Value); N]) {
        if let Some(row) = self.programs.last_mut() {
            row.extend(cells.map(|(name, value)| (name.to_owned(), value)));
        }
    }

    /// A table of one row.
    pub fn of<const N: usize>(cells: [(&str, Value); N]) -> Self {
        let mut table = Self::default();
        table.row(cells);
        table
    }

    /// The same for programs; people read these lines.
    pub fn for_people(mut self, lines: Vec<String>) -> Self {
        self.people = Some(lines);
        self
    }

    /// The same; if not all of it was done, the program that prints it ends with 1.
    pub fn failed_if(mut self, failed: bool) -> Self {
        self.failed = failed;
        self
    }

    /// The rows, as programs read them.
    pub fn programs(&self) -> &[Map<String, Value>] {
        &self.programs
    }
}

impl Said for Table {
    fn lines(&self, as_json: bool) -> Vec<String> {
        if as_json {
            return self.programs.iter().map(|row| json!(row).to_string()).collect();
        }
        if let Some(lines) = &self.people {
            return lines.clone();
        }
        let Some(first) = self.rows.first() else { return Vec::new() };
        let names: Vec<String> = first.keys().cloned().collect();
        let body = self.rows.iter().map(|row| row.values().map(text).collect::<Vec<_>>());
        let lines: Vec<Vec<String>> = std::iter::once(names).chain(body).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..first.len()).map(width).collect();
        lines.iter().map(|line| joined(line, &widths)).collect()
    }

    fn failed(&self) -> bool {
        self.failed
    }
}

/// The cells one below the other. The format machinery pads to 65,535 characters at most, and a guest decides how long some
/// cells are.
fn joined(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (number, (cell, width)) in cells.iter().zip(widths).enumerate() {
        line.push_str(cell);
        if number + 1 < cells.len() {
            line.push_str(&" ".repeat(width - cell.chars().count() + 2));
        }
    }
    line.trim_end().to_owned()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_any_length_and_alphabet() {
        let long = "x".repeat(100_000);
        let mut table = Table::default();
        table.row([("name", json!("größer")), ("note", json!(long)), ("state", json!(null))]);
        table.row([("name", json!("b")), ("note", json!("")), ("state", json!("on"))]);
        let lines = table.lines(false);
        assert!(lines[0].starts_with("name    note  "), "{}", &lines[0][..20]);
        assert!(lines[1].starts_with("größer  xxx") && lines[1].ends_with("x  -"));
        assert!(lines[2].starts_with("b  ") && lines[2].ends_with("  on"));
    }

    #[test]
    fn people_may_read_something_else() {
        let mut table = Table::of([("state", json!("Halted (moved)"))]);
        table.for_programs([("state", json!("Halted")), ("moved", json!(true))]);
        assert_eq!(table.lines(false), ["state", "Halted (moved)"]);
        assert_eq!(table.lines(true), [r#"{"moved":true,"state":"Halted"}"#]);
        let table = Table::of([("log", json!("a\nb"))]).for_people(vec!["a\nb".to_owned()]);
        assert_eq!(table.lines(false), ["a\nb"]);
        assert_eq!(table.lines(true), [r#"{"log":"a\nb"}"#]);
    }
}
