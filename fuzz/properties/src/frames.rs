//! What a launcher sends while a stage runs.

use ostest_sandbox::contain::frames::{Collected, read_frame};
use sandbox::wire::{Kind, MAX_FRAME, Note, write_frame};

/// The bytes are what comes out of a launcher.
pub fn check(bytes: &[u8]) -> &'static str {
    let (frames, word) = read(bytes);
    let mut collected = Collected::default();
    let mut shown = 0;
    for (kind, body) in &frames {
        assert!(body.len() <= MAX_FRAME as usize);
        collected.take(*kind, body.clone(), &mut |kind, _| shown += usize::from(kind != Kind::Note));
    }
    assert_eq!(shown, frames.iter().filter(|(kind, _)| *kind != Kind::Note).count());
    let of = |wanted: Kind| frames.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, body)| body);
    assert_eq!(collected.report, of(Kind::Report).flatten().copied().collect::<Vec<u8>>());
    // The end is a note that says so, and never what the command wrote.
    let notes: Vec<Note> = of(Kind::Note).filter_map(|body| serde_json::from_slice(body).ok()).collect();
    let last = notes.iter().rfind(|note| matches!(note, Note::Ended(_) | Note::Failed { .. }));
    assert_eq!(collected.end.as_ref(), last);
    let leaves = notes.iter().filter(|note| matches!(note, Note::Leaf(_))).count();
    assert!(collected.leaves.len() <= leaves && collected.leaves.iter().all(|(name, leaf)| *name == leaf.leaf));
    // Written again they are read again. Nobody sends an empty one.
    let mut sent = Vec::new();
    for (kind, body) in &frames {
        write_frame(&mut sent, *kind, body).expect("a vector takes it");
    }
    let full: Vec<_> = frames.into_iter().filter(|(_, body)| !body.is_empty()).collect();
    assert_eq!(read(&sent), (full, "whole"));
    word
}

fn read(mut bytes: &[u8]) -> (Vec<(Kind, Vec<u8>)>, &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without a driver");
    runtime.block_on(async {
        let mut frames = Vec::new();
        loop {
            match read_frame(&mut bytes).await {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, "whole"),
                Err(_) => return (frames, "broken"),
            }
        }
    })
}
