//! The cache and the followed events against a pool that changes, fails and restarts.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use xapi_simulator::fault::Fault;
use xapi_simulator::{Simulator, World};
use xenapi_client::{
    Cache, Changes, Client, Config, Encoding, ErrorKind, Limits, ResyncCause, Status, Update, Watched,
    private_connect_fn,
};
use xenapi_types::implicit::Listed;
use xenapi_types::{EventOperation, Task, Vbd, Vdi, Vm, VmMetrics, vm};
use xenapi_wire::{Failure, Ref, Value};

/// A pool that can be replaced by another one while clients are connected to it.
struct Bench {
    simulator: Arc<Mutex<Arc<Simulator>>>,
    client: Client,
    directory: tempfile::TempDir,
}

async fn simulator(directory: &std::path::Path) -> Arc<Simulator> {
    let builder = Simulator::builder().world(World::demo()).password("pw").state_dir(directory);
    Arc::new(builder.build().await.unwrap())
}

async fn bench(encoding: Encoding) -> Bench {
    bench_within(encoding, Limits::default()).await
}

async fn bench_within(encoding: Encoding, limits: Limits) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let simulator = Arc::new(Mutex::new(simulator(&directory.path().join("a")).await));
    let config = Config::new("http://simulator", "root", "pw").unwrap().timeouts(support::timeouts());
    let now = Arc::clone(&simulator);
    let connector = private_connect_fn(move |_| {
        let connection = now.lock().unwrap().connect();
        async move { Ok(connection) }
    });
    let client = Client::over(config.encoding(encoding).limits(limits), connector).unwrap();
    Bench { simulator, client, directory }
}

impl Bench {
    fn now(&self) -> Arc<Simulator> {
        Arc::clone(&self.simulator.lock().unwrap())
    }

    /// Ends the toolstack and starts it again on the database in a directory.
    async fn restart_on(&self, directory: &str) {
        let old = self.now();
        old.shutdown().unwrap();
        let new = simulator(&self.directory.path().join(directory)).await;
        *self.simulator.lock().unwrap() = new;
    }

    /// Keeps the database as it is now in another directory.
    fn save_as(&self, directory: &str) {
        self.now().core().db().sync().unwrap();
        let (from, to) = (self.directory.path().join("a/objects"), self.directory.path().join(directory));
        let to = to.join("objects");
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }

    fn create(&self, class: &str, fields: &[(&str, Value)]) -> String {
        let created =
            self.now().core().db().write(|tx| Ok::<_, Failure>(tx.create(class, fields.iter().cloned())));
        created.unwrap()
    }

    fn vm(&self, name: &str) -> Ref<Vm> {
        self.create("VM", &[("name_label", name.into())]).into()
    }

    fn set(&self, class: &str, object: &str, field: &str, value: Value) {
        self.now().core().db().write(|tx| tx.set(class, object, field, value)).unwrap();
    }

    fn delete(&self, class: &str, object: &str) {
        self.now()
            .core()
            .db()
            .write(|tx| {
                tx.delete(class, object);
                Ok::<_, Failure>(())
            })
            .unwrap();
    }
}

/// Holds the cache against what the server says, when nothing changes.
async fn same<C: Listed + Watched>(cache: &Cache, client: &Client)
where
    C::Record: Clone + std::fmt::Debug,
{
    let there = client.all_records::<C>().await.unwrap();
    let snapshot = cache.snapshot();
    let here: BTreeMap<Ref<C>, C::Record> =
        snapshot.iter::<C>().map(|o| (o.reference().clone(), o.record().clone())).collect();
    assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>(), "{}", C::NAME);
    for (reference, record) in &there {
        assert_eq!(&here[reference], record, "{} {reference}", C::NAME);
        let uuid = C::uuid(record).unwrap();
        assert_eq!(snapshot.by_uuid::<C>(uuid).unwrap().reference(), reference);
        if let Some(name) = C::name_label(record) {
            assert!(snapshot.by_name_label::<C>(name).any(|found| found.reference() == reference));
        }
    }
    assert_eq!(snapshot.count::<C>(), there.len());
}

