//! Every property on every seed, and on what comes of seeds that are cut, spliced and damaged. What a fuzzer finds becomes a
//! seed, and is tried here from then on, on any compiler.

use properties::{TARGETS, Target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds")
}

/// The seeds of a target, by the names of their files.
fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join(target.name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn every_property_holds_on_every_seed_and_seeds_get_everywhere() {
    let mut broken = Vec::new();
    for target in TARGETS {
        let mut reached = BTreeSet::new();
        for (name, seed) in seeds(&target) {
            // What is wrong stands above, in the panic's own words.
            match std::panic::catch_unwind(|| (target.check)(&seed)) {
                Ok(word) => drop(reached.insert(word)),
                Err(_) => broken.push(format!("{}/{name}", target.name)),
            }
        }
        let wanted = BTreeSet::from_iter(target.words.iter().copied());
        if reached != wanted {
            broken.push(format!("{}: its seeds reach {reached:?} of {wanted:?}", target.name));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_target_has_its_program_and_its_folder_and_nothing_else_has() {
    let names = |path: PathBuf| -> BTreeSet<String> {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|e| e.unwrap().file_name().to_string_lossy().trim_end_matches(".rs").to_owned()).collect()
    };
    let targets = BTreeSet::from_iter(TARGETS.map(|target| target.name.to_owned()));
    assert_eq!(names(folder()), targets);
    assert_eq!(names(folder().join("../fuzz_targets")), targets);
}

/// What is done to a seed. Places are parts of its length.
#[derive(Debug, Clone)]
enum Damage {
    Cut(f64),
    Splice(usize, f64, f64),
    Put(f64, u8),
    Insert(f64, Vec<u8>),
    Repeat(f64, f64),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let place = 0.0..1.0f64;
    let odd = prop::sample::select(&b"\0\n\r\t \"'\\<>&;,:{}[]-%.@/0\xff\x80"[..]);
    let bytes = prop_oneof![odd, any::<u8>()];
    prop_oneof![
        place.clone().prop_map(Damage::Cut),
        (any::<usize>(), place.clone(), place.clone()).prop_map(|(other, from, to)| Damage::Splice(other, from, to)),
        (place.clone(), bytes.clone()).prop_map(|(at, byte)| Damage::Put(at, byte)),
        (place.clone(), prop::collection::vec(bytes, 1..4)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (place.clone(), place).prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage], seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
    let at = |part: &f64, length: usize| ((part * length as f64) as usize).min(length);
    for damage in damages {
        let length = bytes.len();
        match damage {
            Damage::Cut(part) => bytes.truncate(at(part, length)),
            Damage::Splice(other, from, to) => {
                let (_, other) = &seeds[other % seeds.len()];
                bytes.truncate(at(from, length));
                bytes.extend_from_slice(&other[at(to, other.len())..]);
            }
            Damage::Put(part, byte) => {
                if let Some(place) = bytes.get_mut(at(part, length)) {
                    *place = *byte;
                }
            }
            Damage::Insert(part, more) => {
                let place = at(part, length);
                bytes.splice(place..place, more.iter().copied());
            }
            Damage::Repeat(from, to) => {
                let (from, to) = (at(from, length), at(to, length));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(from.max(to)..from.max(to), part);
            }
        }
    }
    bytes
}

#[test]
fn every_property_holds_on_damaged_seeds() {
    for target in TARGETS {
        let seeds = seeds(&target);
        let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
        let input = (any::<usize>(), prop::collection::vec(any_damage(), 1..6))
            .prop_map(|(which, damages)| damaged(seeds[which % seeds.len()].1.clone(), &damages, &seeds));
        let result = runner.run(&input, |bytes| {
            let word = (target.check)(&bytes);
            prop_assert!(target.words.contains(&word), "{word:?} is no word of {}", target.name);
            Ok(())
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, bytes)) => panic!("{}: \"{}\": {why}", target.name, bytes.escape_ascii()),
            Err(other) => panic!("{}: {other}", target.name),
        }
    }
}
