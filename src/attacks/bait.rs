//! What attacks aim at on the host: made for the time of the suite, and worth nothing to anybody.

use crate::check::find_tool;
use anyhow::Context;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What stands in the file that everybody may write.
const UNTOUCHED: &str = "untouched\n";

/// A secret file, a file that everybody may write, listeners, a process, a segment of shared memory. Gone with it.
pub struct Bait {
    dir: tempfile::TempDir,
    word: String,
    process: RefCell<Child>,
    segment: Option<String>,
    stream: TcpListener,
    datagrams: UdpSocket,
    file_socket: UnixListener,
    abstract_socket: UnixListener,
}

impl Bait {
    /// Lays everything out.
    pub fn lay() -> anyhow::Result<Bait> {
        // Where everybody may go: that nobody inside gets there must not be owed to a directory above.
        let dir =
            tempfile::Builder::new().prefix("ostest-bait-").permissions(PermissionsExt::from_mode(0o755)).tempdir();
        let dir = dir.context("no temporary directory can be made (is TMPDIR one?)")?;
        let word = format!("secret-{:032x}", fastrand::u128(..));
        for (name, text, mode) in [("secret", &*word, 0o600), ("open", UNTOUCHED, 0o666)] {
            let path = dir.path().join(name);
            std::fs::write(&path, text)
                .and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)))
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        for (name, mode) in [("everybody", 0o1777), ("programs", 0o755)] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path)
                .and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)))
                .with_context(|| format!("{} cannot be made", path.display()))?;
        }
        let (stream, datagrams) = listeners().context("nothing can listen on the host's loopback")?;
        let listen = || -> std::io::Result<(UnixListener, UnixListener)> {
            let path = dir.path().join("socket");
            let by_path = UnixListener::bind(&path)?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
            let by_name = UnixListener::bind_addr(&SocketAddr::from_abstract_name(abstract_name(dir.path()))?)?;
            by_path.set_nonblocking(true)?;
            by_name.set_nonblocking(true)?;
            Ok((by_path, by_name))
        };
        let (file_socket, abstract_socket) = listen().context("a local socket cannot be made")?;
        let process = RefCell::new(sleeper(&word).context("sleep cannot be started")?);
        let mut bait = Bait { dir, word, process, segment: None, stream, datagrams, file_socket, abstract_socket };
        bait.segment = Some(make_segment()?);
        Ok(bait)
    }

    /// What an attack is told. Its own limits come besides.
    pub fn env(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let port = self.stream.local_addr().context("the listener has no port")?.port();
        Ok([
            ("ATTACK_SECRET", path("secret")),
            ("ATTACK_FILE", path("open")),
            ("ATTACK_DIR", path("everybody")),
            ("ATTACK_SOCKET", path("socket")),
            ("ATTACK_ABSTRACT", abstract_name(self.dir.path())),
            ("ATTACK_PORT", port.to_string()),
            ("ATTACK_PID", self.process.borrow().id().to_string()),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into())
    }

    /// A place on the host at which everybody could execute the programs, for an attack that sees the host's tree.
    pub fn programs(&self) -> PathBuf {
        self.dir.path().join("programs")
    }

    /// What has become of it since the last look: a sentence each. `said`: everything that the attack printed.
    pub fn touched(&self, said: &str) -> Vec<String> {
        let mut found = Vec::new();
        if said.contains(&self.word) {
            found.push("the secret word was read".to_string());
        }
        let file = self.dir.path().join("open");
        if std::fs::read_to_string(&file).ok().as_deref() != Some(UNTOUCHED) {
            found.push("the file outside was changed".to_string());
            let _ = std::fs::write(&file, UNTOUCHED);
        }
        for entry in std::fs::read_dir(self.dir.path().join("everybody")).into_iter().flatten().flatten() {
            found.push(format!("{} was made outside", entry.path().display()));
            let _ = std::fs::remove_file(entry.path());
        }
        found.extend(self.visitors());
        found.extend(self.process_suffered());
        found
    }

    /// Who came to the listeners.
    fn visitors(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut note = |what: &str, came: std::io::Result<()>| match came {
            Ok(()) => {
                found.push(format!("{what} of the host's was reached"));
                true
            }
            Err(error) => error.kind() == ErrorKind::Interrupted,
        };
        while note("a TCP port", self.stream.accept().map(|_| ())) {}
        while note("a UDP port", self.datagrams.recv(&mut [0; 64]).map(|_| ())) {}
        while note("a socket file", self.file_socket.accept().map(|_| ())) {}
        while note("an abstract socket", self.abstract_socket.accept().map(|_| ())) {}
        found
    }

    /// Whether the process is as it was. If not the next attack gets another: what one has done is no other's doing.
    fn process_suffered(&self) -> Option<String> {
        let mut process = self.process.borrow_mut();
        let pid = process.id();
        let read = |who: &str| std::fs::read_to_string(format!("/proc/{who}/stat")).unwrap_or_default();
        let (stat, own) = (read(&pid.to_string()), read("self"));
        let (fields, own) = (fields_of(&stat), fields_of(&own));
        match (fields.first(), fields.get(16)) {
            // proc(5): field 3 is the state, field 19 the nice value, which it has from this process.
            // It sleeps, or is about to: not stopped, traced or dead.
            (Some(&("S" | "R" | "D")), Some(&nice)) if Some(nice) == own.get(16).copied() => None,
            (state, nice) => {
                let said = format!("a process of the host's was touched: state {state:?}, priority {nice:?}");
                end(&mut process);
                match sleeper(&self.word) {
                    Ok(new) => *process = new,
                    // The one that is dead stays, and whoever comes next is not let off.
                    Err(error) => tracing::error!(
                        "what attacks aim at cannot be started anew, so those that follow seem to have ended it: sleep: {error}"
                    ),
                }
                Some(said)
            }
        }
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        end(self.process.get_mut());
        if let Some(id) = &self.segment {
            let _ = tool("ipcrm", &["--shmem-id", id]);
        }
    }
}

