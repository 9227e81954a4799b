//! A backend that counts: what it has handed out, what it was told, how often. It fails when it is told to.

use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How it answers to one result.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With this status and these header lines; the result is not taken.
    Status(u16, &'static str),
    /// The result is taken, and the connection closed without a word.
    TakenAndDropped,
    /// The result is not taken, and there is no answer until this is true; then 503.
    Hangs(Arc<AtomicBool>),
}

/// How it answers to results, by what they are; none: as it is told otherwise.
pub type Rule = Box<dyn Fn(&Value) -> Option<Reply> + Send>;

/// What it knows.
#[derive(Default)]
pub struct Books {
    /// Tasks that are left.
    pub queue: VecDeque<Value>,
    /// Tasks that it has handed out, in order.
    pub handed: Vec<Value>,
    /// When the answers with them were out, in the kernel's hands. The last ones may be missing.
    pub out: Vec<Instant>,
    /// Results that it has taken, in order.
    pub taken: Vec<Value>,
    /// Results that it was sent, taken or not.
    pub sent: Vec<Value>,
    /// How it answers to the next results, before it takes all.
    pub replies: VecDeque<Reply>,
    /// How it answers to results, before it looks at the list.
    pub rule: Option<Rule>,
    /// Questions for a task.
    pub asked: usize,
    /// Whether it has a task for every second question only.
    pub sparse: bool,
    /// Questions that are answered, whether or not anybody was there to hear it.
    pub answered: usize,
    /// Whether it notes of results no more than whose they are: where many are long.
    pub forgets: bool,
    /// Whether it hangs up on everybody.
    pub down: bool,
    /// Until this is true, the second task that is handed out is on its way.
    pub second: Option<Arc<AtomicBool>>,
}

/// A running one. It ends with the test's process.
pub struct Counting {
    /// Its address.
    pub url: String,
    books: Arc<Mutex<Books>>,
}

impl Counting {
    /// One with these tasks. `before_task` is called before a task is handed out.
    pub fn start(tasks: impl IntoIterator<Item = Value>, before_task: impl Fn() + Send + Sync + 'static) -> Counting {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let books = Arc::new(Mutex::new(Books { queue: tasks.into_iter().collect(), ..Books::default() }));
        let (shared, before_task) = (books.clone(), Arc::new(before_task));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (books, before_task) = (shared.clone(), before_task.clone());
                std::thread::spawn(move || talk(stream, &books, &*before_task));
            }
        });
        Counting { url, books }
    }

    /// Its books.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("nobody panics with them")
    }

    /// Waits until they are so.
    #[track_caller]
    pub fn wait(&self, what: &str, is: impl Fn(&Books) -> bool) {
        let until = Instant::now() + Duration::from_secs(300);
        while !is(&self.books()) {
            assert!(Instant::now() < until, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Results that were taken, by their attempt.
    pub fn by_attempt(&self) -> BTreeMap<String, Vec<Value>> {
        let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for result in &self.books().taken {
            all.entry(result["attempt"].to_string()).or_default().push(result.clone());
        }
        all
    }
}

fn talk(mut stream: TcpStream, books: &Mutex<Books>, before_task: &dyn Fn()) {
    let mut input = BufReader::new(stream.try_clone().expect("a stream"));
    while let Some((first, body)) = request(&mut input) {
        let all = books;
        let mut books = all.lock().expect("nobody panics with them");
        if books.down {
            return;
        }
        let (status, headers, answer) = if first.starts_with("GET") {
            books.asked += 1;
            let none = books.sparse && books.asked.is_multiple_of(2);
            let task = if none { None } else { books.queue.pop_front() };
            if let Some(task) = &task {
                before_task();
                books.handed.push(task.clone());
            }
            (200, "", task.map_or_else(|| r#"{"status":"UNAVAILABLE"}"#.to_string(), |task| task.to_string()))
        } else if first.starts_with("POST") {
            let mut result: Value = serde_json::from_str(&body).expect("a result is JSON");
            if books.forgets {
                result["testResults"] = Value::Null;
            }
            books.sent.push(result.clone());
            let ruled = books.rule.as_ref().and_then(|rule| rule(&result));
            match ruled.or_else(|| books.replies.pop_front()) {
                Some(Reply::Status(status, headers)) => (status, headers, r#"{"message":"no"}"#.to_string()),
                Some(Reply::TakenAndDropped) => {
                    books.taken.push(result);
                    return;
                }
                Some(Reply::Hangs(until)) => {
                    drop(books);
                    while !until.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    let _ = stream.write_all(b"HTTP/1.1 503 Staged\r\nContent-Length: 0\r\n\r\n");
                    continue;
                }
                None => {
                    books.taken.push(result);
                    (200, "", String::new())
                }
            }
        } else {
            (200, "", String::new())
        };
        let is_task = first.starts_with("GET") && !answer.contains("UNAVAILABLE");
        let way = books.second.clone().filter(|_| first.starts_with("GET") && books.handed.len() == 2);
        drop(books);
        while way.as_ref().is_some_and(|arrives| !arrives.load(Ordering::Relaxed)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let head = format!("HTTP/1.1 {status} Staged\r\n{headers}Content-Length: {}\r\n\r\n", answer.len());
        let sent = stream.write_all((head + &answer).as_bytes());
        if first.starts_with("GET") {
            let mut books = all.lock().expect("nobody panics with them");
            books.answered += 1;
            books.out.extend(is_task.then(Instant::now));
        }
        if sent.is_err() {
            return;
        }
    }
}

/// Reads one HTTP request; its first line and its body.
pub fn request(input: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut first = String::new();
    if input.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    Some((first, String::from_utf8(body).expect("text")))
}
