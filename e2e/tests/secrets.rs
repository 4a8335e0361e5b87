//! Whole flows with everything traced: no password, token, user data or session is in the log, in an error, or in what
//! `Debug` shows of anything that holds one.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::pool::{NETWORK, Pool};
use guest_agent::{Command, Offer};
use image_store::glance::{Credentials, Glance, GlanceSink, GlanceSource, Keystone, NewImage};
use image_store::http::Client as HttpClient;
use image_store::{ImageSource, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use xapi_simulator::fault::Fault;
use xapi_simulator::targets::Target;
use xenapi_client::{Client, Config, Secret};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic, RootImage};
use xenapi_driver::volume::{AttachOptions, Iscsi, Smb, Storage, Volume, VolumeDisk};
use xenapi_driver::{AgentTimeouts, Checks, Progress, SpawnOptions, Which};
use xenapi_types::{secret, session};
use xenapi_wire::Failure;

const ROOT: &str = "s3cr3t-of-root";
const ADMIN: &str = "s3cr3t-of-admin";
const USER_DATA: &str = "s3cr3t-in-user-data";
const CHAP: &str = "s3cr3t-of-chap";
const SMB: &str = "s3cr3t-of-smb";
const KEYSTONE: &str = "s3cr3t-of-keystone";
const TOKEN: &str = "s3cr3t-token";
const GUEST: &str = "s3cr3t-of-guest";
/// What all of them have in common.
const ANY: &str = "s3cr3t";

/// All that was logged and shown.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("the log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Heard {
    /// Notes how something is shown, in both ways.
    fn shown(&self, what: &impl Debug) {
        self.line(&format!("{what:?} {what:#?}"));
    }

    /// An error with all that it has behind it.
    fn error(&self, error: &(dyn std::error::Error + 'static)) {
        let causes = std::iter::successors(Some(error), |error| error.source());
        causes.for_each(|error| self.line(&format!("{error} {error:?} {error:#?}")));
    }

    fn line(&self, text: &str) {
        let mut log = self.0.lock().expect("the log");
        log.extend_from_slice(text.as_bytes());
        log.push(b'\n');
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("the log")).into_owned()
    }
}