/// Both ends of each relation agree in every state that a reader can see.
fn consistent(cache: &Cache) {
    let pool = cache.snapshot();
    for vbd in pool.iter::<Vbd>() {
        let vm = pool
            .get(&vbd.vm)
            .unwrap_or_else(|| panic!("{:?} is on no VM at {}", vbd.reference(), pool.token()));
        assert!(vm.vbds.contains(vbd.reference()), "{} {}", vm.reference(), pool.token());
    }
    for vm in pool.iter::<Vm>() {
        for vbd in &vm.vbds {
            assert!(pool.get(vbd).is_some_and(|vbd| vbd.vm == *vm.reference()), "{vbd} {}", pool.token());
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// What a pool does all day.
#[derive(Default)]
struct Life {
    vms: Vec<String>,
    vbds: Vec<String>,
    tasks: Vec<String>,
    made: usize,
}

impl Life {
    fn step(&mut self, bench: &Bench, random: &mut Random) {
        self.made += 1;
        let name = format!("object {}", self.made % 50);
        match random.below(12) {
            0..3 => self.vms.push(bench.create("VM", &[("name_label", name.into())])),
            3..6 if !self.vms.is_empty() => {
                let vm = &self.vms[random.below(self.vms.len())];
                self.vbds
                    .push(bench.create("VBD", &[("VM", vm.as_str().into()), ("userdevice", "0".into())]));
            }
            6..8 if !self.vms.is_empty() => {
                bench.set("VM", &self.vms[random.below(self.vms.len())], "name_label", name.into());
            }
            8 if !self.vbds.is_empty() => {
                let vbd = self.vbds.swap_remove(random.below(self.vbds.len()));
                bench.delete("VBD", &vbd);
            }
            9 if self.vms.len() > 5 => {
                let vm = self.vms.swap_remove(random.below(self.vms.len()));
                let db = bench.now();
                let mut gone = Vec::new();
                db.core()
                    .db()
                    .write(|tx| {
                        let vbds = tx.objects("VBD").filter(|vbd| vbd.str("VM") == vm);
                        gone = vbds.map(|vbd| vbd.reference().to_owned()).collect();
                        for vbd in &gone {
                            tx.delete("VBD", vbd);
                        }
                        tx.delete("VM", &vm);
                        Ok::<_, Failure>(())
                    })
                    .unwrap();
                self.vbds.retain(|vbd| !gone.contains(vbd));
            }
            10 => self.tasks.push(bench.create("task", &[("name_label", name.into())])),
            _ if !self.tasks.is_empty() => {
                let task = self.tasks.swap_remove(random.below(self.tasks.len()));
                bench.delete("task", &task);
            }
            _ => {}
        }
    }
}

/// What befalls the calls of a cache, the last one first.
fn faults() -> Vec<(&'static str, Fault)> {
    let lost = |code: &str| Fault::Failure(Failure::new(code, ["00,00"]));
    vec![
        ("event.from", Fault::DropBefore),
        ("event.from", Fault::DropAfterExecution),
        ("event.from", Fault::DropAfterBytes(600)),
        ("event.from", lost("EVENTS_LOST")),
        ("VM.get_all_records", Fault::DropAfterBytes(3_000)),
        ("event.from", Fault::SessionExpired),
        ("event.from", lost("EVENT_FROM_TOKEN_PARSE_FAILURE")),
        ("VBD.get_all_records", Fault::SessionExpired),
        ("event.inject", Fault::DropAfterExecution),
        ("event.from", lost("INTERNAL_ERROR")),
    ]
}

async fn follows(encoding: Encoding, seed: u64) {
    let bench = bench(encoding).await;
    let mut random = Random(seed);
    let mut life = Life::default();
    for _ in 0..200 {
        life.step(&bench, &mut random);
    }
    let cache =
        Cache::builder().watch::<Vm>().watch::<Vbd>().watch::<Task>().start(&bench.client).await.unwrap();
    same::<Vm>(&cache, &bench.client).await;
    let (first, mut changes) = cache.subscribe::<Vm>();
    let mut told: BTreeMap<Ref<Vm>, String> =
        first.iter::<Vm>().map(|vm| (vm.reference().clone(), vm.name_label.clone())).collect();

    let mut faults = faults();
    for round in 0..14 {
        for _ in 0..random.below(60) {
            life.step(&bench, &mut random);
            if random.below(4) == 0 {
                tokio::time::sleep(Duration::from_millis(random.below(8) as u64)).await;
                consistent(&cache);
            }
        }
        match round {
            4 => {
                // The tasks are gone afterwards, and nobody says so.
                bench.restart_on("a").await;
                life.tasks.clear();
            }
            _ if round % 3 != 2 => {
                if let Some((method, fault)) = faults.pop() {
                    bench.now().faults().on(method, fault);
                }
            }
            _ => {
                catch_up(&cache).await;
                consistent(&cache);
                same::<Vm>(&cache, &bench.client).await;
                same::<Vbd>(&cache, &bench.client).await;
                same::<Task>(&cache, &bench.client).await;
                hear(&mut changes, &mut told);
                let now = cache.snapshot();
                let now = now.iter::<Vm>().map(|vm| (vm.reference().clone(), vm.name_label.clone()));
                assert_eq!(told, now.collect());
            }
        }
    }
    let counters = cache.counters();
    assert!(counters.resyncs >= 4 && counters.batches > 5, "{counters:?}");
    assert!(matches!(cache.status(), Status::Following), "{:?}", cache.status());
}

/// The names of VMs after the changes that were told. Each begins where the one before has ended.
fn hear(changes: &mut Changes<Vm>, told: &mut BTreeMap<Ref<Vm>, String>) {
    while let Some(change) = changes.try_next() {
        let before = change.before.map(|vm| vm.name_label.clone());
        assert_eq!(told.remove(&change.reference), before, "{}", change.reference);
        if let Some(after) = change.after {
            told.insert(change.reference, after.name_label.clone());
        }
    }
}

/// [`Cache::catch_up`], with faults in its own calls put up with.
async fn catch_up(cache: &Cache) {
    let end = Instant::now() + Duration::from_secs(30);
    while let Err(error) = tokio::time::timeout(Duration::from_secs(20), cache.catch_up()).await.unwrap() {
        assert!(Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_is_what_the_server_has_whatever_happens_json() {
    follows(Encoding::JsonRpc, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_is_what_the_server_has_whatever_happens_xml() {
    follows(Encoding::XmlRpc, 2).await;
}

#[tokio::test]
async fn objects_that_vanish_without_an_event_are_noticed() {
    let bench = bench(Encoding::Auto).await;
    let task = bench.create("task", &[("name_label", "long".into())]);
    let cache = Cache::builder().watch::<Task>().start(&bench.client).await.unwrap();
    assert_eq!(cache.by_name_label::<Task>("long").len(), 1);
    bench.restart_on("a").await;
    let gone = cache.wait_until(&Ref::<Task>::from(task), Duration::from_secs(10), |_| false).await;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(cache.count::<Task>(), 0);
}

#[tokio::test]
async fn waits_do_not_sleep_through_a_restart_on_an_older_database() {
    let bench = bench(Encoding::Auto).await;
    let (vm, task) = (bench.vm("waited for"), bench.create("task", &[("name_label", "long".into())]));
    bench.save_as("b");
    for _ in 0..20 {
        bench.vm("forgotten");
    }
    let client = bench.client.clone();
    let ending = tokio::spawn(xenapi_client::Task::<()>::attach(&client, task.into(), "long").wait());
    let looks = Arc::new(AtomicUsize::new(0));
    let waiting = {
        let (vm, looks) = (vm.clone(), Arc::clone(&looks));
        tokio::spawn(async move {
            let changed = |vm: &xenapi_types::VmRecord| {
                looks.fetch_add(1, Ordering::Relaxed);
                vm.name_label == "changed"
            };
            client.wait_until(&vm, Duration::from_secs(60), changed).await
        })
    };
    // After the second look it waits for events, with a token of the newer database.
    while looks.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.restart_on("b").await;
    // Before their waits of half a minute would be over.
    let soon = Duration::from_secs(20);
    let error = tokio::time::timeout(soon, ending).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    bench.set("VM", &vm.to_string(), "name_label", "changed".into());
    tokio::time::timeout(soon, waiting).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn an_older_database_is_read_anew() {
    let bench = bench(Encoding::Auto).await;
    bench.vm("kept");
    bench.save_as("b");
    for _ in 0..20 {
        bench.vm("forgotten");
    }
    let cache = Cache::builder().watch::<Vm>().start(&bench.client).await.unwrap();
    assert_eq!(
        (cache.by_name_label::<Vm>("kept").len(), cache.by_name_label::<Vm>("forgotten").len()),
        (1, 20)
    );
    bench.restart_on("b").await;
    catch_up(&cache).await;
    assert_eq!(
        (cache.by_name_label::<Vm>("kept").len(), cache.by_name_label::<Vm>("forgotten").len()),
        (1, 0)
    );
    same::<Vm>(&cache, &bench.client).await;
}

#[tokio::test]
async fn waiting_sees_what_happens_and_the_end() {
    let bench = bench(Encoding::Auto).await;
    let cache = Cache::builder().watch::<Vm>().start(&bench.client).await.unwrap();
    // Younger than the cache's state, perhaps.
    let vm = bench.vm("one");
    let found = cache.wait_until(&vm, Duration::from_secs(10), |_| true).await.unwrap();
    assert_eq!((found.name_label.as_str(), found.reference()), ("one", &vm));

    let waiting = {
        let (cache, vm) = (cache.clone(), vm.clone());
        tokio::spawn(async move {
            cache.wait_until(&vm, Duration::from_secs(10), |vm| vm.name_label == "two").await
        })
    };
    bench.client.set_field(&vm, vm::field::NAME_LABEL, "two").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().name_label, "two");

    let error = cache.wait_until(&vm, Duration::from_millis(100), |_| false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let nobody = Ref::<Vm>::from_uuid_bits(7);
    let error = cache.wait_until(&nobody, Duration::from_secs(10), |_| true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let (seen, mut changes) = cache.subscribe_to(&vm);
    assert_eq!(seen.unwrap().name_label, "two");
    bench.delete("VM", &vm.to_string());
    let change = changes.next().await.unwrap();
    assert!(change.after.is_none() && change.before.unwrap().name_label == "two");
    assert!(cache.get(&vm).is_none() && cache.by_name_label::<Vm>("two").is_empty());

    drop(cache);
    assert!(changes.next().await.is_none());
}

#[tokio::test]
async fn the_end_of_the_client_is_the_end_of_the_cache() {
    let bench = bench(Encoding::Auto).await;
    let cache = Cache::builder().watch::<Vm>().start(&bench.client).await.unwrap();
    let template = cache.by_name_label::<Vm>("Other install media").pop().unwrap();
    let waiting = {
        let (cache, vm) = (cache.clone(), template.reference().clone());
        tokio::spawn(async move { cache.wait_until(&vm, Duration::from_secs(60), |_| false).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    bench.client.close().await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert!(matches!(cache.status(), Status::Ended(Some(_))));
    // What was known stays.
    assert!(cache.get(template.reference()).is_some());
}

#[tokio::test]
async fn what_cannot_work_is_said_at_the_start() {
    let bench = bench(Encoding::Auto).await;
    let twice = Cache::builder().watch::<Vm>().watch::<Vm>().start(&bench.client).await;
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::Config);
    let refused = Failure::new("RBAC_PERMISSION_DENIED", ["event.from", "nobody"]);
    bench.now().faults().on("event.from", Fault::Failure(refused));
    let denied = Cache::builder().watch::<Vm>().start(&bench.client).await;
    assert!(denied.unwrap_err().is("RBAC_PERMISSION_DENIED"));
}

#[tokio::test]
#[should_panic(expected = "class VDI is not watched")]
async fn looking_at_another_class_is_a_mistake() {
    let bench = bench(Encoding::Auto).await;
    let cache = Cache::builder().watch::<Vm>().start(&bench.client).await.unwrap();
    let _ = cache.count::<Vdi>();
}

#[tokio::test]
async fn a_resync_tells_only_of_what_is_different() {
    let bench = bench(Encoding::Auto).await;
    for name in ["a", "b", "c"] {
        bench.vm(name);
    }
    let cache = Cache::builder().watch::<Vm>().watch::<VmMetrics>().start(&bench.client).await.unwrap();
    let (_, mut changes) = cache.subscribe::<Vm>();
    let kept = cache.by_name_label::<Vm>("a").pop().unwrap();
    bench.now().faults().on("event.from", Fault::SessionExpired);
    // The wait that is under way ends with this; the fault strikes the next one.
    let changed = bench.vm("d");
    let change = changes.next().await.unwrap();
    assert_eq!(change.reference, changed);
    let last = bench.vm("e");
    let change = changes.next().await.unwrap();
    assert_eq!(change.reference, last);
    catch_up(&cache).await;
    assert!(cache.counters().resyncs >= 2, "{:?}", cache.counters());
    assert!(changes.try_next().is_none());
    assert!(Arc::ptr_eq(&kept, &cache.get(kept.reference()).unwrap()));
}

#[tokio::test]
async fn events_go_on_where_they_were() {
    let bench = bench(Encoding::Auto).await;
    let mut events = bench.client.follow(&["VM"]);
    assert_eq!(events.next().await.unwrap(), Update::Resync(ResyncCause::Start));
    let one = bench.vm("one");
    let Update::Changes(batch) = events.next().await.unwrap() else { panic!("no changes") };
    assert_eq!(batch.events[0].operation, EventOperation::Add);
    assert_eq!(batch.events[0].object::<Vm>(), Some(one.clone()));

    // Dropped and begun again, with a connection that breaks in between.
    for _ in 0..5 {
        assert!(tokio::time::timeout(Duration::from_millis(20), events.next()).await.is_err());
    }
    bench.now().faults().on("event.from", Fault::DropAfterExecution);
    bench.set("VM", &one.to_string(), "name_label", "two".into());
    let Update::Changes(batch) = events.next().await.unwrap() else { panic!("no changes") };
    assert_eq!(batch.events[0].record::<Vm>().unwrap().unwrap().name_label, "two");

    bench.now().faults().on("event.from", Fault::Failure(Failure::new("EVENTS_LOST", [] as [&str; 0])));
    assert_eq!(events.next().await.unwrap(), Update::Resync(ResyncCause::EventsLost));
    bench.now().faults().on("event.from", Fault::SessionExpired);
    assert_eq!(events.next().await.unwrap(), Update::Resync(ResyncCause::SessionReplaced));
    bench.delete("VM", &one.to_string());
    let Update::Changes(batch) = events.next().await.unwrap() else { panic!("no changes") };
    assert_eq!(batch.events[0].operation, EventOperation::Del);

    bench.client.close().await.unwrap();
    assert_eq!(events.next().await.unwrap_err().kind(), ErrorKind::Closed);
}

/// One answer of a server with a pool and nothing else.
fn lonely_pool(method: &str) -> Option<Result<Value, Failure>> {
    match method {
        "pool.get_all" => Some(Ok(Value::Array(vec![support::text("OpaqueRef:pool")]))),
        "event.inject" => Some(Ok(support::text("00000000000000000010,00000000000000000000"))),
        _ => None,
    }
}

fn batch(token: &str) -> Value {
    let empty = Value::Struct(BTreeMap::new());
    Value::Struct(BTreeMap::from([
        ("events".to_owned(), Value::Array(Vec::new())),
        ("valid_ref_counts".to_owned(), empty),
        ("token".to_owned(), support::text(token)),
    ]))
}

#[tokio::test]
async fn a_server_that_always_loses_events_is_not_pestered() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let client = support::client(support::calls(move |method, _| {
        lonely_pool(method).unwrap_or_else(|| {
            count.fetch_add(1, Ordering::Relaxed);
            Err(Failure::new("EVENTS_LOST", [] as [&str; 0]))
        })
    }));
    let mut events = client.follow(&["VM"]);
    let following = async {
        loop {
            assert!(matches!(events.next().await.unwrap(), Update::Resync(_)));
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(2), following).await.is_err());
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=6).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_server_that_does_not_wait_is_not_pestered() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let client = support::client(support::calls(move |method, _| {
        lonely_pool(method).unwrap_or_else(|| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(batch("00000000000000000010,00000000000000000000"))
        })
    }));
    let mut events = client.follow(&["VM"]);
    assert!(matches!(events.next().await.unwrap(), Update::Resync(_)));
    assert!(tokio::time::timeout(Duration::from_secs(2), events.next()).await.is_err());
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=8).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_token_from_the_future_is_found_out_after_trouble() {
    let ahead = Arc::new(AtomicBool::new(false));
    let restored = Arc::clone(&ahead);
    let client = support::client(support::calls(move |method, _| match method {
        "event.inject" if restored.load(Ordering::Relaxed) => {
            Ok(support::text("00000000000000000003,00000000000000000000"))
        }
        "event.from" if !restored.swap(true, Ordering::Relaxed) => {
            Err(Failure::new("TOO_BUSY", [] as [&str; 0]))
        }
        _ => lonely_pool(method).unwrap_or_else(|| Ok(batch("00000000000000000010,00000000000000000000"))),
    }));
    let mut events = client.follow(&["VM"]);
    assert_eq!(events.next().await.unwrap(), Update::Resync(ResyncCause::Start));
    assert_eq!(events.next().await.unwrap(), Update::Resync(ResyncCause::TokenAhead));
}

#[tokio::test]
async fn another_coordinator_is_followed_and_everything_read_again() {
    let moved = Arc::new(AtomicBool::new(false));
    let client = {
        let moved = Arc::clone(&moved);
        support::client(move |mut peer, url| {
            let moved = Arc::clone(&moved);
            async move {
                while let Some(head) = peer.head().await {
                    let is_old = url.contains("10.0.0.1");
                    peer.answer_call(&head, |method, _| {
                        if is_old && moved.load(Ordering::Relaxed) {
                            return Err(Failure::new("HOST_IS_SLAVE", ["10.0.0.2"]));
                        }
                        moved.fetch_or(method == "event.from", Ordering::Relaxed);
                        let answer = support::session_calls(method).or_else(|| lonely_pool(method));
                        answer.unwrap_or_else(|| Ok(batch("00000000000000000010,00000000000000000000")))
                    })
                    .await;
                }
            }
        })
    };
    let mut events = client.follow(&["VM"]);
    assert_eq!(events.next().await.unwrap(), Update::Resync(ResyncCause::Start));
    assert_eq!(events.next().await.unwrap(), Update::Resync(ResyncCause::CoordinatorChanged));
    assert_eq!(client.endpoint().host(), Some("10.0.0.2"));
}

/// A server that tells of new objects without end.
#[tokio::test]
async fn no_more_objects_are_kept_than_allowed() {
    let limits = Limits { cached_objects: 40, ..Limits::default() };
    let bench = bench_within(Encoding::JsonRpc, limits).await;
    let cache = Cache::builder().watch::<Vm>().watch::<Vdi>().start(&bench.client).await.unwrap();
    let begin = cache.count::<Vm>() + cache.count::<Vdi>();
    assert!(begin < 40, "{begin}");
    for n in begin..40 {
        bench.vm(&format!("vm-{n}"));
    }
    cache.catch_up().await.unwrap();
    assert_eq!(cache.count::<Vm>() + cache.count::<Vdi>(), 40, "as many as allowed");
    bench.vm("one more");
    let error = cache.catch_up().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    let text = error.to_string();
    assert!(text.contains("more than 40 objects of") && text.contains("Limits::cached_objects"), "{text}");
    assert!(matches!(cache.status(), Status::Ended(Some(_))));
    assert_eq!(cache.count::<Vm>() + cache.count::<Vdi>(), 40, "what was there stays visible");
    // Nor does one begin with too many.
    let started = Cache::builder().watch::<Vm>().watch::<Vdi>().start(&bench.client).await;
    assert_eq!(started.unwrap_err().kind(), ErrorKind::Protocol);
}
