//! The chores and their options: one list, for the help and for what is accepted.

use std::fmt::Write;

use anyhow::{Context, Result, bail};

/// What can be asked for.
pub(crate) struct Chore {
    pub(crate) name: &'static str,
    /// What may be named after it, as the help has it; empty if nothing may.
    names: &'static str,
    what: &'static str,
    /// `--flag` or `--option=N`, and what it does.
    options: &'static [(&'static str, &'static str)],
}

const RELEASE: (&str, &str) =
    ("--release", "for long runs: longer to build, a tenth of the processor to run");

pub(crate) const ALL: [Chore; 16] = [
    Chore {
        name: "codegen",
        names: "",
        what: "write crates/xenapi-types/src/generated from xtask/datamodel",
        options: &[("--check", "only look whether it is current")],
    },
    Chore {
        name: "tidy",
        names: "",
        what: "check arrows between crates, forbidden modules, lengths, lints, closed types, first pages",
        options: &[],
    },
    Chore {
        name: "dist-plugins",
        names: "",
        what: "build the dom0 plugins and target/dist/xapi-plugins-VERSION.tar.gz, checked for old hosts",
        options: &[],
    },
    Chore {
        name: "ci",
        names: "",
        what: "run the steps of .ci/run, the tests among them, that need nothing but Rust and readelf",
        options: &[("--list", "only name them")],
    },
    Chore {
        name: "bench",
        names: "[NAME...]",
        what: "run the benchmarks beside their peers, which it installs, and keep what they print; it fails where a target is missed",
        options: &[
            ("--plots", "draw docs/plots anew"),
            ("--no-install", "leave out peers that are not there"),
            ("--report", "a target that is missed is told, and is no failure"),
        ],
    },
    Chore {
        name: "advisories",
        names: "",
        what: "look whether a dependency has a known vulnerability",
        options: &[("--required", "fail where nobody can tell")],
    },
    Chore {
        name: "features",
        names: "",
        what: "check each published crate alone: without features, with each, and with all",
        options: &[],
    },
    Chore {
        name: "minimal-versions",
        names: "",
        what: "check the published crates with the oldest dependencies that they allow",
        options: &[],
    },
    Chore {
        name: "msrv",
        names: "",
        what: "check that all but the tests builds with the oldest Rust that Cargo.toml promises, if that is installed",
        options: &[],
    },
    Chore {
        name: "recording",
        names: "",
        what: "draw docs/spawn.svg from a real run of the README's command",
        options: &[],
    },
    Chore {
        name: "faults",
        names: "[VERB...]",
        what: "try every fault at every call of the driver's verbs, and print the table",
        options: &[
            ("--every=N", "only each Nth case"),
            ("--first=N", "begin with case N"),
            ("--jobs=N", "so many at a time: 16"),
            ("--faults=NAME,NAME", "only these faults"),
            RELEASE,
        ],
    },
    Chore {
        name: "kills",
        names: "[VERB...]",
        what: "kill a program at the steps of a verb, reconcile, and print the table",
        options: &[
            ("--count=N", "so many kills, at steps drawn by chance: 1000"),
            ("--steps", "each step once, instead"),
            ("--seed=N", "draw as another run did, which has printed it"),
            ("--only=CASE", "one case of such a run"),
            ("--jobs=N", "so many at a time: 4"),
            RELEASE,
        ],
    },
    Chore {
        name: "rivals",
        names: "",
        what: "have several programs do random verbs to the same instances",
        options: &[
            ("--minutes=N", "for so long: 2"),
            ("--seed=N", "draw as another run did, which has printed it"),
            ("--programs=N", "so many: 3"),
            ("--tasks=N", "of each program: 2"),
            ("--calm", "only the verbs without a journal"),
            RELEASE,
        ],
    },
    Chore {
        name: "releases",
        names: "[NAME...]",
        what: "run the tests of the driver at servers of old releases, or these: xcp-ng-8.2",
        options: &[],
    },
    Chore {
        name: "load",
        names: "",
        what: "spawn many at once, list and follow a large pool; the figures",
        options: &[
            ("--spawns=N", "at once: 200"),
            ("--hosts=N", "of the pool: 16"),
            ("--latency-ms=N", "of each call: 20"),
            ("--instances=N", "listed and followed: 1000"),
            RELEASE,
        ],
    },
    Chore {
        name: "fuzz",
        names: "[TARGET...]",
        what: "give every parser what fuzzing thinks of, and print the table",
        options: &[
            ("--minutes=N", "for each target: 1"),
            ("--seconds=N", "the same in seconds"),
            ("--timeout=N", "seconds that one input may take: 10; more on a busy machine"),
            ("--jobs=N", "so many targets at a time: 1"),
            ("--seed=N", "think of the same each time; 0 draws anew"),
            ("--minimise", "then make fuzz/corpora anew, of what was found and of fuzz/seed.sh"),
        ],
    },
];

