//! Each way to fail, as a client sees it, and what it does to the books.

use super::*;
use crate::backend::{DEFAULT_GET_API, DEFAULT_LOGIN_API, DEFAULT_POST_API, DEFAULT_REFRESH_API};
use reqwest::redirect::Policy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How long a client waits for what must not come.
const SOON: Duration = Duration::from_millis(300);

struct Served {
    backend: MockBackend,
    address: std::net::SocketAddr,
    client: reqwest::Client,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// A backend that fails always, in these ways where they mean something, else never.
async fn failing(failures: &[Failure], tasks: Value, auth: bool) -> Served {
    let chaos = ChaosOptions { percent: 100, failures: failures.to_vec(), ..ChaosOptions::default() };
    let tasks = parse_task_file(&tasks.to_string()).unwrap();
    let auth = auth.then(|| ("dora".to_owned(), "secret".to_owned()));
    served(MockOptions { tasks, auth, chaos, ..MockOptions::default() }).await
}

async fn served(options: MockOptions) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let backend = MockBackend::new(options, |_, _| {});
    let serving = backend.clone();
    let serving = tokio::spawn(async move { serving.serve(listener).await });
    // Without this, building a client panics.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).tls_certs_only([]).build().unwrap();
    Served { backend, address, client, serving }
}

impl Served {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self) -> reqwest::Result<reqwest::Response> {
        self.client.get(self.url(DEFAULT_GET_API)).send().await
    }

    async fn post(&self, api: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
        self.client.post(self.url(api)).json(body).send().await
    }

    async fn result(&self, body: &Value) -> reqwest::Result<reqwest::Response> {
        self.post(DEFAULT_POST_API, body).await
    }

    fn sums(&self) -> Sums {
        self.backend.counts().sums
    }

    /// Hands a task out behind the client's back, so that a result can be sent for it.
    fn hand_out(&self) {
        self.backend.0.held().books.hand_out().unwrap();
    }

    /// Sends a request over a connection of its own.
    async fn raw(&self, method: &str, api: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{method} {api} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// All that comes back over a connection of its own, until it ends.
    async fn raw_answer(&self, method: &str, api: &str, body: &str) -> Vec<u8> {
        let mut all = Vec::new();
        self.raw(method, api, body).await.read_to_end(&mut all).await.unwrap();
        all
    }
}

fn one() -> Value {
    json!([{"attempt": 1, "repositoryUrl": "https://course.example/x.git", "branch": "main"}])
}

/// A result of task 1.
fn passed() -> Value {
    json!({"attempt": 1, "testResults": {"isPassed": true}})
}

#[tokio::test]
async fn statuses_take_nothing_and_hand_out_nothing() {
    for (failure, status) in [(Failure::ServerError, 500), (Failure::Unavailable, 503), (Failure::TooMany, 429)] {
        let served = failing(&[failure], one(), false).await;
        assert_eq!(served.get().await.unwrap().status(), status);
        assert_eq!(served.result(&passed()).await.unwrap().status(), status);
        assert_eq!(served.post(DEFAULT_LOGIN_API, &json!({})).await.unwrap().status(), status);
        assert_eq!(served.post(DEFAULT_REFRESH_API, &json!({})).await.unwrap().status(), status);
        assert_eq!((served.sums().handed_out, served.sums().results), (0, 0));
        assert_eq!(served.backend.counts().staged, [(failure, 4)].into());
    }
}

#[tokio::test]
async fn a_wait_is_asked_for_in_seconds_and_as_a_date() {
    let served = failing(&[Failure::TooMany], one(), false).await;
    let (mut seconds, mut dates) = (0, 0);
    for _ in 0..20 {
        let answer = served.get().await.unwrap();
        match answer.headers()["retry-after"].to_str().unwrap() {
            "1" => seconds += 1,
            date => dates += i32::from(httpdate::parse_http_date(date).is_ok()),
        }
    }
    assert!(seconds > 0 && dates > 0 && seconds + dates == 20, "{seconds} {dates}");
}

