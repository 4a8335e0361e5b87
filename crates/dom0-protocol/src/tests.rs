use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A request as it is on the wire, and its answer, both ways.
fn both_ways<C>(params: &C, wire: &serde_json::Value, answer: C::Answer, answer_wire: &serde_json::Value)
where
    C: Call + PartialEq + fmt::Debug,
    C::Answer: PartialEq + fmt::Debug,
{
    let text = encode(params, Some("job-1"))[ARGUMENT].clone();
    let request: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(request, json!({"version": {"major": 1, "minor": 1}, "job": "job-1", "params": wire}));
    assert_eq!(Request::<C>::decode(&text).unwrap().params, *params, "{}", C::FUNCTION);
    let reply = Reply::Answer(answer);
    let text = reply.encode();
    let message: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(message, json!({"version": {"major": 1, "minor": 1}, "answer": answer_wire}));
    assert_eq!(Reply::<C::Answer>::decode(&text).unwrap(), reply);
    assert!(FUNCTIONS.contains(&C::FUNCTION));
}

#[test]
fn every_request_and_its_answer() {
    let dev = || "xvdb".to_owned();
    let resized =
        Resized { partition_start: 2048, partition_sectors: 8, fs_type: "ext4".into(), fs_bytes: 4096 };
    let resized_wire =
        json!({"partition_start": 2048, "partition_sectors": 8, "fs_type": "ext4", "fs_bytes": 4096});
    let description =
        Description { protocol: VERSION, program: "0.1.0".into(), functions: vec!["describe".into()] };
    let description_wire =
        json!({"protocol": {"major": 1, "minor": 1}, "program": "0.1.0", "functions": ["describe"]});
    both_ways(&Describe {}, &json!({}), description, &description_wire);
    let report = Report { step: "copying".into(), done: 1, total: 2 };
    let report_wire = json!({"step": "copying", "done": 1, "total": 2});
    both_ways(&Progress { of: "a".into() }, &json!({"of": "a"}), Some(report), &report_wire);
    both_ways(&AutoConfigureDisk { dev: dev() }, &json!({"dev": "xvdb"}), resized.clone(), &resized_wire);
    let down = ResizeDown { dev: dev(), size_bytes: u64::MAX };
    both_ways(&down, &json!({"dev": "xvdb", "size_bytes": u64::MAX}), resized, &resized_wire);
    let generate = GenerateDisk { dev: dev(), fs_type: "xfs".into(), fs_label: String::new() };
    both_ways(&generate, &json!({"dev": "xvdb", "fs_type": "xfs", "fs_label": ""}), (), &json!(null));
    let copy = CopyDisk { source: "xvdc".into(), dev: dev(), size_bytes: 512 };
    both_ways(&copy, &json!({"source": "xvdc", "dev": "xvdb", "size_bytes": 512}), 7, &json!(7));
    let write = WriteDisk { dev: dev(), pieces: vec![(512, "AAAA".into())], zeros: vec![(0, 512)] };
    let write_wire = json!({"dev": "xvdb", "pieces": [[512, "AAAA"]], "zeros": [[0, 512]]});
    both_ways(&write, &write_wire, 3, &json!(3));
    let cache = CacheKernel { dev: dev(), size_bytes: 3, sha256: "00".into(), name: "k".into() };
    let cache_wire = json!({"dev": "xvdb", "size_bytes": 3, "sha256": "00", "name": "k"});
    both_ways(&cache, &cache_wire, "/boot/guest/k".into(), &json!("/boot/guest/k"));
    let place = PlaceKernel { sha256: "00".into(), name: "k".into() };
    both_ways(
        &place,
        &json!({"sha256": "00", "name": "k"}),
        Some("/boot/guest/k".into()),
        &json!("/boot/guest/k"),
    );
    both_ways(&RemoveKernels { names: vec!["k".into()] }, &json!({"names": ["k"]}), 1, &json!(1));
    let inject = Inject { dev: dev(), files: vec![("/a".into(), "aGk=".into())], ..Inject::default() };
    both_ways(&inject, &json!({"dev": "xvdb", "files": [["/a", "aGk="]]}), true, &json!(true));
    let fetch = FetchKernel {
        url: "http://a/k?t=s3cr3t".into(),
        headers: [("X-Auth-Token".into(), "s3cr3t".into())].into(),
        digest: "00".into(),
        max_bytes: 9,
        name: "k".into(),
    };
    let fetch_wire = json!({
        "url": "http://a/k?t=s3cr3t", "headers": {"X-Auth-Token": "s3cr3t"}, "digest": "00", "max_bytes": 9,
        "name": "k",
    });
    both_ways(&fetch, &fetch_wire, "/boot/guest/k".into(), &json!("/boot/guest/k"));
    assert!(!format!("{fetch:?}").contains("s3cr3t"));
    let cancel = Cancel { of: "job-2".into(), at_once: true };
    both_ways(&cancel, &json!({"of": "job-2", "at_once": true}), false, &json!(false));
    assert_eq!(FUNCTIONS.len(), 13);
}

