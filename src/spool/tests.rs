use super::*;
use crate::backend::contract::{Answer, Key, Task, parse_task, smallest};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashSet;

const HERE: &str = "http://backend:5000";

fn task(value: Value) -> Task {
    let mut task =
        json!({"repositoryUrl": "https://github.com/os-nsu/x.git", "branch": "main", "laboratoryNumber": [1, 2]});
    for (name, value) in value.as_object().expect("an object") {
        task[name] = value.clone();
    }
    match parse_task(200, task.to_string().as_bytes()) {
        Ok(Answer::Task(task)) => task,
        other => panic!("{other:?}"),
    }
}

fn open(dir: &Path) -> (Spool, Found) {
    Spool::open(dir, HERE, 2).expect("a spool")
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("a directory")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

/// The body that is to be sent.
fn sent(dir: &Path, spool: &Spool, key: &Key) -> Option<Value> {
    match spool.next(key) {
        Next::Send(_) => {
            let bytes = std::fs::read(dir.join(DIR).join(file_name(&name_of(key)))).unwrap();
            let head = Head::parse(&bytes).unwrap();
            Some(serde_json::from_slice(&bytes[head.result.unwrap()]).unwrap())
        }
        Next::Dropped => None,
        Next::NotYet(problem) => panic!("{problem}"),
    }
}

#[test]
fn a_result_is_there_until_it_is_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, found) = open(dir.path());
    assert!(found.taken.is_empty() && found.waiting.is_empty());
    spool.ready().unwrap();
    let task = task(json!({"attempt": 21, "connectedTests": ["a"]}));
    spool.take(&task).unwrap();
    assert!(matches!(spool.take(&task), Err(TakeError::InHand)));
    assert_eq!(spool.waiting(), 0);

    // As if the runner had died.
    let (spool, found) = open(dir.path());
    assert_eq!(found.taken.len(), 1);
    assert_eq!(found.taken[0].task(), Some(task.clone()));
    assert!(spool.has(&task.key));

    let result = json!({"attempt": 21, "testResults": {"isPassed": true}});
    spool.finish(&task.key, None, &result).unwrap();
    assert_eq!(spool.waiting(), 1);
    let (spool, found) = open(dir.path());
    assert_eq!(found.waiting, std::slice::from_ref(&task.key));
    assert_eq!(sent(dir.path(), &spool, &task.key), Some(result));
    assert_eq!(spool.read(&name_of(&task.key)).unwrap().task(), Some(task.clone()));
    assert!(matches!(spool.take(&task), Err(TakeError::InHand)));

    spool.confirm(&task.key).unwrap();
    assert!(!spool.has(&task.key));
    assert_eq!(names(&dir.path().join(DIR)), ["elsewhere", "rejected"]);
    spool.take(&task).expect("it can be graded again");
}

#[test]
fn what_is_refused_moves_aside_and_comes_back_when_somebody_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let task = task(json!({"id": "3fa85f64-5717"}));
    let result = json!({"id": "3fa85f64-5717", "isPassed": false});
    spool.take(&task).unwrap();
    spool.finish(&task.key, None, &result).unwrap();
    spool.reject(&task.key, 422, "no such attempt").unwrap();
    assert_eq!((spool.waiting(), spool.rejected()), (0, 1));
    assert_eq!(names(&dir.path().join(DIR)), ["elsewhere", "rejected"]);
    assert!(open(dir.path()).1.waiting.is_empty(), "it is not sent again by itself");

    let shelf = Shelf::of(dir.path());
    let found = shelf.find("3fa85f64-5717").unwrap();
    let Ok(Entry { stage: Stage::Rejected { status, reason, .. }, .. }) = found[0].read() else { panic!() };
    assert_eq!((status, &*reason), (422, "no such attempt"));
    shelf.retry(&found[0], None).unwrap();
    spool.ready().unwrap();
    assert_eq!((names(&dir.path().join(DIR)).len(), spool.rejected()), (3, 0));
    // A runner that runs finds it, once.
    assert_eq!(spool.search().unwrap().len(), 1);
    assert!(spool.search().unwrap().is_empty());
    for lying in shelf.find("id-3fa85f64-5717").unwrap() {
        shelf.drop_entry(&lying).unwrap();
    }
    assert_eq!(sent(dir.path(), &spool, &task.key), None);
    assert!(shelf.find("3fa85f64-5717").is_err_and(|e| e.to_string().contains("spool list")));
}

