//! Records, fields and their types: what every class has in common, and how arguments are read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use xenapi_types::implicit::Listed;
use xenapi_types::{
    Host, HostMetrics, Network, OnCrashBehaviour, Pbd, Pif, Pool, Sm, Sr, Task, Vbd, Vdi, Vif, Vm,
    VmGuestMetrics, VmMetrics, VmOperations, message, network, task, vm,
};
use xenapi_wire::{Ref, Value};

use super::expect::{refused, refused_with, same};
use super::lab::{Lab, MIB};

super::checks! { "records";
    every_class_reads_into_its_type,
    unknown_references_are_refused_by_name,
    the_null_reference_is_refused,
    unknown_uuids_are_refused_by_name,
    a_uuid_leads_to_its_object,
    all_references_are_those_of_all_records,
    a_record_holds_what_the_getters_give,
    names_need_not_be_unique,
    text_comes_back_as_it_was_sent,
    a_key_is_added_to_a_map_once,
    failures_name_fields_as_the_database_does,
    an_absent_key_is_removed_without_complaint,
    a_set_keeps_order_and_repetitions,
    a_tag_is_added_once,
    integers_are_read_as_ocaml_reads_them,
    integers_that_are_none_are_refused,
    floats_may_be_text,
    dates_are_read_in_many_forms,
    booleans_must_be_booleans,
    enums_are_read_in_any_case,
    unknown_enum_values_are_refused,
    arguments_of_the_wrong_type_are_internal_errors,
    a_map_of_text_takes_nothing_else,
    arguments_are_counted,
    unknown_methods_are_refused_by_name,
    an_underscore_may_replace_the_dot,
    removed_classes_say_so,
    relations_agree_at_both_ends,
    queries_choose_by_database_names,
    queries_combine,
    queries_that_cannot_be_read_are_refused,
}

const UNKNOWN: &str = "OpaqueRef:00000000-0000-4000-8000-000000000000";
const UNKNOWN_UUID: &str = "00000000-0000-4000-8000-000000000000";

type Answer = xenapi_client::Result<Value>;

async fn read_all<C: Listed>(lab: &Lab) -> Result<usize> {
    Ok(lab.client.all_records::<C>().await.with_context(|| format!("class {}", C::NAME))?.len())
}

async fn every_class_reads_into_its_type(lab: &Lab) -> Result<()> {
    for count in
        [read_all::<Pool>(lab).await?, read_all::<Host>(lab).await?, read_all::<HostMetrics>(lab).await?]
    {
        ensure!(count > 0, "a pool, host or host's metrics is missing");
    }
    for count in [read_all::<Vm>(lab).await?, read_all::<Network>(lab).await?, read_all::<Pif>(lab).await?] {
        ensure!(count > 0, "a control domain, network or interface is missing");
    }
    read_all::<Vdi>(lab).await?;
    read_all::<Vbd>(lab).await?;
    read_all::<Vif>(lab).await?;
    read_all::<Sr>(lab).await?;
    read_all::<Pbd>(lab).await?;
    read_all::<Sm>(lab).await?;
    read_all::<Task>(lab).await?;
    read_all::<VmMetrics>(lab).await?;
    read_all::<VmGuestMetrics>(lab).await?;
    read_all::<xenapi_types::Vlan>(lab).await?;
    read_all::<xenapi_types::Bond>(lab).await?;
    read_all::<xenapi_types::Console>(lab).await?;
    lab.client.call(message::GetAllRecords {}).await?;
    read_all::<xenapi_types::Certificate>(lab).await?;
    read_all::<xenapi_types::Role>(lab).await?;
    Ok(())
}

const CLASSES: [&str; 12] =
    ["VM", "VDI", "VBD", "VIF", "SR", "PBD", "PIF", "host", "pool", "network", "task", "VM_metrics"];

