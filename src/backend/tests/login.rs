//! Tests of the session: login, refresh, 401.

use super::*;

#[tokio::test]
async fn tasks_and_results_make_the_round_with_a_login() {
    let (url, results) = embedded(MockOptions {
        tasks: builtin_tasks(),
        auth: Some(("dora".into(), "pw".into())),
        ..MockOptions::default()
    })
    .await;
    let backend = backend(&url, Some("pw"));
    let verdict = Verdict::broken("no");
    let mut sent = Vec::new();
    while let Some(key) = next_key(&backend).await {
        assert!(text(url.clone()).await.contains(&key.to_string()), "it is pending");
        let body = render(&key, &verdict, MemoryUnit::KiB.into());
        backend.upload(&body).await.unwrap();
        sent.push(body);
    }
    assert_eq!(sent.len(), 2);
    assert_eq!(*results.lock().unwrap(), sent);
    let listed: Value = serde_json::from_str(&text(format!("{url}results")).await).unwrap();
    assert_eq!(listed, json!(sent));
    let state = text(url).await;
    assert!(state.contains("tasks left: 0\npending: 0\nresults: 2"), "{state}");
}

#[tokio::test]
async fn the_embedded_backend_demands_its_login() {
    let (url, results) = embedded(MockOptions {
        tasks: builtin_tasks(),
        auth: Some(("dora".into(), "pw".into())),
        ..MockOptions::default()
    })
    .await;
    let stranger = backend(&url, None);
    let error = stranger.next_task().await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("--auth"), "{error}");
    assert!(stranger.upload(&json!({})).await.is_err());
    assert!(results.lock().unwrap().is_empty());
    let mistaken = backend(&url, Some("wrong-pw"));
    let error = mistaken.next_task().await.unwrap_err();
    assert!(error.to_string().contains("--password"), "{error}");
}

#[tokio::test]
async fn a_token_that_is_due_is_refreshed() {
    let (url, _) = embedded(MockOptions { auth: Some(("dora".into(), "pw".into())), ..MockOptions::default() }).await;
    let mut settings = BackendSettings::new(url);
    settings.auth = credentials("pw");
    settings.refresh_time = Duration::ZERO;
    let backend = Backend::new(settings).unwrap();
    for _ in 0..3 {
        assert_eq!(backend.next_task().await, Ok(Answer::NoTask));
    }
}

#[tokio::test]
async fn refresh_sends_the_refresh_token_and_its_failure_leads_to_a_login() {
    let server = MockServer::start().await;
    post(DEFAULT_LOGIN_API, tokens("first")).expect(2).mount(&server).await;
    Mock::given(path(DEFAULT_REFRESH_API))
        .and(body_json(json!({"refreshToken": "ref-secret"})))
        .respond_with(answers(200).set_body_json(json!({"accessToken": "second"})))
        .up_to_n_times(1)
        .expect(1)
        .mount(&server)
        .await;
    // Also the answer without a refresh token keeps the session refreshable; this time in vain.
    post(DEFAULT_REFRESH_API, answers(500)).expect(1).mount(&server).await;
    for (token, times) in [("Bearer first", 2), ("Bearer second", 1)] {
        Mock::given(path(DEFAULT_GET_API))
            .and(header("authorization", token))
            .respond_with(answers(204))
            .expect(times)
            .mount(&server)
            .await;
    }
    let mut settings = BackendSettings::new(server.uri());
    settings.auth = credentials("pw");
    settings.refresh_time = Duration::ZERO;
    let backend = Backend::new(settings).unwrap();
    for _ in 0..3 {
        assert_eq!(backend.next_task().await, Ok(Answer::NoTask));
    }
}

#[tokio::test]
async fn a_401_leads_to_one_login_and_the_call_is_repeated() {
    let server = MockServer::start().await;
    post(DEFAULT_LOGIN_API, tokens("old")).up_to_n_times(1).mount(&server).await;
    post(DEFAULT_LOGIN_API, tokens("new")).expect(1).mount(&server).await;
    for (token, status) in [("Bearer old", 401), ("Bearer new", 200)] {
        Mock::given(path(DEFAULT_POST_API))
            .and(header("authorization", token))
            .and(body_json(json!({"a": 1})))
            .respond_with(answers(status))
            .expect(1)
            .mount(&server)
            .await;
    }
    backend(&server.uri(), Some("pw")).upload(&json!({"a": 1})).await.unwrap();
}

#[tokio::test]
async fn a_401_that_stays_is_an_error_after_two_logins() {
    let server = MockServer::start().await;
    post(DEFAULT_LOGIN_API, tokens("acc-secret")).expect(2).mount(&server).await;
    get(answers(401).set_body_string("no Bearer acc-secret here")).expect(2).mount(&server).await;
    let error = backend(&server.uri(), Some("pw")).next_task().await.unwrap_err();
    assert!(matches!(error, BackendError::Status { status: 401, .. }));
    assert!(!format!("{error} {error:?}").contains("acc-secret"), "{error}");
}

#[tokio::test]
async fn slots_share_one_login() {
    let server = MockServer::start().await;
    post(DEFAULT_LOGIN_API, tokens("a")).expect(1).mount(&server).await;
    get(answers(204)).expect(3).mount(&server).await;
    let backend = backend(&server.uri(), Some("pw"));
    let (a, b, c) = tokio::join!(backend.next_task(), backend.next_task(), backend.next_task());
    assert_eq!((a, b, c), (Ok(Answer::NoTask), Ok(Answer::NoTask), Ok(Answer::NoTask)));
}

#[tokio::test]
async fn a_wrong_password_is_said_without_it_and_not_tried_again_at_once() {
    let server = MockServer::start().await;
    post(DEFAULT_LOGIN_API, answers(403).set_body_string("bad: dora/hunter2")).expect(1).mount(&server).await;
    let backend = backend(&server.uri(), Some("hunter2"));
    for _ in 0..3 {
        let error = backend.next_task().await.unwrap_err();
        assert!(error.is_retryable() && error.retry_after().is_some());
        let text = format!("{error} {error:?}");
        assert!(text.contains("403") && text.contains("dora/***") && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_login_that_gives_no_usable_token_is_an_error_that_quotes_nothing() {
    for body in ["garbage-secret", r#"{"token": "garbage-secret"}"#, r#"{"accessToken": "garbage-secret\n"}"#] {
        let server = MockServer::start().await;
        post(DEFAULT_LOGIN_API, answers(200).set_body_string(body)).expect(1).mount(&server).await;
        let error = backend(&server.uri(), Some("pw")).next_task().await.unwrap_err();
        assert!(matches!(error, BackendError::LoginAnswer { .. }) && error.is_retryable(), "{error}");
        assert!(!format!("{error} {error:?}").contains("garbage-secret"), "{error}");
    }
}

#[tokio::test]
async fn a_backend_in_trouble_is_no_rejected_login() {
    let server = MockServer::start().await;
    post(DEFAULT_LOGIN_API, answers(503)).up_to_n_times(1).mount(&server).await;
    post(DEFAULT_LOGIN_API, tokens("a")).mount(&server).await;
    get(answers(204)).mount(&server).await;
    let backend = backend(&server.uri(), Some("pw"));
    assert!(matches!(backend.next_task().await, Err(BackendError::Status { status: 503, .. })));
    assert_eq!(backend.next_task().await, Ok(Answer::NoTask));
}

#[test]
fn credentials_do_not_show_their_password() {
    assert!(!format!("{:?}", credentials("hunter2")).contains("hunter2"));
}
