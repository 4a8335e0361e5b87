//! Roles: what a user may call.
//!
//! Roles and permissions have fixed references: the MD5 digest of their name in the form of a uuid.

use md5::{Digest, Md5};
use uuid::Uuid;
use xenapi_types::meta::{self, Role};
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

pub(crate) fn register(router: &mut Router) {
    router.raw("role.get_by_permission_name_label", |_, args| {
        let permission = args.str(0);
        let message = meta::messages().iter().find(|m| m.method.eq_ignore_ascii_case(permission));
        let least = message.and_then(|message| message.role);
        let allowed = ROLES.into_iter().filter(|role| least.is_some_and(|least| *role <= least));
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
            let permissions = meta::messages().iter().filter(|m| m.role.is_some_and(|least| role <= least));
            let permissions: Vec<String> = permissions.map(|m| reference(&m.method)).collect();
            let fields = [
                ("uuid", uuid(role.as_str()).to_string().into()),
                ("name_label", role.as_str().into()),
                ("subroles", permissions.into()),
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