async fn unknown_references_are_refused_by_name(lab: &Lab) -> Result<()> {
    for class in CLASSES {
        for reference in [UNKNOWN, "", "garbage é<&>"] {
            let answer: Answer = lab.rpc(&format!("{class}.get_record"), (reference,)).await;
            refused_with(answer, "HANDLE_INVALID", &[class, reference])?;
        }
        let answer: Answer = lab.rpc(&format!("{class}.get_uuid"), (UNKNOWN,)).await;
        refused_with(answer, "HANDLE_INVALID", &[class, UNKNOWN])?;
    }
    // A reference to an object of another class is as unknown; the right class knows it.
    let vm = lab.vm().await?;
    let answer: Answer = lab.rpc("VDI.get_record", (&vm,)).await;
    refused_with(answer, "HANDLE_INVALID", &["VDI", &vm.to_string()])?;
    lab.client.record(&vm).await?;
    Ok(())
}

async fn the_null_reference_is_refused(lab: &Lab) -> Result<()> {
    for class in CLASSES {
        let answer: Answer = lab.rpc(&format!("{class}.get_record"), ("OpaqueRef:NULL",)).await;
        refused_with(answer, "HANDLE_INVALID", &[class, "OpaqueRef:NULL"])?;
    }
    Ok(())
}

async fn unknown_uuids_are_refused_by_name(lab: &Lab) -> Result<()> {
    for class in CLASSES {
        for uuid in [UNKNOWN_UUID, "", "not a uuid"] {
            let answer: Answer = lab.rpc(&format!("{class}.get_by_uuid"), (uuid,)).await;
            refused_with(answer, "UUID_INVALID", &[class, uuid])?;
        }
    }
    Ok(())
}

async fn uuids_lead_back<C: Listed>(lab: &Lab, uuid: impl Fn(&C::Record) -> &str) -> Result<()> {
    for (object, record) in lab.client.all_records::<C>().await?.into_iter().take(10) {
        // Others may destroy theirs in the meantime.
        let Some(found) = lab.client.by_uuid_opt::<C>(uuid(&record)).await? else { continue };
        same(&format!("the {} with uuid {}", C::NAME, uuid(&record)), found, object)?;
    }
    Ok(())
}

async fn a_uuid_leads_to_its_object(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let uuid = lab.client.record(&vm).await?.uuid;
    same("the VM", lab.client.by_uuid::<Vm>(&uuid).await?, vm)?;
    uuids_lead_back::<Host>(lab, |record| &record.uuid).await?;
    uuids_lead_back::<Sr>(lab, |record| &record.uuid).await?;
    uuids_lead_back::<Network>(lab, |record| &record.uuid).await?;
    uuids_lead_back::<Vm>(lab, |record| &record.uuid).await
}

async fn all_references_are_those_of_all_records(lab: &Lab) -> Result<()> {
    for class in ["host", "pool", "PIF", "SM", "host_cpu", "role"] {
        let all: BTreeSet<String> = lab.rpc(&format!("{class}.get_all"), ()).await?;
        let records: BTreeMap<String, Value> = lab.rpc(&format!("{class}.get_all_records"), ()).await?;
        same(class, all.iter().collect::<Vec<_>>(), records.keys().collect::<Vec<_>>())?;
        for reference in records.keys().take(3) {
            let record: Value = lab.rpc(&format!("{class}.get_record"), (reference,)).await?;
            let fields = |record: &Value| {
                record.as_struct().map(|members| members.keys().cloned().collect::<Vec<_>>())
            };
            same(&format!("fields of {class} {reference}"), fields(&record), fields(&records[reference]))?;
        }
    }
    Ok(())
}

async fn a_record_holds_what_the_getters_give(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let record = lab.raw_record(&vm).await?;
    let members = record.as_struct().context("the record is no struct")?;
    ensure!(members.len() > 60, "the record has {} fields", members.len());
    for (field, value) in members {
        let got: Value = match lab.rpc(&format!("VM.get_{field}"), (&vm,)).await {
            // The records keep fields of features that are no more.
            Err(error) if error.is("MESSAGE_REMOVED") => continue,
            got => got?,
        };
        same(&format!("VM.get_{field}"), unordered(&got), unordered(value))?;
    }
    Ok(())
}

/// A value with its sets sorted: their order is XAPI's choice.
fn unordered(value: &Value) -> String {
    match value.as_array() {
        Some(items) => {
            let mut items: Vec<_> = items.iter().map(unordered).collect();
            items.sort();
            items.join(",")
        }
        None => format!("{value:?}"),
    }
}

