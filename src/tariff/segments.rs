//! The trail of a price: slices folded into lines of one component each, for explanations and CDRs.

use super::model::{Component, Dimension, Tariff};
use super::rating::{Rating, RatingError};
use super::select::{NONE, Phase};
use super::slice::{Reason, Slice, Slices};
use super::total::{Parts, Price, parts_of};
use crate::limits::{SEGMENT_BYTES, SEGMENTS_MAX, TARIFF_COMPONENTS_MAX};
use crate::stored::stored;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// The newest lines, which stay as they are when older ones are summed up.
const NEWEST: usize = SEGMENTS_MAX / 4;

const _: () = assert!(size_of::<Segment>() == SEGMENT_BYTES && NEWEST < SEGMENTS_MAX);
const _: () = assert!(TARIFF_COMPONENTS_MAX < u32::MAX as usize);

/// A stretch of one component's use. Segments of different dimensions overlap; those of one dimension never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Index in [`Tariff::components`].
    pub component: u16,
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// µWh, ms, or 1 for a fee.
    pub volume: i64,
    /// The kind of the time.
    pub phase: Phase,
    /// Why it began.
    pub reason: Reason,
}

stored!(struct Segment { 0: component, 1: from, 2: to, 3: volume, 4: phase, 5: reason });

impl Segment {
    /// Takes another line of the same component into this one.
    fn absorb(&mut self, other: &Segment) {
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
        self.volume = self.volume.saturating_add(other.volume);
        self.reason = Reason::Summed;
    }
}

/// A segment with the billed quantity for it: the last segment of a dimension carries what `step_size` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BilledSegment {
    /// The stretch.
    pub segment: Segment,
    /// µWh, ms, or 1 that are billed.
    pub billed_volume: i64,
    /// What they cost.
    pub price: Price,
}

/// Segments of a session, gathered slice by slice. Their number is that of price changes, not of readings, and bounded: of a
/// session with more than [`SEGMENTS_MAX`] the older ones are summed up, one for each component, with the reason
/// [`Reason::Summed`]. Volumes and costs stay exact; from when to when each price applied is lost for these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segments {
    done: SmallVec<[Segment; 1]>,
    /// What still grows, energy and time: places in `done`, counted from 1.
    open: [Option<NonZeroU32>; 2],
}

stored!(struct Segments { 0: done, 1: open });

/// What a charging period of a CDR states of one component.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stated {
    pub(super) component: u16,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) volume: i64,
    pub(super) phase: Phase,
}

impl Segments {
    /// For a session as [`Rating::open`] returned it.
    pub fn open(rating: &Rating) -> Segments {
        let mut segments = Segments::default();
        if rating.flat != NONE {
            segments.fee(rating.flat, rating.start, Phase::Parked, Reason::Start);
        }
        segments
    }

    /// Adds what a reading added.
    pub fn add(&mut self, slices: &Slices) {
        for slice in &slices.0 {
            self.add_slice(slice);
        }
    }

    /// The segments so far, in the order of their beginnings.
    pub fn as_slice(&self) -> &[Segment] {
        &self.done
    }

    /// Adds what a charging period of a CDR states; a period that goes on at the same price makes the line longer.
    pub(super) fn stated(&mut self, Stated { component, from, to, volume, phase }: Stated) {
        if let Some(segment) = self.done.iter_mut().rev().find(|segment| segment.component == component)
            && segment.to == from
            && segment.phase == phase
            && from < to
        {
            segment.to = to;
            segment.volume = segment.volume.saturating_add(volume);
            return;
        }
        let reason = if self.done.is_empty() { Reason::Start } else { Reason::Period };
        // A file states them, whose size bounds them.
        self.done.push(Segment { component, from, to, volume, phase, reason });
    }

    fn add_slice(&mut self, slice: &Slice) {
        if slice.flat_component != NONE {
            self.fee(slice.flat_component, slice.from, slice.phase, slice.reason);
        }
        self.grow(0, slice.energy_component, slice, slice.energy.microwatt_hours());
        self.grow(1, slice.time_component, slice, slice.span().ms());
    }

    /// Adds a line, or sums it up with what there is. Most sessions have one or two, and millions are live: for the first ones
    /// no more room is made than they take.
    fn push(&mut self, segment: Segment) -> usize {
        if self.done.len() >= SEGMENTS_MAX {
            self.sum_up(NEWEST);
            if self.done.len() > SEGMENTS_MAX - NEWEST / 2 {
                self.sum_up(0);
            }
            // So many components are in use that there is a line for each and no room for more.
            if self.done.len() >= SEGMENTS_MAX
                && let Some(place) = self.done.iter().position(|line| line.component == segment.component)
            {
                self.done[place].absorb(&segment);
                return place;
            }
        }
        if self.done.len() < 4 {
            self.done.reserve_exact(1);
        }
        self.done.push(segment);
        self.done.len() - 1
    }

