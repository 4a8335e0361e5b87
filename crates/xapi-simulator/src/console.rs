//! `CONNECT /console`: the screen or the terminal of a running VM, for as long as it runs.
//!
//! Where guests are run, it is their machine's screen and serial port. Otherwise the guest behind it is made
//! up: a screen of colour bars that react to keys and pointer ([`rfb`]), or a terminal that greets and
//! echoes. The connection is XAPI's: it asks who is there, answers only on the host where the VM runs, and
//! ends with the console.

mod rfb;

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};

use crate::classes::session;
use crate::core::Core;
use crate::db::View;
use crate::guest;
use crate::http::{After, Exchange, Handlers, Head, Page, Verb, authenticate};

pub(crate) fn register(handlers: &mut Handlers) {
    handlers.add(Verb::Connect, "/console", |exchange| Box::pin(answer(exchange)));
}

const ACCEPTED: &[u8] =
    b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nCache-Control: no-cache, no-store\r\n\r\n";

async fn answer(exchange: &mut Exchange) -> io::Result<After> {
    let core = exchange.core.clone();
    let login = match authenticate(&core, &exchange.host, &exchange.head, "connect_console").await {
        Ok(login) => login,
        Err(page) => {
            exchange.conn.send(&page.bytes("HTTP/1.1")).await?;
            return Ok(After::Close);
        }
    };
    let result = match core.db().read(|view| Target::find(view, &exchange.host, &exchange.head)) {
        Ok(target) => {
            exchange.conn.send(ACCEPTED).await?;
            tokio::select! {
                served = target.serve(&core, &mut exchange.conn) => served,
                () = target.closed(&core) => Ok(()),
            }
        }
        Err(reason) => exchange.conn.send(&Page::internal_error(Some(&reason)).bytes("HTTP/1.1")).await,
    };
    if login.own {
        session::end(&core, &login.session);
    }
    result.map(|()| After::Close)
}

/// The console that was asked for.
struct Target {
    console: String,
    is_screen: bool,
    vm: String,
    vm_name: String,
}

impl Target {
    /// Finds it by the console's or the VM's reference or uuid; of a VM, the screen.
    fn find(view: &View, host: &str, head: &Head) -> Result<Self, String> {
        let by = |class: &str| match (head.param("ref"), head.param("uuid")) {
            (Some(reference), _) => view.find(class, reference),
            (None, Some(uuid)) => view.by_uuid(class, uuid).ok(),
            (None, None) => None,
        };
        let screen_of = |vm: &str| {
            view.objects("console")
                .find(|console| console.str("VM") == vm && console.str("protocol") == "rfb")
        };
        let console = by("console").or_else(|| screen_of(by("VM")?.reference()));
        let console = console.ok_or("Failure(\"Unable to find the console\")")?;
        let vm = view.find("VM", console.str("VM")).ok_or("Failure(\"The console has no VM\")")?;
        if vm.str("power_state") != "Running" || vm.str("resident_on") != host {
            return Err("Failure(\"The VM is not running here\")".to_owned());
        }
        Ok(Self {
            console: console.reference().to_owned(),
            is_screen: console.str("protocol") == "rfb",
            vm: vm.reference().to_owned(),
            vm_name: vm.str("name_label").to_owned(),
        })
    }

    async fn serve(&self, core: &Core, conn: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        if let Some(served) = guest::serve_console(core, &self.vm, self.is_screen, conn).await {
            return served;
        }
        let mut conn = BufStream::new(conn);
        if self.is_screen {
            rfb::serve(&mut conn, &self.vm_name).await
        } else {
            terminal(&mut conn, &self.vm_name).await
        }
    }

    /// Waits until the VM has no such console any more.
    async fn closed(&self, core: &Core) {
        let mut changes = core.db().subscribe();
        while core.db().read(|view| view.exists("console", &self.console)) && changes.changed().await.is_ok()
        {
        }
    }
}

/// What a guest writes when it waits for somebody to log in.
pub(crate) fn greeting(vm_name: &str) -> String {
    format!("\r\n{vm_name} login: ")
}

/// A terminal at which somebody could log in: what is typed comes back, and a line gets another prompt.
async fn terminal(conn: &mut (impl AsyncRead + AsyncWrite + Unpin), vm_name: &str) -> io::Result<()> {
    let prompt = greeting(vm_name);
    conn.write_all(prompt.as_bytes()).await?;
    let mut typed = [0; 512];
    loop {
        conn.flush().await?;
        let len = conn.read(&mut typed).await?;
        if len == 0 {
            return Ok(());
        }
        for byte in &typed[..len] {
            match byte {
                b'\r' | b'\n' => conn.write_all(prompt.as_bytes()).await?,
                other => conn.write_all(&[*other]).await?,
            }
        }
    }
}
