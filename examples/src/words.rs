//! Values of options that say several things at once: `xenbr0,mac=52:54:00:00:00:01,mtu=9000`.

use std::fmt::Display;
use std::str::FromStr;

/// The words of such a value, each of which is taken once. A comma that belongs to a word is written twice.
#[derive(Debug)]
pub struct Words {
    words: Vec<String>,
    /// What was asked for, to be told to who has misspelt it.
    known: Vec<&'static str>,
}

impl Words {
    /// Those of a text.
    pub fn of(text: &str) -> Self {
        // What no command line has stands for a comma that does not separate.
        let words = text.replace(",,", "\0");
        let words = words.split(',').map(|word| word.replace('\0', ",")).collect();
        Self { words, known: Vec::new() }
    }

    /// The first word, whatever is in it.
    ///
    /// # Errors
    ///
    /// When it is empty, in these words.
    pub fn first(&mut self, what: &str) -> Result<String, String> {
        let first = self.words.remove(0);
        if first.is_empty() { Err(format!("{what} is missing in the first place")) } else { Ok(first) }
    }

    /// All values of a key, in their order.
    ///
    /// # Errors
    ///
    /// For one that is none.
    pub fn all<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Result<Vec<T>, String> {
        self.known.push(key);
        let mut values = Vec::new();
        let mut faults = Vec::new();
        self.words.retain(|word| {
            let Some(value) = word.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')) else {
                return true;
            };
            match value.parse() {
                Ok(value) => values.push(value),
                Err(error) => faults.push(format!("{word}: {error}")),
            }
            false
        });
        if faults.is_empty() { Ok(values) } else { Err(faults.join("; ")) }
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// For one that is none, and when there are several.
    pub fn one<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Result<Option<T>, String> {
        let mut values = self.all(key)?;
        if values.len() > 1 { Err(format!("{key}= is there more than once")) } else { Ok(values.pop()) }
    }

    /// Whether a word is there.
    pub fn flag(&mut self, word: &'static str) -> bool {
        self.known.push(word);
        let before = self.words.len();
        self.words.retain(|other| other != word);
        self.words.len() < before
    }

    /// Sees that no word is left over.
    ///
    /// # Errors
    ///
    /// With the words that there are.
    pub fn end(self) -> Result<(), String> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(format!("{word:?} is not understood: use {}", self.known.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken() -> Result<(), String> {
        let mut words = Words::of("a,, b=c,n=7,tag=x,tag=y=z,quick");
        assert_eq!(words.first("a name")?, "a, b=c");
        assert_eq!((words.one::<u32>("n")?, words.one::<u32>("m")?), (Some(7), None));
        assert_eq!(words.all::<String>("tag")?, ["x", "y=z"]);
        assert_eq!((words.flag("quick"), words.flag("slow")), (true, false));
        words.end()
    }

    #[test]
    fn what_is_wrong_is_told() {
        let one = |text: &str| Words::of(text).one::<u32>("n");
        assert_eq!(one("n=x").unwrap_err(), "n=x: invalid digit found in string");
        assert_eq!(one("n=1,n=2").unwrap_err(), "n= is there more than once");
        let mut words = Words::of("n=1,nn=2");
        assert_eq!(words.one::<u32>("n"), Ok(Some(1)));
        assert_eq!(words.end().unwrap_err(), "\"nn=2\" is not understood: use n");
        assert_eq!(
            Words::of(",n=1").first("a network").unwrap_err(),
            "a network is missing in the first place"
        );
    }
}
