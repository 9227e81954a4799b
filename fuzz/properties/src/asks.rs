//! What is asked of the launcher and of the gate while tests run.

use sandbox::gate::steps::Steps;
use sandbox::leaves::Request;

/// The bytes are a request for a leaf; and once more the word that says a gate what to do before its exec.
pub fn check(bytes: &[u8]) -> &'static str {
    if let Ok(word) = std::str::from_utf8(bytes)
        && let Some(steps) = Steps::parse(word)
    {
        // Numbers of descriptors, which the kernel counts from 0.
        assert!(steps.descriptors().all(|fd| (0..i32::MAX).contains(&fd)), "{word:?}");
        assert_eq!(steps.folder.is_some(), word.split(',').any(|token| matches!(token, "w" | "wc")));
        // Each token is understood by itself, or none is.
        assert!(word.split(',').all(|token| Steps::parse(token).is_some()), "{word:?}");
        return "steps";
    }
    let Ok(request) = Request::parse(bytes) else { return "refused" };
    if let Request::Open { leaf, .. } = &request {
        // It becomes a directory beside those of init and of the harness.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        assert!(leaf.starts_with('t') && leaf.len() <= 64 && leaf.chars().all(plain), "{leaf:?}");
    }
    let again = serde_json::to_vec(&request).expect("a request is JSON");
    assert_eq!(Request::parse(&again), Ok(request));
    "leaf"
}
