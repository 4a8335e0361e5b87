//! Scripts in dom0: `host.call_plugin` and `host.call_extension`.
//!
//! No plugin can be put on a host through XenAPI, so most of these are about what XAPI says before a
//! plugin runs; the others use the plugin of the recordings (`golden`), where there is one.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use xenapi_types::{Host, TaskStatusType};
use xenapi_wire::{Ref, Value};

use super::expect::{not_applicable, refused, refused_with, same};
use super::lab::Lab;

super::checks! { "plugins";
    a_missing_plugin_is_refused_by_name,
    a_plugin_cannot_be_a_path,
    the_arguments_of_a_plugin_are_text,
    the_arguments_of_a_plugin_must_be_given,
    an_unknown_host_is_offline,
    a_missing_extension_is_not_there,
    a_missing_plugin_fails_in_its_task,
    a_plugin_gives_back_text,
    a_plugin_gets_its_arguments,
    a_plugin_chooses_its_failure,
    a_plugin_that_dies_leaves_its_output,
    a_plugin_that_says_nothing_sensible_fails,
    an_unknown_function_is_refused_by_its_plugin,
    a_plugin_runs_as_a_task,
}

const UNKNOWN: &str = "OpaqueRef:00000000-0000-4000-8000-000000000000";

/// The plugin with which the recordings were made.
const GOLDEN: &str = "golden";

type Arguments = BTreeMap<String, String>;

impl Lab {
    async fn plugin(
        &self,
        plugin: &str,
        function: &str,
        arguments: Arguments,
    ) -> xenapi_client::Result<Value> {
        self.rpc("host.call_plugin", (&self.site.host, plugin, function, arguments)).await
    }

    /// Calls the plugin of the recordings.
    async fn golden(&self, function: &str, arguments: Arguments) -> Result<xenapi_client::Result<String>> {
        let missing = self.client.call_plugin(&self.site.host, GOLDEN, "empty", &Arguments::new()).await;
        match missing {
            Err(error) if error.is("XENAPI_MISSING_PLUGIN") => {
                Err(not_applicable(format!("the host has no plugin {GOLDEN:?}")))
            }
            _ => Ok(self.client.call_plugin(&self.site.host, GOLDEN, function, &arguments).await),
        }
    }
}

async fn a_missing_plugin_is_refused_by_name(lab: &Lab) -> Result<()> {
    let name = format!("no-such-plugin-{}", lab.run);
    refused_with(lab.plugin(&name, "echo", Arguments::new()).await, "XENAPI_MISSING_PLUGIN", &[&name])?;
    refused_with(lab.plugin("", "echo", Arguments::new()).await, "XENAPI_MISSING_PLUGIN", &[""])
}

async fn a_plugin_cannot_be_a_path(lab: &Lab) -> Result<()> {
    for path in ["../plugins/golden", "../../../bin/true", "/bin/true"] {
        refused_with(lab.plugin(path, "echo", Arguments::new()).await, "XENAPI_MISSING_PLUGIN", &[path])?;
    }
    Ok(())
}

async fn the_arguments_of_a_plugin_are_text(lab: &Lab) -> Result<()> {
    let arguments = BTreeMap::from([("b", true)]);
    let call = (&lab.site.host, "no-such-plugin", "echo", arguments);
    let answer: xenapi_client::Result<Value> = lab.rpc("host.call_plugin", call).await;
    refused(answer, "INTERNAL_ERROR").map(drop)
}

async fn the_arguments_of_a_plugin_must_be_given(lab: &Lab) -> Result<()> {
    let call = (&lab.site.host, "no-such-plugin", "echo");
    let answer: xenapi_client::Result<Value> = lab.rpc("host.call_plugin", call).await;
    refused_with(answer, "MESSAGE_PARAMETER_COUNT_MISMATCH", &["host.call_plugin", "4", "3"])
}

/// XAPI looks for the way to the host before it looks at the reference.
async fn an_unknown_host_is_offline(lab: &Lab) -> Result<()> {
    let call = (Ref::<Host>::from(UNKNOWN), "no-such-plugin", "echo", Arguments::new());
    let answer: xenapi_client::Result<Value> = lab.rpc("host.call_plugin", call).await;
    refused_with(answer, "HOST_OFFLINE", &[UNKNOWN])
}