/// What `cargo xtask --help` says.
pub(crate) fn help() -> String {
    let chores: String = ALL.iter().map(Chore::help).collect();
    format!("usage: cargo xtask COMMAND\n\n{chores}")
}

/// Looks whether there is this chore, and whether it knows the options and may be given names.
///
/// The help of one chore is `Some`, if that is what is asked for.
pub(crate) fn check(name: &str, arguments: &[&str]) -> Result<Option<String>> {
    let names = || ALL.map(|chore| chore.name).join(", ");
    let chore = ALL.iter().find(|chore| chore.name == name);
    let chore = chore.with_context(|| format!("there is no chore {name}; there are {}", names()))?;
    if arguments.contains(&"--help") {
        return Ok(Some(chore.help()));
    }
    for argument in arguments {
        let is_known = match argument.starts_with('-') {
            true => chore.options.iter().any(|(option, _)| is(option, argument)),
            false => !chore.names.is_empty(),
        };
        if !is_known {
            bail!("{name} does not know {argument}\n{}", chore.help());
        }
    }
    Ok(None)
}

/// Whether an argument is an option: `--seed=7` is `--seed=N`.
fn is(option: &str, argument: &str) -> bool {
    match option.split_once('=') {
        Some((name, _)) => {
            argument.split_once('=').is_some_and(|(given, value)| given == name && !value.is_empty())
        }
        None => argument == option,
    }
}

impl Chore {
    fn help(&self) -> String {
        let mut text = format!("  {:27} {}\n", format!("{} {}", self.name, self.names), self.what);
        for (option, what) in self.options {
            // Writing into a string does not fail.
            let _ = writeln!(text, "      {option:23} {what}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The options that a program reads from its arguments, as its source has them: `Some(("--seed", n))`, or
    /// `== "--steps"`.
    fn read_by(source: &str) -> BTreeSet<String> {
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        let after = |start: &'static str| code.split(start).skip(1).filter_map(|rest| rest.split('"').next());
        let values = after("Some((\"--").map(|name| format!("--{name}="));
        values.chain(after("argument == \"--").map(|name| format!("--{name}"))).collect()
    }

    /// The programs of the long trials, and the one here that reads options with values, know what the help
    /// has, and nothing else.
    #[test]
    fn the_help_has_what_the_programs_read() {
        for name in ["faults", "kills", "rivals", "load", "fuzz"] {
            let source = match name {
                "fuzz" => "xtask/src/fuzz.rs".to_owned(),
                _ => format!("e2e/src/bin/{name}.rs"),
            };
            let read = read_by(&std::fs::read_to_string(crate::root().join(source)).expect("the source"));
            let chore = ALL.iter().find(|chore| chore.name == name).expect("a chore");
            // `--release` is cargo's.
            let told = chore.options.iter().filter(|option| **option != RELEASE);
            let name_of = |option: &str| match option.split_once('=') {
                Some((name, _)) => format!("{name}="),
                None => option.to_owned(),
            };
            assert_eq!(told.map(|(option, _)| name_of(option)).collect::<BTreeSet<_>>(), read, "{name}");
        }
    }

    /// What the list lets through is what the chores here look for.
    #[test]
    fn every_flag_is_looked_for() {
        let source = |name: &str| {
            std::fs::read_to_string(crate::root().join("xtask/src").join(name)).expect("a source")
        };
        let of_main = source("main.rs");
        for chore in &ALL {
            assert!(of_main.contains(&format!("[\"{}\"", chore.name)), "{} does nothing", chore.name);
        }
        for (name, file) in [
            ("codegen", "main.rs"),
            ("ci", "main.rs"),
            ("bench", "bench.rs"),
            ("advisories", "advisories.rs"),
        ] {
            let chore = ALL.iter().find(|chore| chore.name == name).expect("a chore");
            assert!(!chore.options.is_empty(), "{name}");
            for (option, _) in chore.options {
                assert!(source(file).contains(&format!("\"{option}\"")), "{name} {option}");
            }
        }
    }

    #[test]
    fn what_is_not_in_the_help_is_refused() {
        for (name, arguments) in [
            ("kills", &["--only=3", "spawn"][..]),
            ("bench", &["--report", "disk"]),
            ("load", &["--release", "--spawns=5"]),
            ("tidy", &[]),
        ] {
            assert!(matches!(check(name, arguments), Ok(None)), "{name} {arguments:?}");
        }
        for (name, arguments) in [
            ("kill", &[][..]),
            ("kills", &["--only"]),
            ("kills", &["--only="]),
            ("bench", &["--seed=1"]),
            ("load", &["spawn"]),
            ("tidy", &["--fix"]),
        ] {
            assert!(check(name, arguments).is_err(), "{name} {arguments:?}");
        }
        let asked = check("faults", &["--help", "--nonsense"]).expect("it is known").expect("a help");
        assert!(asked.contains("--every=N") && !asked.contains("--minimise"), "{asked}");
        assert!(ALL.iter().all(|chore| help().contains(&chore.help())));
    }
}
