//! `docs/parity.md` says what has become of each feature of the old driver: it must be complete, and the tests
//! that it names must be there. So it is with `docs/defects.md` and the old driver's defects, and with
//! `docs/ideas.md`.

#![expect(clippy::print_stdout, reason = "the sums are for whoever runs this with --nocapture")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// How many features the old driver had.
const FEATURES: usize = 137;
/// How many defects were found in it.
const DEFECTS: usize = 48;
/// How many ideas of doing better were noted.
const IDEAS: usize = 16;

struct Row {
    number: usize,
    feature: String,
    state: String,
    /// Files and functions.
    tests: Vec<(String, String)>,
    remark: String,
}

fn read(text: &str) -> Result<Vec<Row>> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, feature, state, tests, remark] = cells[..] else { anyhow::bail!("{line}") };
        let tests = tests.split(", ").filter(|name| !name.is_empty()).map(|name| {
            let plain = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
            let parts = plain.and_then(|name| name.split_once("::"));
            let (file, function) = parts.with_context(|| format!("no test: {name}"))?;
            Ok((file.to_owned(), function.to_owned()))
        });
        Ok(Row {
            number: number.parse().with_context(|| line.to_owned())?,
            feature: feature.to_owned(),
            state: state.to_owned(),
            tests: tests.collect::<Result<_>>()?,
            remark: remark.to_owned(),
        })
    })
    .collect()
}

/// What is wrong with the table, one line for each row.
fn faults(rows: &[Row], count: usize, root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for (expected, row) in (1..).zip(rows) {
        let mut fault = |what: &str| faults.push(format!("{} {}: {what}", row.number, row.feature));
        if row.number != expected {
            fault(&format!("it should be number {expected}"));
        }
        match (&*row.state, row.tests.is_empty()) {
            ("works" | "better" | "avoided" | "in part", true) => fault("it names no test"),
            ("not yet" | "not here" | "open", false) => fault("a test shows what is not there"),
            ("works" | "better" | "avoided" | "in part" | "not yet" | "not here" | "open", _) => {}
            _ => fault("its state is none"),
        }
        if matches!(&*row.state, "better" | "in part" | "not here" | "avoided" | "open")
            && row.remark.is_empty()
        {
            fault("it does not say how, or why");
        }
        for (file, function) in &row.tests {
            let source = fs::read_to_string(root.join(file)).unwrap_or_default();
            if !is_test(&source, function) {
                fault(&format!("there is no test {function} in {file}"));
            }
        }
    }
    if rows.len() != count {
        faults.push(format!("{} rows instead of {count}", rows.len()));
    }
    faults
}

/// How many rows are in each state. It is not written in the file: whoever changes a row would have to change the
/// same line.
fn sums(rows: &[Row]) -> BTreeMap<&str, usize> {
    let mut sums = BTreeMap::new();
    rows.iter().for_each(|row| *sums.entry(&*row.state).or_default() += 1);
    sums
}

/// Whether a source has a function of this name under a test attribute.
fn is_test(source: &str, function: &str) -> bool {
    let mut lines = source.lines().map(str::trim);
    let mut attributed = false;
    lines.any(|line| {
        let name =
            line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        match name {
            Some(name) => std::mem::take(&mut attributed) && name == function,
            None => {
                attributed |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                false
            }
        }
    })
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn look_through(table: &str, count: usize) -> Result<()> {
    let text = fs::read_to_string(root().join("docs").join(table))?;
    let rows = read(&text)?;
    let faults = faults(&rows, count, root());
    ensure!(faults.is_empty(), "{faults:#?}");
    println!("{:?}", sums(&rows));
    Ok(())
}

#[test]
fn every_feature_has_its_row_and_every_row_its_test() -> Result<()> {
    look_through("parity.md", FEATURES)
}

#[test]
fn every_defect_has_its_row_and_every_row_its_test() -> Result<()> {
    look_through("defects.md", DEFECTS)
}

#[test]
fn every_idea_has_its_row_and_every_row_its_test() -> Result<()> {
    look_through("ideas.md", IDEAS)
}

/// The tests that `docs/security.md` names anywhere are there.
#[test]
fn what_stands_against_attacks_is_tried() -> Result<()> {
    let text = fs::read_to_string(root().join("docs/security.md"))?;
    let named: Vec<_> = text.split('`').filter_map(|word| word.split_once(".rs::")).collect();
    ensure!(named.len() > 40, "{}", named.len());
    for (file, function) in named {
        let source = fs::read_to_string(root().join(format!("{file}.rs"))).unwrap_or_default();
        ensure!(is_test(&source, function), "there is no test {function} in {file}.rs");
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_noticed() -> Result<()> {
    let test = "`e2e/tests/parity.rs::what_is_wrong_is_noticed`";
    let good = format!("| 1 | a | works | {test} | |\n");
    let wrong = [
        "| 2 | b | works | | |".to_owned(),
        format!("| 3 | c | not yet | {test} | |"),
        format!("| 5 | d | better | {test} | |"),
        format!("| 5 | e | works | {test}, `e2e/tests/parity.rs::no_such_test` | |"),
        "| 6 | f | works | `e2e/tests/parity.rs::read` | |".to_owned(),
        "| 7 | g | perhaps | | |".to_owned(),
    ];
    let faults = faults(&read(&(good + &wrong.join("\n")))?, FEATURES, root());
    // Number 5 is wrong twice, and there are too few.
    assert_eq!(faults.len(), wrong.len() + 2, "{faults:#?}");
    Ok(())
}

/// An option that nobody reads says so to who sets it.
#[test]
fn every_option_is_read_or_says_that_it_has_no_effect() -> Result<()> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut sources = String::new();
    for folder in ["crates/xenapi-driver/src", "examples"] {
        add(&root.join(folder), &mut sources)?;
    }
    let readers = ["get", "flag", "text", "is_set", "seconds", "number"];
    for option in xenapi_config::OPTIONS {
        let read = readers.iter().any(|reader| sources.contains(&format!("{reader}(\"{}\"", option.name)));
        ensure!(read != option.note.is_some(), "{}: read: {read}, its note: {:?}", option.name, option.note);
    }
    Ok(())
}

/// The text of all sources in a folder that are no tests.
fn add(folder: &Path, to: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("tests") {
            add(&path, to)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path)?;
            to.push_str(text.split("#[cfg(test)]").next().unwrap_or_default());
        }
    }
    Ok(())
}