async fn a_missing_extension_is_not_there(lab: &Lab) -> Result<()> {
    let on_host: bool = lab.rpc("host.has_extension", (&lab.site.host, "nosuch")).await?;
    let in_pool: bool = lab.rpc("pool.has_extension", (&lab.site.pool, "nosuch")).await?;
    same("host.has_extension, pool.has_extension", (on_host, in_pool), (false, false))
}

async fn a_missing_plugin_fails_in_its_task(lab: &Lab) -> Result<()> {
    let call = (&lab.site.host, "no-such-plugin", "echo", Arguments::new());
    let record = lab.ended(&lab.spawn("host.call_plugin", call).await?).await?;
    same("status", record.status, TaskStatusType::Failure)?;
    same("error_info", record.error_info, ["XENAPI_MISSING_PLUGIN", "no-such-plugin"])
}

async fn a_plugin_gives_back_text(lab: &Lab) -> Result<()> {
    same("empty", lab.golden("empty", Arguments::new()).await??.as_str(), "")?;
    same("unicode", lab.golden("unicode", Arguments::new()).await??.as_str(), "grüße 你 <&> \"q\" ]]>\n")?;
    same("stderr", lab.golden("stderr", Arguments::new()).await??.as_str(), "with stderr")
}

async fn a_plugin_gets_its_arguments(lab: &Lab) -> Result<()> {
    let arguments = [("u", "grüße 你 <&> \"q\" ' ]]>"), ("n", "line\nfeed\n tab\t"), ("k<&>", "special key")];
    for (key, value) in arguments {
        let echoed = lab.golden("echo", [(key.to_owned(), value.to_owned())].into()).await??;
        same("echo", echoed, format!("{key}={value}"))?;
    }
    Ok(())
}

async fn a_plugin_chooses_its_failure(lab: &Lab) -> Result<()> {
    refused_with(lab.golden("fail", Arguments::new()).await?, "MY_CODE", &["p1", "p2"])?;
    let standard = lab.golden("failstd", Arguments::new()).await?;
    refused_with(standard, "VDI_IN_USE", &["OpaqueRef:x", "destroy"])?;
    let fault = lab.golden("fault", Arguments::new()).await?;
    refused_with(fault, "XENAPI_PLUGIN_FAILURE", &["fault", "7", "fault text"])
}

async fn a_plugin_that_dies_leaves_its_output(lab: &Lab) -> Result<()> {
    let exit = lab.golden("exit", Arguments::new()).await?;
    refused_with(exit, "XENAPI_PLUGIN_FAILURE", &["non-zero exit", "out text\n", "err text\n"])?;
    let signal = lab.golden("signal", Arguments::new()).await?;
    refused_with(signal, "XENAPI_PLUGIN_FAILURE", &["signal: SIGTERM", "", ""])?;
    let failure = refused(lab.golden("raise", Arguments::new()).await?, "XENAPI_PLUGIN_FAILURE")?;
    same("status", failure.param(0), "non-zero exit")?;
    ensure!(failure.param(2).contains("Traceback"), "no traceback in {failure}");
    Ok(())
}

async fn a_plugin_that_says_nothing_sensible_fails(lab: &Lab) -> Result<()> {
    for function in ["garbage", "nothing", "noise"] {
        let failure = refused(lab.golden(function, Arguments::new()).await?, "XENAPI_PLUGIN_FAILURE")?;
        same("status", failure.param(0), "failed to parse plugin output")?;
    }
    refused(lab.golden("notstring", Arguments::new()).await?, "INTERNAL_ERROR").map(drop)
}

async fn an_unknown_function_is_refused_by_its_plugin(lab: &Lab) -> Result<()> {
    let answer = lab.golden("nosuchfunction", Arguments::new()).await?;
    refused_with(answer, "UNKNOWN_XENAPI_PLUGIN_FUNCTION", &["nosuchfunction"])
}

async fn a_plugin_runs_as_a_task(lab: &Lab) -> Result<()> {
    lab.golden("empty", Arguments::new()).await??;
    let call = (&lab.site.host, GOLDEN, "echo", Arguments::from([("a".to_owned(), "b".to_owned())]));
    let record = lab.ended(&lab.spawn("host.call_plugin", call).await?).await?;
    same("status", record.status, TaskStatusType::Success)?;
    same("result", record.result.as_str(), "<value>a=b</value>")
}
