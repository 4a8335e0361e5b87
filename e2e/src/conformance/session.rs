//! Logging in and out, and what calls are turned away before anything happens.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use xenapi_types::{Host, Session, session};
use xenapi_wire::{Call, Ref, Value};

use super::clean::Made;
use super::expect::{refused, refused_with, same};
use super::lab::Lab;

super::checks! { "session";
    log_in_takes_two_to_four_arguments,
    log_in_needs_two_arguments,
    a_wrong_password_is_refused,
    an_unknown_user_is_refused,
    a_session_knows_its_host_and_its_user,
    a_session_keeps_its_originator,
    a_session_has_settings_of_its_own,
    sessions_are_independent,
    log_out_ends_a_session_at_once,
    logging_out_twice_is_refused,
    made_up_sessions_are_refused_by_name,
    a_call_without_session_counts_minus_one_arguments,
    sessions_cannot_be_listed,
    methods_are_listed_without_a_session,
    a_local_session_serves_for_ordinary_calls,
    a_wrong_pool_secret_is_refused,
}

/// A session for calls with any session, or none.
const UNKNOWN: &str = "OpaqueRef:00000000-0000-4000-8000-000000000000";

/// A call before which the client puts no session: the first argument is one, if there is any.
macro_rules! bare_call {
    ($vis:vis $name:ident $method:literal) => {
        #[derive(Debug, Serialize, Deserialize)]
        $vis struct $name($vis Vec<String>);

        impl Call for $name {
            const METHOD: &'static str = $method;
            const NEEDS_SESSION: bool = false;
            type Output = Value;
        }
    };
}

bare_call! { LogIn "session.login_with_password" }
bare_call! { pub(super) LogOut "session.logout" }
bare_call! { LocalLogIn "session.slave_local_login_with_password" }
bare_call! { LocalLogOut "session.local_logout" }
bare_call! { SlaveLogIn "session.slave_login" }
bare_call! { SlaveLocalLogIn "session.slave_local_login" }
bare_call! { AllHosts "host.get_all" }
bare_call! { ListMethods "system.listMethods" }

impl Lab {
    /// Logs in with these arguments after user and password.
    pub(super) async fn log_in(&self, more: &[&str]) -> xenapi_client::Result<String> {
        let mut arguments = vec![self.target.user.clone(), self.target.password.clone()];
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let session = self.client.call(LogIn(arguments)).await?;
        let session = session.as_str().unwrap_or_default().to_owned();
        self.keep(Made::BareSession(session.clone()));
        Ok(session)
    }

    pub(super) async fn log_out(&self, session: &str) -> xenapi_client::Result<Value> {
        self.client.call(LogOut(vec![session.to_owned()])).await
    }

    async fn hosts_with(&self, session: &str) -> xenapi_client::Result<Value> {
        self.client.call(AllHosts(vec![session.to_owned()])).await
    }
}

/// Old clients send two arguments, most three or four; what comes after the fourth is not looked at.
async fn log_in_takes_two_to_four_arguments(lab: &Lab) -> Result<()> {
    for more in [&[][..], &["1.1"], &["2.0", "conformance"], &["", ""], &["1.1", "o", "extra"]] {
        let session = lab.log_in(more).await?;
        let hosts = lab.hosts_with(&session).await?;
        ensure!(!hosts.as_array().unwrap_or_default().is_empty(), "no hosts for a session of {more:?}");
    }
    Ok(())
}

/// The count expected is that of the arguments without a default.
async fn log_in_needs_two_arguments(lab: &Lab) -> Result<()> {
    let counts = |received| ["session.login_with_password", "2", received];
    let answer = lab.client.call(LogIn(vec![])).await;
    refused_with(answer, "MESSAGE_PARAMETER_COUNT_MISMATCH", &counts("0"))?;
    let answer = lab.client.call(LogIn(vec![lab.target.user.clone()])).await;
    refused_with(answer, "MESSAGE_PARAMETER_COUNT_MISMATCH", &counts("1"))
}

/// The refusal names the user and gives a reason, which is PAM's.
async fn a_wrong_password_is_refused(lab: &Lab) -> Result<()> {
    let wrong = format!("not {}", lab.target.password);
    let answer = lab.client.call(LogIn(vec![lab.target.user.clone(), wrong])).await;
    let failure = refused(answer, "SESSION_AUTHENTICATION_FAILED")?;
    same("the user", failure.param(0), lab.target.user.as_str())?;
    ensure!(!failure.param(1).is_empty(), "no reason is given");
    Ok(())
}

async fn an_unknown_user_is_refused(lab: &Lab) -> Result<()> {
    let user = format!("nobody-{}", lab.run);
    let answer = lab.client.call(LogIn(vec![user.clone(), "x".to_owned()])).await;
    let failure = refused(answer, "SESSION_AUTHENTICATION_FAILED")?;
    same("the user", failure.param(0), user.as_str())
}