async fn names_need_not_be_unique(lab: &Lab) -> Result<()> {
    let name = lab.name();
    let mut made = Vec::new();
    for _ in 0..2 {
        made.push(lab.vm_of(vm::Create { name_label: name.clone(), ..lab.vm_fields() }).await?);
    }
    let found: BTreeSet<_> = lab.client.all_by_name_label::<Vm>(&name).await?.into_iter().collect();
    same("the VMs of that name", found, made.into_iter().collect::<BTreeSet<_>>())?;
    same("of another name", lab.client.all_by_name_label::<Vm>(&lab.name()).await?.len(), 0)
}

async fn text_comes_back_as_it_was_sent(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    for text in
        ["", " a  b ", "<&>\"'", "é ü 漢字 😀", "tab\there, line\nend", "]]>", "&amp;", "%20", "\\n", "null"]
    {
        lab.client.set_field(&vm, vm::field::NAME_DESCRIPTION, text).await?;
        same("a text", lab.client.get_field(&vm, vm::field::NAME_DESCRIPTION).await?.as_str(), text)?;
        let map = BTreeMap::from([("k é".to_owned(), text.to_owned())]);
        lab.client.set_field(&vm, vm::field::XENSTORE_DATA, map.clone()).await?;
        same("a text in a map", lab.client.get_field(&vm, vm::field::XENSTORE_DATA).await?, map)?;
    }
    Ok(())
}

async fn a_key_is_added_to_a_map_once(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    lab.client.add_to(&vm, vm::field::OTHER_CONFIG, "k", "v1").await?;
    let again = lab.client.add_to(&vm, vm::field::OTHER_CONFIG, "k", "v2").await;
    refused_with(again, "MAP_DUPLICATE_KEY", &["VM", "other_config", &vm.to_string(), "k"])?;
    let map = lab.client.get_field(&vm, vm::field::OTHER_CONFIG).await?;
    same("other_config[k]", map.get("k").map(String::as_str), Some("v1"))
}

/// The database joins the parts of a name with two underscores.
async fn failures_name_fields_as_the_database_does(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    for (field, stored) in [("VCPUs_params", "VCPUs__params"), ("HVM_boot_params", "HVM__boot_params")] {
        let method = format!("VM.add_to_{field}");
        let _: Value = lab.rpc(&method, (&vm, "k", "v")).await?;
        let again: Answer = lab.rpc(&method, (&vm, "k", "v")).await;
        refused_with(again, "MAP_DUPLICATE_KEY", &["VM", stored, &vm.to_string(), "k"])?;
    }
    Ok(())
}

async fn an_absent_key_is_removed_without_complaint(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    lab.client.add_to(&vm, vm::field::PLATFORM, "k", "v").await?;
    for _ in 0..2 {
        lab.client.remove_from(&vm, vm::field::PLATFORM, "k").await?;
        ensure!(
            !lab.client.get_field(&vm, vm::field::PLATFORM).await?.contains_key("k"),
            "the key is still there"
        );
    }
    Ok(())
}

async fn a_set_keeps_order_and_repetitions(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let tags = ["b", "a", "a", ""].map(str::to_owned).to_vec();
    lab.client.set_field(&vm, vm::field::TAGS, tags.clone()).await?;
    same("VM.tags", lab.client.get_field(&vm, vm::field::TAGS).await?, tags)
}

async fn a_tag_is_added_once(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    for tag in ["t1", "t1", "t2"] {
        let _: Value = lab.rpc("VM.add_tags", (&vm, tag)).await?;
    }
    let tags: BTreeSet<_> = lab.client.get_field(&vm, vm::field::TAGS).await?.into_iter().collect();
    same("VM.tags", tags, ["t1", "t2"].map(str::to_owned).into())?;
    for tag in ["t1", "absent"] {
        let _: Value = lab.rpc("VM.remove_tags", (&vm, tag)).await?;
    }
    same("VM.tags", lab.client.get_field(&vm, vm::field::TAGS).await?, ["t2"])
}