#[test]
fn another_backends_results_wait_until_it_is_asked_again_or_they_are_sent_elsewhere() {
    const THERE: &str = "http://old";
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path(), THERE, 1).unwrap();
    let (first, second) = (task(json!({"attempt": 1})), task(json!({"attempt": 2})));
    for task in [&first, &second] {
        spool.finish(&task.key, Some(task), &json!({"attempt": task.key.token().as_value(), "of": THERE})).unwrap();
    }
    // The same number is another attempt here, and both are kept.
    let (spool, found) = open(dir.path());
    assert_eq!((found.waiting.len(), found.others.len()), (0, 2));
    spool.take(&first).unwrap();
    spool.finish(&first.key, None, &json!({"attempt": 1, "of": HERE})).unwrap();
    let shelf = Shelf::of(dir.path());
    assert_eq!(shelf.find("1").unwrap().len(), 2);
    let second = shelf.find("2").unwrap();
    shelf.retry(&second[0], Some(HERE)).unwrap();
    assert_eq!((open(dir.path()).1.waiting.len(), shelf.list().unwrap().len()), (2, 3));

    let (spool, found) = Spool::open(dir.path(), THERE, 1).unwrap();
    assert_eq!((&found.waiting, found.others.len()), (&vec![first.key.clone()], 2));
    assert_eq!(sent(dir.path(), &spool, &first.key), Some(json!({"attempt": 1, "of": THERE})));
}

#[test]
fn halves_are_swept_and_what_is_no_entry_is_left_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let task = task(json!({"attempt": 7}));
    spool.take(&task).unwrap();
    let here = dir.path().join(DIR);
    std::fs::write(here.join(".attempt-7.json.new"), "{\"version\": 1, \"sta").unwrap();
    std::fs::write(here.join("attempt-8.json"), "{\"version\": 1, \"sta").unwrap();
    std::fs::write(here.join("attempt-9.json"), "{\"version\": 2}").unwrap();
    std::fs::copy(here.join("attempt-7.json"), here.join("attempt-10.json")).unwrap();
    let (_, found) = open(dir.path());
    assert_eq!((found.taken.len(), found.unreadable.len()), (1, 3));
    let told: String = found.unreadable.iter().map(|(_, problem)| format!("{problem}\n")).collect();
    assert!(told.contains("no entry") && told.contains("version 2") && told.contains("name does not fit"), "{told}");
    assert_eq!(names(&here).len(), 6, "nothing was thrown away");
    assert!(!here.join(".attempt-7.json.new").exists());
    let shelf = Shelf::of(dir.path());
    assert_eq!(shelf.list().unwrap().len(), 4);
    assert!(shelf.retry(&shelf.find("attempt-7").unwrap()[0], None).is_err_and(|e| e.to_string().contains("--resume")));
}

#[test]
fn a_result_that_the_disk_did_not_take_is_not_said_to_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let task = task(json!({"attempt": 7}));
    spool.take(&task).unwrap();
    assert!(spool.reject(&task.key, 422, "no").is_err_and(|e| e.to_string().contains("not on disk")));
    assert_eq!((spool.rejected(), open(dir.path()).1.taken.len()), (0, 1));
}

