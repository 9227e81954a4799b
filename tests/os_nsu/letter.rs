//! What it says, to the letter.

use super::{Backend, RESULT, TASK, task, uuid};
use crate::support::Place;
use serde_json::{Value, json};

#[test]
fn it_says_what_the_backend_in_use_says() {
    let place = Place::new();
    let rest = json!({"repositoryUrl": "https://course.example/x.git", "branch": "main", "laboratoryNumber": 1});
    let tasks = json!([task(1, true, &rest), task(2, true, &rest), task(3, true, &rest)]);
    let backend = Backend::start(&place, &tasks, &[]);
    let none = json!(null);
    // Nobody: 401 without a body. A student: in, and no further.
    let (status, head, body) = backend.ask("GET", TASK, None, "");
    assert!(status == 401 && body.is_empty() && head.contains("www-authenticate: basic realm=\"realm\""), "{head}");
    assert_eq!(backend.ask("GET", TASK, Some("a.b.c"), "").0, 401);
    let (student, _) = backend.tokens("dora_explorer");
    for (method, path) in [("GET", TASK), ("POST", RESULT)] {
        let (status, body) = backend.json(method, path, Some(&student), &json!({"id": uuid(1), "duration": 1}));
        assert_eq!((status, &body["error"], &body["path"]), (403, &json!("Forbidden"), &json!(path)), "{body}");
    }
    // What is no result is found before the role is asked for.
    assert_eq!(backend.ask("POST", RESULT, Some(&student), "{").0, 400);
    let login = |user: &str, password: &str| {
        backend.json("POST", "/api/v1/login", None, &json!({"username": user, "password": password}))
    };
    assert_eq!(login("runner", "x"), (401, json!({"message": "Auth failed: Wrong password."})));
    assert_eq!(login("who", "x"), (400, json!({"message": "User with name 'who' was not found"})));

    let (token, first) = backend.tokens("runner");
    let (_, second) = backend.tokens("runner");
    let refresh = |token: &str| backend.json("POST", "/api/v1/auth/refresh", None, &json!({"refreshToken": token}));
    assert_eq!(refresh(&first), (401, json!({"message": "Auth failed: Invalid JWT"})));
    let (status, fresh) = refresh(&second);
    assert_eq!((status, refresh(&second).0), (200, 401));
    let token = match fresh["accessToken"].as_str() {
        Some(fresh) if backend.ask("HEAD", TASK, Some(&token), "").0 == 200 => fresh.to_string(),
        _ => panic!("the first login's access token is good as well: {fresh}"),
    };
    // HEAD has taken the first task.
    let (_, taken) = backend.json("GET", TASK, Some(&token), &none);
    assert_eq!((&taken["id"], &taken["status"]), (&json!(uuid(2)), &json!("AVAILABLE")), "{taken}");

    let send = |result: Value| backend.json("POST", RESULT, Some(&token), &result);
    let result = |number: u32, more: Value| {
        let mut result = json!({"id": uuid(number), "isPassed": true, "isError": false, "errorDetails": "", "duration": 5, "testResults": []});
        more.as_object().into_iter().flatten().for_each(|(name, value)| result[name] = value.clone());
        result
    };
    for unknown in [json!(uuid(9)), json!("no-uuid"), none.clone()] {
        assert_eq!(send(result(1, json!({"id": unknown}))).0, 400);
    }
    for _ in 0..2 {
        for refused in [
            json!({"errorDetails": "ы".repeat(256)}),
            json!({"errorDetails": "\0"}),
            json!({"testResults": [{"name": "a", "description": "a\0"}]}),
            json!({"duration": null}),
        ] {
            let (status, body) = send(result(1, refused));
            assert_eq!((status, &body["error"]), (500, &json!("Internal Server Error")));
        }
    }
    assert_eq!(backend.attempts()[&uuid(1)]["state"], "IN_PROGRESS", "nothing was stored");
    assert_eq!(send(result(1, json!({"errorDetails": "ы".repeat(255)}))), (200, json!({"id": uuid(1)})));
    assert_eq!(send(result(1, json!({"isPassed": false}))).0, 200);
    let attempts = backend.attempts();
    assert_eq!((&attempts[&uuid(1)]["state"], &attempts[&uuid(1)]["posts"]), (&json!("FAILURE"), &json!(10)));

    // The other one grows old; the third is answered out of the queue, and not handed out any more.
    backend.advance("11m");
    assert_eq!(backend.attempts()[&uuid(2)]["lost"], true);
    assert_eq!(backend.page("/counts")["attempts"]["lost"], 1);
    let (token, _) = backend.tokens("runner");
    assert_eq!(send(result(2, json!({"isError": true}))).0, 200);
    backend.advance("15m");
    assert_eq!(backend.ask("GET", TASK, Some(&token), "").0, 401, "a token is good for a quarter of an hour");
    let (token, _) = backend.tokens("runner");
    assert_eq!(backend.json("POST", RESULT, Some(&token), &result(3, none.clone())).0, 200);
    assert_eq!(backend.json("GET", TASK, Some(&token), &none).1, json!({"status": "UNAVAILABLE"}));
    let states: Vec<Value> = backend.attempts().values().map(|attempt| attempt["state"].clone()).collect();
    assert_eq!(states, ["FAILURE", "ERROR", "SUCCESS"]);
}

#[test]
fn a_race_gives_one_attempt_to_two_and_late_ones_are_not_there_yet() {
    let place = Place::new();
    let tasks = json!([task(1, true, &json!({})), task(2, true, &json!({}))]);
    let users = ["--user", "one:one:ADMIN", "--user", "two:two:TEACHER,ADMIN"];
    let backend = Backend::start(&place, &tasks, &[&users[..], &["--race", "--arrive-every", "1h"]].concat());
    let ((one, _), (two, _)) = (backend.tokens("one"), backend.tokens("two"));
    let take = |token: &str| backend.json("GET", TASK, Some(token), &json!(null)).1["id"].clone();
    assert_eq!((take(&one), take(&two), take(&one)), (json!(uuid(1)), json!(uuid(1)), json!(null)));
    assert_eq!(backend.page("/counts")["attempts"]["handedOutTwice"], 1);
    backend.advance("1h");
    let (one, _) = backend.tokens("one");
    assert_eq!(take(&one), json!(uuid(2)));
}
