//! A simulator that is killed at any moment starts again with a database and disks that agree, and with everything
//! that it had said was done.
//!
//! `SEED=n cargo test -p xapi-simulator --test crashes -- --ignored --nocapture` kills it a hundred times.

#![allow(missing_docs, unreachable_pub, reason = "a test is no library")]

#[path = "storage/client.rs"]
#[allow(dead_code, reason = "each test uses a part of this")]
mod client;
#[path = "storage/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::time::Duration;

use client::Client;
use program::start;
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// What is being done, and may have happened or not.
#[derive(Debug, Clone, PartialEq)]
enum Doing {
    Nothing,
    Create,
    Import(String),
    Snapshot,
    Resize(String, usize),
    Destroy(String),
}

/// What the simulator has said is so: the content of each disk, by reference.
struct Model {
    disks: BTreeMap<String, Vec<u8>>,
    doing: Doing,
    done: usize,
}

impl Model {
    /// Does one thing after the other, for ever.
    async fn work(&mut self, client: &Client, sr: &Value, dice: &mut Dice) {
        loop {
            self.step(client, sr, dice).await;
            self.doing = Doing::Nothing;
            self.done += 1;
        }
    }

    async fn step(&mut self, client: &Client, sr: &Value, dice: &mut Dice) {
        let known: Vec<String> = self.disks.keys().cloned().collect();
        let choice = if known.is_empty() { 0 } else { dice.below(if known.len() < 6 { 6 } else { 7 }) };
        let vdi = if known.is_empty() { String::new() } else { known[dice.below(known.len())].clone() };
        match choice {
            0 => {
                self.doing = Doing::Create;
                let size = (1 + dice.below(3)) * 2 * MIB;
                let record = json!({"SR": sr, "virtual_size": size, "type": "user", "sharable": false,
                    "read_only": false, "other_config": {}, "name_label": "disk", "name_description": ""});
                let made = client.call("VDI.create", [record]).await;
                self.disks.insert(made.as_str().unwrap().to_owned(), vec![0; size]);
            }
            1..=2 => {
                self.doing = Doing::Import(vdi.clone());
                let disk = &self.disks[&vdi];
                let seed = dice.below(250) as u8;
                let body: Vec<u8> = (0..disk.len()).map(|i| (i / 512) as u8 ^ seed).collect();
                let task = client.call("task.create", [json!("import"), json!("")]).await;
                let task = task.as_str().unwrap();
                client.put(&format!("/import_raw_vdi?vdi={vdi}&format=raw&task_id={task}"), &[&body]).await;
                let record = client.call("task.get_record", [json!(task)]).await;
                assert_eq!(record["status"], "success", "{record}");
                self.disks.insert(vdi, body);
            }
            3..=4 => {
                self.doing = Doing::Snapshot;
                let made = client.call("VDI.snapshot", [json!(vdi)]).await;
                let content = self.disks[&vdi].clone();
                self.disks.insert(made.as_str().unwrap().to_owned(), content);
            }
            5 => {
                let size = self.disks[&vdi].len() + 2 * MIB;
                self.doing = Doing::Resize(vdi.clone(), size);
                client.call("VDI.resize", [json!(vdi), json!(size)]).await;
                self.disks.get_mut(&vdi).unwrap().resize(size, 0);
            }
            _ => {
                self.doing = Doing::Destroy(vdi.clone());
                client.call("VDI.destroy", [json!(vdi)]).await;
                self.disks.remove(&vdi);
            }
        }
    }

