//! The files of oslo.config: sections, `name = value` or `name: value`, and values that go on in lines that
//! begin with a blank.

/// A line that cannot be read. `oslo.config` does not start with such a file either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}, line {line}: {reason}")]
#[non_exhaustive]
pub struct SyntaxError {
    /// The file.
    pub source_name: String,
    /// The line, from 1; 0 where it is not known.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// An assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) section: String,
    pub(crate) name: String,
    /// Lines of a continued value are kept apart by line ends.
    pub(crate) value: String,
    /// Where it begins, from 1.
    pub(crate) line: usize,
}

/// Reads a file. A text before the first section belongs to none, which is wrong.
pub(crate) fn parse(source_name: &str, text: &str) -> Result<Vec<Assignment>, SyntaxError> {
    let mut assignments: Vec<Assignment> = Vec::new();
    let mut section: Option<String> = None;
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        let wrong =
            |reason: String| SyntaxError { source_name: source_name.to_owned(), line: index + 1, reason };
        let line = line.trim_end();
        if line.is_empty() {
            is_open = false;
        } else if line.starts_with([' ', '\t']) {
            let Some(last) = assignments.last_mut().filter(|_| is_open) else {
                return Err(wrong("a line that begins with a blank continues nothing".to_owned()));
            };
            last.value = format!("{}\n{}", last.value, line.trim_start());
        } else if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or_else(|| wrong("a section has no ]".to_owned()))?;
            if name.is_empty() {
                return Err(wrong("a section has no name".to_owned()));
            }
            (section, is_open) = (Some(name.to_owned()), false);
        } else if !line.starts_with(['#', ';']) {
            let at = line.find(['=', ':']).ok_or_else(|| wrong(format!("no = or : in {:?}", shown(line))))?;
            let name = line[..at].trim();
            if name.is_empty() {
                return Err(wrong("a value has no name".to_owned()));
            }
            let section =
                section.clone().ok_or_else(|| wrong(format!("{name} stands before any section")))?;
            let value = line[at + 1..].trim().to_owned();
            assignments.push(Assignment { section, name: name.to_owned(), value, line: index + 1 });
            is_open = true;
        }
    }
    for assignment in &mut assignments {
        assignment.value = unquoted(&assignment.value).to_owned();
    }
    Ok(assignments)
}

/// A value in quotes is what is between them.
fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// The first word of a line: the rest may be a password.
fn shown(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn values(text: &str) -> Vec<(String, String, String)> {
        parse("f", text).unwrap().into_iter().map(|a| (a.section, a.name, a.value)).collect()
    }

    fn one(name: &str, value: &str) -> Vec<(String, String, String)> {
        vec![("s".to_owned(), name.to_owned(), value.to_owned())]
    }

    #[test]
    fn what_is_a_value() {
        for (line, name, value) in [
            ("a = b", "a", "b"),
            ("a: b", "a", "b"),
            ("a=b=c:d", "a", "b=c:d"),
            ("a:b=c", "a", "b=c"),
            ("a =", "a", ""),
            ("a = \"b \"", "a", "b "),
            ("a = 'b'", "a", "b"),
            ("a = 'b\"", "a", "'b\""),
            ("a = \"", "a", "\""),
            ("a = b # c", "a", "b # c"),
            ("a = b\n  c\n\td", "a", "b\nc\nd"),
            ("a =\n b", "a", "\nb"),
        ] {
            assert_eq!(values(&format!("[s]\n{line}\n")), one(name, value), "{line:?}");
        }
    }

    #[test]
    fn comments_and_empty_lines_are_none() {
        assert_eq!(values("# x\n\n; y\n[s]\r\n#a = b\na = c\r\n"), one("a", "c"));
        // A comment within a continued value does not end it.
        assert_eq!(values("[s]\na = b\n# c\n d\n"), one("a", "b\nd"));
    }

    #[test]
    fn what_is_wrong_and_where() {
        for (text, error) in [
            ("a = b", "f, line 1: a stands before any section"),
            ("[s]\n\n  a = b", "f, line 3: a line that begins with a blank continues nothing"),
            ("[s]\na = b\n\n c", "f, line 4: a line that begins with a blank continues nothing"),
            ("[s", "f, line 1: a section has no ]"),
            ("[]", "f, line 1: a section has no name"),
            ("[s]\npassword secret", "f, line 2: no = or : in \"password\""),
            ("[s]\n= x", "f, line 2: a value has no name"),
        ] {
            assert_eq!(parse("f", text).unwrap_err().to_string(), error);
        }
    }
}
