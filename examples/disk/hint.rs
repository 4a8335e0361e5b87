//! What somebody can say who wants all the same what was refused.

use clap::Command;
use vhd::chain::ChainError;

/// The option of `command` by which what was refused is done, in words; nothing where it has none.
pub(crate) fn of(error: &anyhow::Error, command: &Command) -> Option<&'static str> {
    let (option, words) = error.chain().find_map(|cause| {
        let chain = cause.downcast_ref().and_then(of_chain);
        let vhd = || cause.downcast_ref().and_then(of_vhd);
        chain.or_else(vhd).or_else(|| cause.downcast_ref().and_then(of_stream))
    })?;
    command.get_arguments().any(|argument| argument.get_id() == option).then_some(words)
}

fn of_stream(error: &disk_stream::Error) -> Option<(&'static str, &'static str)> {
    use disk_stream::Error;
    Some(match error {
        Error::Exists { .. } => ("force", "--force replaces it"),
        Error::Differencing { .. } => ("layer", "--layer writes this layer alone"),
        Error::ParentNotFound { .. } => PARENTS,
        Error::OtherParent { .. } => ("trusted", "--trusted takes it all the same"),
        Error::Foreign { .. } | Error::Misnamed { .. } => {
            ("format", "--format raw takes its bytes for a disk's")
        }
        Error::UnknownStream => ("format", "--format raw with --size, or --format vhd, says what it is"),
        // Of what is written, the format has the limit.
        Error::Format { source: vhd::Error::TooLarge { .. } | vhd::Error::TableTooLarge { .. }, .. } => {
            ("large", "--large reads it")
        }
        _ => return None,
    })
}

fn of_vhd(error: &vhd::Error) -> Option<(&'static str, &'static str)> {
    use vhd::Error;
    Some(match error {
        Error::FooterMismatch { .. } => ("footer", "--footer front or --footer end says which one counts"),
        Error::MissingEndFooter { .. } => ("footer", "--footer front does without it"),
        Error::TrailingData { .. } | Error::FixedSize { .. } => ("surplus", "--surplus passes over them"),
        Error::AbsentData { .. } => {
            ("bitmaps", "--bitmaps honour takes them for zeros, --bitmaps ignore reads them")
        }
        _ => return None,
    })
}

fn of_chain(error: &ChainError) -> Option<(&'static str, &'static str)> {
    Some(match error {
        ChainError::TooDeep { .. } => ("depth", "--depth allows more"),
        ChainError::ParentMissing { .. } => PARENTS,
        ChainError::ParentUuid { .. } => {
            ("trusted", "--chain with --trusted takes the files that it names, whatever their uuids")
        }
        _ => return None,
    })
}

const PARENTS: (&str, &str) = ("parents", "--chain names the files of its parents, --parents their folder");
