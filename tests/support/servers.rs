//! Servers of a test's own, on the host's loopback: git and a package index over TLS, and one that must not be spoken to.

use super::Place;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A certificate for `localhost` and [`NAME`], and its key.
pub struct Certificate {
    /// The certificate, PEM.
    pub file: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Made by openssl.
    pub fn make(place: &Place) -> Certificate {
        let (file, key) = (place.path("certificate.pem"), place.path("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args([
                "-addext",
                &format!("subjectAltName=DNS:localhost,DNS:{NAME}"),
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-out",
            ])
            .arg(&file)
            .arg("-keyout")
            .arg(&key)
            .output();
        assert!(made.expect("openssl starts").status.success());
        Certificate { file, key }
    }
}

/// A name that nobody knows but whom a test tells it.
pub const NAME: &str = "git.course.example";

/// A server in Python; it ends with this.
pub struct Server {
    child: Child,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl Server {
    /// Serves the repositories of [`Place::repository`].
    pub fn git(place: &Place, certificate: &Certificate) -> Server {
        let root = place.path("git");
        Server::start(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/git_over_https.py"), root, certificate)
    }

    /// Serves the wheels of a directory.
    pub fn index(wheels: PathBuf, certificate: &Certificate) -> Server {
        Server::start(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/index_over_https.py"), wheels, certificate)
    }

    fn start(script: &str, root: PathBuf, certificate: &Certificate) -> Server {
        let mut child = Command::new("python3")
            .arg(script)
            .args([&root, &certificate.file, &certificate.key])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut port = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
        said.read_line(&mut port).expect("it says its port");
        Server { child, port: port.trim().parse().expect("a port") }
    }

    /// Nobody answers any more.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its address, by name.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }

    /// Its name and port.
    pub fn place(&self) -> String {
        format!("localhost:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A wheel of pure Python with these files, as pip takes it. The zip is written by Python.
pub fn wheel(dir: &Path, name: &str, files: &[(&str, &str)]) {
    let script = "import sys, zipfile, json\n\
        path, files = sys.argv[1], json.loads(sys.argv[2])\n\
        with zipfile.ZipFile(path, 'w') as wheel:\n    [wheel.writestr(name, text) for name, text in files]\n";
    let info = format!("{name}-1.0.dist-info");
    let mut all: Vec<(String, String)> =
        files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
    all.push((format!("{info}/METADATA"), format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")));
    all.push((format!("{info}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".into()));
    let record: String = all.iter().map(|(path, _)| format!("{path},,\n")).collect();
    all.push((format!("{info}/RECORD"), record));
    let made = Command::new("python3")
        .args(["-c", script])
        .arg(dir.join(format!("{name}-1.0-py3-none-any.whl")))
        .arg(serde_json::json!(all).to_string())
        .status();
    assert!(made.expect("python3 starts").success());
}

/// A port of the host's to which nothing may come.
pub struct Untouched(TcpListener);

impl Untouched {
    /// Listens on all of the loopback.
    pub fn listen() -> Untouched {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("it need not wait");
        Untouched(listener)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }

    /// That it was left alone; and that it would have been noticed, if it had not been.
    pub fn assert(&self) {
        assert!(self.0.accept().is_err(), "somebody has connected to a port of the host");
        std::net::TcpStream::connect(("127.0.0.1", self.port())).expect("it listens");
        self.0.set_nonblocking(false).expect("it may wait");
        self.0.accept().expect("a connection is noticed");
        self.0.set_nonblocking(true).expect("it need not wait");
    }
}

/// A proxy of an operator's, which lets everybody through and remembers the heads of what it was asked.
pub struct Upstream {
    /// Its port on 127.0.0.1.
    pub port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// It ends with the test's process.
    pub fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (port, heads) = (listener.local_addr().expect("an address").port(), Arc::new(Mutex::new(Vec::new())));
        let shared = heads.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let heads = shared.clone();
                std::thread::spawn(move || relay(client, &heads));
            }
        });
        Upstream { port, heads }
    }

    /// What it was asked.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("nobody panicked").clone()
    }
}

fn relay(client: TcpStream, heads: &Mutex<Vec<String>>) -> Option<()> {
    let mut input = BufReader::new(client.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if input.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let place = head.split(' ').nth(1)?.to_string();
    heads.lock().expect("nobody panicked").push(head);
    let server = TcpStream::connect(place).ok()?;
    (&client).write_all(b"HTTP/1.1 200 Come in\r\n\r\n").ok()?;
    let (mut up, mut down) = (server.try_clone().ok()?, client);
    let mut from_server = server;
    let back = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut down);
        let _ = down.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut input, &mut up);
    let _ = up.shutdown(std::net::Shutdown::Write);
    back.join().ok()
}