#[tokio::test]
async fn a_forgotten_session_has_to_be_made_anew() {
    let served = failing(&[Failure::Unauthorized], one(), true).await;
    let login = || async {
        let answer = served.post(DEFAULT_LOGIN_API, &json!({"username": "dora", "password": "secret"})).await.unwrap();
        let body: Value = answer.json().await.unwrap();
        (body["accessToken"].as_str().unwrap().to_owned(), body["refreshToken"].as_str().unwrap().to_owned())
    };
    let ask = |token: String| served.client.get(served.url(DEFAULT_GET_API)).bearer_auth(token).send();
    let (access, refresh) = login().await;
    assert_eq!(ask(access.clone()).await.unwrap().status(), 401);
    assert_eq!(served.backend.counts().staged, [(Failure::Unauthorized, 1)].into());
    // Neither token is known any more: that is no failure that was staged.
    assert_eq!(ask(access).await.unwrap().status(), 401);
    assert!(!served.backend.0.held().sessions.use_up(&refresh));
    assert_eq!(served.backend.counts().staged, [(Failure::Unauthorized, 1)].into());
    assert_eq!(served.sums().handed_out, 0);
}

#[tokio::test]
async fn garbage_hands_out_nothing_and_of_a_result_says_that_it_was_taken() {
    let served = failing(&[Failure::Garbage], one(), false).await;
    for _ in 0..10 {
        let answer = served.get().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).is_err());
    }
    assert_eq!(served.sums().handed_out, 0);
    served.hand_out();
    assert_eq!(served.result(&passed()).await.unwrap().status(), 200);
    assert_eq!((served.sums().answered, served.sums().results), (1, 1));
    // No result, whatever was to be staged.
    let answer = served.client.post(served.url(DEFAULT_POST_API)).body("no JSON").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), served.sums().results), (400, 1));
}

#[tokio::test]
async fn an_endless_answer_goes_on_until_the_client_hangs_up() {
    let served = failing(&[Failure::Endless], one(), false).await;
    let mut answer = served.get().await.unwrap();
    let mut length = 0;
    while length < 50 << 20 {
        length += answer.chunk().await.unwrap().expect("it does not end").len();
    }
    drop(answer);
    assert_eq!(served.sums().handed_out, 0);
}

#[tokio::test]
async fn a_dripping_answer_comes_byte_by_byte() {
    let served = failing(&[Failure::Drip], one(), false).await;
    let mut answer = served.get().await.unwrap();
    assert_eq!(answer.status(), 200);
    for _ in 0..2 {
        // One, unless this machine slept for seconds.
        assert!(answer.chunk().await.unwrap().unwrap().len() < 100);
    }
    assert_eq!(served.sums().handed_out, 0);
    served.hand_out();
    assert_eq!(served.result(&passed()).await.unwrap().status(), 200);
    assert_eq!(served.sums().answered, 1);
}

#[tokio::test]
async fn a_torn_answer_has_less_than_its_headers_say() {
    let served = failing(&[Failure::Torn], one(), false).await;
    let mut answer = served.get().await.unwrap();
    assert_eq!(answer.status(), 200);
    let half = answer.chunk().await.unwrap().unwrap();
    assert!(half.starts_with(b"{\"attempt\":1,"), "{half:?}");
    assert!(answer.chunk().await.is_err());
    assert_eq!(served.sums().handed_out, 0);
    let all = served.raw_answer("GET", DEFAULT_GET_API, "").await;
    assert!(all.starts_with(b"HTTP/1.1 200 OK\r\n") && !all.ends_with(b"}"));
}

#[tokio::test]
async fn whoever_follows_a_redirect_is_counted() {
    let served = failing(&[Failure::Redirect], one(), false).await;
    assert!(served.get().await.unwrap().status().is_redirection());
    assert!(served.result(&passed()).await.unwrap().status().is_redirection());
    assert_eq!(served.backend.counts().followed, 0);
    let follower = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    assert_eq!(follower.get(served.url(DEFAULT_GET_API)).send().await.unwrap().status(), 410);
    follower.post(served.url(DEFAULT_POST_API)).json(&passed()).send().await.unwrap();
    assert_eq!(served.backend.counts().followed, 2);
    assert_eq!((served.sums().handed_out, served.sums().results), (0, 0));
}

#[tokio::test]
async fn silence_lasts_until_the_client_hangs_up() {
    let served = failing(&[Failure::Silence], one(), false).await;
    for (method, api, body) in [("GET", DEFAULT_GET_API, ""), ("POST", DEFAULT_POST_API, "{\"attempt\": 1}")] {
        let mut stream = served.raw(method, api, body).await;
        assert!(tokio::time::timeout(SOON, stream.read_u8()).await.is_err());
        // The server ends its side when this one does, and not before.
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    }
    assert_eq!((served.sums().handed_out, served.sums().results), (0, 0));
}

