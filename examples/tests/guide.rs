//! README.md, the guide and the other pages: links, the book's contents, error codes and the recording. Their commands are
//! run by `pages.rs`.

mod bench;
mod written;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bench::program;
use written::root;

#[test]
fn codes_of_errors_are_xapi_s_own() -> Result<()> {
    let page = std::fs::read_to_string(root().join("docs/guide/troubleshooting.md"))?;
    let known = std::fs::read_to_string(root().join("xtask/datamodel/errors.json"))?;
    let mut checked = 0;
    for code in page.split('`').skip(1).step_by(2) {
        // These end with a number of the storage driver's.
        let code = if code.starts_with("SR_BACKEND_FAILURE_") { "SR_BACKEND_FAILURE" } else { code };
        if code.contains('_')
            && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        {
            ensure!(known.contains(&format!("\"{code}\"")), "{code} is none of XAPI's errors");
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} codes were found");
    Ok(())
}

#[test]
fn no_page_leads_nowhere() -> Result<()> {
    let pages = written::pages()?;
    ensure!(pages.len() > 40, "only {} pages were found", pages.len());
    for page in pages {
        let page = root().join(page);
        let text = std::fs::read_to_string(&page)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            leads_somewhere(&page, link).with_context(|| format!("{}: {link}", page.display()))?;
        }
    }
    Ok(())
}

/// What mdBook reads: a title, then a list whose items are links to chapters. It leaves out a chapter that is
/// not listed, and makes an empty one of a page that is not there.
#[test]
fn the_book_has_every_chapter_once() -> Result<()> {
    let book = root().join("docs/guide");
    let contents = std::fs::read_to_string(book.join("SUMMARY.md"))?;
    let mut lines = contents.lines().filter(|line| !line.is_empty());
    ensure!(lines.next().is_some_and(|title| title.starts_with("# ")), "SUMMARY.md begins with no title");
    let mut chapters = Vec::new();
    for line in lines {
        let item = line.strip_prefix("- [").and_then(|item| item.strip_suffix(')')?.split_once("]("));
        let (_, page) = item.with_context(|| format!("no chapter: {line}"))?;
        chapters.push(page.to_owned());
    }
    chapters.sort();
    let mut there: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&book)? {
        there.push(entry?.file_name().into_string().ok().context("a name in UTF-8")?);
    }
    there.retain(|name| name != "SUMMARY.md");
    there.sort();
    assert_eq!(chapters, there);
    Ok(())
}

/// A link is to a place of a page in the same book, to a file of the repository, or to somewhere else, which
/// is not looked at. A book has its own pages alone, so from there the repository's other files have whole
/// addresses.
fn leads_somewhere(page: &Path, link: &str) -> Result<()> {
    let (target, place) = link.split_once('#').unwrap_or((link, ""));
    let ours = ["blob/main/", "tree/main/"]
        .into_iter()
        .find_map(|kind| target.strip_prefix("https://github.com/xenapi-rs/xenapi-rs/")?.strip_prefix(kind));
    let path = match ours {
        Some(path) => root().join(path),
        None if target.contains("://") => return Ok(()),
        None if target.is_empty() => page.to_owned(),
        None => page.parent().context("a folder")?.join(target),
    };
    ensure!(path.exists(), "there is no {target}");
    let book = root().join("docs/guide").canonicalize()?;
    let from_book = page.canonicalize()?.starts_with(&book);
    ensure!(
        ours.is_some() || !from_book || path.canonicalize()?.starts_with(&book),
        "it leads out of the book"
    );
    ensure!(place.is_empty() || headings(&path)?.contains(&place.to_owned()), "there is no heading {place}");
    Ok(())
}

/// The headings of a page as links name them.
fn headings(page: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(page)?;
    let titles =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let name = |title: &str| -> String {
        let kept = title.to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    Ok(titles.map(name).collect())
}

#[test]
fn links_out_of_the_book_are_refused() {
    let page = root().join("docs/guide/tour.md");
    for link in ["hosts.md", "hosts.md#pools", "https://example.org/x"] {
        leads_somewhere(&page, link).unwrap_or_else(|error| panic!("{link}: {error}"));
    }
    leads_somewhere(&page, "https://github.com/xenapi-rs/xenapi-rs/blob/main/docs/disks.md")
        .expect("a file of ours");
    for link in [
        "../disks.md",
        "nowhere.md",
        "hosts.md#nowhere",
        "https://github.com/xenapi-rs/xenapi-rs/blob/main/x",
    ] {
        assert!(leads_somewhere(&page, link).is_err(), "{link}");
    }
}

/// The picture in README.md shows what the program says today. `cargo xtask recording` draws it anew.
#[test]
fn the_recording_is_of_this_program() -> Result<()> {
    let labels = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.trim().split_once("  ")?.0.to_owned())).collect()
    };
    let output = program("spawn").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let svg = std::fs::read_to_string(root().join("docs/spawn.svg"))?;
    let shown: Vec<&str> = svg.split('<').filter_map(|piece| Some(piece.split_once('>')?.1)).collect();
    let said = labels(&String::from_utf8(output.stdout)?);
    ensure!(said.len() > 5, "{said:?}");
    assert_eq!(labels(&shown.concat()), said, "docs/spawn.svg is old: cargo xtask recording");
    Ok(())
}

/// The options that a help has below a heading.
fn below(help: &str, heading: &str) -> Vec<String> {
    let section = help.split(&format!("\n{heading}:\n")).nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
    let options = lines.filter_map(|line| line.trim_start().strip_prefix("--")?.split([' ', ',']).next());
    options.map(str::to_owned).collect()
}

