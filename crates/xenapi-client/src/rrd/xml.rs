//! The XML form.

use roxmltree::{Document, Node};

use super::malformed;
use super::tree::Tree;
use crate::error::Result;

/// How deep elements may be nested; the documents need six.
const MAX_DEPTH: usize = 16;

pub(super) fn parse(text: &str, root: &str) -> Result<Tree> {
    let document = Document::parse(text).map_err(|e| malformed(&e.to_string()))?;
    let element = document.root_element();
    if element.tag_name().name() != root {
        return Err(malformed(&format!("<{}> where <{root}> belongs", element.tag_name().name())));
    }
    tree(element, MAX_DEPTH)
}

fn tree(node: Node<'_, '_>, depth: usize) -> Result<Tree> {
    let below = depth.checked_sub(1).ok_or_else(|| malformed("it is nested too deeply"))?;
    if !node.children().any(|child| child.is_element()) {
        return Ok(Tree::Text(node.text().unwrap_or_default().to_owned()));
    }
    let elements = node.children().filter(Node::is_element);
    let part = |child: Node<'_, '_>| Ok((child.tag_name().name().to_owned(), tree(child, below)?));
    Ok(Tree::Parts(elements.map(part).collect::<Result<_>>()?))
}