#[test]
fn nothing_is_an_answer_too() {
    for text in [r#"{"version":{"major":1,"minor":0}}"#, r#"{"version":{"major":1,"minor":0},"answer":null}"#]
    {
        assert_eq!(Reply::<()>::decode(text), Ok(Reply::Answer(())));
        assert_eq!(Reply::<Option<Report>>::decode(text), Ok(Reply::Answer(None)));
        assert!(matches!(Reply::<u64>::decode(text), Err(ProtocolError::Malformed(_))));
    }
}

#[test]
fn later_minor_versions_and_other_major_ones() {
    let later = r#"{"version":{"major":1,"minor":7},"priority":1,"params":{"dev":"xvdb","hint":[]}}"#;
    assert_eq!(Request::<AutoConfigureDisk>::decode(later).unwrap().params.dev, "xvdb");
    // Nothing but the version is looked at.
    let other = r#"{"version":{"major":2,"minor":0},"everything":"else"}"#;
    let error = Request::<Describe>::decode(other).unwrap_err();
    assert_eq!(error, ProtocolError::Version { ours: VERSION, theirs: Version { major: 2, minor: 0 } });
    assert!(error.to_string().contains("speaks version 2.0"), "{error}");
    assert!(matches!(Reply::<()>::decode(other), Err(ProtocolError::Version { .. })));
}

#[test]
fn failures_keep_what_they_say() {
    let failure = Failure {
        program: Some("e2fsck".into()),
        stderr: Some("no such device".into()),
        ..Failure::new(FailureKind::Command, "e2fsck: exit status: 8: no such device")
    };
    let text = Reply::<()>::Failed(failure.clone()).encode();
    assert!(text.contains(r#""kind":"command""#), "{text}");
    assert_eq!(Reply::<u64>::decode(&text), Ok(Reply::Failed(failure)));
    let later = r#"{"version":{"major":1,"minor":9},"error":{"kind":"meteorite","message":"gone"}}"#;
    assert_eq!(Reply::<()>::decode(later), Ok(Reply::Failed(Failure::new(FailureKind::Other, "gone"))));
}

#[test]
fn malformed_messages_do_not_show_what_is_in_them() {
    for text in ["", "{", "[]", "null", r#"{"version":{"major":1,"minor":0},"params":{"dev":"$6$secret"#] {
        let error = Request::<Inject>::decode(text).unwrap_err().to_string();
        assert!(error.starts_with("not a message") && !error.contains("secret"), "{error}");
    }
    let typed = r#"{"version":{"major":1,"minor":0},"params":{"dev":"xvdb","ssh_key":{"secret":1}}}"#;
    assert!(!Request::<Inject>::decode(typed).unwrap_err().to_string().contains("secret"));
}

#[test]
fn jobs_are_no_paths() {
    for job in ["", "..", "a/b", "a b", "a\0b", &"a".repeat(65)] {
        let text =
            serde_json::to_string(&Request { version: VERSION, job: Some(job.into()), params: Describe {} });
        assert_eq!(
            Request::<Describe>::decode(&text.unwrap()),
            Err(ProtocolError::Job(job.into())),
            "{job:?}"
        );
    }
}

#[test]
fn secrets_are_not_shown() {
    let inject = Inject {
        files: vec![("/etc/key".into(), "c2VjcmV0".into())],
        root_password_hash: Some("$6$secret".into()),
        ..Inject::default()
    };
    assert_eq!(format!("{inject:?}"), r#"Inject { dev: "", files: ["/etc/key"], .. }"#);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        let _ = Request::<Inject>::decode(&text);
        let _ = Reply::<Option<Report>>::decode(&text);
    }

    #[test]
    fn any_parameters_survive(dev in ".*", size_bytes: u64, path in ".*", key in proptest::option::of(".*")) {
        let down = ResizeDown { dev: dev.clone(), size_bytes };
        prop_assert_eq!(Request::<ResizeDown>::decode(&encode(&down, None)[ARGUMENT]).unwrap().params, down);
        let inject = Inject { dev, files: vec![(path, String::new())], ssh_key: key, ..Inject::default() };
        prop_assert_eq!(Request::<Inject>::decode(&encode(&inject, None)[ARGUMENT]).unwrap().params, inject);
    }
}
