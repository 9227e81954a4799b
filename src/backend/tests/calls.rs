//! Tests of the calls: bounds, failures, retries, addresses.

use super::*;

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = MockServer::start().await;
    get(answers(302).insert_header("location", "/elsewhere")).mount(&server).await;
    Mock::given(path("/elsewhere")).respond_with(answers(204)).expect(0).mount(&server).await;
    let error = backend(&server.uri(), None).next_task().await.unwrap_err();
    assert!(error.to_string().contains("/elsewhere"), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn answers_are_capped_whether_or_not_they_say_their_length() {
    let server = MockServer::start().await;
    get(answers(200).set_body_string(" ".repeat(2000))).mount(&server).await;
    let mut settings = BackendSettings::new(server.uri());
    settings.max_body = 1000;
    let error = Backend::new(settings).unwrap().next_task().await.unwrap_err();
    assert!(matches!(error, BackendError::TooLarge { cap: 1000, .. }), "{error}");

    // An endless body, in chunks.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = BackendSettings::new(format!("http://{}", listener.local_addr().unwrap()));
    settings.max_body = 100_000;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head).await;
        let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    });
    let error = Backend::new(settings).unwrap().next_task().await.unwrap_err();
    assert!(matches!(error, BackendError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn garbage_and_failures_are_sentences() {
    let server = MockServer::start().await;
    let page = format!("<html>\u{1b}[2J{}", "x".repeat(200_000));
    get(answers(200).set_body_string(page.clone())).up_to_n_times(1).mount(&server).await;
    get(answers(500).set_body_string(page)).mount(&server).await;
    let backend = backend(&server.uri(), None);
    let error = backend.next_task().await.unwrap_err();
    assert!(matches!(error, BackendError::Protocol { .. }), "{error}");
    for error in [error, backend.next_task().await.unwrap_err()] {
        let text = error.to_string();
        assert!(text.contains("<html>") && !text.contains('\u{1b}') && text.len() < 1000, "{text}");
    }
}

#[tokio::test]
async fn a_backend_that_hangs_up_or_is_silent_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut settings = BackendSettings::new(url.clone());
    settings.request_timeout = Duration::from_millis(50);
    let error = Backend::new(settings).unwrap().next_task().await.unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    // From here on it takes connections and closes them.
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let error = backend(&url, None).next_task().await.unwrap_err();
    assert!(matches!(error, BackendError::Unreachable { .. }) && error.is_retryable(), "{error}");
    assert!(error.to_string().contains("--backend-url"), "{error}");
}

#[tokio::test]
async fn a_wait_that_is_asked_for_is_passed_on_with_a_bound() {
    let server = MockServer::start().await;
    post(DEFAULT_POST_API, answers(503).insert_header("retry-after", "99999999")).mount(&server).await;
    let error = backend(&server.uri(), None).upload(&json!({})).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(600)));
}

#[tokio::test]
async fn the_runner_says_who_it_is() {
    let server = MockServer::start().await;
    Mock::given(header("user-agent", concat!("ostest-sandbox/", env!("CARGO_PKG_VERSION"))))
        .respond_with(answers(204))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(backend(&server.uri(), None).next_task().await, Ok(Answer::NoTask));
}

#[test]
fn addresses_and_paths_meet_in_one_slash() {
    for (base, api, expected) in [
        ("http://localhost:5000", "/api/x", "http://localhost:5000/api/x"),
        ("http://localhost:5000/", "/api/x", "http://localhost:5000/api/x"),
        ("http://localhost:5000/", "api/x", "http://localhost:5000/api/x"),
        ("https://h/base/", "//api/x?y=1", "https://h/base/api/x?y=1"),
    ] {
        assert_eq!(join(&base_url(base).unwrap(), api).unwrap().as_str(), expected);
    }
}

#[test]
fn addresses_that_cannot_be_used_are_said_without_their_secrets() {
    for wrong in ["", "localhost:5000", "ftp://h", "http://u:hunter2@h", "http://h?x", "http://h#x", "http://"] {
        let error = match Backend::new(BackendSettings::new(wrong)) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{wrong:?} was taken"),
        };
        assert!(error.contains("--backend-url") && !error.contains("hunter2"), "{error}");
    }
}
