//! What the runner knows of its entries without reading them.

use super::Entry;
use std::collections::BTreeMap;

/// Longest file of which a copy is kept in memory, in bytes.
const LONGEST_COPY: usize = 64 << 10;
/// What all copies may have together: the results of a thousand attempts, as they mostly are.
const COPIES: usize = 4 << 20;

/// How far an attempt has come, and where that is written.
#[derive(Debug)]
pub enum Held {
    /// It is being graded. `on_disk`: whether there is a record of it.
    Taken { entry: Box<Entry>, on_disk: bool },
    /// The disk does not take its result, or its file is gone with the directory. It is not sent before it is written.
    Unwritten(Box<Entry>),
    /// Its result is on disk. With a copy of the file where that is short, should the directory go.
    Waiting(Option<Box<[u8]>>),
    /// Its result was in a directory that is gone. Nobody has dropped it.
    Missing,
    /// It was refused for good, and its file cannot be moved to where such are.
    Refused { status: u16, reason: String },
    /// It was confirmed, and its file cannot be removed, or is still there while a question is on its way, because that can bring
    /// the same task. `crossed`: since this question was asked. `aside`: the file is where the next start removes it.
    Confirmed { crossed: bool, aside: bool },
}

/// Entries by their names.
#[derive(Debug, Default)]
pub struct Book {
    held: BTreeMap<String, Held>,
    copied: usize,
}

impl Book {
    /// What is known of it.
    pub fn get(&self, name: &str) -> Option<&Held> {
        self.held.get(name)
    }

    /// It is this from here on.
    pub fn set(&mut self, name: &str, held: Held) {
        self.remove(name);
        let held = match held {
            Held::Waiting(Some(copy)) if copy.len() > LONGEST_COPY || self.copied + copy.len() > COPIES => {
                Held::Waiting(None)
            }
            held => held,
        };
        self.copied += copied(&held);
        self.held.insert(name.to_owned(), held);
    }

    /// Nothing is known of it any more.
    pub fn remove(&mut self, name: &str) -> Option<Held> {
        let held = self.held.remove(name)?;
        self.copied -= copied(&held);
        Some(held)
    }

    /// All names of which this holds.
    pub fn names(&self, is: impl Fn(&Held) -> bool) -> Vec<String> {
        self.held.iter().filter(|(_, held)| is(held)).map(|(name, _)| name.clone()).collect()
    }

    /// How many they are.
    pub fn count(&self, is: impl Fn(&Held) -> bool) -> usize {
        self.held.values().filter(|held| is(held)).count()
    }

    /// None was confirmed since the question was asked.
    pub fn uncross(&mut self) {
        for held in self.held.values_mut() {
            if let Held::Confirmed { crossed, .. } = held {
                *crossed = false;
            }
        }
    }

    /// The directory has gone with all that was in it: what is known by heart is to be written again. How many results are not.
    pub fn lose_all_files(&mut self) -> usize {
        let mut missing = 0;
        for name in self.names(|_| true) {
            let held = match self.remove(&name) {
                Some(Held::Taken { entry, .. }) => Held::Taken { entry, on_disk: false },
                Some(Held::Waiting(Some(copy))) => match Entry::parse(&copy) {
                    Ok(entry) => Held::Unwritten(Box::new(entry)),
                    Err(_) => Held::Missing,
                },
                Some(Held::Waiting(None)) => Held::Missing,
                Some(Held::Confirmed { .. } | Held::Refused { .. }) | None => continue,
                Some(same @ (Held::Unwritten(_) | Held::Missing)) => same,
            };
            missing += usize::from(matches!(held, Held::Missing));
            self.set(&name, held);
        }
        missing
    }
}

impl Held {
    /// Whether its attempt has no answer that the backend has confirmed or refused.
    pub fn is_in_hand(&self) -> bool {
        !matches!(self, Held::Confirmed { .. })
    }

    /// Whether there is a result that the backend has not confirmed.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Held::Unwritten(_) | Held::Waiting(_) | Held::Missing)
    }

    /// Whether it is in memory alone.
    pub fn is_unwritten(&self) -> bool {
        matches!(self, Held::Unwritten(_) | Held::Taken { on_disk: false, .. })
    }
}

fn copied(held: &Held) -> usize {
    match held {
        Held::Waiting(Some(copy)) => copy.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_have_a_bound() {
        let mut book = Book::default();
        let copy = |length: usize| Held::Waiting(Some(vec![b' '; length].into()));
        book.set("long", copy(LONGEST_COPY + 1));
        assert!(matches!(book.get("long"), Some(Held::Waiting(None))));
        for number in 0..200 {
            book.set(&number.to_string(), copy(LONGEST_COPY));
        }
        assert_eq!(book.copied, COPIES);
        assert_eq!(book.count(|held| matches!(held, Held::Waiting(Some(_)))), COPIES / LONGEST_COPY);
        book.set("0", Held::Missing);
        book.remove("1");
        assert_eq!(book.copied, COPIES - 2 * LONGEST_COPY);
        // A copy that is no entry is as good as none.
        assert_eq!(book.lose_all_files(), 200);
    }
}
