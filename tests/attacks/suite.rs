//! The attack suite that ships, on this host: as `check --attacks` runs it. What it does with layers off is tried in a machine
//! that can be thrown away (`scripts/vm/attacks.sh`).

use crate::support::{Place, need_root, traces};
use sandbox::groups::Group;
use sandbox::groups::host::obstacle;
use serde_json::Value;

fn attacks(place: &Place, more: &[&str]) -> (i32, Value) {
    let output = place.command(&["check", "--attacks", "--json"]).args(more).output().expect("the program starts");
    let body = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().expect("it exits"), body)
}

#[test]
fn every_attack_is_contained_and_nothing_is_left() {
    if !need_root("every_attack_is_contained_and_nothing_is_left") {
        return;
    }
    let place = Place::new();
    let (code, body) = attacks(&place, &["--concurrent", "2"]);
    let reports = body["attacks"].as_array().expect("a list");
    for report in reports {
        println!("{:18} {:10} {}", report["attack"].as_str().expect("a name"), report["verdict"], report["stoppedBy"]);
    }
    let otherwise: Vec<&Value> = reports.iter().filter(|report| report["verdict"] != "contained").collect();
    assert!(otherwise.is_empty() && code == 0, "exit code {code}: {otherwise:#?}");
    assert!(reports.len() > 60, "{} attacks", reports.len());
    assert_eq!(traces(&place.path("state")), Vec::<String>::new());
}

/// All groups of calls that this kernel has, at once, and the attacks that aim at what lies behind them. With each group alone the
/// whole suite is tried by `scripts/vm/attacks.sh --groups`.
#[test]
fn what_a_laboratory_can_be_allowed_opens_nothing_else() {
    if !need_root("what_a_laboratory_can_be_allowed_opens_nothing_else") {
        return;
    }
    let able = Group::ALL.into_iter().filter(|group| obstacle([*group].into_iter().collect()).is_none());
    let groups: Vec<&str> = able.map(Group::name).collect();
    println!("with {groups:?}");
    let words = [
        "container",
        "listener",
        "ring",
        "counters",
        "memory_mounts",
        "lists",
        "namespace",
        "surface",
        "mount",
        "second_root",
        "control_group",
        "handles",
        "keys",
        "proc_host",
        "look_into",
        "read_secret",
        "socket",
        "signal",
    ];
    let flags =
        groups.iter().flat_map(|group| ["--allow", group]).chain(words.iter().flat_map(|word| ["--only", word]));
    let place = Place::new();
    let (code, body) = attacks(&place, &flags.collect::<Vec<_>>());
    let reports = body["attacks"].as_array().expect("a list");
    let otherwise: Vec<&Value> = reports.iter().filter(|report| report["verdict"] != "contained").collect();
    assert!(otherwise.is_empty() && code == 0, "exit code {code}: {otherwise:#?}");
    assert!(reports.len() > 20, "{} attacks", reports.len());
    assert_eq!(body["allowed"], serde_json::json!(groups));
}

#[test]
fn an_attack_that_succeeds_is_told_and_is_no_success() {
    if !need_root("an_attack_that_succeeds_is_told_and_is_no_success") {
        return;
    }
    // With its network namespace off, which harms nobody: it finds the listener that was laid out for it.
    let place = Place::new();
    let (code, body) = attacks(&place, &["--only", "abstract_socket", "--off", "everything"]);
    let report = &body["attacks"][0];
    assert_eq!((code, &report["verdict"]), (2, &"reached".into()), "{body:#}");
    let what = report["what"].to_string();
    assert!(what.contains("a connection") && what.contains("an abstract socket of the host's was reached"), "{what}");
}