#[test]
fn what_was_whole_and_not_in_its_place_yet_is_put_there() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let task = task(json!({"attempt": 7}));
    spool.take(&task).unwrap();
    let result = json!({"attempt": 7, "testResults": {}});
    let entry = Entry::finished(HERE, &task.key, Some(&task), &result, SystemTime::now());
    std::fs::write(dir.path().join(DIR).join(".attempt-7.json.new"), entry.to_bytes()).unwrap();
    let (spool, found) = open(dir.path());
    assert_eq!((found.taken.len(), found.waiting), (0, vec![task.key.clone()]));
    assert_eq!(spool.read("attempt-7").unwrap(), entry);
    assert_eq!(names(&dir.path().join(DIR)), ["attempt-7.json", "elsewhere", "rejected"]);
}

#[test]
fn a_result_that_answers_another_attempt_is_none() {
    let good =
        Entry::finished(HERE, &task(json!({"attempt": 1})).key, None, &json!({"attempt": 1}), SystemTime::UNIX_EPOCH);
    assert_eq!(Entry::parse(&good.to_bytes()), Ok(good));
    let bad =
        Entry::finished(HERE, &task(json!({"attempt": 1})).key, None, &json!({"attempt": 2}), SystemTime::UNIX_EPOCH);
    assert!(Entry::parse(&bad.to_bytes()).is_err_and(|e| e.contains("another attempt")));
}

#[test]
fn what_only_the_last_answer_says_is_taken_or_said() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let ask = |spool: &Spool, answer: &str| {
        spool.asking().unwrap();
        spool.answered(answer.as_bytes());
    };
    let task = task(json!({"attempt": 7}));
    // As if the runner had died, each time.
    ask(&spool, "");
    let (spool, found) = open(dir.path());
    assert!(found.asking.is_some() && found.taken.is_empty());
    ask(&spool, r#"{"status":"UNAVAILABLE"}"#);
    let (spool, found) = open(dir.path());
    assert!(found.asking.is_none() && found.taken.is_empty());
    ask(&spool, &task.to_value().to_string());
    let (spool, found) = open(dir.path());
    assert_eq!((found.asking, found.taken[0].task()), (None, Some(task.clone())));
    assert!(spool.has(&task.key) && !spool.question.is_there());
    // Known already: it is answered once.
    ask(&spool, &task.to_value().to_string());
    let (spool, found) = open(dir.path());
    assert_eq!(found.taken.len(), 1);
    // Not valid, half, and another backend's.
    ask(&spool, r#"{"attempt": 8}"#);
    let (spool, found) = open(dir.path());
    assert_eq!(
        (found.taken.len(), spool.has(&crate::backend::contract::key_of(&json!({"attempt": 8})).unwrap())),
        (2, true)
    );
    ask(&spool, r#"{"attempt": 9, "repos"#);
    let (_, found) = open(dir.path());
    assert_eq!(found.taken.len(), 2);
    let (there, _) = Spool::open(dir.path(), "http://there", 1).unwrap();
    ask(&there, r#"{"attempt": 10}"#);
    let (_, found) = open(dir.path());
    assert_eq!((found.taken.len(), found.others.len()), (2, 1));
}

#[test]
fn what_was_confirmed_while_a_question_was_on_its_way_is_said_again_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let (first, second) = (task(json!({"attempt": 1})), task(json!({"attempt": 2})));
    let result = |task: &Task| json!({"attempt": task.key.token().as_value(), "n": 1});
    for task in [&first, &second] {
        spool.take(task).unwrap();
        spool.finish(&task.key, None, &result(task)).unwrap();
    }
    spool.confirm(&first.key).unwrap();
    spool.asking().unwrap();
    spool.confirm(&second.key).unwrap();
    assert!(names(&dir.path().join(DIR)).iter().all(|name| !name.starts_with("attempt")), "people see none");
    assert_eq!((spool.say_again(&first.key), spool.say_again(&second.key)), (Said::No, Said::WaitsAgain));
    spool.asked();
    assert_eq!(sent(dir.path(), &spool, &second.key), Some(result(&second)));
    spool.asking().unwrap();
    spool.confirm(&second.key).unwrap();
    spool.asked();
    assert_eq!(spool.say_again(&second.key), Said::No, "a question that is sent afterwards means a new grading");
    assert_eq!(names(&dir.path().join(DIR)), ["elsewhere", "rejected"]);

    // The same where the runner dies before it has said it.
    spool.take(&first).unwrap();
    spool.finish(&first.key, None, &result(&first)).unwrap();
    spool.asking().unwrap();
    spool.confirm(&first.key).unwrap();
    spool.answered(first.to_value().to_string().as_bytes());
    let (spool, found) = open(dir.path());
    assert_eq!((found.taken.len(), found.waiting), (0, vec![first.key.clone()]));
    assert_eq!(sent(dir.path(), &spool, &first.key), Some(result(&first)));
    spool.asking().unwrap();
    spool.confirm(&first.key).unwrap();
    let (_, found) = open(dir.path());
    assert!(found.taken.is_empty() && found.waiting.is_empty());
    assert_eq!(
        std::fs::read_dir(dir.path().join(DIR))
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("said"))
            .count(),
        0
    );
}

#[test]
fn what_this_program_did_not_write_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let here = dir.path().join(DIR);
    let task = task(json!({"attempt": 9}));
    for text in ["{\"version\": 2, \"news\": true}", "not JSON"] {
        std::fs::write(here.join("attempt-9.json"), text).unwrap();
        assert!(spool.search().unwrap().is_empty());
        spool.take(&task).unwrap();
        spool.finish(&task.key, None, &json!({"attempt": 9})).unwrap();
        spool.confirm(&task.key).unwrap();
        let kept = names(&here.join(SET_ASIDE));
        assert!(kept.iter().any(|name| std::fs::read_to_string(here.join(SET_ASIDE).join(name)).unwrap() == text));
    }
    let shelf = Shelf::of(dir.path());
    assert_eq!(shelf.list().unwrap().iter().filter(|lying| lying.entry.is_err()).count(), 2);
}

