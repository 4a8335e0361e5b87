//! `dom0_protocol`: the functions of `partition_utils` and more for our own driver, in the JSON of `dom0-protocol`.
//!
//! The bodies are the same as those that Nova's clients call; what differs is how arguments arrive, and that results
//! and failures are typed.

use std::collections::BTreeMap;

use dom0_protocol::VERSION;

use super::{Error, Outcome, kernel, partition_utils, pieces};
use crate::around;
use crate::convention::{Args, Function};
use crate::dom0::{Dom0, Folder};
use crate::pickle::Pickle;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::protocol("describe", describe),
    Function::protocol("progress", progress),
    Function::protocol("cancel", cancel),
    Function::protocol("auto_configure_disk", partition_utils::auto_configure_disk),
    Function::protocol("resize_down", partition_utils::resize_down),
    Function::protocol("generate_disk", partition_utils::generate_disk),
    Function::protocol("copy_disk", partition_utils::copy_disk),
    Function::protocol("write_disk", pieces::write_disk),
    Function::protocol("cache_kernel", kernel::cache),
    Function::protocol("place_kernel", kernel::place),
    Function::protocol("fetch_kernel", kernel::fetch),
    Function::protocol("remove_kernels", kernel::remove),
    Function::protocol("inject", partition_utils::inject),
];