async fn integers_are_read_as_ocaml_reads_them(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let texts = [
        ("0", 0),
        ("-1", -1),
        ("+5", 5),
        ("007", 7),
        ("1_000", 1_000),
        ("0b11", 3),
        ("0x10", 16),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ];
    for (text, number) in texts {
        let _: Value = lab.rpc("VM.set_user_version", (&vm, text)).await?;
        same(text, lab.client.get_field(&vm, vm::field::USER_VERSION).await?, number)?;
    }
    for number in [0, -1, 2_147_483_647, -2_147_483_648] {
        lab.client.set_field(&vm, vm::field::USER_VERSION, number).await?;
        same("user_version", lab.client.get_field(&vm, vm::field::USER_VERSION).await?, number)?;
    }
    Ok(())
}

async fn integers_that_are_none_are_refused(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    lab.client.set_field(&vm, vm::field::USER_VERSION, 42).await?;
    for text in ["", "abc", "1e3", "5 ", " 5", "1.0", "9223372036854775808"] {
        let answer: Answer = lab.rpc("VM.set_user_version", (&vm, text)).await;
        refused(answer, "INTERNAL_ERROR").with_context(|| format!("{text:?}"))?;
    }
    let answer: Answer = lab.rpc("VM.set_user_version", (&vm, 1.5)).await;
    refused(answer, "INTERNAL_ERROR")?;
    same("user_version", lab.client.get_field(&vm, vm::field::USER_VERSION).await?, 42)
}

async fn floats_may_be_text(lab: &Lab) -> Result<()> {
    let task = lab.task().await?;
    for (text, number) in [("0.25", 0.25), ("1", 1.0), ("1e3", 1_000.0), (".5", 0.5), ("inf", f64::INFINITY)]
    {
        let _: Value = lab.rpc("task.set_progress", (&task, text)).await?;
        same(text, lab.client.get_field(&task, task::field::PROGRESS).await?, number)?;
    }
    for number in [0.1, 1.0 / 3.0, 1e-10, -1.0, 1e17, 123_456_789.125] {
        let _: Value = lab.rpc("task.set_progress", (&task, number)).await?;
        same("progress", lab.client.get_field(&task, task::field::PROGRESS).await?, number)?;
    }
    for text in ["", "abc"] {
        let answer: Answer = lab.rpc("task.set_progress", (&task, text)).await;
        refused(answer, "INTERNAL_ERROR")?;
    }
    Ok(())
}

async fn dates_are_read_in_many_forms(lab: &Lab) -> Result<()> {
    // Far from now, so that the answers are short.
    for date in ["20991120T10:11:12Z", "2099-11-20T10:11:12Z", "20991120T10:11:12", "20991120T10:11:12+0200"]
    {
        let _: Value = lab.rpc("message.get_since", (date,)).await.with_context(|| date.to_owned())?;
    }
    for text in ["2099-11-20", "garbage", ""] {
        let answer: Answer = lab.rpc("message.get_since", (text,)).await;
        refused(answer, "INTERNAL_ERROR").with_context(|| format!("{text:?}"))?;
    }
    Ok(())
}

async fn booleans_must_be_booleans(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    for text in ["true", "banana", ""] {
        let answer: Answer = lab.rpc("VM.set_is_a_template", (&vm, text)).await;
        refused(answer, "INTERNAL_ERROR").with_context(|| format!("{text:?}"))?;
    }
    let answer: Answer = lab.rpc("VM.set_is_a_template", (&vm, 1)).await;
    refused(answer, "INTERNAL_ERROR")?;
    same("is_a_template", lab.client.get_field(&vm, vm::field::IS_A_TEMPLATE).await?, false)
}

async fn enums_are_read_in_any_case(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    for text in ["RESTART", "Restart", "restart"] {
        let _: Value = lab.rpc("VM.set_actions_after_crash", (&vm, "destroy")).await?;
        let _: Value = lab.rpc("VM.set_actions_after_crash", (&vm, text)).await?;
        let action = lab.client.record(&vm).await?.actions_after_crash;
        same("actions_after_crash", action, OnCrashBehaviour::Restart)?;
    }
    Ok(())
}

