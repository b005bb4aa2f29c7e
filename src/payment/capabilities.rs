//! The part of a processor's declaration that a hold keeps.

use super::{Capabilities, OperationKind};
use crate::stored::stored;
use crate::units::TimeSpan;
use serde::{Deserialize, Serialize};

/// The capabilities of a processor that a hold needs: 20 bytes.
///
/// ```
/// use wattstile::payment::{Capabilities, HoldCapabilities};
/// use wattstile::units::Currency;
///
/// let declared = Capabilities::everything(Currency::EUR);
/// assert_eq!(HoldCapabilities::of(&declared), HoldCapabilities::of(&declared), "holds share one copy");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HoldCapabilities {
    /// How long a repeated operation is recognised, in seconds; zero: never.
    pub replay_s: u32,
    /// The longest time an operation can be on its way and still take effect, in milliseconds.
    pub request_life_ms: u32,
    /// How old an operation must be for "not found" to mean that it never happened, in milliseconds.
    /// [`HoldCapabilities::NEVER`]: it never means that.
    pub inquiry_authoritative_ms: u32,
    /// Validity of a hold, unless an approval states another, in seconds.
    pub validity_s: u32,
    /// Most increments of one hold.
    pub increments_max: u8,
    /// How much more than authorized may be captured, in percent.
    pub overcapture_percent: u8,
    /// Bit n is set when the processor takes operations of kind number n.
    kinds: u8,
    flags: u8,
}

stored!(struct HoldCapabilities {
    0: replay_s, 1: request_life_ms, 2: inquiry_authoritative_ms, 3: validity_s, 4: increments_max,
    5: overcapture_percent, 6: kinds, 7: flags,
});

impl HoldCapabilities {
    /// See [`HoldCapabilities::inquiry_authoritative_ms`].
    pub const NEVER: u32 = u32::MAX;
    const REPLAY_AFTER_ERROR: u8 = 1;
    const MULTIPLE_CAPTURES: u8 = 2;

    /// Extracts the capabilities that a hold needs from a declaration. Spans beyond the range are clamped.
    pub fn of(capabilities: &Capabilities) -> HoldCapabilities {
        let ms = |span: TimeSpan| u32::try_from(span.ms().max(0)).unwrap_or(u32::MAX - 1);
        let secs = |span: TimeSpan| u32::try_from(span.whole_secs().max(0)).unwrap_or(u32::MAX);
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        HoldCapabilities {
            replay_s: secs(capabilities.idempotent_replay),
            request_life_ms: ms(capabilities.request_life_max),
            inquiry_authoritative_ms: capabilities.inquiry_authoritative_after.map_or(HoldCapabilities::NEVER, ms),
            validity_s: secs(capabilities.hold_validity),
            increments_max: capabilities.increments_max,
            overcapture_percent: capabilities.overcapture_percent,
            kinds: capabilities.kinds.iter().fold(0, |bits, kind| bits | 1 << (*kind as u8)),
            flags: flag(capabilities.replay_after_error_safe, HoldCapabilities::REPLAY_AFTER_ERROR)
                | flag(capabilities.multiple_captures, HoldCapabilities::MULTIPLE_CAPTURES),
        }
    }

    /// Whether the processor takes operations of this kind.
    pub const fn takes(self, kind: OperationKind) -> bool {
        self.kinds & 1 << (kind as u8) != 0
    }

    /// Whether a repetition after an error is worked on again.
    pub const fn replay_after_error_safe(self) -> bool {
        self.flags & HoldCapabilities::REPLAY_AFTER_ERROR != 0
    }

    /// Whether several captures of one hold are possible.
    pub const fn multiple_captures(self) -> bool {
        self.flags & HoldCapabilities::MULTIPLE_CAPTURES != 0
    }

    /// Validity of a hold, unless an approval states another.
    pub const fn validity(self) -> TimeSpan {
        TimeSpan::from_secs(self.validity_s as i64)
    }
}