fn describe(_: &dyn Dom0, _: &Args) -> Outcome {
    let text = |text: &str| Pickle::Str(text.to_owned());
    let number = |number: u32| Pickle::Int(number.into());
    let dict = |pairs: Vec<(&str, Pickle)>| {
        Pickle::Dict(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    Ok(dict(vec![
        ("protocol", dict(vec![("major", number(VERSION.major)), ("minor", number(VERSION.minor))])),
        ("program", text(env!("CARGO_PKG_VERSION"))),
        ("functions", Pickle::List(FUNCTIONS.iter().map(|f| text(f.name)).collect())),
    ]))
}

/// The job that is meant.
fn job(args: &Args) -> Result<&str, Error> {
    let job = args.required("of")?;
    match dom0_protocol::is_job(job) {
        true => Ok(job),
        false => Err(dom0_protocol::ProtocolError::Job(job.to_owned()).into()),
    }
}

/// `cancel(of, at_once)`: has the job's own call end. Answers whether there is one.
fn cancel(dom0: &dyn Dom0, args: &Args) -> Outcome {
    around::cancel(dom0, job(args)?, args.optional("at_once") == Some("true")).map(Pickle::Bool)
}

/// What the job's own call has written last.
fn progress(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let job = job(args)?;
    let file = dom0.folder(Folder::Jobs).join(format!("{job}.json"));
    // Not there before the first step, nor after the last one.
    let Ok(text) = dom0.read_to_string(&file) else { return Ok(Pickle::None) };
    let report: dom0_protocol::Report =
        serde_json::from_str(&text).map_err(|e| Error::Other(format!("{}: {e}", file.display())))?;
    let number = |n: u64| Pickle::Int(i64::try_from(n).unwrap_or(i64::MAX));
    Ok(Pickle::Dict(BTreeMap::from([
        ("step".to_owned(), Pickle::Str(report.step)),
        ("done".to_owned(), number(report.done)),
        ("total".to_owned(), number(report.total)),
    ])))
}

#[cfg(test)]
mod tests {
    use dom0_protocol::{
        AutoConfigureDisk, Call, CopyDisk, Describe, Failure, FailureKind, GenerateDisk, Progress, Reply,
        Report, encode,
    };
    use xenapi_wire::Limits;
    use xenapi_wire::plugin::{PluginCall, decode_response};

    use super::*;
    use crate::testing::Fake;

    fn ask<C: Call>(dom0: &dyn Dom0, call: &C, job: Option<&str>) -> Result<C::Answer, Failure> {
        let (function, args) = (C::FUNCTION.to_owned(), encode(call, job));
        let call = PluginCall { function, session: "OpaqueRef:NULL".to_owned(), args };
        let output = crate::respond("dom0_protocol.py", &call.encode().unwrap(), dom0);
        let text = decode_response(output.as_bytes(), &Limits::REQUEST).unwrap().unwrap();
        Reply::decode(&text).unwrap().into_result()
    }

    #[test]
    fn every_request_of_the_protocol_is_answered() {
        let mut known = dom0_protocol::FUNCTIONS.to_vec();
        let mut here: Vec<_> = FUNCTIONS.iter().map(|function| function.name).collect();
        known.sort_unstable();
        here.sort_unstable();
        assert_eq!(here, known);
        let description = ask(&Fake::default(), &Describe {}, None).unwrap();
        assert_eq!((description.protocol, description.functions.len()), (VERSION, known.len()));
    }

    #[test]
    fn work_and_how_it_fails() {
        let dom0 = Fake::default().with_disk("/dev/xvdb", 8192).with_disk("/dev/xvdc", 8192);
        let dom0 = dom0.answering("losetup", 0, "/dev/loop7\n", "");
        let generate = |fs_type: &str| GenerateDisk {
            dev: "xvdb".to_owned(),
            fs_type: fs_type.to_owned(),
            fs_label: "eph".to_owned(),
        };
        ask(&dom0, &generate("ext3"), None).unwrap();
        let wrong = ask(&dom0, &generate("zfs"), None).unwrap_err();
        assert_eq!((wrong.kind, wrong.argument.as_deref()), (FailureKind::Argument, Some("fs_type")));
        let copy = CopyDisk { source: "xvdb".to_owned(), dev: "xvdc".to_owned(), size_bytes: 4 << 20 };
        assert!(ask(&dom0, &copy, Some("j")).unwrap() > 0);
        let empty = AutoConfigureDisk { dev: "xvdc".to_owned() };
        assert_eq!(ask(&dom0, &empty, None).unwrap_err().kind, FailureKind::Refused);
        let dom0 = Fake::default().with_disk("/dev/xvdb", 8192).failing("mkfs.ext3");
        let dom0 = dom0.answering("losetup", 0, "/dev/loop7\n", "");
        let failed = ask(&dom0, &generate("ext3"), None).unwrap_err();
        assert_eq!((failed.kind, failed.program.as_deref()), (FailureKind::Command, Some("mkfs.ext3")));
        assert!(failed.stderr.is_some_and(|text| failed.message.contains(&text)));
    }

    #[test]
    fn what_is_no_request() {
        let dom0 = Fake::default();
        for text in ["", "{}", r#"{"version":{"major":2,"minor":0},"params":{}}"#] {
            let args = BTreeMap::from([("request".to_owned(), text.to_owned())]);
            let call = PluginCall { function: "describe".to_owned(), session: String::new(), args };
            let output = crate::respond("dom0_protocol", &call.encode().unwrap(), &dom0);
            let text = decode_response(output.as_bytes(), &Limits::REQUEST).unwrap().unwrap();
            let failure = Reply::<()>::decode(&text).unwrap().into_result().unwrap_err();
            assert_eq!(failure.kind, FailureKind::Protocol, "{text}");
        }
    }

    #[test]
    fn how_far_a_job_is() {
        let of = |dom0: &dyn Dom0, job: &str| ask(dom0, &Progress { of: job.to_owned() }, None);
        assert_eq!(of(&Fake::default(), "a-job"), Ok(None));
        let dom0 = Fake::default()
            .with_file("/run/xapi-plugins/a-job.json", r#"{"step":"copying","done":1,"total":2}"#);
        let report = Report { step: "copying".to_owned(), done: 1, total: 2 };
        assert_eq!(of(&dom0, "a-job"), Ok(Some(report)));
        assert_eq!(of(&dom0, "../a-job").unwrap_err().kind, FailureKind::Protocol);
    }

    #[test]
    fn a_job_is_told_of_while_it_lasts() {
        let dom0 = Fake::default();
        let file = "/run/xapi-plugins/a-job.json";
        let around = around::Around::for_job(&dom0, Some("a-job"));
        let _ = around.execute("e2fsck", &[], "", std::time::Duration::ZERO);
        assert_eq!(dom0.file(file).as_deref(), Some(r#"{"done":0,"step":"e2fsck","total":0}"#));
        around.report("copying", 512, 1024);
        assert_eq!(dom0.file(file).as_deref(), Some(r#"{"done":512,"step":"copying","total":1024}"#));
        drop(around);
        assert_eq!(dom0.file(file), None);
    }
}