#[test]
fn a_directory_that_goes_takes_nothing_with_it_that_is_known_by_heart() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let (running, small, large) =
        (task(json!({"attempt": 1})), task(json!({"attempt": 2})), task(json!({"attempt": 3})));
    [&running, &small, &large].iter().for_each(|task| spool.take(task).unwrap());
    spool.finish(&small.key, None, &json!({"attempt": 2})).unwrap();
    spool.finish(&large.key, None, &json!({"attempt": 3, "text": "x".repeat(1 << 20)})).unwrap();
    let (here, away) = (dir.path().join(DIR), dir.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    // Nobody has dropped anything.
    assert!(matches!(spool.next(&small.key), Next::NotYet(_)));
    std::fs::create_dir(&here).unwrap();
    assert!(matches!(spool.next(&small.key), Next::NotYet(_)));
    spool.ready().unwrap();
    assert_eq!(spool.waiting(), 2);
    assert!(sent(dir.path(), &spool, &small.key).is_some());
    assert!(matches!(spool.next(&large.key), Next::NotYet(_)));
    assert_eq!(names(&here), ["attempt-1.json", "attempt-2.json", "elsewhere", "rejected"]);
    std::fs::copy(away.join("attempt-3.json"), here.join("attempt-3.json")).unwrap();
    assert!(sent(dir.path(), &spool, &large.key).is_some());
    // From here on it is an operator's word.
    std::fs::remove_file(here.join("attempt-3.json")).unwrap();
    assert!(matches!(spool.next(&large.key), Next::Dropped));
}

