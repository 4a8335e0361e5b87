//! The XML form.

use std::borrow::Cow;

use roxmltree::{Document, Error, Node, ParsingOptions, StringStorage};

use super::tree::Tree;
use super::{malformed, too_many};
use crate::error::Result;

/// How deep elements may be nested; the documents need six.
const MAX_DEPTH: usize = 16;

/// Elements and texts together are `max_values` at most: a few bytes of XML are a hundred of a tree.
pub(super) fn parse<'d>(text: &'d str, root: &str, max_values: u32) -> Result<Tree<'d>> {
    let options = ParsingOptions { nodes_limit: max_values, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| match error {
        Error::NodesLimitReached => too_many(max_values),
        error => malformed(&error.to_string()),
    })?;
    let element = document.root_element();
    if element.tag_name().name() != root {
        return Err(malformed(&format!("<{}> where <{root}> belongs", element.tag_name().name())));
    }
    tree(element, MAX_DEPTH)
}

fn tree<'d>(node: Node<'_, 'd>, depth: usize) -> Result<Tree<'d>> {
    let below = depth.checked_sub(1).ok_or_else(|| malformed("it is nested too deeply"))?;
    if !node.children().any(|child| child.is_element()) {
        return Ok(Tree::Text(match node.text_storage() {
            Some(StringStorage::Borrowed(text)) => Cow::Borrowed(*text),
            Some(StringStorage::Owned(text)) => Cow::Owned(text.to_string()),
            None => Cow::Borrowed(""),
        }));
    }
    let elements = node.children().filter(Node::is_element);
    let part = |child: Node<'_, 'd>| Ok((Cow::Borrowed(child.tag_name().name()), tree(child, below)?));
    Ok(Tree::Parts(elements.map(part).collect::<Result<_>>()?))
}
