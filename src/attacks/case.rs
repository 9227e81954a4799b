//! An attack's head: what it tries, what stops it, and what has to be known to run it.
//!
//! A comment at the top of the file: a sentence, then lines `key: value`.
//!
//! | key | what it says |
//! |---|---|
//! | `goal` | what the attacker would have |
//! | `stopped by` | the layers in words |
//! | `first` | the layer that stops it, as [`Switch`]es that belong together |
//! | `second` | the layer that stops it where the first is off; `-` where there is none |
//! | `alone` | why there is none |
//! | `second needs` | `landlock N`: the ABI that the second layer needs |
//! | `unproven` | why it cannot be shown to succeed where every layer is off |
//! | `ends` | how it may end: `exit` (the default), `signal`, `killed`, `memory-limit`, `time-limit`, `output-limit` |
//! | `wall`, `cpu`, `memory` | its own limits: seconds, thousandths of a core, MiB |
//! | `policy` | `build`, where it is a compiler's attack |

use super::list::File;
use sandbox::plan::Policy;
use sandbox::switch::Switch;
use std::collections::BTreeSet;

/// How an attack may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, after it has said `tried`.
    Exit,
    /// By a signal of its own processes.
    Signal,
    /// Killed by somebody inside.
    Killed,
    /// At the memory limit.
    Memory,
    /// At the wall clock's.
    Time,
    /// At the output's.
    Output,
}

/// An attack, ready to be run.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its file.
    pub file: File,
    /// What it tries: a sentence.
    pub tries: String,
    /// What the attacker would have.
    pub goal: String,
    /// The layers in words.
    pub stopped_by: String,
    /// The layer that stops it.
    pub first: BTreeSet<Switch>,
    /// The layer behind it; empty where there is none.
    pub second: BTreeSet<Switch>,
    /// Why there is no second one.
    pub alone: Option<String>,
    /// The Landlock ABI that the second layer needs.
    pub second_needs_landlock: i32,
    /// Why it cannot be shown to succeed.
    pub unproven: Option<String>,
    /// How it may end.
    pub ends: Vec<End>,
    /// Seconds; `None`: a guard against hanging only.
    pub wall: Option<u64>,
    /// Thousandths of a core.
    pub cpu: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Whose system calls it has.
    pub policy: Policy,
}

impl Case {
    /// Reads the head.
    ///
    /// # Errors
    /// A sentence on a head that says too little, or what is not known.
    pub fn read(file: File) -> Result<Case, String> {
        let wrong = |what: String| format!("{}/{}{}: {what}", file.folder, file.name, file.ending);
        let mut case = Case {
            file,
            tries: String::new(),
            goal: String::new(),
            stopped_by: String::new(),
            first: BTreeSet::new(),
            second: BTreeSet::new(),
            alone: None,
            second_needs_landlock: 0,
            unproven: None,
            ends: vec![End::Exit],
            wall: None,
            cpu: None,
            memory: None,
            policy: Policy::Test,
        };
        for line in head(file.text) {
            let pair = line.split_once(": ").filter(|(key, _)| KEYS.contains(key));
            match pair {
                None if case.goal.is_empty() => {
                    if !case.tries.is_empty() {
                        case.tries.push(' ');
                    }
                    case.tries.push_str(line);
                }
                None => return Err(wrong(format!("{line:?} is no line of a head"))),
                Some((key, value)) => case.set(key, value).map_err(wrong)?,
            }
        }
        if case.tries.is_empty() || case.goal.is_empty() || case.stopped_by.is_empty() || case.first.is_empty() {
            return Err(wrong("its head must say what it tries, its goal, what stops it, and the first layer".into()));
        }
        if case.second.is_empty() != case.alone.is_some() {
            return Err(wrong("it must name a second layer, or say why there is none".into()));
        }
        Ok(case)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{key}: {text:?} is no number"));
        match key {
            "goal" => self.goal = value.into(),
            "stopped by" => self.stopped_by = value.into(),
            "first" => self.first = switches(value)?,
            "second" if value == "-" => {}
            "second" => self.second = switches(value)?,
            "alone" => self.alone = Some(value.into()),
            "second needs" => {
                let abi = value.strip_prefix("landlock ").ok_or("second needs: landlock N")?;
                self.second_needs_landlock = i32::try_from(number(abi)?).map_err(|_| "second needs: too large")?;
            }
            "unproven" => self.unproven = Some(value.into()),
            "ends" => self.ends = value.split(", ").map(end).collect::<Result<_, _>>()?,
            "wall" => self.wall = Some(number(value)?),
            "cpu" => self.cpu = Some(number(value)?),
            "memory" => self.memory = Some(number(value)?.checked_mul(1 << 20).ok_or("memory: too large")?),
            "policy" if value == "build" => self.policy = Policy::Build,
            _ => return Err(format!("{key}: {value:?} is not known")),
        }
        Ok(())
    }
}

