//! A simulated processor's memory on disk: what came in is written down before anything is answered.
//!
//! A processor decides the same from the same inputs, so the inputs are enough: its state at one time, and behind it every
//! operation, lapse, batch and acknowledgement since, each synced before its answer leaves. When the inputs have grown
//! long they are replaced by the state that they led to.
//!
//! ```text
//!   WATTSIM1 | state | input | input | ...       each behind its length and its CRC-32, four bytes each
//! ```

use super::books::Books;
use super::script::Misbehaviour;
use super::{Act, Processor, Seen, Settings, Step};
use crate::payment::{CallbackId, Operation, OperationKind};
use crate::transport::files::{FileError, write_whole};
use crate::units::{OpId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"WATTSIM1";
/// Inputs are replaced by the state when they are longer than this and than the state.
const INPUTS_MAX: u64 = 1 << 20;

/// Why a memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The file could not be replaced.
    #[error(transparent)]
    File(#[from] FileError),
    /// The state in the file is not what was written.
    #[error("{}: {what}; delete it together with the gate's data", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault.
        what: &'static str,
    },
}

/// What came in. Appended to files: variants are added at the end and keep their order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Input {
    Operation(Operation, Timestamp),
    Arrived(Operation, Timestamp),
    TimePassed(Timestamp),
    Settled(Timestamp),
    /// A message of the processor reached the gate, or was refused for good.
    Acknowledged(CallbackId),
}

/// The stored state of a processor.
#[derive(Serialize, Deserialize)]
struct State {
    books: Books,
    seen: BTreeMap<OpId, Seen>,
    tally: BTreeMap<OperationKind, u64>,
    misbehaved: BTreeMap<Misbehaviour, u64>,
    next_callback: u128,
    settled: BTreeSet<OpId>,
}

/// The file of a processor's memory.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    file: File,
    state_bytes: u64,
    inputs_bytes: u64,
    /// Inputs that are not written yet.
    new: Vec<u8>,
    /// Reports and batches that the gate has not acknowledged, and operations that are stuck.
    promised: BTreeMap<CallbackId, Act>,
    stuck: BTreeMap<OpId, Act>,
}

