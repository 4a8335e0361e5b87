//! Any files, in and out again.

use config_drive::{Label, Tree, fuzzing};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever names the tree accepts, both formats hold, or refuse for a reason of theirs.
    #[test]
    fn accepted_names_survive(
        files in proptest::collection::vec(
            ("[a-zA-Z0-9 ._~é$%;-]{1,20}(/[^\\x00-\\x1f]{1,110}){0,3}", proptest::collection::vec(any::<u8>(), 0..5000)),
            0..20,
        ),
        is_nocloud: bool,
    ) {
        let mut tree = Tree::new();
        for (path, content) in files {
            let _ = tree.insert(path, content);
        }
        fuzzing::check(&tree, if is_nocloud { Label::NoCloud } else { Label::ConfigDrive });
    }

    /// Many names of one shape, which the plain names of ISO 9660 cannot tell apart.
    #[test]
    fn names_that_look_alike_survive(names in proptest::collection::btree_set("[a_.-]{1,3}(/[a_.-]{28,34})?", 0..200)) {
        let mut tree = Tree::new();
        for name in names {
            let _ = tree.insert(name.clone(), name);
        }
        fuzzing::check(&tree, Label::ConfigDrive);
    }

    /// What the fuzz target runs.
    #[test]
    fn any_bytes_are_files(bytes: Vec<u8>) {
        fuzzing::config_drive(&bytes);
    }

    /// No path, however odd, makes it panic or leave the tree half changed.
    #[test]
    fn any_path_is_accepted_or_refused(path in any::<String>()) {
        let mut tree = Tree::new();
        match tree.insert(path.clone(), "") {
            Ok(()) => prop_assert!(!path.split('/').any(|part| part.is_empty() || part == "..")),
            Err(_) => prop_assert_eq!(tree, Tree::new()),
        }
    }
}