/// clap puts what comes after a group of options below the group's heading, whosever it is.
#[test]
fn no_option_stands_below_another_s_heading() -> Result<()> {
    let help =
        |name: &str| Ok::<_, anyhow::Error>(String::from_utf8(program(name).arg("--help").output()?.stdout)?);
    let manifest = std::fs::read_to_string(root().join("examples/Cargo.toml"))?;
    let names = manifest.split("[[example]]\nname = \"").skip(1).filter_map(|rest| rest.split('"').next());
    let all = help("spawn")?;
    for name in names {
        let help = help(name)?;
        for heading in ["Host", "Options of Nova"] {
            let (own, shared) = (below(&help, heading), below(&all, heading));
            ensure!(shared.len() > 2, "{shared:?}");
            ensure!(own.is_empty() || own == shared, "{name}: {own:?}");
        }
    }
    Ok(())
}

/// `--help` of every subcommand says what each of its arguments is, but for those that are a `NAME` alone.
#[test]
fn every_argument_says_what_it_is() -> Result<()> {
    let help = |words: &[&str]| {
        Ok::<_, anyhow::Error>(String::from_utf8(
            program(words[0]).args(&words[1..]).arg("-h").output()?.stdout,
        )?)
    };
    let section = |help: &str, heading: &str| -> Vec<String> {
        let section = help.split(&format!("\n{heading}:\n")).nth(1).unwrap_or_default();
        section.lines().take_while(|line| !line.is_empty()).map(|line| line.trim().to_owned()).collect()
    };
    let mut seen = 0;
    for name in ["instances", "volumes", "networks", "pool", "images", "plugins", "disk"] {
        for line in section(&help(&[name])?, "Commands") {
            let command = line.split_whitespace().next().unwrap_or_default();
            let arguments = section(&help(&[name, command])?, "Arguments");
            seen += arguments.len();
            let silent = arguments.iter().find(|argument| argument.ends_with('>') && *argument != "<NAME>");
            ensure!(silent.is_none(), "{name} {command}: {silent:?}");
        }
    }
    ensure!(seen > 40, "only {seen} arguments were seen");
    Ok(())
}

/// The rows of the tables of a page: the names in the first cell, and the commands in the second.
fn verbs(page: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    rows.map(|(verbs, commands)| (names(verbs), names(commands))).filter(|row| !row.0.is_empty()).collect()
}

/// The methods of what `start` begins in a text of Rust, up to its end.
fn methods(text: &str, start: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in text.split(start).skip(1) {
        let block = block.split("\n}\n").next().unwrap_or_default();
        let names = block.lines().filter_map(|line| {
            let line = line.strip_prefix("    ")?;
            let line = line.strip_prefix("pub ").unwrap_or(line);
            let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
            Some(name.split(['(', '<']).next()?.to_owned())
        });
        found.extend(names);
    }
    found
}

/// The public methods of `Driver`, wherever they are.
fn of_the_driver(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(of_the_driver(&path)?);
        } else {
            let text = std::fs::read_to_string(&path)?;
            let public = text
                .lines()
                .filter(|line| !line.starts_with("    fn ") && !line.starts_with("    async fn "));
            found.extend(methods(&public.collect::<Vec<_>>().join("\n"), "\nimpl Driver {"));
        }
    }
    Ok(found)
}

/// Every verb is called by some program, and what the table says is what the programs know.
#[test]
fn each_verb_has_its_program() -> Result<()> {
    let page = std::fs::read_to_string(root().join("docs/guide/verbs.md"))?;
    let source = root().join("crates/xenapi-driver/src");
    let (first, second) = page.split_once("What `Driver` has besides").context("two tables")?;
    let table: Vec<String> = verbs(first).into_iter().flat_map(|(verbs, _)| verbs).collect();
    let of_trait = methods(&std::fs::read_to_string(source.join("compute.rs"))?, "\npub trait ComputeDriver");
    assert_eq!(table, of_trait, "each verb has its row, in the same order");

    let besides: Vec<String> = verbs(second).into_iter().flat_map(|(verbs, _)| verbs).collect();
    let plumbing = second.lines().rfind(|line| line.starts_with('`')).context("a last sentence")?;
    let known = |name: &String| {
        table.contains(name) || besides.contains(name) || plumbing.contains(&format!("`{name}`"))
    };
    let all = of_the_driver(&source)?;
    let missing: Vec<_> = all.iter().filter(|name| !known(name)).collect();
    assert!(all.len() > 50 && missing.is_empty(), "of Driver's, the page has not {missing:?}");
    let unknown: Vec<_> = besides.iter().filter(|name| !all.contains(name)).collect();
    assert!(unknown.is_empty(), "Driver has none of {unknown:?}");

    for command in verbs(&page).into_iter().flat_map(|(_, commands)| commands) {
        let (options, words): (Vec<&str>, Vec<&str>) =
            command.split_whitespace().partition(|word| word.starts_with("--"));
        let output = program(words[0]).args(&words[1..]).arg("--help").output()?;
        let help = String::from_utf8(output.stdout)?;
        let usage = format!("Usage: {}", words.join(" "));
        ensure!(output.status.success() && help.contains(&usage), "{command}: {help}");
        for option in options {
            ensure!(help.split_whitespace().any(|word| word == option), "{command}: no {option} in {help}");
        }
    }
    Ok(())
}