    /// Compares with what a new process says, and takes over what became of the last thing that was done.
    async fn check(&mut self, client: &Client, sr: &Value) {
        let rows = client.call("VDI.get_all_records", []).await;
        let in_doubt = match &self.doing {
            Doing::Destroy(vdi) => Some(vdi.clone()),
            _ => None,
        };
        for vdi in self.disks.keys().filter(|vdi| in_doubt.as_ref() != Some(*vdi)) {
            let row = &rows[vdi];
            assert_eq!(row["current_operations"], json!({}), "{vdi}");
            assert_eq!(row["VBDs"], json!([]), "{vdi}");
        }
        assert_eq!(client.call("task.get_all", []).await, json!([]));
        client.call("SR.scan", [sr.clone()]).await;
        let rows = client.call("VDI.get_all_records", []).await;
        let rows = rows.as_object().unwrap();
        let mut surplus = Vec::new();
        for (vdi, row) in rows.iter().filter(|(_, row)| row["managed"] == true) {
            let found = export(client, vdi).await;
            assert_eq!(number(&row["virtual_size"]), found.len(), "{vdi}");
            match self.disks.get_mut(vdi) {
                None => surplus.push(vdi),
                Some(content) if *content == found => {}
                Some(content) => {
                    let explained = match &self.doing {
                        Doing::Import(target) => target == vdi && found.len() == content.len(),
                        Doing::Resize(target, size) => {
                            let (begin, rest) = found.split_at(content.len().min(found.len()));
                            target == vdi
                                && found.len() == *size
                                && begin == content.as_slice()
                                && rest.iter().all(|byte| *byte == 0)
                        }
                        _ => false,
                    };
                    assert!(explained, "{vdi} has another content after {:?}", self.doing);
                    *content = found;
                }
            }
        }
        let may_be_more = matches!(self.doing, Doing::Create | Doing::Snapshot);
        assert!(surplus.len() <= usize::from(may_be_more), "{surplus:?} after {:?}", self.doing);
        for vdi in surplus {
            client.call("VDI.destroy", [json!(vdi)]).await;
        }
        self.disks.retain(|vdi, _| {
            let is_there = rows.contains_key(vdi);
            assert!(is_there || in_doubt.as_ref() == Some(vdi), "{vdi} is gone after {:?}", self.doing);
            is_there
        });
        self.doing = Doing::Nothing;
    }
}

fn number(value: &Value) -> usize {
    match value.as_str() {
        Some(text) => text.parse().unwrap(),
        None => usize::try_from(value.as_u64().unwrap()).unwrap(),
    }
}

async fn export(client: &Client, vdi: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let path = format!("/export_raw_vdi?vdi={vdi}&format=raw");
    client.download(&path, |bytes| body.extend_from_slice(bytes)).await;
    body
}

async fn local_storage(client: &Client) -> Value {
    client.call("SR.get_by_name_label", [json!("Local storage")]).await[0].clone()
}

/// Kills it so many times; returns how many things were done in between.
async fn kill(times: usize, seed: u64) -> usize {
    let state = tempfile::tempdir().unwrap();
    let mut dice = Dice(seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15));
    let mut model = Model { disks: BTreeMap::new(), doing: Doing::Nothing, done: 0 };
    for _ in 0..times {
        let (mut child, url) = start(state.path()).await;
        let client = Client::log_in(&url).await;
        let sr = local_storage(&client).await;
        model.check(&client, &sr).await;
        let moment = Duration::from_micros(dice.below(400_000) as u64);
        let killing = async {
            tokio::time::sleep(moment).await;
            // Nothing of the work is looked at any more after this: what it was waiting for is in doubt.
            child.start_kill().unwrap();
        };
        tokio::select! {
            biased;
            () = killing => {}
            () = model.work(&client, &sr, &mut dice) => unreachable!("it never ends"),
        }
        child.wait().await.unwrap();
    }
    let (_child, url) = start(state.path()).await;
    let client = Client::log_in(&url).await;
    let sr = local_storage(&client).await;
    model.check(&client, &sr).await;
    for vdi in model.disks.keys() {
        client.call("VDI.destroy", [json!(vdi)]).await;
    }
    client.call("SR.scan", [sr]).await;
    let left = client.call("VDI.get_all_records", []).await;
    let left: Vec<_> = left.as_object().unwrap().values().filter(|row| row["managed"] == true).collect();
    assert!(left.is_empty(), "{left:?}");
    model.done
}

#[tokio::test(flavor = "multi_thread")]
async fn database_and_disks_agree_after_a_few_kills() {
    kill(5, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a hundred kills take minutes: docs/reliability.md has the command; five are tried in every build"]
#[expect(clippy::print_stdout, reason = "the figures are what the run is for")]
async fn database_and_disks_agree_after_a_hundred_kills() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("SEED={seed}");
    let done = kill(100, seed).await;
    println!("killed 100 times, {done} operations done in between");
    assert!(done > 100, "only {done} operations between the kills");
}
