//! `config_file`: reads XAPI's configuration.

use std::path::Path;

use super::{Error, Outcome};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::pickle::Pickle;

const XAPI_CONF: &str = "/etc/xapi.conf";

pub(super) const FUNCTIONS: &[Function] = &[Function::plain("get_val", get_val)];

/// The value of `key = value` in `/etc/xapi.conf`, empty when it is not there.
fn get_val(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let wanted = args.required("key")?;
    let text = dom0.read_to_string(Path::new(XAPI_CONF)).map_err(|e| Error::file(XAPI_CONF, &e))?;
    let value = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == wanted)
        .map_or("", |(_, value)| value.trim());
    Ok(Pickle::Str(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[test]
    fn values() {
        let dom0 = Fake::default().with_file(XAPI_CONF, "# a = 1\n b= two \nc = d=e\n");
        for (key, value) in [("a", ""), ("b", "two"), ("c", "d=e"), ("z", "")] {
            assert_eq!(
                get_val(&dom0, &Args::of(&[("key", key)])),
                Ok(Pickle::Str(value.to_owned())),
                "{key}"
            );
        }
        assert!(get_val(&dom0, &Args::of(&[])).is_err());
    }
}