impl Memory {
    /// Opens the store in this file, made if it is missing, and the processor with the stored state. A torn end is
    /// cut off: nothing of it was answered.
    ///
    /// # Errors
    /// The file cannot be read or written, or its state is damaged.
    pub fn open(path: &Path, settings: Settings, born: Timestamp) -> Result<(Memory, Processor), MemoryError> {
        let io = |error| MemoryError::Io { path: path.to_owned(), error };
        let damaged = |what| MemoryError::Damaged { path: path.to_owned(), what };
        let mut processor = Processor::new(settings, born);
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_whole(path, &beginning(&processor), 0o600)?;
                std::fs::read(path).map_err(io)?
            }
            Err(error) => return Err(io(error)),
        };
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(damaged("this is not the memory of a simulated processor"))?;
        let state = frame(&mut rest).ok_or(damaged("its state is damaged"))?;
        let state: State = postcard::from_bytes(state).map_err(|_| damaged("its state cannot be read"))?;
        let State { books, seen, tally, misbehaved, next_callback, settled } = state;
        (processor.books, processor.seen, processor.tally) = (books, seen, tally);
        (processor.misbehaved, processor.settled) = (misbehaved, settled);
        processor.next_callback = processor.next_callback.max(next_callback);
        let state_bytes = (bytes.len() - rest.len()) as u64;
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        let mut memory = Memory {
            path: path.to_owned(),
            file,
            state_bytes,
            inputs_bytes: 0,
            new: Vec::new(),
            promised: BTreeMap::new(),
            stuck: BTreeMap::new(),
        };
        let behind = rest.len();
        while let Some(input) = frame(&mut rest) {
            let Ok(input) = postcard::from_bytes::<Input>(input) else {
                return Err(damaged("an input cannot be read"));
            };
            memory.replay(&mut processor, input);
        }
        memory.inputs_bytes = (behind - rest.len()) as u64;
        memory.file.set_len(memory.state_bytes + memory.inputs_bytes).map_err(io)?;
        Ok((memory, processor))
    }

    fn replay(&mut self, processor: &mut Processor, input: Input) {
        match input {
            Input::Operation(operation, at) => {
                let steps = processor.decide(&operation, at);
                self.promise(&steps);
            }
            Input::Arrived(operation, at) => {
                let steps = processor.arrive(&operation, at);
                self.stuck.remove(&operation.id);
                self.promise(&steps);
            }
            Input::TimePassed(at) => {
                for notification in processor.expire(at) {
                    self.promised.insert(notification.callback, Act::Notify(notification));
                }
            }
            Input::Settled(at) => {
                for part in processor.settle(at) {
                    self.promised.insert(part.callback, Act::Settle(part));
                }
            }
            Input::Acknowledged(callback) => {
                self.promised.remove(&callback);
            }
        }
    }

    /// Stores messages that the gate would not request again. Answers it does request again.
    pub(super) fn promise(&mut self, steps: &[Step]) {
        for step in steps {
            match &step.act {
                Act::Notify(notification) => drop(self.promised.insert(notification.callback, step.act.clone())),
                Act::Settle(part) => drop(self.promised.insert(part.callback, step.act.clone())),
                Act::Arrive(operation) => drop(self.stuck.insert(operation.id, step.act.clone())),
                Act::Answer(_) | Act::Close => {}
            }
        }
    }

    /// Stored messages that were not sent when the process ended.
    pub(super) fn unfinished(&self) -> Vec<Act> {
        self.stuck.values().chain(self.promised.values()).cloned().collect()
    }

    /// Notes what came in; it is not durable yet.
    pub(super) fn note(&mut self, input: &Input) {
        match input {
            Input::Acknowledged(callback) => drop(self.promised.remove(callback)),
            Input::Arrived(operation, _) => drop(self.stuck.remove(&operation.id)),
            Input::Operation(..) | Input::TimePassed(_) | Input::Settled(_) => {}
        }
        let bytes = postcard::to_stdvec(input).expect("plain values always encode");
        put_frame(&bytes, &mut self.new);
    }

    /// Makes what was noted durable. Answers leave only afterwards.
    ///
    /// # Errors
    /// The disk refused: the processor must not answer any more.
    pub(super) fn sync(&mut self, processor: &Processor) -> Result<(), MemoryError> {
        if self.new.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.new).and_then(|()| self.file.sync_data());
        written.map_err(|error| MemoryError::Io { path: self.path.clone(), error })?;
        self.inputs_bytes += self.new.len() as u64;
        self.new.clear();
        let unfinished = !self.promised.is_empty() || !self.stuck.is_empty();
        if self.inputs_bytes > INPUTS_MAX.max(self.state_bytes) && !unfinished {
            let bytes = beginning(processor);
            write_whole(&self.path, &bytes, 0o600)?;
            let opened = OpenOptions::new().append(true).open(&self.path);
            self.file = opened.map_err(|error| MemoryError::Io { path: self.path.clone(), error })?;
            (self.state_bytes, self.inputs_bytes) = (bytes.len() as u64, 0);
        }
        Ok(())
    }
}

/// A file with the state of a processor and nothing behind it.
fn beginning(processor: &Processor) -> Vec<u8> {
    let Processor { books, seen, tally, misbehaved, next_callback, settled, .. } = processor.clone();
    let state = State { books, seen, tally, misbehaved, next_callback, settled };
    let mut bytes = MAGIC.to_vec();
    put_frame(&postcard::to_stdvec(&state).expect("plain values always encode"), &mut bytes);
    bytes
}

fn put_frame(payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("a simulated processor's state is below 4 GiB");
    out.extend(length.to_le_bytes());
    out.extend(crc32fast::hash(payload).to_le_bytes());
    out.extend(payload);
}

