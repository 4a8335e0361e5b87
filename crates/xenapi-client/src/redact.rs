//! Secrets that a server repeats.

use secret::Secret;
use serde::Serialize;
use xenapi_wire::{Failure, confidential};

use crate::http::page_text;

/// What is not repeated, and what stands in its place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets(Vec<(Secret, &'static str)>);

impl Secrets {
    /// Those among the parameters of a call.
    pub(crate) fn of<P: Serialize + ?Sized>(params: &P) -> Self {
        Self(confidential(params).into_iter().map(|text| (text.into(), "(secret)")).collect())
    }

    pub(crate) fn and(mut self, secret: &Secret, instead: &'static str) -> Self {
        self.0.push((secret.clone(), instead));
        self
    }

    pub(crate) fn and_session(self, reference: &str) -> Self {
        self.and(&Secret::from(reference), "(this session)")
    }

    /// A text without them, in whatever encoding they are repeated.
    pub(crate) fn cut_from(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (secret, instead)| cut(text, secret, instead))
    }

    /// A failure without them.
    pub(crate) fn cut_out(&self, failure: Failure) -> Failure {
        self.0.iter().fold(failure, |failure, (secret, instead)| cut_out(secret, failure, instead))
    }

    /// What an error page says, without them: before it is shortened, which might leave half of one.
    pub(crate) fn page(&self, body: &[u8]) -> String {
        // A secret of any length that begins in what is looked at is seen as a whole.
        let longest = self.0.iter().map(|(secret, _)| secret.expose().len()).max().unwrap_or(0);
        let seen = LOOKED_AT.saturating_add(longest.saturating_mul(LONGEST_FORM)).min(body.len());
        let text = self.cut_from(&String::from_utf8_lossy(&body[..seen]));
        page_text(&text.as_bytes()[..LOOKED_AT.min(text.len())])
    }
}

/// How much of a page is looked at, in bytes.
pub(crate) const LOOKED_AT: usize = 4_096;

/// How many bytes a byte may become: `&quot;` behind `\\`.
const LONGEST_FORM: usize = 8;

/// A failure in which the server repeats the secret, without it.
pub(crate) fn cut_out(secret: &Secret, mut failure: Failure, instead: &str) -> Failure {
    for param in &mut failure.params {
        *param = cut(std::mem::take(param), secret, instead);
    }
    failure
}

fn cut(text: String, secret: &Secret, instead: &str) -> String {
    let secret = secret.expose();
    if secret.is_empty() {
        return text;
    }
    // The longest first: one form may be a part of another.
    forms(secret).iter().rev().fold(text, |text, form| match text.contains(form) {
        true => text.replace(form, instead),
        false => text,
    })
}

/// A text as it may stand in JSON, in XML, and in JSON in XML, the shortest first.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    for json in [json(secret, false), json(secret, true)] {
        forms.extend([json.clone(), xml(&json, "&#34;", "&#39;"), xml(&json, "&quot;", "&apos;")]);
    }
    for (quote, apostrophe) in
        [("\"", "'"), ("&quot;", "'"), ("&quot;", "&apos;"), ("&quot;", "&#39;"), ("&#34;", "&#39;")]
    {
        forms.push(xml(secret, quote, apostrophe));
    }
    forms.sort_by_key(String::len);
    forms.dedup();
    forms
}

fn json(text: &str, escapes_slash: bool) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '/' if escapes_slash => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn xml(text: &str, quote: &str, apostrophe: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', quote).replace('\'', apostrophe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_cut_out_in_every_form() {
        let password = Secret::from("p\"w</&'");
        let secrets = Secrets::default().and(&password, "(x)").and_session("OpaqueRef:s");
        for (page, shown) in [
            ("a p\"w</&' b", "a (x) b"),
            (r#"{"params":["root","p\"w</&'"]}"#, r#"{"params":["root","(x)"]}"#),
            (r#"["p\"w<\/&'"]"#, r#"["(x)"]"#),
            ("<p>p\"w&lt;/&amp;'</p>", "(x)"),
            ("<p>p&quot;w&lt;/&amp;&apos;</p>", "(x)"),
            ("Cookie: session_id=OpaqueRef:s", "Cookie: session_id=(this session)"),
        ] {
            assert_eq!(secrets.page(page.as_bytes()), shown, "{page}");
        }
        let failure = Failure::new("INTERNAL_ERROR", ["Failure(\"p\\\"w</&'\")"]);
        assert_eq!(cut_out(&password, failure, "(x)").param(0), "Failure(\"(x)\")");
    }

    #[test]
    fn the_end_of_what_is_looked_at_leaves_no_half_of_a_secret() {
        let secrets = Secrets::default().and(&Secret::from("&".repeat(200)), "(x)");
        let page = format!("<{}>{}", " ".repeat(LOOKED_AT - 100), "&amp;".repeat(200));
        assert_eq!(secrets.page(page.as_bytes()), "(x)");
    }
}