const KEYS: [&str; 12] = [
    "goal",
    "stopped by",
    "first",
    "second",
    "alone",
    "second needs",
    "unproven",
    "ends",
    "wall",
    "cpu",
    "memory",
    "policy",
];

/// The lines of the comment at the top, without what makes them one.
fn head(text: &str) -> impl Iterator<Item = &str> {
    let mark = if text.starts_with('#') { "#" } else { " *" };
    let lines = text.strip_prefix("/*").unwrap_or(text).lines();
    lines
        .enumerate()
        .take_while(move |(number, line)| (*number == 0 || line.starts_with(mark)) && !line.ends_with("*/"))
        .map(move |(_, line)| line.strip_prefix(mark).unwrap_or(line).trim())
}

fn switches(names: &str) -> Result<BTreeSet<Switch>, String> {
    names.split_whitespace().map(str::parse).collect()
}

fn end(name: &str) -> Result<End, String> {
    Ok(match name {
        "exit" => End::Exit,
        "signal" => End::Signal,
        "killed" => End::Killed,
        "memory-limit" => End::Memory,
        "time-limit" => End::Time,
        "output-limit" => End::Output,
        _ => return Err(format!("ends: {name:?} is not known")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::list::FILES;
    use super::*;

    fn file(text: &'static str) -> File {
        File { folder: "files", name: "a", ending: ".c", text }
    }

    #[test]
    fn the_head_of_every_attack_can_be_read() {
        for file in FILES {
            Case::read(*file).unwrap();
        }
    }

    #[test]
    fn a_head_says_everything_in_its_own_words() {
        let case = Case::read(file(
            "/* Reads a\n * file.\n * goal: a word\n * stopped by: mounts; ids\n * first: mounts\n * second: ids landlock\n \
             * second needs: landlock 6\n * wall: 2\n * memory: 24\n * ends: exit, time-limit\n */\nint main;\n",
        ))
        .unwrap();
        assert_eq!((&*case.tries, &*case.goal, &*case.stopped_by), ("Reads a file.", "a word", "mounts; ids"));
        assert_eq!((case.first, case.second), ([Switch::Mounts].into(), [Switch::Ids, Switch::Landlock].into()));
        assert_eq!((case.wall, case.memory), (Some(2), Some(24 << 20)));
        assert_eq!((case.second_needs_landlock, case.ends.len()), (6, 2));
    }

    #[test]
    fn a_head_that_says_too_little_is_refused() {
        for (text, said) in [
            ("/* Reads.\n */\n", "must say what it tries"),
            ("/* R.\n * goal: g\n * stopped by: s\n * first: mounts\n */\n", "say why there is none"),
            ("/* R.\n * goal: g\n * stopped by: s\n * first: mounts\n * second: wall\n */\n", "is no layer"),
            ("/* R.\n * goal: g\n * gaol: g\n */\n", "no line of a head"),
            ("/* R.\n * goal: g\n * wall: soon\n */\n", "no number"),
        ] {
            let error = Case::read(file(text)).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
