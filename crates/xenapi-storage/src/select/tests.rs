use proptest::prelude::*;

use super::*;
use crate::Connection;

fn host(n: u128) -> Ref<Host> {
    Ref::from_uuid_bits(0xf00 + n)
}

fn sr(
    n: u128,
    name: &str,
    sr_type: &str,
    other_config: &[(&str, &str)],
    attached: &[(u128, bool)],
) -> Repository {
    Repository {
        reference: Ref::from_uuid_bits(n),
        uuid: format!("uuid-{n}"),
        name_label: name.into(),
        sr_type: sr_type.into(),
        is_tools_sr: false,
        other_config: other_config.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        sm_config: [].into(),
        physical_size: None,
        physical_utilisation: None,
        connections: attached.iter().map(|&(n, attached)| Connection { host: host(n), attached }).collect(),
    }
}

/// Two hosts, each with a local repository; a shared one; an ISO library; the tools.
fn pool() -> Vec<Repository> {
    const LOCAL: &[(&str, &str)] = &[("i18n-key", "local-storage"), ("url", "nfs://a:2049/x=y")];
    vec![
        sr(3, "Local storage", "ext", LOCAL, &[(1, true)]),
        sr(2, "Local storage", "ext", LOCAL, &[(2, true)]),
        sr(1, "Shared", "nfs", &[("i18n-key", "shared")], &[(1, true), (2, false)]),
        sr(4, "ISO library", "iso", &[("i18n-key", "isos")], &[(1, true), (2, true)]),
        Repository { is_tools_sr: true, ..sr(5, "XenServer Tools", "ext", &[], &[(1, true), (2, true)]) },
        sr(6, "Twin", "ext", &[("pair", "1")], &[(1, true)]),
        sr(7, "Twin", "ext", &[("pair", "1")], &[(1, true)]),
    ]
}

#[track_caller]
fn check(filter: &str, on_host: u128, default_sr: &Ref<Sr>, expected: Result<&str, &[&str]>) {
    let choice: Choice = filter.parse().unwrap();
    let mut pool = pool();
    for _ in 0..2 {
        let place = Place { host: &host(on_host), host_name: "h", default_sr };
        match (choice.select(&pool, place), expected) {
            (Ok(found), Ok(uuid)) => assert_eq!(found.uuid, uuid),
            (Err(error), Err(parts)) => {
                let text = error.to_string();
                assert!(parts.iter().all(|part| text.contains(part)), "{text}");
                assert_eq!(error.candidates.len(), pool.len(), "every repository is accounted for");
            }
            (found, expected) => panic!("{filter}: {found:?} instead of {expected:?}"),
        }
        pool.reverse();
    }
}

#[test]
fn filters() {
    let null = Ref::NULL;
    let local = "other-config:i18n-key=local-storage";
    check(local, 1, &null, Ok("uuid-3"));
    check(local, 2, &null, Ok("uuid-2"));
    check("other-config:url=nfs://a:2049/x=y", 2, &null, Ok("uuid-2"));
    check("other-config:pair=1", 1, &null, Ok("uuid-6"));
    check(
        local,
        9,
        &null,
        Err(&["\"Local storage\" (ext, uuid-2) has no PBD on host \"h\"", "value \"shared\""]),
    );
    check(
        "other-config:i18n-key=shared",
        2,
        &null,
        Err(&["\"Shared\" (nfs, uuid-1) has a PBD on host \"h\" that is not"]),
    );
    check("other-config:i18n-key=isos", 1, &null, Err(&["\"ISO library\" (iso, uuid-4) is not for disks"]));
    check("other-config:i18n-key=", 1, &null, Err(&["no SR matches"]));
    check(
        "other-config:nokey=x",
        1,
        &null,
        Err(&["no SR matches \"other-config:nokey=x\" and can be used: "]),
    );
}

#[test]
fn the_default_repository() {
    check("default-sr:true", 1, &Ref::from_uuid_bits(1), Ok("uuid-1"));
    check(
        "default-sr:true",
        2,
        &Ref::from_uuid_bits(1),
        Err(&["\"Shared\" (nfs, uuid-1) has a PBD on host"]),
    );
    check("default-sr:true", 1, &Ref::NULL, Err(&["the pool has no default SR that exists"]));
    check("default-sr:true", 1, &"".into(), Err(&["the pool has no default SR that exists"]));
    check("default-sr:true", 1, &Ref::from_uuid_bits(99), Err(&["the pool has no default SR that exists"]));
    check(
        "default-sr:true",
        1,
        &Ref::from_uuid_bits(4),
        Err(&["\"ISO library\" (iso, uuid-4) is not for disks"]),
    );
}

#[test]
fn names() {
    let null = Ref::NULL;
    for filter in ["Shared", "name:Shared", "uuid-1", "uuid:uuid-1", " uuid-1\n"] {
        check(filter, 1, &null, Ok("uuid-1"));
    }
    check("Local storage", 2, &null, Ok("uuid-2"));
    check("Twin", 1, &null, Err(&["more than one SR matches \"Twin\"", "uuid-6) matches, but not alone"]));
    check("uuid-7", 1, &null, Ok("uuid-7"));
    check("uuid:Shared", 1, &null, Err(&["no SR matches"]));
    check("name:uuid-1", 1, &null, Err(&["no SR matches"]));
    check("XenServer Tools", 1, &null, Err(&["(ext, uuid-5) is not for disks"]));
}

#[test]
fn an_empty_pool() {
    let place = Place { host: &host(1), host_name: "h", default_sr: &Ref::NULL };
    let error = Choice::PoolDefault.select(&[], place).unwrap_err();
    assert!(error.to_string().ends_with("the pool has no SR at all"));
}

#[test]
fn syntax() {
    for (text, expected) in [
        ("", "is empty"),
        ("  ", "is empty"),
        ("default-sr:false", "can only be \"true\""),
        ("default-sr:", "can only be \"true\""),
        ("other-config:i18n-key", "has no \"=\""),
        ("other-config:=x", "has no key"),
        ("uuid:", "has nothing after"),
        ("name:", "has nothing after"),
    ] {
        let error = text.parse::<Choice>().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!("a:b".parse(), Ok(Choice::Named("a:b".into())));
}

proptest! {
    #[test]
    fn text_survives(key in "[^=:]{1,8}", value in ".{0,12}") {
        let choice = Choice::OtherConfig { key, value };
        let text = choice.to_string();
        prop_assume!(text.trim() == text);
        prop_assert_eq!(text.parse(), Ok(choice));
    }

    #[test]
    fn any_text_is_a_choice_or_an_error(text in any::<String>()) {
        if let Ok(choice) = text.parse::<Choice>() {
            prop_assert_eq!(choice.to_string().parse(), Ok(choice));
        }
    }
}
