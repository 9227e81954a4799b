//! Tests that pytest passed and nobody ran, and code of the submission's inside pytest.

use super::NAMES;
use crate::events::Log;
use crate::text::some_of;

/// Of a test that passed without proof.
pub(super) const NEVER: &str = "pytest passed it, but it was not run: its function was never called";

/// Whose fault it is that tests were passed and not run. Nothing of the submission's configures pytest, so an option or a plugin that
/// does this is the suite's; unless the submission's own code was let into pytest, and could have done it.
pub(super) fn uncalled(log: &Log, names: &[&str]) -> Option<String> {
    if names.is_empty() || !log.loaded().is_empty() {
        return None;
    }
    Some(format!(
        "pytest passed tests of the suite's that it did not run, so none of them counts: an option such as --setup-plan, or a \
         plugin that runs tests in a way of its own, keeps their functions from being called: {}",
        some_of(names.iter().copied(), NAMES)
    ))
}

/// What the suite itself wanted to load.
pub(super) fn student_code(log: &Log) -> Option<String> {
    let files = log.student_code();
    (!files.is_empty()).then(|| {
        format!(
            "the suite loads code into pytest that the submission could have written, which is refused: {}. Such code answers for \
             itself and can pass every test. Let it run in a process of its own: a small program of the suite's that is started, \
             asked, and has to give back a word that nobody can know before (docs/suites.md, patterns that hold); or say \
             load-student-code = true under [test] in the suite's ostest.toml, and it is loaded and told",
            some_of(files.iter().map(String::as_str), NAMES)
        )
    })
}

/// What the suite itself wanted to import, and was made while it ran.
pub(super) fn made(log: &Log) -> Option<String> {
    let files = log.made();
    (!files.is_empty()).then(|| {
        format!(
            "the suite imports modules into pytest that were made while it ran, which is refused, because a program of the submission's \
             could have written them: {}. Have them made when the environment is built (requirements.txt), use them in a process of their \
             own, or say imports = \"anything\" under [test] in the suite's ostest.toml",
            some_of(files.iter().map(String::as_str), NAMES)
        )
    })
}
