//! Names that have to be told apart, whatever they were and however short they have to be.

use std::collections::{HashMap, HashSet};

/// Room for an ending such as ` (12)`, in bytes.
const ENDING: usize = 12;

/// The names, each at most `cap` bytes, and no two the same: the second of a name ends with ` (2)`. Of equal names those with the
/// lesser key come first, so that an order that was drawn by lot changes nothing; of equal keys the earlier one.
pub fn apart<K: Ord>(names: &[(String, K)], cap: usize) -> Vec<String> {
    let room = cap.saturating_sub(ENDING);
    let cut = |name: &str| match name.len() <= cap {
        true => name.to_owned(),
        false => name[..super::boundary_before(name, room)].to_owned(),
    };
    let mut told: Vec<String> = names.iter().map(|(name, _)| cut(name)).collect();
    let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, name) in told.iter().enumerate() {
        groups.entry(name).or_default().push(index);
    }
    let mut many: Vec<(String, Vec<usize>)> =
        groups.into_iter().filter(|(_, group)| group.len() > 1).map(|(name, group)| (name.to_owned(), group)).collect();
    for (_, group) in &mut many {
        group.sort_by(|a, b| names[*a].1.cmp(&names[*b].1).then(a.cmp(b)));
    }
    many.sort();
    // An ending may be somebody's own.
    let mut taken: HashSet<String> = told.iter().cloned().collect();
    for (name, group) in many {
        let mut number = 1;
        let base = &name[..super::boundary_before(&name, room)];
        for index in group.into_iter().skip(1) {
            told[index] = loop {
                number += 1;
                let name = format!("{base} ({number})");
                if taken.insert(name.clone()) {
                    break name;
                }
            };
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(names: &[(&str, &str)], cap: usize) -> Vec<String> {
        apart(&names.iter().map(|(name, key)| (name.to_string(), key.to_string())).collect::<Vec<_>>(), cap)
    }

    #[test]
    fn equal_names_get_endings_by_their_keys() {
        assert_eq!(of(&[("t", "b"), ("t", "a"), ("u", ""), ("t", "c")], 100), ["t (2)", "t", "u", "t (3)"]);
        assert_eq!(of(&[("t", "a"), ("t (2)", "b"), ("t", "c")], 100), ["t", "t (2)", "t (3)"]);
        let long = "x".repeat(60);
        let told = of(&[(&long, "a"), (&format!("{long}y"), "b")], 40);
        assert_eq!(told, ["x".repeat(28), format!("{} (2)", "x".repeat(28))]);
    }

    proptest! {
        #[test]
        fn no_two_are_the_same_and_none_is_too_long(names in proptest::collection::vec("[ab]{0,3}( \\([23]\\))?|я{0,30}", 0..30), cap in 20usize..60) {
            let named: Vec<(String, usize)> = names.iter().cloned().zip(0..).collect();
            let told = apart(&named, cap);
            prop_assert_eq!(told.iter().collect::<HashSet<_>>().len(), names.len());
            prop_assert!(told.iter().all(|name| name.len() <= cap));
            // Another order says the same of each.
            let reversed: Vec<(String, usize)> = named.iter().rev().cloned().collect();
            let mut again = apart(&reversed, cap);
            again.reverse();
            let sets = |all: &[String]| { let mut all = all.to_vec(); all.sort(); all };
            prop_assert_eq!(sets(&again), sets(&told));
        }
    }
}
