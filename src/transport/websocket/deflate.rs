//! Compression of one message (RFC 7692). Each message stands alone, so that a connection keeps no window: one compressor
//! and one inflater per thread serve all connections.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::cell::RefCell;

thread_local! {
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// The end of each compressed message, which the sender leaves out (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Room by which the output grows, in bytes.
const STEP: usize = 8 * 1024;

/// The message cannot be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InflateError {
    Damaged,
    /// It would be longer than the bound.
    TooLong,
}

/// Appends the compressed message.
pub(super) fn compress(message: &[u8], out: &mut Vec<u8>) {
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let begin = out.len();
        let mut rest = message;
        loop {
            out.reserve(STEP);
            let before = compress.total_in();
            let had = out.len();
            // It fails only when it is called wrongly.
            let done = compress.compress_vec(rest, out, FlushCompress::Sync);
            let taken = usize::try_from(compress.total_in() - before).unwrap_or(rest.len());
            rest = rest.get(taken..).unwrap_or_default();
            let full = out.len() == out.capacity();
            if (rest.is_empty() && !full) || !matches!(done, Ok(Status::Ok)) || (taken == 0 && out.len() == had) {
                break;
            }
        }
        if out[begin..].ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
    });
}

/// Appends the inflated message, of at most `most` bytes.
pub(super) fn inflate(message: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(false);
        let begin = out.len();
        for mut part in [message, &TAIL] {
            loop {
                let left = (most + 1).saturating_sub(out.len() - begin);
                if left == 0 {
                    return Err(InflateError::TooLong);
                }
                out.reserve_exact(left.min(STEP));
                let (before, had) = (inflate.total_in(), out.len());
                let status =
                    inflate.decompress_vec(part, out, FlushDecompress::Sync).map_err(|_| InflateError::Damaged)?;
                let taken = usize::try_from(inflate.total_in() - before).unwrap_or(part.len());
                part = part.get(taken..).unwrap_or_default();
                let grown = out.len() > had;
                if out.len() - begin > most {
                    return Err(InflateError::TooLong);
                }
                match status {
                    // A final block: what comes behind it belongs to no message.
                    Status::StreamEnd => return Ok(()),
                    Status::Ok | Status::BufError if part.is_empty() && out.len() < out.capacity() => break,
                    Status::Ok | Status::BufError if taken > 0 || grown => {}
                    Status::Ok | Status::BufError => return Err(InflateError::Damaged),
                }
            }
        }
        Ok(())
    })
}
