//! A body that lies in a file and is read while it is sent: however many are on their way, and however large, none is in memory.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// A part of a file that is a JSON text.
#[derive(Debug, Clone)]
pub struct Parcel {
    file: Arc<File>,
    start: u64,
    length: u64,
}

impl Parcel {
    /// These bytes of this file, which stay what they are while it is open.
    pub fn new(file: File, start: u64, length: u64) -> Parcel {
        Parcel { file: Arc::new(file), start, length }
    }

    /// It as the body of one request.
    pub(super) fn body(&self) -> reqwest::Body {
        reqwest::Body::wrap(Reading { file: self.file.clone(), at: self.start, left: self.length, chunk: None })
    }
}

struct Reading {
    file: Arc<File>,
    at: u64,
    left: u64,
    chunk: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Body for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let (file, at) = (self.file.clone(), self.at);
        let length = usize::try_from(self.left).map_or(CHUNK, |left| left.min(CHUNK));
        let chunk = self.chunk.get_or_insert_with(|| {
            // A disk can take its time, and others are served by this thread.
            tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, at).map(|()| Bytes::from(bytes))
            })
        });
        let read = ready!(Pin::new(chunk).poll(context));
        self.chunk = None;
        let bytes = read.map_err(io::Error::other).flatten()?;
        self.at += bytes.len() as u64;
        self.left -= bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
