//! The client over a service of requests, which is the simulator.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use e2e::pool::personality;
use e2e::service::InProcess;
use http_body_util::Full;
use xapi_simulator::fault::Fault;
use xapi_simulator::{Simulator, World};
use xenapi_client::{Client, Config, ErrorKind, ExportFormat, ImportFormat};
use xenapi_types::{Console, Sr, Task, Vdi, VdiType, Vm, vdi, vm};
use xenapi_wire::Ref;

async fn bench() -> (Arc<Simulator>, Client) {
    let simulator = Arc::new(
        Simulator::builder()
            .world(World::demo())
            .password("pw")
            .personality(personality())
            .build()
            .await
            .unwrap(),
    );
    let config = Config::new("http://simulator", "root", "pw").unwrap();
    let client = Client::over_service(config, InProcess(Arc::clone(&simulator)));
    (simulator, client)
}

#[tokio::test]
async fn everything_but_consoles_goes_over_a_service() {
    let (simulator, client) = bench().await;
    let vms = client.all_records::<Vm>().await.unwrap();
    let vm = vms.iter().find(|(_, record)| record.is_a_template).unwrap().0;

    let params = vm::Clone { vm: vm.clone(), new_name: "copy".to_owned() };
    let copy = client.spawn_task(params).await.unwrap().await.unwrap();
    let renamed = client.wait_until(&copy, Duration::from_secs(60), |vm| vm.name_label == "renamed");
    let (renamed, set) =
        tokio::join!(renamed, client.set_field(&copy, vm::field::NAME_LABEL, "renamed".to_owned()));
    renamed.unwrap();
    set.unwrap();

    let sr = client.by_name_label::<Sr>("Local storage").await.unwrap();
    let content: Vec<u8> = (0..3_u32 << 20).map(|n| (n % 251) as u8).collect();
    let create = vdi::Create {
        name_label: "disk".to_owned(),
        sr,
        virtual_size: 4 << 20,
        r#type: VdiType::User,
        ..vdi::Create::default()
    };
    let disk: Ref<Vdi> = client.call(create).await.unwrap();
    let body = Full::new(Bytes::from(content.clone()));
    client.import_vdi(&disk, ImportFormat::Raw, body).await.unwrap();
    let mut export = client.export_vdi(&disk, ExportFormat::Raw, None).await.unwrap();
    let mut out = Vec::new();
    while let Some(data) = export.chunk().await.unwrap() {
        out.extend_from_slice(&data);
    }
    export.finish().await.unwrap();
    assert!(
        out.len() == 4 << 20 && out[..3 << 20] == content && out[3 << 20..].iter().all(|byte| *byte == 0)
    );
    assert_eq!(client.all::<Task>().await.unwrap(), []);

    client.spawn_task(vm::Provision { vm: copy.clone() }).await.unwrap().await.unwrap();
    let start = vm::Start { vm: copy, start_paused: false, force: false };
    client.spawn_task(start).await.unwrap().await.unwrap();
    let console = client.all::<Console>().await.unwrap().remove(0);
    let error = client.console(&console).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");

    simulator.faults().on("VM.get_all", Fault::DropAfterExecution);
    client.all::<Vm>().await.unwrap();
    simulator.faults().on("VM.clone", Fault::DropAfterExecution);
    let lost = client.call(vm::Clone { vm: vm.clone(), new_name: "lost".to_owned() }).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::OutcomeUnknown, "{lost}");
    client.close().await.unwrap();
}
