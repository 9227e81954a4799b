//! What a launcher sends while a stage runs: frames, sorted as they come.

use super::{Sink, Tail};
use crate::steps;
use sandbox::outcome::{LeafUsage, Setting};
use sandbox::wire::{Kind, MAX_FRAME, Note};
use std::collections::BTreeMap;
use tokio::io::AsyncReadExt;

/// Frames of one stage, sorted.
#[derive(Default)]
pub struct Collected {
    /// The last note: the end.
    pub end: Option<Note>,
    /// Standard output.
    pub stdout: Tail,
    /// Standard error.
    pub stderr: Tail,
    /// The report.
    pub report: Vec<u8>,
    /// What was used in each leaf, by its name.
    pub leaves: BTreeMap<String, LeafUsage>,
}

impl Collected {
    /// Puts a frame where it belongs and shows it to the sink.
    pub fn take(&mut self, kind: Kind, body: Vec<u8>, sink: Sink<'_>) {
        match kind {
            Kind::Note => match serde_json::from_slice(&body) {
                Ok(Note::Started { limits }) => {
                    steps::at("stage: limits are in force");
                    log_limits(&limits);
                }
                // The last word about a leaf is the final one.
                Ok(Note::Leaf(leaf)) => {
                    self.leaves.insert(leaf.leaf.clone(), *leaf);
                }
                Ok(note) => self.end = Some(note),
                Err(error) => tracing::warn!("a note of the launcher cannot be read: {error}"),
            },
            Kind::Stdout => self.stdout.push(&body),
            Kind::Stderr => self.stderr.push(&body),
            Kind::Report => self.report.extend_from_slice(&body),
            Kind::Event => {}
        }
        if kind != Kind::Note {
            sink(kind, &body);
        }
    }
}

fn log_limits(limits: &[Setting]) {
    let text: Vec<String> = limits.iter().map(|s| format!("{}={}", s.file, s.value)).collect();
    tracing::debug!(limits = %text.join(" "), "limits read back");
}

/// The next frame; `None` at the end.
pub async fn read_frame(input: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Option<(Kind, Vec<u8>)>> {
    let mut head = [0u8; 5];
    if input.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut head[1..]).await?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    let kind = Kind::from_byte(head[0]).filter(|_| length <= MAX_FRAME);
    let kind =
        kind.ok_or_else(|| std::io::Error::other("it is no frame; runner and launcher must come from one build"))?;
    let mut body = vec![0; length as usize];
    input.read_exact(&mut body).await?;
    Ok(Some((kind, body)))
}

/// The launcher's standard error, whose beginning is kept.
pub async fn read_log(mut input: impl AsyncReadExt + Unpin) -> String {
    let mut text = Vec::new();
    let mut part = [0u8; 4096];
    while let Ok(n @ 1..) = input.read(&mut part).await {
        let room = (64usize << 10).saturating_sub(text.len());
        text.extend_from_slice(&part[..n.min(room)]);
    }
    String::from_utf8_lossy(&text).into_owned()
}
