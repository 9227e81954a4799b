//! How runner and launcher talk: frames over the launcher's standard input and output.
//!
//! The launcher's standard input is one end of a socket pair. The runner sends one plan as JSON, preceded by its length (u32,
//! little endian), and then keeps its end open: that it ends is the order to stop, whether the runner gave it or died. Where
//! the plan has a proxy, the launcher sends its socket back on the same pair ([`crate::proxy`]). On its standard output, a
//! pipe, the launcher sends frames: one byte kind, u32 length, body.

use crate::outcome::{LeafUsage, Outcome, Setting};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// Longest plan that a launcher reads, in bytes.
pub const MAX_PLAN: u32 = 16 << 20;

/// Longest body of a frame, in bytes.
pub const MAX_FRAME: u32 = 1 << 20;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A [`Note`] as JSON.
    Note,
    /// Bytes of the command's standard output.
    Stdout,
    /// Bytes of the command's standard error.
    Stderr,
    /// One message of the events channel. Untrusted.
    Event,
    /// Bytes of the report. Untrusted.
    Report,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Note => b'N',
            Kind::Stdout => b'O',
            Kind::Stderr => b'E',
            Kind::Event => b'V',
            Kind::Report => b'R',
        }
    }

    /// The kind that a frame's first byte names.
    pub fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Note, Kind::Stdout, Kind::Stderr, Kind::Event, Kind::Report].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// What the launcher says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum Note {
    /// The command is about to run; every limit has been read back.
    Started {
        /// The limits as the kernel has them.
        limits: Vec<Setting>,
    },
    /// The sandbox could not be made, or broke; no outcome follows.
    Failed {
        /// A sentence.
        message: String,
        /// Whether this is the host's fault (and not the plan's or the command's).
        host: bool,
    },
    /// A leaf has ended; a later note of the same leaf is the final word, where processes outlived it.
    Leaf(Box<LeafUsage>),
    /// The end; nothing follows.
    Ended(Box<Outcome>),
}

/// Writes one frame; longer bodies are split.
pub fn write_frame(out: &mut impl Write, kind: Kind, body: &[u8]) -> io::Result<()> {
    for part in body.chunks(MAX_FRAME as usize) {
        let mut head = [kind.byte(), 0, 0, 0, 0];
        head[1..].copy_from_slice(&(part.len() as u32).to_le_bytes());
        out.write_all(&head)?;
        out.write_all(part)?;
    }
    out.flush()
}

/// Reads the plan's bytes, as the runner sends them.
pub fn read_plan(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MAX_PLAN {
        return Err(io::Error::other(format!("a plan of {length} bytes is longer than {MAX_PLAN}")));
    }
    let mut bytes = vec![0; length as usize];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The plan's bytes with their length in front, as [`read_plan`] reads them.
pub fn encode_plan(plan: &crate::plan::Plan) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(plan)?;
    let length = u32::try_from(json.len()).ok().filter(|n| *n <= MAX_PLAN);
    let length = length.ok_or_else(|| io::Error::other("the plan is longer than 16 MiB"))?;
    Ok([&length.to_le_bytes()[..], &json].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_bodies_are_split_and_kinds_survive() {
        let mut out = Vec::new();
        let body = vec![7u8; MAX_FRAME as usize + 3];
        write_frame(&mut out, Kind::Report, &body).expect("a vector takes it");
        assert_eq!(Kind::from_byte(out[0]), Some(Kind::Report));
        let second = 5 + MAX_FRAME as usize;
        assert_eq!(out[second + 1..second + 5], 3u32.to_le_bytes());
        assert_eq!(out.len(), body.len() + 10);
        assert_eq!(Kind::from_byte(b'?'), None);
    }

    #[test]
    fn an_endless_plan_is_refused_before_it_is_read() {
        let claimed = u32::MAX.to_le_bytes();
        assert!(read_plan(&mut &claimed[..]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_plan_of_more_than_there_is(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(plan) = read_plan(&mut &bytes[..]) {
                prop_assert_eq!(&bytes[4..4 + plan.len()], &plan[..]);
            }
        }

        #[test]
        fn a_kind_is_the_byte_that_names_it_and_no_other(byte: u8) {
            prop_assert!(Kind::from_byte(byte).is_none_or(|kind| kind.byte() == byte));
        }
    }
}
