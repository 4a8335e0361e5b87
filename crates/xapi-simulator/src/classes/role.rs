//! Roles: what a user may call.
//!
//! Roles and permissions have fixed references: the MD5 digest of their name in the form of a uuid.

mod permissions;

use md5::{Digest, Md5};
use uuid::Uuid;
use xenapi_types::meta::Role;
use xenapi_wire::{Failure, Value};

use crate::db::Db;
use crate::dispatch::Router;

/// From the mightiest to the least; each may do what those after it may.
const ROLES: [Role; 6] = [
    Role::PoolAdmin,
    Role::PoolOperator,
    Role::VmPowerAdmin,
    Role::VmAdmin,
    Role::VmOperator,
    Role::ReadOnly,
];

/// What a role is for.
fn description(role: Role) -> &'static str {
    match role {
        Role::PoolAdmin => "May do everything, in dom0 too, and say who may do what",
        Role::PoolOperator => {
            "May look after hosts, storage and networks of the pool, but not after its users"
        }
        Role::VmPowerAdmin => "May make VMs and change all of them, move them and set what they may use",
        Role::VmAdmin => "May make VMs and change all of them",
        Role::VmOperator => "May start and stop VMs and use their consoles",
        Role::ClientCert => "May do what clients with a certificate do",
        Role::ReadOnly => "May look at everything and change nothing",
    }
}

pub(crate) fn register(router: &mut Router) {
    router.raw("role.get_by_permission_name_label", |ctx, args| {
        let permission = args.str(0);
        let message = ctx.core.schema().messages().find(|m| m.method.eq_ignore_ascii_case(permission));
        let allowed = ROLES.into_iter().filter(|role| message.is_some_and(|m| permissions::has(*role, m)));
        Ok(allowed.map(|role| reference(role.as_str())).collect::<Vec<_>>().into())
    });
}

/// Makes the roles, if they are not there.
pub(crate) fn install(db: &Db) {
    let installed = db.write(|tx| {
        if tx.count("role") > 0 {
            return Ok(());
        }
        for role in ROLES {
            let fields = [
                ("uuid", uuid(role.as_str()).to_string().into()),
                ("name_label", role.as_str().into()),
                ("name_description", description(role).into()),
                ("subroles", permissions::of(tx.schema(), role).into()),
                ("is_internal", Value::Bool(false)),
            ];
            tx.create_as("role", &reference(role.as_str()), fields);
        }
        Ok::<_, Failure>(())
    });
    installed.unwrap_or_else(|never| unreachable!("{never}"));
}

fn uuid(name: &str) -> Uuid {
    Uuid::from_bytes(Md5::digest(name.as_bytes()).into())
}

fn reference(name: &str) -> String {
    format!("OpaqueRef:{}", uuid(name))
}

#[cfg(test)]
mod tests {
    use super::reference;

    #[test]
    fn references_are_those_of_every_host() {
        assert_eq!(reference("pool-admin"), "OpaqueRef:0165f154-ba3e-034e-6b27-5d271af109ba");
        assert_eq!(reference("read-only"), "OpaqueRef:7233b8e3-eacb-d7da-2c95-f2e581cdbf4e");
    }
}
