//! Tests against the embedded backend as it is when it is like the one in use: roles, tokens, clocks.

use super::*;
use crate::backend::contract::Shape;
use crate::backend::mock::OsNsuOptions;

async fn like_os_nsu() -> (String, Arc<Mutex<Vec<Value>>>) {
    embedded(MockOptions { tasks: builtin_tasks(), like: Some(OsNsuOptions::default()), ..MockOptions::default() })
        .await
}

fn client(url: &str, user: &str, password: &str, refresh_time: Duration) -> Backend {
    let mut settings = BackendSettings::new(url);
    settings.auth = Some(Credentials { login: user.to_owned(), password: password.into() });
    settings.refresh_time = refresh_time;
    Backend::new(settings).unwrap()
}

async fn advance(url: &str, by: &str) {
    let client = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    let answer = client.post(format!("{url}clock")).json(&json!({"advance": by})).send().await.unwrap();
    assert!(answer.status().is_success());
}

async fn attempts(url: &str) -> Value {
    serde_json::from_str(&text(format!("{url}attempts")).await).unwrap()
}

const NEVER: Duration = Duration::from_secs(100_000);

#[tokio::test]
async fn a_student_is_told_which_role_is_missing_and_takes_nothing() {
    let (url, _) = like_os_nsu().await;
    let student = client(&url, "dora_explorer", "dora_explorer", NEVER);
    let login = student.try_login().await.unwrap_err();
    let (task, upload) = (student.next_task().await.unwrap_err(), student.upload(&json!({})).await.unwrap_err());
    for error in [login, task, upload] {
        let text = error.to_string();
        assert!(text.contains("\"dora_explorer\" has the role STUDENT") && text.contains("the role ADMIN"), "{text}");
        // Not the result's fault: it is kept and sent again, slowly.
        assert!(error.is_retryable() && error.is_for_the_operator(), "{text}");
        assert!(error.retry_after() >= Some(Duration::from_secs(30)), "{text}");
    }
    assert_eq!(attempts(&url).await, json!([]));
    let runner = client(&url, "runner", "runner", NEVER);
    let admitted = runner.try_login().await.unwrap().unwrap();
    assert!(admitted.user == "runner" && admitted.roles.unwrap().suffice());
    assert_eq!(attempts(&url).await, json!([]));
    assert!(next_key(&runner).await.is_some());
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_rejected_logins() {
    let (url, _) = like_os_nsu().await;
    for (user, password, said) in [("runner", "wrong-pw", "401"), ("nobody", "wrong-pw", "400")] {
        let error = client(&url, user, password, NEVER).try_login().await.unwrap_err();
        assert!(matches!(error, BackendError::LoginRejected { .. }), "{error}");
        assert!(error.to_string().contains(said) && !error.to_string().contains("wrong-pw"), "{error}");
    }
}

#[tokio::test]
async fn a_token_that_has_expired_leads_to_a_login_and_the_call_is_repeated() {
    let (url, results) = like_os_nsu().await;
    let runner = client(&url, "runner", "runner", NEVER);
    let key = next_key(&runner).await.unwrap();
    advance(&url, "16m").await;
    assert_eq!(attempts(&url).await[0]["state"], "TIMEOUT");
    assert_eq!(attempts(&url).await[0]["lost"], true);
    runner.upload(&render(&key, &Verdict::broken("late"), Shape::default())).await.unwrap();
    assert_eq!(results.lock().unwrap().len(), 1);
    // A late result replaces that.
    assert_eq!(attempts(&url).await[0]["state"], "ERROR");
    assert_eq!(attempts(&url).await[0]["lost"], false);
}

#[tokio::test]
async fn two_runners_of_one_user_live_with_a_login_each_time() {
    let (url, _) = like_os_nsu().await;
    // Each call refreshes, and the other's login has made that impossible.
    let (one, two) =
        (client(&url, "runner", "runner", Duration::ZERO), client(&url, "runner", "runner", Duration::ZERO));
    assert!(next_key(&one).await.is_some());
    assert!(next_key(&two).await.is_some());
    for _ in 0..2 {
        assert_eq!(next_key(&one).await, None);
        assert_eq!(next_key(&two).await, None);
    }
}

#[tokio::test]
async fn it_fails_like_any_other_and_loses_nothing_by_that() {
    use crate::backend::mock::{ChaosOptions, Failure};
    let failures = vec![Failure::ServerError, Failure::Unauthorized, Failure::TakeAndDrop, Failure::Again];
    let (url, _) = embedded(MockOptions {
        tasks: builtin_tasks(),
        repeat: 20,
        like: Some(OsNsuOptions::default()),
        chaos: ChaosOptions { percent: 40, seed: 3, failures },
        ..MockOptions::default()
    })
    .await;
    let runner = client(&url, "runner", "runner", NEVER);
    loop {
        match runner.next_task().await {
            Ok(Answer::Task(task)) => {
                let result = render(&task.key, &Verdict::broken("no"), Shape::default());
                while runner.upload(&result).await.is_err() {}
            }
            Ok(Answer::NoTask) => break,
            Ok(Answer::Invalid { problem, .. }) => panic!("{problem}"),
            Err(_) => {}
        }
    }
    let attempts = attempts(&url).await;
    assert_eq!(attempts.as_array().unwrap().len(), 40);
    assert!(attempts.as_array().unwrap().iter().all(|attempt| attempt["state"] == "ERROR"), "{attempts:#}");
    let counts: Value = serde_json::from_str(&text(format!("{url}counts")).await).unwrap();
    assert_eq!((&counts["answered"], &counts["attempts"]["states"]), (&json!(40), &json!({"ERROR": 40})), "{counts:#}");
}

#[tokio::test]
async fn a_403_without_a_role_to_name_is_final_as_before() {
    let server = MockServer::start().await;
    post(DEFAULT_LOGIN_API, tokens("opaque")).mount(&server).await;
    get(answers(403)).mount(&server).await;
    let backend = backend(&server.uri(), Some("pw"));
    let error = backend.next_task().await.unwrap_err();
    assert!(matches!(error, BackendError::Status { status: 403, .. }) && !error.is_retryable(), "{error}");
    assert!(error.to_string().contains("does not let this user do that"), "{error}");
    // Nothing is known of its roles, so nothing is tried but the login.
    let admitted = backend.try_login().await.unwrap().unwrap();
    assert_eq!(admitted.roles, None);
}