#[test]
fn a_result_in_its_smallest_form_stays_in_it_and_its_whole_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let task = task(json!({"attempt": 5}));
    let result = json!({"attempt": 5, "testResults": {"isPassed": false, "isError": true, "errorDetails": "x".repeat(999), "testCases": []}});
    spool.take(&task).unwrap();
    spool.finish(&task.key, None, &result).unwrap();
    assert!(spool.make_smaller(&task.key).unwrap());
    let (spool, _) = open(dir.path());
    assert_eq!(sent(dir.path(), &spool, &task.key), Some(smallest(&result)));
    assert!(!spool.make_smaller(&task.key).unwrap(), "it cannot be made smaller");
    spool.reject(&task.key, 500, "no").unwrap();
    let shelf = Shelf::of(dir.path());
    shelf.retry(&shelf.refused().unwrap()[0], None).unwrap();
    assert_eq!(spool.search().unwrap(), std::slice::from_ref(&task.key));
    assert_eq!(sent(dir.path(), &spool, &task.key), Some(result), "whoever says so wants it whole");
}

#[test]
fn five_refusals_in_a_row_and_many_refused_results_stop_it() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let refuse = |number: u32, status: u16| {
        let task = task(json!({"attempt": number}));
        spool.take(&task).unwrap();
        spool.finish(&task.key, None, &json!({"attempt": number})).unwrap();
        spool.reject(&task.key, status, "no").unwrap();
    };
    (0..4).for_each(|number| refuse(number, 403));
    refuse(4, 422);
    spool.ready().expect("another status");
    (5..10).for_each(|number| refuse(number, 403));
    assert!(spool.ready().is_err_and(|error| format!("{error:#}").contains("5 results in a row with HTTP 403")));
    spool.forgive();
    spool.ready().unwrap();
    for number in 0..MOST_REJECTED {
        std::fs::write(dir.path().join(DIR).join(REJECTED).join(format!("x{number}.json")), "").unwrap();
    }
    assert!(spool.ready().is_err_and(|error| format!("{error:#}").contains("spool drop --all")));
}

fn token() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[0-9]{1,3}".prop_map(Value::from),
        "[a-z0-9~@./-]{0,6}".prop_map(Value::from),
        ".{0,200}".prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn no_two_attempts_share_a_file(tokens in proptest::collection::vec(token(), 1..40)) {
        let keys: HashSet<Key> = tokens.iter().flat_map(|token| {
            [json!({"attempt": token}), json!({"id": token})].into_iter().filter_map(|o| crate::backend::contract::key_of(&o))
        }).collect();
        let files: HashSet<String> = keys.iter().map(name_of).collect();
        prop_assert_eq!(files.len(), keys.len());
        for name in files {
            prop_assert!(name.len() < 200 && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-~".contains(c)), "{}", name);
        }
    }

    #[test]
    fn entries_come_back_as_they_were(token in token(), text in ".{0,40}", status in 400u16..500, refused: bool) {
        let key = crate::backend::contract::key_of(&json!({"attempt": token})).unwrap();
        let result = json!({"attempt": token, "text": text});
        let mut entry = Entry::finished(HERE, &key, None, &result, SystemTime::UNIX_EPOCH);
        if refused {
            entry = entry.rejected(SystemTime::UNIX_EPOCH, status, &text);
        }
        let bytes = entry.to_bytes();
        let head = Head::parse(&bytes).unwrap();
        prop_assert_eq!((&head.key, head.name(), head.name_aside()), (&key, entry.name(), entry.name_aside()));
        let skimmed = Head::skim(&bytes[..bytes.len() - 1]).unwrap();
        prop_assert_eq!(skimmed, Head { result: None, ..head.clone() });
        // What is sent is the result without a byte of white space between.
        prop_assert_eq!(std::str::from_utf8(&bytes[head.result.unwrap()]).unwrap(), result.to_string());
        prop_assert_eq!(Entry::parse(&bytes), Ok(entry));
    }

    #[test]
    fn bytes_that_are_no_entry_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Entry::parse(&bytes).is_err() && Head::parse(&bytes).is_err());
    }
}