/// Of a line of /proc/PID/stat those that come behind the name, which may be anything.
fn fields_of(stat: &str) -> Vec<&str> {
    stat.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').collect())
}

/// A process of the host's, with the word in its environment.
fn sleeper(word: &str) -> std::io::Result<Child> {
    Command::new("sleep")
        .arg("7200")
        .env_clear()
        .env("PATH", crate::contain::PATH)
        .env("OSTEST_BAIT", word)
        .current_dir("/")
        .stdin(Stdio::null())
        .spawn()
}

fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

/// A port that is free for both kinds.
fn listeners() -> std::io::Result<(TcpListener, UdpSocket)> {
    let mut last = std::io::Error::from(ErrorKind::AddrInUse);
    for _ in 0..16 {
        let stream = TcpListener::bind(("127.0.0.1", 0))?;
        match UdpSocket::bind(stream.local_addr()?) {
            Ok(datagrams) => {
                stream.set_nonblocking(true)?;
                datagrams.set_nonblocking(true)?;
                return Ok((stream, datagrams));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn abstract_name(dir: &Path) -> String {
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A segment of System V shared memory that its owner alone may attach; gives its number.
fn make_segment() -> anyhow::Result<String> {
    let said = tool("ipcmk", &["--shmem", "4096", "--mode", "0600"])?;
    let id = said.split_whitespace().last().filter(|word| word.parse::<u32>().is_ok());
    id.map(str::to_string).with_context(|| format!("ipcmk said no number of a segment: {said:?}"))
}

fn tool(name: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let path =
        find_tool(name).with_context(|| format!("{name} is missing: install it, `apt-get install util-linux`"))?;
    let done = Command::new(&path).args(arguments).env_clear().env("PATH", crate::contain::PATH).output();
    let done = done.with_context(|| format!("{} cannot be started", path.display()))?;
    anyhow::ensure!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_attack_has_done_is_not_held_against_the_next() {
        if find_tool("ipcmk").is_none() {
            println!("SKIPPED: what_one_attack_has_done_is_not_held_against_the_next needs ipcmk of util-linux");
            return;
        }
        let bait = Bait::lay().unwrap();
        let id = bait.env().unwrap()["ATTACK_PID"].clone();
        assert_eq!(bait.touched(""), [""; 0]);
        let pid = nix::unistd::Pid::from_raw(id.parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        while std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z")) {}
        let found = bait.touched("");
        assert!(found.len() == 1 && found[0].contains("a process of the host's was touched"), "{found:?}");
        assert_ne!(bait.env().unwrap()["ATTACK_PID"], id);
        assert_eq!(bait.touched(""), [""; 0]);
    }
}