async fn unknown_enum_values_are_refused(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let answer: Answer = lab.rpc("VM.set_actions_after_crash", (&vm, "banana")).await;
    refused(answer, "INTERNAL_ERROR")?;
    // As keys of a map too.
    let map = BTreeMap::from([(VmOperations::Unknown("banana".into()), "x".to_owned())]);
    let answer = lab.client.set_field(&vm, vm::field::BLOCKED_OPERATIONS, map).await;
    refused(answer, "INTERNAL_ERROR").map(drop)
}

/// The documented FIELD_TYPE_ERROR never comes.
async fn arguments_of_the_wrong_type_are_internal_errors(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    // No numbers: over XML-RPC these are text, which would fit.
    let answers: [Answer; 6] = [
        lab.rpc("VM.get_record", ([""; 0],)).await,
        lab.rpc("VM.get_record", (true,)).await,
        lab.rpc("VM.set_name_label", (&vm, false)).await,
        lab.rpc("VM.set_name_label", (&vm, ["a"])).await,
        lab.rpc("VM.set_tags", (&vm, "x")).await,
        lab.rpc("VM.set_other_config", (&vm, "x")).await,
    ];
    for answer in answers {
        refused(answer, "INTERNAL_ERROR")?;
    }
    Ok(())
}

async fn a_map_of_text_takes_nothing_else(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let answer: Answer = lab.rpc("VM.set_other_config", (&vm, BTreeMap::from([("a", true)]))).await;
    refused(answer, "INTERNAL_ERROR")?;
    let config = lab.client.get_field(&vm, vm::field::OTHER_CONFIG).await?;
    ensure!(!config.contains_key("a"), "the map has been changed all the same");
    Ok(())
}

/// The session is not counted.
async fn arguments_are_counted(lab: &Lab) -> Result<()> {
    const CODE: &str = "MESSAGE_PARAMETER_COUNT_MISMATCH";
    let none: Answer = lab.rpc("VM.get_record", ()).await;
    refused_with(none, CODE, &["VM.get_record", "1", "0"])?;
    let two: Answer = lab.rpc("VM.get_record", (UNKNOWN, UNKNOWN)).await;
    refused_with(two, CODE, &["VM.get_record", "1", "2"])?;
    let one: Answer = lab.rpc("VM.start", (UNKNOWN,)).await;
    refused_with(one, CODE, &["VM.start", "3", "1"])?;
    let four: Answer = lab.rpc("VM.start", (UNKNOWN, false, false, false)).await;
    refused_with(four, CODE, &["VM.start", "3", "4"])?;
    // With the right number, the call gets as far as its argument.
    let three: Answer = lab.rpc("VM.start", (UNKNOWN, false, false)).await;
    refused_with(three, "HANDLE_INVALID", &["VM", UNKNOWN])
}

async fn unknown_methods_are_refused_by_name(lab: &Lab) -> Result<()> {
    for method in ["VM.nosuch", "NoSuch.get_all", "nodots", "VM.", "vm.get_all", "VM.get_All"] {
        let answer: Answer = lab.rpc(method, ()).await;
        refused_with(answer, "MESSAGE_METHOD_UNKNOWN", &[method])?;
    }
    Ok(())
}

async fn an_underscore_may_replace_the_dot(lab: &Lab) -> Result<()> {
    let pools: Vec<Ref<Pool>> = lab.rpc("pool_get_all", ()).await?;
    same("pool_get_all", pools, [lab.site.pool.clone()])
}

async fn removed_classes_say_so(lab: &Lab) -> Result<()> {
    for class in ["VMPP", "VIF_metrics", "VBD_metrics"] {
        let answer: Answer = lab.rpc(&format!("{class}.get_all_records"), ()).await;
        refused_with(answer, "MESSAGE_REMOVED", &[])?;
    }
    Ok(())
}

