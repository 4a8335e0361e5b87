//! Plugins of a host that are scripts: the guest's agent, which notes what it is asked for, networks, and the console.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;

/// An answer of a plugin, as XAPI reads it; `message` is the agent's.
const AGENT: &str = r#"#!/bin/sh
printf '%s\n' "$1" >> "$(dirname "$0")/asked"
code=0 message=
case "$1" in
*'<methodName>key_init<'*) code=D0 message=5 ;;
*'<methodName>resetnetwork<'*) code=500 ;;
*'<methodName>version<'*) message='1.39.1' ;;
esac
answer="{\"returncode\":\"$code\",\"message\":\"$message\"}"
cat <<END
<?xml version='1.0'?><methodResponse><params><param><value><struct><member><name>Status</name>
<value>Success</value></member><member><name>Value</name><value>$answer</value></member></struct></value></param></params></methodResponse>
END
"#;

/// It has done all that it is asked for, and notes it.
const NETWORKS: &str = r#"#!/bin/sh
printf '%s\n' "$1" >> "$(dirname "$0")/asked"
cat <<END
<?xml version='1.0'?><methodResponse><params><param><value><struct><member><name>Status</name>
<value>Success</value></member><member><name>Value</name><value></value></member></struct></value></param></params></methodResponse>
END
"#;

/// The log is `login: `, packed.
const CONSOLE: &str = r"#!/bin/sh
cat <<END
<?xml version='1.0'?><methodResponse><params><param><value><struct><member><name>Status</name>
<value>Success</value></member><member><name>Value</name><value>eJzLyU/PzLNSAAALGgJ0</value></member></struct></value></param></params></methodResponse>
END
";

/// Writes them into a folder.
pub(crate) fn write(folder: &Path) -> Result<()> {
    for (name, script) in [("agent.py", AGENT), ("console.py", CONSOLE), ("xenhost.py", NETWORKS)] {
        let path = folder.join(name);
        std::fs::write(&path, script)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