    /// Sums up all but the newest lines, for each component. What still grows goes on growing in its sum.
    fn sum_up(&mut self, newest: usize) {
        let older = self.done.len().saturating_sub(newest);
        let mut sums: SmallVec<[Segment; 1]> = SmallVec::with_capacity(self.done.len());
        let mut places = BTreeMap::new();
        let mut open = [None; 2];
        let was_open = |dimension: usize, index: usize, open: &[Option<NonZeroU32>; 2]| {
            open[dimension].is_some_and(|place| place.get() as usize == index + 1)
        };
        for (index, segment) in self.done.iter().enumerate() {
            let place = match places.get(&segment.component) {
                Some(place) if index < older => {
                    let sum: &mut Segment = &mut sums[*place];
                    sum.absorb(segment);
                    *place
                }
                _ => {
                    sums.push(*segment);
                    let place = sums.len() - 1;
                    if index < older {
                        places.insert(segment.component, place);
                    }
                    place
                }
            };
            for (dimension, open) in open.iter_mut().enumerate() {
                if was_open(dimension, index, &self.open) {
                    *open = u32::try_from(place + 1).ok().and_then(NonZeroU32::new);
                }
            }
        }
        sums.shrink_to_fit();
        (self.done, self.open) = (sums, open);
    }

    fn fee(&mut self, component: u16, at: Timestamp, phase: Phase, reason: Reason) {
        let _ = self.push(Segment { component, from: at, to: at, volume: 1, phase, reason });
    }

    fn grow(&mut self, dimension: usize, component: u16, slice: &Slice, volume: i64) {
        if component == NONE {
            self.open[dimension] = None;
            return;
        }
        if let Some(segment) = self.open[dimension].and_then(|place| self.done.get_mut(place.get() as usize - 1))
            && segment.component == component
            && segment.to == slice.from
            && segment.phase == slice.phase
        {
            segment.to = slice.to;
            segment.volume = segment.volume.saturating_add(volume);
            return;
        }
        if volume == 0 {
            return;
        }
        // The slice began for another dimension's sake: for this one it is where its own price began.
        let place = self.push(Segment {
            component,
            from: slice.from,
            to: slice.to,
            volume,
            phase: slice.phase,
            reason: slice.reason,
        });
        self.open[dimension] = u32::try_from(place + 1).ok().and_then(NonZeroU32::new);
    }

    /// What each segment is billed, as of a rating that took the same slices. Costs add up to the total before the
    /// tariff's price limits.
    ///
    /// # Errors
    /// [`RatingError`]: another tariff, or a cost beyond all figures.
    pub fn billed(&self, rating: &Rating, tariff: &Tariff) -> Result<Vec<BilledSegment>, RatingError> {
        let mut billed: Vec<BilledSegment> = Vec::with_capacity(self.done.len());
        for segment in &self.done {
            let component = component_of(tariff, segment.component);
            let price = parts_of(tariff, component, segment.volume)?.price(tariff.currency());
            billed.push(BilledSegment { segment: *segment, billed_volume: segment.volume, price });
        }
        // The last line of each component, and what the lines before it cost.
        let mut lasts: BTreeMap<u16, (usize, Parts)> = BTreeMap::new();
        for (index, line) in billed.iter().enumerate() {
            let before = match lasts.get(&line.segment.component) {
                Some((last, before)) => {
                    let price = &billed[*last].price;
                    before.plus(Parts { excl: price.excl_vat.parts(), incl: price.incl_vat.parts() })?
                }
                None => Parts::default(),
            };
            lasts.insert(line.segment.component, (index, before));
        }
        rating.each_billed(tariff, |line| {
            if line.component == rating.flat || line.component == rating.reservation_flat {
                return Ok(());
            }
            let Some((last, before)) = lasts.get(&line.component) else { return Ok(()) };
            // The last line takes the rest, so that lines add up to the last digit also where tax is taken out.
            let before = Parts { excl: before.excl.saturating_neg(), incl: before.incl.saturating_neg() };
            let rest = line.price.plus(before)?;
            let segment = &mut billed[*last];
            let beyond = line.billed.checked_sub(line.consumed).ok_or(RatingError::Range)?;
            segment.billed_volume = segment.segment.volume.checked_add(beyond).ok_or(RatingError::Range)?;
            segment.price = rest.price(tariff.currency());
            debug_assert!(component_of(tariff, line.component).dimension != Dimension::Flat);
            Ok(())
        })?;
        Ok(billed)
    }
}

fn component_of(tariff: &Tariff, index: u16) -> &Component {
    &tariff.components()[usize::from(index)]
}