/// The local root is no user of the database, but has every right.
async fn a_session_knows_its_host_and_its_user(lab: &Lab) -> Result<()> {
    let reference = lab.log_in(&["1.0", "conformance"]).await?;
    let session = Ref::<Session>::from(reference.as_str());
    let record = lab.client.record(&session).await?;
    let host: Ref<Host> = lab.rpc("session.get_this_host", (&session,)).await?;
    same("session.this_host", &record.this_host, &lab.site.host)?;
    same("session.get_this_host", &host, &lab.site.host)?;
    same("session.auth_user_name", record.auth_user_name.as_str(), lab.target.user.as_str())?;
    same("session.pool", record.pool, false)?;
    same("session.parent is null", record.parent.is_null(), true)?;
    ensure!(record.is_local_superuser || !record.rbac_permissions.is_empty(), "it may do nothing");
    Ok(())
}

async fn a_session_keeps_its_originator(lab: &Lab) -> Result<()> {
    let originator = lab.name();
    let session = lab.log_in(&["1.0", &originator]).await?;
    let kept: String = lab.rpc("session.get_originator", (&session,)).await?;
    same("session.originator", kept, originator)
}

async fn a_session_has_settings_of_its_own(lab: &Lab) -> Result<()> {
    let reference = lab.log_in(&[]).await?;
    let session = Ref::<Session>::from(reference.as_str());
    lab.client.add_to(&session, session::field::OTHER_CONFIG, "k", "v").await?;
    let kept = lab.client.get_field(&session, session::field::OTHER_CONFIG).await?;
    same("session.other_config[k]", kept.get("k").map(String::as_str), Some("v"))
}

async fn sessions_are_independent(lab: &Lab) -> Result<()> {
    let (first, second) = (lab.log_in(&[]).await?, lab.log_in(&[]).await?);
    ensure!(first != second, "two log-ins gave the same session");
    lab.log_out(&first).await?;
    lab.hosts_with(&second).await?;
    Ok(())
}

async fn log_out_ends_a_session_at_once(lab: &Lab) -> Result<()> {
    let session = lab.log_in(&[]).await?;
    lab.hosts_with(&session).await?;
    lab.log_out(&session).await?;
    refused_with(lab.hosts_with(&session).await, "SESSION_INVALID", &[&session])?;
    // Nor can it be looked at: it is gone from the database.
    let record = lab.client.record_opt(&Ref::<Session>::from(session.as_str())).await?;
    ensure!(record.is_none(), "its record is still there");
    Ok(())
}

async fn logging_out_twice_is_refused(lab: &Lab) -> Result<()> {
    let session = lab.log_in(&[]).await?;
    lab.log_out(&session).await?;
    refused_with(lab.log_out(&session).await, "SESSION_INVALID", &[&session])
}

async fn made_up_sessions_are_refused_by_name(lab: &Lab) -> Result<()> {
    for session in [UNKNOWN, "OpaqueRef:NULL", "", "nonsense", "OpaqueRef:", "Ref:1"] {
        refused_with(lab.hosts_with(session).await, "SESSION_INVALID", &[session])?;
    }
    Ok(())
}

/// XAPI counts what is left after the session has been taken away.
async fn a_call_without_session_counts_minus_one_arguments(lab: &Lab) -> Result<()> {
    let answer = lab.client.call(AllHosts(vec![])).await;
    refused_with(answer, "MESSAGE_PARAMETER_COUNT_MISMATCH", &["host.get_all", "0", "-1"])
}

async fn sessions_cannot_be_listed(lab: &Lab) -> Result<()> {
    let answer: xenapi_client::Result<Value> = lab.rpc("session.get_all", ()).await;
    refused_with(answer, "MESSAGE_METHOD_UNKNOWN", &["session.get_all"])
}

async fn methods_are_listed_without_a_session(lab: &Lab) -> Result<()> {
    let methods = lab.client.call(ListMethods(vec![])).await?;
    let methods: Vec<_> = methods.as_array().unwrap_or_default().iter().filter_map(Value::as_str).collect();
    for method in
        ["VM.start", "VDI.get_all_records", "session.login_with_password", "event.from", "task.cancel"]
    {
        ensure!(methods.contains(&method), "{method} is not among the {} methods", methods.len());
    }
    Ok(())
}

/// Local sessions are for hosts whose database is out of reach; the coordinator takes them for calls all the
/// same.
async fn a_local_session_serves_for_ordinary_calls(lab: &Lab) -> Result<()> {
    let arguments = vec![lab.target.user.clone(), lab.target.password.clone()];
    let session = lab.client.call(LocalLogIn(arguments)).await?.as_str().unwrap_or_default().to_owned();
    let hosts = lab.hosts_with(&session).await;
    lab.client.call(LocalLogOut(vec![session.clone()])).await?;
    ensure!(!hosts?.as_array().unwrap_or_default().is_empty(), "no hosts");
    let again = lab.client.call(LocalLogOut(vec![session.clone()])).await;
    refused_with(again, "SESSION_INVALID", &[&session])
}

async fn a_wrong_pool_secret_is_refused(lab: &Lab) -> Result<()> {
    let host = lab.site.host.to_string();
    let answer = lab.client.call(SlaveLogIn(vec![host.clone(), "not the secret".to_owned()])).await;
    refused_with(answer, "SESSION_AUTHENTICATION_FAILED", &[&host, "Pool credentials invalid"])?;
    let answer = lab.client.call(SlaveLocalLogIn(vec!["not the secret".to_owned()])).await;
    refused_with(answer, "SESSION_AUTHENTICATION_FAILED", &["localhost", "Pool credentials invalid"])
}
