//! What may start a suite: a Python that the harness comes before.
//!
//! The command starts with capabilities that let the harness set itself apart from students
//! ([`sandbox::plan::Apart`]). The first thing that an interpreter does is to have that done and the capabilities taken
//! away; a shell would hand them on to whatever it starts.

use crate::contain::tree::inside;

/// Options of Python that neither keep the harness out nor take a word of their own.
const HARMLESS: &str = "ubBdOPqsv";

/// Options of Python whose value may be the next word.
const WITH_VALUE: [&str; 2] = ["-X", "-W"];

/// Refuses a command that is not a Python of the suite's environment, or keeps the harness out of it.
pub fn is_python(argv: &[String]) -> Result<(), String> {
    let (program, words) = argv.split_first().ok_or("the suite's command is empty")?;
    let bin = format!("{}/bin/", inside::VENV);
    let name = program.strip_prefix(&bin).unwrap_or(program);
    if matches!(name, "pytest" | "py.test") {
        return Ok(());
    }
    if name.contains('/') || !is_interpreter(name) {
        return Err(format!(
            "the suite's command starts with {program}, and has to start with `python` (or `pytest`) of the suite's \
             environment: what comes before the harness could not be kept apart from the submission. Let a Python script \
             do it that calls pytest.main()"
        ));
    }
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&&**word) {
            words.next();
            continue;
        }
        match word.strip_prefix('-') {
            None | Some("") => break,
            Some(flags) if flags.starts_with(['m', 'c']) => break,
            Some(flags) if flags.starts_with(['X', 'W']) || flags.chars().all(|f| HARMLESS.contains(f)) => {}
            Some(_) => {
                return Err(format!(
                    "the suite's command starts Python with {word}, which could keep the harness out: leave it out"
                ));
            }
        }
    }
    Ok(())
}

fn is_interpreter(name: &str) -> bool {
    name.strip_prefix("python").is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

#[cfg(test)]
mod tests {
    use super::is_python;

    #[test]
    fn a_command_is_a_python_that_the_harness_comes_before() {
        let refused = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            is_python(&words).err()
        };
        for good in [
            "python run_tests.py --src -S",
            "python3 -m pytest -I",
            "/venv/bin/python3.11 -u -B -Xdev -W ignore -OO run.py",
            "python -c -E",
            "pytest -v",
            "/venv/bin/pytest",
            "python - -S",
        ] {
            assert_eq!(refused(good), None, "{good}");
        }
        for (bad, said) in [
            ("sh -c pytest", "has to start with `python`"),
            ("/usr/bin/python3 -m pytest", "has to start with `python`"),
            ("./pytest", "has to start with `python`"),
            ("pythonic", "has to start with `python`"),
            ("", "is empty"),
            ("python -S run.py", "with -S"),
            ("python -I -m pytest", "with -I"),
            ("python -uE run.py", "with -uE"),
            ("python -W ignore -S run.py", "with -S"),
            ("python --check-hash-based-pycs always x.py", "with --check"),
        ] {
            assert!(refused(bad).is_some_and(|text| text.contains(said)), "{bad}: {:?}", refused(bad));
        }
    }
}