/// Keystone and Glance with one image. The second log-in is refused, with all of the request in the answer.
async fn openstack(image: Vec<u8>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let own = url.clone();
    tokio::spawn(async move {
        let mut logins = 0;
        while let Ok((mut socket, _)) = listener.accept().await {
            let request = read_request(&mut socket).await;
            let line = request.lines().next().unwrap_or_default().to_owned();
            let json = |status: &str, more: &str, body: &str| {
                let len = body.len();
                format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n{more}\r\n{body}")
                    .into_bytes()
            };
            let record = format!(
                r#"{{"id":"7","name":"debian","status":"active","container_format":"bare","disk_format":"raw","size":{},"tags":[]}}"#,
                image.len()
            );
            let answer = if line.starts_with("POST /v3/auth/tokens") {
                logins += 1;
                let catalog = format!(
                    r#"{{"token":{{"catalog":[{{"type":"image","endpoints":[{{"interface":"public","url":"{own}"}}]}}]}}}}"#
                );
                match logins {
                    1 => json("201 Created", &format!("X-Subject-Token: {TOKEN}\r\n"), &catalog),
                    _ => json("400 Bad Request", "", &format!("I was told: {request}")),
                }
            } else if line.contains("/file") {
                let mut answer = json("200 OK", "", "");
                let head = String::from_utf8_lossy(&answer)
                    .replace("Content-Length: 0", &format!("Content-Length: {}", image.len()));
                answer = head.into_bytes();
                answer.extend_from_slice(&image);
                answer
            } else if line.starts_with("POST /v2/images") {
                json("403 Forbidden", "", &format!("I was told: {request}"))
            } else {
                json("200 OK", "", &format!(r#"{{"images":[{record}]}}"#))
            };
            // Who has enough may go.
            let _ = socket.write_all(&answer).await;
            let _ = socket.shutdown().await;
        }
    });
    Ok(url)
}

async fn read_request(socket: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut all = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let len =
                head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            if body.len() >= len.unwrap_or(0) {
                return text;
            }
        }
        if socket.read_buf(&mut all).await.unwrap_or(0) == 0 {
            return text;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_said_anywhere() -> Result<()> {
    let heard = Heard::default();
    let writer = heard.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .init();

    let plugins = tempfile::tempdir()?;
    symlink(env!("CARGO_BIN_EXE_fake-agent"), plugins.path().join("agent.py"))?;
    let pool = Pool::with_plugins(plugins.path()).await?;
    let mut sessions = BTreeSet::new();
    log_in(&heard, &pool).await?;
    note_sessions(&pool, &mut sessions);
    let instance = spawn(&heard, &pool).await?;
    attach(&heard, &pool, &instance).await?;
    note_sessions(&pool, &mut sessions);
    set_password(&heard, &pool, &instance, plugins.path()).await?;
    measure(&heard, &pool, &instance).await;
    others(&heard)?;
    note_sessions(&pool, &mut sessions);
    pool.driver.destroy(instance, Progress::none()).await?;
    pool.driver.close().await?;

    let text = heard.text();
    for said in ["xenapi.call", "secret.create", "VM.start", "PBD.create", "host.call_plugin"] {
        assert!(text.contains(said), "{said} is not in the log: what is said there is not heard");
    }
    if let Some(at) = text.find(ANY) {
        let line = text[..at].matches('\n').count();
        let around: String = text.lines().nth(line).unwrap_or_default().chars().take(600).collect();
        panic!("line {line} of the log: {around}");
    }
    // The administrator's sessions, wherever and however they are named.
    assert!(!sessions.is_empty(), "nobody was logged in");
    for session in &sessions {
        if let Some(line) = text.lines().find(|line| line.contains(session)) {
            panic!("a session is in the log: {}", line.chars().take(600).collect::<String>());
        }
    }
    Ok(())
}

/// The references of the sessions that there are now, without what all references begin with.
fn note_sessions(pool: &Pool, sessions: &mut BTreeSet<String>) {
    pool.simulator.core().db().read(|view| {
        sessions.extend(view.objects("session").map(|session| {
            let reference = session.reference();
            reference.strip_prefix("OpaqueRef:").unwrap_or(reference).to_owned()
        }));
    });
}

/// One that succeeds, one with a wrong password, and one that the host answers with what it was sent.
async fn log_in(heard: &Heard, pool: &Pool) -> Result<()> {
    let url = pool.simulator.listen("127.0.0.1:0").await?;
    let config = Config::new(&url, "root", ROOT)?;
    heard.shown(&config);
    let client = Client::new(config)?;
    heard.shown(&client);
    heard.error(&client.login().await.expect_err("a wrong password"));
    let echo = Failure::new("SESSION_AUTHENTICATION_FAILED", ["root", ROOT]);
    pool.simulator.faults().on("session.login_with_password", Fault::Failure(echo));
    heard.error(&client.login().await.expect_err("an echo"));
    heard.shown(&session::LoginWithPassword {
        uname: "root".into(),
        pwd: ROOT.into(),
        version: None,
        originator: None,
    });
    heard.shown(&pool.driver);
    heard.shown(&Secret::new(ROOT));
    Ok(())
}

async fn spawn(heard: &Heard, pool: &Pool) -> Result<Which> {
    let image: Vec<u8> = (0..4_u32 << 20).map(|i| (i % 249) as u8).collect();
    let url = openstack(image).await?;
    let once = Retry { num_retries: 0, ..Retry::default() };
    let user = || Credentials::password("demo", KEYSTONE, "demo");
    let keystone = Keystone::new(HttpClient::default(), &url, user())?;
    heard.shown(&user());
    heard.shown(&Credentials::application("id", KEYSTONE));
    heard.shown(&keystone);
    let glance = Glance::new(keystone).retry(once);
    let source = GlanceSource::new(glance.clone(), "debian");
    heard.shown(&source);
    let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), RootImage::Source(Arc::new(source)));
    spec.nics = vec![Nic::on(NETWORK)];
    spec.config_drive = Some(ConfigDrive {
        admin_pass: Some(ADMIN.into()),
        user_data: Some(format!("#cloud-config\npassword: {USER_DATA}").into_bytes()),
        ssh_keys: [("key".to_owned(), "ssh-ed25519 AAAAC3Nz user".to_owned())].into(),
        vendor_data: Some(serde_json::json!({ "token": USER_DATA })),
        ..ConfigDrive::default()
    });
    heard.shown(&spec);
    let lines = heard.clone();
    let progress = Progress::to(move |event| lines.shown(&event));
    let instance =
        pool.driver.spawn(spec.clone(), SpawnOptions { checks: Checks::AllDisks, progress }).await?;
    heard.shown(&instance);
    heard.shown(&glance);
    // A host that fails at every step of a second one.
    spec.name = "web2".into();
    spec.uuid = uuid::Uuid::new_v4();
    for call in ["VDI.create", "VM.create", "VBD.create", "VM.start_on"] {
        let failure = Failure::new("INTERNAL_ERROR", ["a fault of the test"]);
        pool.simulator.faults().on(call, Fault::Failure(failure));
        heard.error(&pool.spawn(spec.clone()).await.expect_err(call));
        pool.simulator.faults().clear();
    }
    // Services that repeat what they were told.
    let refused = Keystone::new(HttpClient::default(), &url, user())?;
    let refused = GlanceSource::new(Glance::new(refused).retry(once), "debian");
    heard.error(&refused.open().await.expect_err("a refused log-in"));
    let sink = GlanceSink::new(glance, NewImage::new("copy", "bare", "vhd"));
    let upload = pool.driver.upload(Which::Instance(instance.uuid), Arc::new(sink), Default::default());
    heard.error(&upload.await.expect_err("a refused upload"));
    Ok(Which::Instance(instance.uuid))
}

async fn attach(heard: &Heard, pool: &Pool, instance: &Which) -> Result<()> {
    const IQN: &str = "iqn.2010-10.org.example:volume-1";
    pool.simulator.targets().add(Target::iscsi("192.0.2.1", IQN, [(0, 8 << 20)]).login("user", CHAP));
    let volume = |password: &str| -> Result<Volume> {
        let chap = Some(("user".to_owned(), Secret::new(password)));
        let storage = Storage::Iscsi(Iscsi { portal: "192.0.2.1".parse()?, iqn: IQN.into(), chap });
        Ok(Volume { id: Some("vol-1".into()), ..Volume::new(storage, VolumeDisk::Lun(0)) })
    };
    heard.shown(&volume(CHAP)?);
    let login = Some(("user".to_owned(), Secret::new(SMB)));
    heard.shown(&Smb { server: "//192.0.2.3/volumes".into(), login, sr_uuid: None });
    let attach = async |password: &str| {
        let attached =
            pool.driver.attach_volume(instance.clone(), volume(password)?, AttachOptions::default());
        Ok::<_, anyhow::Error>(attached.await)
    };
    heard.error(&attach("s3cr3t-and-wrong").await?.expect_err("a wrong password"));
    for call in ["secret.create", "PBD.create", "PBD.plug", "VBD.create"] {
        pool.simulator.faults().on(call, Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault"])));
        heard.error(&attach(CHAP).await?.expect_err(call));
        pool.simulator.faults().clear();
    }
    heard.shown(&attach(CHAP).await??);
    for (_, record) in pool.client().all_records::<xenapi_types::Secret>().await? {
        heard.shown(&record);
    }
    for (_, record) in pool.client().all_records::<xenapi_types::Pbd>().await? {
        heard.shown(&record);
    }
    heard.shown(&secret::Create { value: CHAP.into(), ..secret::Create::default() });
    pool.driver.detach_volume(instance.clone(), "vol-1", Progress::none()).await?;
    Ok(())
}

async fn set_password(heard: &Heard, pool: &Pool, instance: &Which, plugins: &Path) -> Result<()> {
    let second = Duration::from_secs(1);
    let timeouts = AgentTimeouts { answer: second, version: second, reset_network: second };
    let agent = pool.driver.agent(instance, timeouts).await?;
    agent.set_password(GUEST).await?;
    assert_eq!(std::fs::read_to_string(plugins.join("password"))?, GUEST, "it has arrived");
    std::fs::write(plugins.join("mood"), "silent")?;
    heard.error(&agent.set_password(GUEST).await.expect_err("a silent agent"));
    heard.shown(&agent);
    Ok(())
}

/// What its host measures comes by a URL of its own. Of a guest that has just been started it may be nothing.
async fn measure(heard: &Heard, pool: &Pool, instance: &Which) {
    match pool.driver.diagnostics(instance).await {
        Ok(measured) => heard.shown(&measured),
        Err(error) => heard.error(&error),
    }
    pool.simulator.faults().on_every("/vm_rrd", Fault::DropBefore);
    pool.simulator.faults().on_every("/rrd_updates", Fault::DropBefore);
    heard.error(&pool.driver.diagnostics(instance).await.expect_err("no answer"));
    pool.simulator.faults().clear();
}

/// What has no flow of its own.
fn others(heard: &Heard) -> Result<()> {
    let offer = Offer::new([7; 10]);
    let channel = offer.agree(&Offer::new([8; 10]).public())?;
    heard.shown(&(offer, channel));
    heard.shown(&Command::Password { sealed: GUEST.into() });
    heard.shown(&Command::Password { sealed: GUEST.into() }.request());
    let conf = format!("[xenserver]\nconnection_password = {ROOT}\n");
    let settings = xenapi_config::Settings::new().nova_conf("nova.conf", &conf)?;
    heard.shown(&settings.get("connection_password").context("the option")?);
    heard.shown(&settings);
    heard.shown(&settings.findings());
    Ok(())
}
