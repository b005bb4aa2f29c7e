//! What a record of kind `session_event` holds: a session, and a fact of it.
//!
//! Most records of a log are of this kind. Of the session's id only the part is written that tells it from others of its
//! partition, for the record names the partition.

use super::encoding::encode;
use crate::session::Event;
use crate::units::{PartitionId, SessionId};

/// Writes the payload behind what is in `bytes`.
#[inline]
pub(super) fn write(id: SessionId, event: &Event, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&id.within_partition());
    encode(event, bytes);
}

/// Reads the payload of a record of this partition.
///
/// # Errors
/// When it is none.
pub fn read(partition: PartitionId, payload: &[u8]) -> Result<(SessionId, Event), postcard::Error> {
    let (id, event) = payload.split_first_chunk().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
    Ok((SessionId::in_partition(partition, *id), postcard::from_bytes(event)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    #[test]
    fn what_is_written_is_read() {
        let id = SessionId::new(Timestamp::from_unix_ms(1_800_000_000_000), PartitionId(513), 0x1234_5678_9abc);
        let (mut bytes, event) = (Vec::new(), Event::Closed { at: Timestamp::from_unix_ms(7) });
        write(id, &event, &mut bytes);
        assert_eq!(hex::encode(&bytes[..12]), "01a3185c5000123456789abc");
        assert_eq!(read(PartitionId(513), &bytes), Ok((id, event)));
        assert!(read(PartitionId(513), &bytes[..11]).is_err());
    }
}