#[tokio::test]
async fn a_dropped_connection_ends_without_a_byte_and_nothing_was_done() {
    let served = failing(&[Failure::Drop], one(), false).await;
    assert_eq!(served.raw_answer("GET", DEFAULT_GET_API, "").await, b"");
    assert_eq!(served.raw_answer("POST", DEFAULT_POST_API, &passed().to_string()).await, b"");
    assert!(served.get().await.is_err());
    assert_eq!((served.sums().handed_out, served.sums().results), (0, 0));
    // The pages beside the interface go on.
    assert_eq!(served.client.get(served.url("/counts")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_result_is_taken_and_its_sender_is_not_told() {
    let served = failing(&[Failure::TakeAndDrop], one(), false).await;
    assert!(served.get().await.unwrap().text().await.unwrap().contains("course.example"));
    let body = passed().to_string();
    assert_eq!(served.raw_answer("POST", DEFAULT_POST_API, &body).await, b"");
    assert_eq!((served.sums().answered, served.sums().results), (1, 1));
    assert!(served.backend.0.held().books.all_answered() && !served.backend.0.held().books.all_confirmed());
    assert_eq!(served.raw_answer("POST", DEFAULT_POST_API, &body).await, b"");
    assert_eq!((served.sums().results, served.sums().again, served.sums().otherwise), (2, 1, 0));
    let answer = served.client.post(served.url(DEFAULT_POST_API)).body("no JSON").send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(served.sums().results, 2);
}

#[tokio::test]
async fn the_same_task_is_handed_out_again_while_it_is_unanswered() {
    let served = failing(&[Failure::Again], one(), false).await;
    let attempt = || async { served.get().await.unwrap().json::<Value>().await.unwrap()["attempt"].clone() };
    // Nothing is pending: a sound answer.
    assert_eq!((attempt().await, served.sums().handed_out), (json!(1), 1));
    assert_eq!((attempt().await, attempt().await, served.sums().handed_out), (json!(1), json!(1), 1));
    assert_eq!(served.backend.counts().staged, [(Failure::Again, 2)].into());
    served.result(&passed()).await.unwrap();
    assert_eq!(attempt().await, Value::Null);
    let sums = served.sums();
    assert_eq!((sums.tasks, sums.answered, sums.again, sums.otherwise), (1, 1, 0, 0));
}

#[tokio::test]
async fn it_ends_when_all_is_answered_and_whoever_sent_a_result_knows() {
    let chaos = ChaosOptions { percent: 100, failures: vec![Failure::TakeAndDrop], ..ChaosOptions::default() };
    let tasks = parse_task_file(&one().to_string()).unwrap();
    let served = served(MockOptions { tasks, once: true, chaos, ..MockOptions::default() }).await;
    served.get().await.unwrap();
    served.result(&passed()).await.unwrap_err();
    served.get().await.unwrap();
    tokio::time::sleep(SOON).await;
    assert!(!served.serving.is_finished(), "the sender has not been told");
    served.backend.0.held().chaos = Chaos::new(ChaosOptions::default());
    served.result(&passed()).await.unwrap();
    drop(served.client);
    served.serving.await.unwrap().unwrap();
    assert_eq!(served.backend.counts().sums.again, 1);
}

#[tokio::test]
async fn it_ends_while_an_answer_that_does_not_end_is_being_read() {
    let served = served(MockOptions { once: true, ..MockOptions::default() }).await;
    let failing = ChaosOptions { percent: 100, failures: vec![Failure::Drip], ..ChaosOptions::default() };
    served.backend.0.held().chaos = Chaos::new(failing);
    let answer = served.post(DEFAULT_LOGIN_API, &json!({})).await.unwrap();
    served.backend.0.held().chaos = Chaos::new(ChaosOptions::default());
    served.get().await.unwrap();
    served.serving.await.unwrap().unwrap();
    drop(answer);
}

#[tokio::test]
async fn results_that_are_not_kept_are_not_shown_and_are_counted() {
    let tasks = parse_task_file(&one().to_string()).unwrap();
    let served = served(MockOptions { tasks, repeat: 3, keep: false, ..MockOptions::default() }).await;
    for attempt in 1..=3 {
        served.get().await.unwrap();
        served.result(&json!({"attempt": attempt})).await.unwrap();
    }
    assert_eq!(served.client.get(served.url("/results")).send().await.unwrap().status(), 410);
    let counts: Value = served.client.get(served.url("/counts")).send().await.unwrap().json().await.unwrap();
    assert_eq!(counts, served.backend.counts().to_json());
    assert_eq!((&counts["tasks"], &counts["answered"], &counts["neverHandedOut"]), (&json!(3), &json!(3), &json!(0)));
}
