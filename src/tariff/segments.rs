//! The trail of a price: slices folded into lines of one component each, for explanations and CDRs.

use super::model::{Component, Dimension, Tariff};
use super::rating::{Rating, RatingError, Reason, Slice, Slices};
use super::select::{NONE, Phase};
use super::total::{Parts, Price, parts_of};
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::num::NonZeroU32;

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
    /// What the time was.
    pub phase: Phase,
    /// Why it began.
    pub reason: Reason,
}

/// A segment with what is billed for it: the last segment of a dimension carries what `step_size` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BilledSegment {
    /// The stretch.
    pub segment: Segment,
    /// µWh, ms, or 1 that are billed.
    pub billed_volume: i64,
    /// What they cost.
    pub price: Price,
}

/// Segments of a session, gathered slice by slice. Its size is the number of price changes, not of readings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segments {
    done: SmallVec<[Segment; 1]>,
    /// What still grows, energy and time: places in `done`, counted from 1.
    open: [Option<NonZeroU32>; 2],
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
    pub(super) fn stated(&mut self, component: u16, from: Timestamp, to: Timestamp, volume: i64, phase: Phase) {
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
        self.push(Segment { component, from, to, volume, phase, reason });
    }

    fn add_slice(&mut self, slice: &Slice) {
        if slice.flat_component != NONE {
            self.fee(slice.flat_component, slice.from, slice.phase, slice.reason);
        }
        self.grow(0, slice.energy_component, slice, slice.energy.microwatt_hours());
        self.grow(1, slice.time_component, slice, slice.span().ms());
    }

    /// Most sessions have one or two, and millions are live: for the first ones no more room is made than they take.
    fn push(&mut self, segment: Segment) {
        if self.done.len() < 4 {
            self.done.reserve_exact(1);
        }
        self.done.push(segment);
    }

    fn fee(&mut self, component: u16, at: Timestamp, phase: Phase, reason: Reason) {
        self.push(Segment { component, from: at, to: at, volume: 1, phase, reason });
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
        self.push(Segment {
            component,
            from: slice.from,
            to: slice.to,
            volume,
            phase: slice.phase,
            reason: slice.reason,
        });
        self.open[dimension] = u32::try_from(self.done.len()).ok().and_then(NonZeroU32::new);
    }

    /// What each segment is billed, as of a rating that took the same slices. Costs add up to the total before the
    /// tariff's price limits.
    pub fn billed(&self, rating: &Rating, tariff: &Tariff) -> Result<Vec<BilledSegment>, RatingError> {
        let mut billed: Vec<BilledSegment> = Vec::with_capacity(self.done.len());
        for segment in &self.done {
            let component = component_of(tariff, segment.component);
            let price = parts_of(tariff, component, segment.volume)?.price(tariff.currency());
            billed.push(BilledSegment { segment: *segment, billed_volume: segment.volume, price });
        }
        rating.each_billed(tariff, |line| {
            if line.component == rating.flat || line.component == rating.reservation_flat {
                return Ok(());
            }
            let component = component_of(tariff, line.component);
            let others = |billed: &BilledSegment| billed.segment.component == line.component;
            let Some(last) = billed.iter().rposition(others) else { return Ok(()) };
            // The last line takes the rest, so that lines add up to the last digit also where tax is taken out.
            let mut before = Parts::default();
            for earlier in billed[..last].iter().filter(|billed| others(billed)) {
                let (excl, incl) = (earlier.price.excl_vat.parts(), earlier.price.incl_vat.parts());
                before = before.plus(Parts { excl, incl })?;
            }
            let rest = Parts { excl: line.price.excl - before.excl, incl: line.price.incl - before.incl };
            let segment = &mut billed[last];
            segment.billed_volume = segment.segment.volume + (line.billed - line.consumed);
            segment.price = rest.price(tariff.currency());
            debug_assert!(component.dimension != Dimension::Flat);
            Ok(())
        })?;
        Ok(billed)
    }
}

fn component_of(tariff: &Tariff, index: u16) -> &Component {
    &tariff.components()[usize::from(index)]
}
