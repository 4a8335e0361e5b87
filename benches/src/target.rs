//! What a benchmark is to reach: said in a line that `cargo xtask bench` looks for, which fails when one is missed.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

/// Says whether a figure is at most what is wanted.
pub fn at_most(what: &str, figure: f64, target: f64) {
    println!("{}", verdict(what, figure, "at most", target, figure <= target));
}

/// Says whether a figure is at least what is wanted.
pub fn at_least(what: &str, figure: f64, target: f64) {
    println!("{}", verdict(what, figure, "at least", target, figure >= target));
}

fn verdict(what: &str, figure: f64, bound: &str, target: f64, is_reached: bool) -> String {
    let word = if is_reached { "reached" } else { "missed" };
    format!("  target {word}: {what}: {figure:.2}, {bound} {target:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_to_be_and_what_is() {
        let line = verdict("pipes", 0.774, "at most", 0.7, false);
        assert_eq!(line, "  target missed: pipes: 0.77, at most 0.70");
        assert!(verdict("codec", 940.0, "at least", 400.0, true).starts_with("  target reached: codec"));
    }
}
