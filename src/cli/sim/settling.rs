//! How long it took from the end of a session until its hold had ended, from the archive of a gate that has ended.

use crate::accounting::archive_record::ArchiveRecord;
use crate::cli::CliError;
use crate::journal::{Archive, DataDir};
use crate::payment::OperationKind;
use crate::session::Session;
use crate::sim::world::{Percentiles, Settling};
use crate::units::Timestamp;
use std::path::Path;

/// Reads the times. Sessions whose end was known within `quiet` count as settled in calm.
pub(super) fn settling(data: &Path, quiet: (Timestamp, Timestamp)) -> Result<Settling, CliError> {
    let data = DataDir::open(data).map_err(CliError::failed)?;
    let archive = Archive::open(&data).map_err(CliError::failed)?;
    let (mut times, mut failed) = (Times::default(), None);
    let all = (Timestamp::from_unix_ms(i64::MIN), Timestamp::from_unix_ms(i64::MAX));
    let read = archive.range(all.0, all.1, &mut |archived| match ArchiveRecord::from_bytes(&archived.archive_record) {
        Ok(archive_record) => {
            times.take(&archive_record.session, quiet);
            true
        }
        Err(error) => {
            failed = Some(CliError::failed(error));
            false
        }
    });
    read.map_err(CliError::failed)?;
    failed.map_or(Ok(()), Err)?;
    let [capture, void, capture_in_calm, void_in_calm] =
        [times.captures, times.voids, times.calm_captures, times.calm_voids].map(Percentiles::of);
    Ok(Settling { capture, void, capture_in_calm, void_in_calm })
}

#[derive(Default)]
struct Times {
    captures: Vec<u32>,
    voids: Vec<u32>,
    calm_captures: Vec<u32>,
    calm_voids: Vec<u32>,
}

impl Times {
    /// From the moment at which the gate knew of the end until every hold had ended.
    fn take(&mut self, session: &Session, (from, to): (Timestamp, Timestamp)) {
        let (Some(ended), Some(settled_at)) = (session.ended(), session.settled_at()) else { return };
        let took = u32::try_from(settled_at.since(ended.known_at).ms().max(0)).unwrap_or(u32::MAX);
        let is_calm = from <= ended.known_at && ended.known_at <= to;
        let approved = session.payment.holds().iter().any(|hold| hold.authorized_minor > 0);
        let captured = session.payment.past_operations().iter().any(|past| past.kind == OperationKind::Capture);
        let (all, calm) = match (captured, approved) {
            (true, _) => (&mut self.captures, &mut self.calm_captures),
            (false, true) => (&mut self.voids, &mut self.calm_voids),
            (false, false) => return,
        };
        all.push(took);
        calm.extend(is_calm.then_some(took));
    }
}
