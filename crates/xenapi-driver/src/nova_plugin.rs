//! How Nova's plugins take their arguments: `{"args": [], "kwargs": {…}}`, as Python's `pickle` writes it (protocol 0).

use std::collections::BTreeMap;

/// An argument.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arg<'a> {
    Text(&'a str),
    Number(usize),
    Texts(&'a [String]),
    Map(&'a [(&'a str, Arg<'a>)]),
}

impl Arg<'_> {
    fn pickled(self) -> String {
        match self {
            Self::Text(value) => text(value),
            Self::Number(number) => format!("I{number}\n"),
            Self::Texts(items) => {
                format!("(l{}", items.iter().map(|item| text(item) + "a").collect::<String>())
            }
            Self::Map(pairs) => dict(pairs.iter().map(|(key, value)| (*key, value.pickled()))),
        }
    }
}

/// What `host.call_plugin` takes for these.
pub(crate) fn params(kwargs: &[(&str, Arg<'_>)]) -> BTreeMap<String, String> {
    let kwargs = dict(kwargs.iter().map(|(name, value)| (*name, value.pickled())));
    let call = dict([("args", "(l".to_owned()), ("kwargs", kwargs)].into_iter());
    BTreeMap::from([("params".to_owned(), call + ".")])
}

fn text(text: &str) -> String {
    format!("S'{}'\n", text.replace('\\', r"\\").replace('\'', r"\'").replace('\n', r"\n"))
}

fn dict<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> String {
    pairs.fold("(d".to_owned(), |dict, (key, value)| dict + &text(key) + &value + "s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_pickled() {
        let map = [("bridge_name", Arg::Text("b"))];
        let text = params(&[("cmd", Arg::Text("brctl_add_br")), ("args", Arg::Map(&map))])["params"].clone();
        let inner = "(dS'cmd'\nS'brctl_add_br'\nsS'args'\n(dS'bridge_name'\nS'b'\nss";
        assert_eq!(text, format!("(dS'args'\n(lsS'kwargs'\n{inner}s."));
        let texts = ["a".to_owned(), "it's".to_owned()];
        let text = params(&[("n", Arg::Number(7)), ("all", Arg::Texts(&texts))])["params"].clone();
        assert!(text.ends_with("(dS'n'\nI7\nsS'all'\n(lS'a'\naS'it\\'s'\nass."), "{text}");
    }
}
