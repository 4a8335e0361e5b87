//! Sessions: who may call.

use std::time::Duration;

use uuid::Uuid;
use xenapi_wire::{DateTime, Failure, Value};

use crate::core::Core;
use crate::db::NULL;
use crate::dispatch::{Ctx, Router, internal_error, void};

/// How many sessions one originator may have; beyond, the one idle for longest is ended.
const MAX_PER_ORIGINATOR: usize = 500;
/// `last_active` is not written more often.
const TOUCH_EVERY: Duration = Duration::from_secs(600);

pub(crate) fn register(router: &mut Router) {
    router.future("session.login_with_password", |ctx, args| async move {
        password(&ctx.core, args.str(0), args.str(1)).await?;
        Ok(start(&ctx.core, &ctx.host, args.str(0), args.str(3), false).into())
    });
    router.raw("session.slave_login", |ctx, args| {
        secret(ctx, args.str(1), args.str(0))?;
        Ok(start(&ctx.core, args.str(0), "", "", true).into())
    });
    router.raw("session.slave_local_login", |ctx, args| {
        secret(ctx, args.str(0), "localhost")?;
        Ok(start_local(&ctx.core).into())
    });
    router.future("session.slave_local_login_with_password", |ctx, args| async move {
        password(&ctx.core, args.str(0), args.str(1)).await?;
        Ok(start_local(&ctx.core).into())
    });
    router.raw("session.logout", |ctx, _| {
        end(&ctx.core, &ctx.session);
        Ok(void())
    });
    router.raw("session.local_logout", |ctx, _| {
        end(&ctx.core, &ctx.session);
        Ok(void())
    });
    router.raw("session.get_all_subject_identifiers", |_, _| Ok(Value::Array(Vec::new())));
    router.raw("session.logout_subject_identifier", |_, _| Ok(void()));
    router.raw("session.create_from_db_file", |_, args| {
        let path = args.str(0);
        Err(internal_error(&format!("Sys_error(\"{path}: No such file or directory\")")))
    });
}

/// Checks a password; a wrong one costs time.
///
/// # Errors
/// `SESSION_AUTHENTICATION_FAILED`.
pub(crate) async fn password(core: &Core, user: &str, password: &str) -> Result<(), Failure> {
    let reason = match (user == core.config.user, password == core.config.password) {
        (true, true) => return Ok(()),
        (true, false) => "Authentication failure",
        (false, _) => "User not known to the underlying authentication module",
    };
    core.clock.sleep(core.config.auth_delay).await;
    Err(Failure::new("SESSION_AUTHENTICATION_FAILED", [user, reason]))
}

fn secret(ctx: &Ctx, secret: &str, who: &str) -> Result<(), Failure> {
    if secret == ctx.core.config.pool_secret {
        return Ok(());
    }
    Err(Failure::new("SESSION_AUTHENTICATION_FAILED", [who, "Pool credentials invalid"]))
}

/// Makes a session.
pub(crate) fn start(core: &Core, host: &str, user: &str, originator: &str, pool: bool) -> String {
    let now = core.clock.date();
    let created = core.db.write(|tx| {
        let session = tx.create(
            "session",
            [
                ("this_host", host.into()),
                ("this_user", NULL.into()),
                ("subject", NULL.into()),
                ("parent", NULL.into()),
                ("last_active", now.clone().into()),
                ("validation_time", now.into()),
                ("pool", pool.into()),
                ("is_local_superuser", true.into()),
                ("auth_user_name", user.into()),
                ("originator", originator.into()),
            ],
        );
        let mut same: Vec<(DateTime, u64, String)> = tx
            .objects("session")
            .filter(|s| {
                s.str("originator") == originator && s.bool("pool") == pool && s.reference() != session
            })
            .map(|s| (s.date("last_active"), s.created(), s.reference().to_owned()))
            .collect();
        same.sort();
        let surplus = (same.len() + 1).saturating_sub(MAX_PER_ORIGINATOR);
        for (_, _, oldest) in same.iter().take(surplus) {
            tx.delete("session", oldest);
        }
        Ok::<_, Failure>(session)
    });
    created.unwrap_or_else(|never| unreachable!("{never}"))
}

fn start_local(core: &Core) -> String {
    let session = format!("OpaqueRef:{}", Uuid::new_v4());
    core.local_sessions().insert(session.clone());
    session
}

/// Ends a session; its event subscriptions end with it.
pub(crate) fn end(core: &Core, session: &str) {
    if core.local_sessions().remove(session) {
        return;
    }
    core.listeners().forget(session, &core.db);
    let _ = core.db.write(|tx| {
        tx.delete("session", session);
        Ok::<_, Failure>(())
    });
}

/// Checks that a host may answer: one that is not the master knows nothing but its own sessions and those of the
/// pool, and sends everybody else away without looking at passwords.
///
/// # Errors
/// `HOST_IS_SLAVE` with the master's address.
pub(crate) fn stays_here(
    core: &Core,
    host: &str,
    method: &str,
    first: Option<&Value>,
) -> Result<(), Failure> {
    let Some(master) = core.db.read(|view| {
        let master = view.objects("pool").next()?.ref_opt("master")?;
        (master != host)
            .then(|| view.find("host", master).map_or_else(String::new, |h| h.str("address").to_owned()))
    }) else {
        return Ok(());
    };
    let away = match method {
        "session.login_with_password" => true,
        "session.slave_login" | "session.slave_local_login" | "session.slave_local_login_with_password" => {
            false
        }
        _ => first.and_then(Value::as_str).is_some_and(|session| {
            core.db.read(|view| view.find("session", session).is_some_and(|session| !session.bool("pool")))
        }),
    };
    if away { Err(Failure::new("HOST_IS_SLAVE", [master])) } else { Ok(()) }
}

/// Checks that a session exists and notes that it was used.
///
/// # Errors
/// `SESSION_INVALID`.
pub(crate) fn check(core: &Core, session: &str) -> Result<(), Failure> {
    let now = core.clock.now();
    let stale = core.db.read(|view| {
        let session = view.find("session", session)?;
        let last = session.date("last_active");
        let limit = now.checked_sub(TOUCH_EVERY).unwrap_or(now);
        Some(last < crate::clock::date(limit))
    });
    match stale {
        Some(false) => Ok(()),
        Some(true) => core.db.write(|tx| tx.set("session", session, "last_active", core.clock.date())),
        None if core.local_sessions().contains(session) => Ok(()),
        None => Err(Failure::new("SESSION_INVALID", [session])),
    }
}
