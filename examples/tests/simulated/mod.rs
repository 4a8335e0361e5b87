//! A simulated pool that the programs reach as operators start them, and a client that looks what is there then.
#![allow(dead_code, reason = "each test uses a part of this")]

pub(crate) mod plugins;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use examples::demo_image::DemoImage;
use examples::foreign;
use serde_json::Value;
use tempfile::TempDir;
use xapi_simulator::core::Config as Behaviour;
use xapi_simulator::fault::Fault;
use xapi_simulator::targets::Target;
use xapi_simulator::{Simulator, World};
use xenapi_client::{Client, Config};
use xenapi_types::{Ref, Sr, Vm, VmRecord, sr, vdi};
use xenapi_wire::Failure;

const PASSWORD: &str = "as-operators-do";

pub(crate) struct Simulated {
    pub(crate) simulator: Simulator,
    pub(crate) client: Client,
    /// Where the programs run, with an image: `disk.raw`.
    pub(crate) files: TempDir,
    url: String,
}

impl Simulated {
    pub(crate) async fn new(world: World) -> Result<Self> {
        Self::behaving(world, Behaviour::default()).await
    }

    pub(crate) async fn behaving(world: World, behaviour: Behaviour) -> Result<Self> {
        let simulator =
            Simulator::builder().world(world).config(behaviour).password(PASSWORD).build().await?;
        // Each host has an address of its own.
        let listening = simulator.listen_pool("127.0.0.1:0").await?;
        let url = listening.first().context("a coordinator")?.url.clone();
        let client = Client::new(Config::new(&url, "root", PASSWORD)?)?;
        let files = tempfile::tempdir()?;
        DemoImage { virtual_bytes: 40 << 20, payload_bytes: 1 << 20 }
            .write(&files.path().join("disk.raw"))?;
        Ok(Self { simulator, client, files, url })
    }

    /// A program at this pool, its results as JSON.
    pub(crate) fn command(&self, name: &str, args: &str) -> Result<Command> {
        let mut path: PathBuf = std::env::current_exe()?;
        path.pop();
        path.pop();
        let mut command = Command::new(path.join("examples").join(name));
        command.env("XENAPI_URL", &self.url).env("XENAPI_PASSWORD", PASSWORD).env_remove("XENAPI_USER");
        command.env_remove("RUST_LOG").current_dir(self.files.path()).stdin(Stdio::null());
        command.args(args.split_whitespace()).arg("--json");
        Ok(command)
    }

    pub(crate) fn tool(&self, name: &str, args: &str) -> Result<Output> {
        let mut command = self.command(name, args)?;
        // The simulator answers on the other threads.
        tokio::task::block_in_place(|| command.output()).with_context(|| name.to_owned())
    }

    /// Runs a program, and gives back the objects that it printed.
    pub(crate) fn run(&self, name: &str, args: &str) -> Result<Vec<Value>> {
        let output = self.tool(name, args)?;
        ensure!(output.status.success(), "{name} {args}: {output:?}");
        let text = str::from_utf8(&output.stdout)?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Runs a program that does a part of it, and gives back the object that it printed.
    pub(crate) fn fails_after(&self, name: &str, args: &str) -> Result<Value> {
        let output = self.tool(name, args)?;
        ensure!(output.status.code() == Some(1), "{name} {args}: {output:?}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// From now on nobody is let in, and nobody is in.
    pub(crate) fn lock_out(&self) {
        let refused = Failure::new("SESSION_AUTHENTICATION_FAILED", ["root"]);
        self.simulator.faults().on_every("session.login_with_password", Fault::Failure(refused));
        self.simulator.restart_toolstack();
    }

    /// Runs a program that must fail, and gives back its error.
    pub(crate) fn fails(&self, name: &str, args: &str) -> Result<String> {
        let output = self.tool(name, args)?;
        ensure!(output.status.code() == Some(1), "{name} {args}: {output:?}");
        let told: Value = serde_json::from_slice(&output.stdout)?;
        Ok(told["error"].as_str().with_context(|| format!("{name} {args}: {told}"))?.to_owned())
    }

    /// The steps of a dry run.
    pub(crate) fn would(&self, name: &str, args: &str) -> Result<String> {
        let told = self.run(name, &format!("{args} --dry-run"))?;
        let steps = told.first().and_then(|told| told["would"].as_array()).cloned();
        let steps = steps.filter(|steps| !steps.is_empty());
        Ok(Value::from(steps.with_context(|| format!("{name} {args}: {told:?}"))?).to_string())
    }

    pub(crate) async fn vm(&self, name: &str) -> Result<(Ref<Vm>, VmRecord)> {
        let vm = self.client.by_name_label::<Vm>(name).await?;
        let record = self.client.record(&vm).await?;
        Ok((vm, record))
    }

    /// A repository of type nfs that all hosts reach.
    pub(crate) async fn share(&self, name: &str) -> Result<Ref<Sr>> {
        let (server, path) = ("192.0.2.2", "/srv");
        self.simulator.targets().add(Target::share(server, path));
        let device_config = [("server", server), ("serverpath", path)];
        let device_config = device_config.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let pools = self.client.all_records::<xenapi_types::Pool>().await?;
        let share = sr::Create {
            host: pools.into_values().next().context("a pool")?.master,
            device_config,
            physical_size: 1 << 32,
            name_label: name.into(),
            r#type: "nfs".into(),
            content_type: "user".into(),
            shared: true,
            name_description: String::new(),
            sm_config: None,
        };
        Ok(self.client.call(share).await?)
    }

    /// A disk that is nobody's: the repository and its own uuid.
    pub(crate) async fn disk(&self, name: &str, bytes: i64) -> Result<(String, String)> {
        let sr = self.client.by_name_label::<Sr>("Local storage").await?;
        let create = vdi::Create { virtual_size: bytes, ..foreign::disk(name, sr.clone()) };
        let disk = self.client.call(create).await?;
        let uuid = self.client.get_field(&disk, vdi::field::UUID).await?;
        Ok((self.client.get_field(&sr, sr::field::UUID).await?, uuid))
    }
}