/// The next whole frame, if there is one.
fn frame<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let (crc, behind) = behind.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let payload = behind.get(..length)?;
    if crc32fast::hash(payload) != u32::from_le_bytes(*crc) {
        return None;
    }
    *rest = &behind[length..];
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Credential, CredentialKind, Outcome, Request};
    use crate::units::{Amount, Currency, HoldId, PartitionId, ProcessorId, SessionId, TimeSpan};

    const NOW: Timestamp = Timestamp::from_unix_ms(1_763_800_000_000);

    fn operation(token: &str, ordinal: u16, request: Option<Request>) -> Operation {
        let session = SessionId::new(NOW, PartitionId(1), 7);
        let credential = Credential { kind: CredentialKind::CardToken, token: token.as_bytes().into() };
        let amount = Amount::new(4_500, Currency::EUR);
        Operation {
            id: session.payment().operation(ordinal),
            hold: HoldId(session.payment().operation(1)),
            processor: ProcessorId::new("acme").unwrap(),
            attempt: 1,
            possible_duplicate: false,
            decide_by: NOW.saturating_add(TimeSpan::from_secs(8)),
            request: request.unwrap_or(Request::Authorize { credential, amount, partial_ok: false, stand_in: false }),
        }
    }

    fn open(path: &Path) -> (Memory, Processor) {
        Memory::open(path, Settings::instant(ProcessorId::new("acme").unwrap()), NOW).unwrap()
    }

    fn takes(memory: &mut Memory, processor: &mut Processor, operation: &Operation) -> Outcome {
        let steps = processor.decide(operation, NOW);
        memory.note(&Input::Operation(operation.clone(), NOW));
        memory.promise(&steps);
        memory.sync(processor).unwrap();
        let Some(Act::Answer(answer)) = steps.iter().map(|step| &step.act).find(|act| matches!(act, Act::Answer(_)))
        else {
            panic!("{steps:?}")
        };
        answer.outcome.clone()
    }

    #[test]
    fn a_hold_of_an_earlier_process_is_captured_once_whatever_is_torn_off_behind_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("acme");
        let (mut memory, mut processor) = open(&path);
        let Outcome::Approved { processor_ref, .. } = takes(&mut memory, &mut processor, &operation("card", 1, None))
        else {
            panic!("a card is good")
        };
        drop((memory, processor));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"torn"].concat()).unwrap();

        let (mut memory, mut processor) = open(&path);
        let amount = Amount::new(960, Currency::EUR);
        let capture = operation("", 2, Some(Request::Capture { processor_ref, amount, last: true }));
        let first = takes(&mut memory, &mut processor, &capture);
        assert!(matches!(first, Outcome::Approved { .. }), "{first:?}");
        drop((memory, processor));
        let (mut memory, mut processor) = open(&path);
        assert_eq!(takes(&mut memory, &mut processor, &capture), first, "asked again, answered the same");
        assert_eq!(processor.report(false).totals["EUR"].captured_minor, 960);
        assert_eq!(processor.report(false).violations, crate::sim::processor::Violations::default());
    }

    #[test]
    fn a_report_is_repeated_by_the_next_process_until_it_is_acknowledged() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("acme");
        let (mut memory, mut processor) = open(&path);
        takes(&mut memory, &mut processor, &operation("tok_expires", 1, None));
        let later = NOW.saturating_add(TimeSpan::from_secs(3_600));
        let lapsed = processor.expire(later);
        memory.note(&Input::TimePassed(later));
        memory.sync(&processor).unwrap();
        let callback = lapsed[0].callback;

        let (mut memory, processor) = open(&path);
        assert!(matches!(memory.unfinished().as_slice(), [Act::Notify(again)] if again.callback == callback));
        memory.note(&Input::Acknowledged(callback));
        memory.sync(&processor).unwrap();
        assert_eq!(open(&path).0.unfinished(), []);
    }

    #[test]
    fn another_file_is_not_taken_for_a_memory() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("acme");
        std::fs::write(&path, "something else").unwrap();
        let opened = Memory::open(&path, Settings::instant(ProcessorId::new("acme").unwrap()), NOW);
        assert!(matches!(opened, Err(MemoryError::Damaged { .. })));
    }
}
