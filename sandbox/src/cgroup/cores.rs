//! Lists of cores, as the kernel writes them: `0-3,6`.

use super::{Base, CgroupError, files};
use std::path::Path;

impl Base {
    /// The cores that the runner's groups may use, ascending. On v1 hierarchies, and without the
    /// controller cpuset, that cannot be told.
    ///
    /// # Errors
    /// [`CgroupError::NoCpuset`] where it cannot be told; else when the file makes no sense.
    pub fn cores(&self) -> Result<Vec<u32>, CgroupError> {
        let dir = self.v2();
        let file = dir.join("cpuset.cpus.effective");
        // The v2 tree of a hybrid host has no such file: cpuset is a v1 hierarchy there.
        match files::read_if_present(&file)? {
            Some(text) => parse(&file, &text),
            None => Err(CgroupError::NoCpuset { dir: dir.into() }),
        }
    }
}

/// The numbers in a list.
///
/// # Errors
/// When `text`, the content of `file`, is no list.
pub fn parse(file: &Path, text: &str) -> Result<Vec<u32>, CgroupError> {
    let wrong = || CgroupError::Parse { file: file.into(), text: text.into(), expected: "a list of cores" };
    let mut cores = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
        // No Linux has more cores; a list that pretends to would fill the memory.
        if first > last || last >= 1 << 16 {
            return Err(wrong());
        }
        cores.extend(first..=last);
    }
    Ok(cores)
}

/// The list of these numbers, which ascend.
pub fn show(cores: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for core in cores {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *core => *last = *core,
            _ => parts.push((*core, *core)),
        }
    }
    let part = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does() {
        for (text, cores) in [("0-3,6\n", vec![0, 1, 2, 3, 6]), ("5\n", vec![5]), ("\n", vec![]), ("0-1", vec![0, 1])] {
            assert_eq!(parse(Path::new("x"), text).unwrap(), cores);
            assert_eq!(show(&cores), text.trim());
        }
        for wrong in ["a", "3-1", "1-", "-1", "0-4000000000", "1,,x"] {
            assert!(parse(Path::new("x"), wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(cores in proptest::collection::btree_set(0u32..3000, 0..40)) {
            let cores: Vec<u32> = cores.into_iter().collect();
            prop_assert_eq!(parse(Path::new("x"), &show(&cores)).unwrap(), cores);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*|([0-9]{0,6}[-,]){0,6}") {
            let _ = parse(Path::new("x"), &text);
        }
    }
}