async fn relations_agree_at_both_ends(lab: &Lab) -> Result<()> {
    let (vm, vdi, network) = (lab.vm().await?, lab.disk(4 * MIB).await?, lab.network().await?);
    let (vbd, vif) = (lab.vbd(&vm, &vdi, "0").await?, lab.vif(&vm, &network, "0").await?);
    let (vm_record, vdi_record) = (lab.client.record(&vm).await?, lab.client.record(&vdi).await?);
    same("VM.VBDs", &vm_record.vbds, &vec![vbd.clone()])?;
    same("VM.VIFs", &vm_record.vifs, &vec![vif.clone()])?;
    same("VDI.VBDs", &vdi_record.vbds, &vec![vbd.clone()])?;
    same("network.VIFs", lab.client.get_field(&network, network::field::VIFS).await?, [vif.clone()])?;
    let sr = lab.client.record(&vdi_record.sr).await?;
    ensure!(sr.vdis.contains(&vdi), "SR.VDIs does not list the disk");
    for pbd in &sr.pbds {
        same("PBD.SR", lab.client.record(pbd).await?.sr, vdi_record.sr.clone())?;
    }
    lab.client.destroy(&vbd).await?;
    lab.client.destroy(&vif).await?;
    same("VM.VBDs afterwards", lab.client.record(&vm).await?.vbds.len(), 0)?;
    same("VDI.VBDs afterwards", lab.client.record(&vdi).await?.vbds.len(), 0)?;
    same("network.VIFs afterwards", lab.client.record(&network).await?.vifs.len(), 0)
}

/// The objects for which an expression holds, with their records.
async fn chosen(lab: &Lab, class: &str, query: &str) -> xenapi_client::Result<BTreeMap<String, Value>> {
    lab.rpc(&format!("{class}.get_all_records_where"), (query,)).await
}

async fn queries_choose_by_database_names(lab: &Lab) -> Result<()> {
    let vm = lab.vm().await?;
    let record = lab.client.record(&vm).await?;
    let found = chosen(lab, "VM", &format!("field \"name__label\"=\"{}\"", record.name_label)).await?;
    same("found by name", found.keys().collect::<Vec<_>>(), [&vm.to_string()])?;
    let uuid = found.values().next().and_then(|found| found.get("uuid")).and_then(Value::as_str);
    same("its uuid", uuid, Some(record.uuid.as_str()))?;
    let query = format!("field \"uuid\" = \"{}\" and field \"is_a_template\" = \"false\"", record.uuid);
    same("found by uuid", chosen(lab, "VM", &query).await?.len(), 1)?;
    let all: Vec<String> = lab.rpc("VM.get_all_where", (&query,)).await?;
    same("VM.get_all_where", all, [vm.to_string()])?;
    for field in ["name_label", "nosuchfield"] {
        let answer = chosen(lab, "VM", &format!("field \"{field}\"=\"x\"")).await;
        refused_with(answer, "INTERNAL_ERROR", &["missing field", field, ""])?;
    }
    Ok(())
}

async fn queries_combine(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.vm().await?, lab.vm().await?);
    let uuids = [lab.client.record(&a).await?.uuid, lab.client.record(&b).await?.uuid];
    let [is_a, is_b] = uuids.map(|uuid| format!("field \"uuid\"=\"{uuid}\""));
    let cases = [
        (format!("{is_a} or {is_b}"), 2),
        (format!("{is_a} and {is_b}"), 0),
        (format!("({is_a} or {is_b}) and not ({is_b})"), 1),
        (format!("({is_a} or {is_b}) and true"), 2),
        (format!("{is_a} and \"x\"=\"x\""), 1),
        ("false".to_owned(), 0),
    ];
    for (query, count) in cases {
        same(&query, chosen(lab, "VM", &query).await?.len(), count)?;
    }
    let everything = chosen(lab, "pool", "true").await?;
    same("true", everything.keys().collect::<Vec<_>>(), [&lab.site.pool.to_string()])
}

async fn queries_that_cannot_be_read_are_refused(lab: &Lab) -> Result<()> {
    for query in ["", "nonsense", "field \"name__label\"=\"unterminated"] {
        let failure = refused(chosen(lab, "VM", query).await, "INVALID_VALUE")?;
        same("the value", failure.param(0), query)?;
    }
    Ok(())
}
