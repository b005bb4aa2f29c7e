//! The context of hosted actors: actors without a mailbox, task and timer of their own.
//!
//! Chargers, sessions and accounts are actors in cells of their partition's arena. The shard delivers messages to a
//! cell in order, one at a time; the actor's decision is put into its [`Hosted`] context, from which the shard
//! journals the events and queues the effects. An id instead of an address means that an actor can be snapshotted,
//! archived, moved, and run by a simulator without any runtime. [`crate::actors::hosted_actors`] makes them actix
//! actors.
//!
//! A cell costs its state and 16 bytes, and a delivery a few nanoseconds, where an actor with a mailbox of its own costs
//! a kilobyte and a microsecond.

use super::cells::Cells;
use crate::ledger::Entry;
use crate::machine::Decision;
use crate::units::{Mono, Now};

/// An actor that can be hosted: what it takes and what it decides have types.
pub trait Hostable: Sized {
    /// Its messages.
    type Message<'a>;
    /// Facts of its machine.
    type Event;
    /// Effects of its machine.
    type Effect;

    /// Handles a message, and puts its decision into the context.
    fn handle(&mut self, message: Self::Message<'_>, context: &mut Hosted<Self>);

    /// When the actor's timer is due.
    fn next_deadline(&self) -> Option<Mono>;

    /// Writes its state behind what is in `bytes`, as a snapshot keeps it.
    fn write(&self, bytes: &mut Vec<u8>);

    /// Reads a word of every heap block that [`Hostable::write`] will read; its value does not matter. Calling it for
    /// several actors before they are written lets their memory accesses overlap.
    fn prefetch(&self) -> u64 {
        0
    }

    /// Its contribution to the sums of its arena, which spare a pass over a million cells.
    fn counts(&self) -> Counts {
        Counts::default()
    }
}

/// Sums over the actors of an arena; the kind of actor defines their meaning.
pub type Counts = [u32; 4];

/// The context that a hosted actor is handed with each message. One per arena, not one per actor: it holds nothing
/// that outlives a delivery.
pub struct Hosted<A: Hostable> {
    now: Now,
    decided: Decision<A::Event, A::Effect>,
    entries: Vec<Entry>,
    is_ending: bool,
}

impl<A: Hostable> Hosted<A> {
    /// The clocks, as they were when the shard began this turn.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Takes a decision, whose events are already applied, for the shard to journal.
    pub fn commit(&mut self, decision: Decision<A::Event, A::Effect>) {
        debug_assert!(self.decided.events.is_empty() && self.decided.effects.is_empty(), "one decision per delivery");
        self.decided = decision;
    }

    /// Leaves entries that follow from the events of this delivery, for the books of the partition.
    pub fn post(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Ends the actor after this delivery: its cell is vacated.
    pub fn end(&mut self) {
        self.is_ending = true;
    }

    /// Whether the actor ends after this delivery.
    pub fn is_ending(&self) -> bool {
        self.is_ending
    }
}

/// Position of a cell in its arena. Stable until the actor is removed.
pub type Slot = u32;

/// Result of one delivery, besides the decision.
pub struct Delivered {
    /// What follows from the decision for the books.
    pub entries: Vec<Entry>,
    /// When the actor's timer is due.
    pub deadline: Option<Mono>,
}

struct Cell<A> {
    actor: A,
    /// The wake-up of this cell in the timer wheel, if there is one: never later than the actor's deadline.
    armed: Mono,
}

/// The cells of one kind of actor in one partition.
pub struct Arena<A: Hostable> {
    cells: Cells<Cell<A>>,
    context: Hosted<A>,
    /// The snapshot that is being taken, if one is.
    sweep: Option<Sweep>,
    /// The sums of what the actors count for.
    sums: Counts,
}

/// A snapshot of an arena that is taken a few cells at a time, while the actors go on. It holds every cell as it was when
/// the sweep began: a cell that is about to change is written first, if its turn has not come yet.
struct Sweep {
    /// Cells below are dealt with.
    next: usize,
    /// Cells from here on were made later.
    end: usize,
    /// One bit for each cell up to `end`: it was written before its turn, or made after the beginning.
    dealt_with: Vec<u64>,
    written: Written,
}

/// The states of all cells of an arena at one moment.
#[derive(Debug, Default)]
pub struct Written {
    /// How many.
    pub count: u64,
    /// One behind the other, in pieces: a buffer that grew by being moved would make a turn wait for the copy of what may be a
    /// hundred megabytes.
    pub pieces: Vec<Vec<u8>>,
}

/// Bytes after which a new piece begins.
const PIECE_BYTES: usize = 256 * 1024;
/// Number of vacant cells that cost as much as one that is written.
const VACANT_AT_ONCE: usize = 32;

impl Written {
    /// Writes the state of one more actor.
    pub fn write<A: Hostable>(&mut self, actor: &A) {
        self.count += 1;
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE_BYTES => actor.write(piece),
            _ => {
                // The first one may be all that is ever needed.
                let room = if self.pieces.is_empty() { 0 } else { PIECE_BYTES + PIECE_BYTES / 8 };
                let mut piece = Vec::with_capacity(room);
                actor.write(&mut piece);
                self.pieces.push(piece);
            }
        }
    }
}

impl Sweep {
    /// Marks a cell as done, and returns whether it still has to be written.
    fn take(&mut self, slot: usize) -> bool {
        if !(self.next..self.end).contains(&slot) {
            return false;
        }
        let (word, bit) = (&mut self.dealt_with[slot / 64], 1 << (slot % 64));
        let open = *word & bit == 0;
        *word |= bit;
        open
    }

    fn write<A: Hostable>(&mut self, cell: &Cell<A>) {
        self.written.write(&cell.actor);
    }
}

/// Number of cells that are prefetched together before they are written.
const TOUCHED_AT_ONCE: usize = 16;

impl<A: Hostable> Arena<A> {
    /// Bytes of a cell: the actor, and its timer.
    #[cfg(test)]
    pub(super) const CELL_BYTES: usize = Cells::<Cell<A>>::BYTES;

    /// An empty arena.
    pub fn new(now: Now) -> Arena<A> {
        let context = Hosted { now, decided: Decision::nothing(), entries: Vec::new(), is_ending: false };
        Arena { cells: Cells::new(), context, sweep: None, sums: Counts::default() }
    }

    /// Begins a snapshot of all cells as they are now.
    pub fn begin_sweep(&mut self) {
        let end = self.cells.end();
        let dealt_with = vec![0; end.div_ceil(64)];
        self.sweep = Some(Sweep { next: 0, end, dealt_with, written: Written::default() });
    }

    /// Writes up to `cells` cells, and returns how many of those are left; the sweep is over when some are.
    pub fn sweep(&mut self, cells: usize) -> usize {
        let Some(sweep) = &mut self.sweep else { return cells };
        let (mut left, mut passed) = (cells, 0);
        while left > 0 && sweep.next < sweep.end {
            let slot = sweep.next;
            if slot.is_multiple_of(TOUCHED_AT_ONCE) {
                let coming = (slot..sweep.end.min(slot + TOUCHED_AT_ONCE)).filter_map(|slot| Slot::try_from(slot).ok());
                let cells = coming.filter_map(|slot| self.cells.get(slot));
                std::hint::black_box(cells.fold(0, |all, cell| all ^ cell.actor.prefetch()));
            }
            match self.cells.get(Slot::try_from(slot).unwrap_or(Slot::MAX)) {
                Some(cell) if sweep.take(slot) => {
                    sweep.write(cell);
                    left -= 1;
                }
                _ => {
                    passed += 1;
                    left -= usize::from(passed % VACANT_AT_ONCE == 0);
                }
            }
            sweep.next += 1;
        }
        left
    }

    /// What the sweep has written.
    pub fn end_sweep(&mut self) -> Written {
        self.sweep.take().map(|sweep| sweep.written).unwrap_or_default()
    }

    /// Called before a cell changes: a snapshot in progress writes its old state first.
    #[inline]
    fn before_change(&mut self, slot: Slot) {
        if let Some(sweep) = &mut self.sweep
            && let Some(cell) = self.cells.get(slot)
            && sweep.take(slot as usize)
        {
            sweep.write(cell);
        }
    }

    /// Puts an actor into a cell.
    pub fn insert(&mut self, actor: A) -> Slot {
        add(&mut self.sums, actor.counts());
        let slot = self.cells.insert(Cell { actor, armed: Mono::NEVER });
        if let Some(sweep) = &mut self.sweep {
            sweep.take(slot as usize);
        }
        slot
    }

    /// Hands a message to the actor in a cell; `None` when the cell is vacant. An actor that ended itself is removed.
    /// Its decision, with the events applied to its state, is to be taken next.
    pub fn deliver(&mut self, slot: Slot, message: A::Message<'_>, now: Now) -> Option<Delivered> {
        self.before_change(slot);
        let cell = self.cells.get_mut(slot)?;
        self.context.now = now;
        self.context.is_ending = false;
        let before = cell.actor.counts();
        cell.actor.handle(message, &mut self.context);
        subtract(&mut self.sums, before);
        let entries = std::mem::take(&mut self.context.entries);
        if self.context.is_ending {
            self.cells.remove(slot);
            return Some(Delivered { entries, deadline: None });
        }
        add(&mut self.sums, cell.actor.counts());
        Some(Delivered { entries, deadline: cell.actor.next_deadline() })
    }

    /// Decision of the last delivery. Apart from [`Delivered`], because it is large and would be moved twice more.
    #[inline]
    pub fn decided(&mut self) -> Decision<A::Event, A::Effect> {
        std::mem::take(&mut self.context.decided)
    }

    /// Reads an actor.
    pub fn get(&self, slot: Slot) -> Option<&A> {
        self.cells.get(slot).map(|cell| &cell.actor)
    }

    /// Changes an actor outside of a delivery: while replaying, and for projections that its shell keeps.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut A> {
        self.before_change(slot);
        self.cells.get_mut(slot).map(|cell| &mut cell.actor)
    }

    /// Takes an actor out of its cell.
    pub fn remove(&mut self, slot: Slot) -> Option<A> {
        self.before_change(slot);
        let cell = self.cells.remove(slot)?;
        subtract(&mut self.sums, cell.actor.counts());
        Some(cell.actor)
    }

    /// The sums of what the actors count for.
    pub fn sums(&self) -> Counts {
        self.sums
    }

    /// Sums up anew, after the actors were changed outside of deliveries: after a replay.
    pub fn sum_up(&mut self) {
        self.sums = Counts::default();
        for (_, cell) in self.cells.iter() {
            add(&mut self.sums, cell.actor.counts());
        }
    }

    /// Every cell, in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &A)> {
        self.cells.iter().map(|(slot, cell)| (slot, &cell.actor))
    }

    /// The actors in the cells from one on to before another one, in the order of slots.
    pub fn between(&self, from: u32, until: u32) -> impl Iterator<Item = &A> {
        let until = until.min(u32::try_from(self.cells.end()).unwrap_or(u32::MAX));
        (from..until).filter_map(|slot| self.cells.get(slot)).map(|cell| &cell.actor)
    }

    /// Every cell comes before this place.
    pub fn end(&self) -> usize {
        self.cells.end()
    }

    /// Number of actors.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Whether a wake-up at `deadline` has to be put into the wheel: false when an earlier one is there. Stores it.
    pub fn arm(&mut self, slot: Slot, deadline: Mono) -> bool {
        let Some(cell) = self.cells.get_mut(slot) else { return false };
        let earlier = deadline < cell.armed;
        if earlier {
            cell.armed = deadline;
        }
        earlier
    }

    /// Handles a fired wake-up: when it was the armed one, returns the actor's present deadline.
    pub fn disarm(&mut self, slot: Slot, fired: Mono) -> Option<Mono> {
        let cell = self.cells.get_mut(slot)?;
        if cell.armed != fired {
            return None;
        }
        cell.armed = Mono::NEVER;
        cell.actor.next_deadline()
    }
}

fn add(sums: &mut Counts, counts: Counts) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.wrapping_add(count));
}

/// Sums may be behind while a replay changes actors; they are summed up anew after it.
fn subtract(sums: &mut Counts, counts: Counts) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.wrapping_sub(count));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    struct Counter {
        count: u32,
    }

    enum Count {
        Up,
        Stop,
    }

    impl Hostable for Counter {
        type Message<'a> = Count;
        type Event = u32;
        type Effect = &'static str;

        fn handle(&mut self, message: Count, context: &mut Hosted<Counter>) {
            match message {
                Count::Up => {
                    self.count += 1;
                    context.commit(Decision::event(self.count).and_effect("up"));
                }
                Count::Stop => context.end(),
            }
        }

        fn next_deadline(&self) -> Option<Mono> {
            Some(Mono(u64::from(self.count)))
        }
        fn write(&self, bytes: &mut Vec<u8>) {
            bytes.extend(self.count.to_le_bytes());
        }
        fn counts(&self) -> Counts {
            [1, self.count, 0, 0]
        }
    }

    const NOW: Now = Now { wall: Timestamp::from_unix_ms(0), mono: Mono(0) };

    #[test]
    fn a_delivery_returns_what_was_decided_and_when_to_wake() {
        let mut arena = Arena::new(NOW);
        let slot = arena.insert(Counter { count: 4 });
        let delivered = arena.deliver(slot, Count::Up, NOW).unwrap();
        assert_eq!(arena.decided(), Decision::event(5).and_effect("up"));
        assert_eq!(delivered.deadline, Some(Mono(5)));
        arena.deliver(slot, Count::Up, NOW).unwrap();
        assert_eq!(arena.decided().events.as_slice(), [6]);
    }

    #[test]
    fn a_snapshot_holds_every_cell_as_it_was_when_it_began() {
        for step in 1..=9 {
            let mut arena = Arena::new(NOW);
            let slots: Vec<Slot> = (0..8).map(|count| arena.insert(Counter { count: count * 10 })).collect();
            arena.remove(slots[3]);
            arena.begin_sweep();
            assert_eq!(arena.sweep(step) == 0, step < 8);
            // Behind the sweep and before it: changes, farewells, and newcomers in new and in vacated cells.
            for slot in [slots[0], slots[5], slots[5], slots[7]] {
                arena.deliver(slot, Count::Up, NOW);
                arena.decided();
            }
            arena.deliver(slots[6], Count::Stop, NOW);
            arena.remove(slots[1]);
            for count in 100..104 {
                arena.insert(Counter { count });
            }
            while arena.sweep(2) == 0 {}
            let Written { count, pieces } = arena.end_sweep();
            let bytes = pieces.concat();
            let mut seen: Vec<u32> = bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
            seen.sort_unstable();
            assert_eq!((count, seen), (7, vec![0, 10, 20, 40, 50, 60, 70]), "{step} cells at first");
        }
    }

    #[test]
    fn an_actor_that_stops_leaves_its_cell() {
        let mut arena = Arena::new(NOW);
        let slot = arena.insert(Counter { count: 0 });
        assert!(arena.deliver(slot, Count::Stop, NOW).is_some());
        assert!(arena.deliver(slot, Count::Up, NOW).is_none());
        assert!(arena.is_empty());
    }

    #[test]
    fn the_sums_follow_every_change() {
        let mut arena = Arena::new(NOW);
        let slots = [arena.insert(Counter { count: 4 }), arena.insert(Counter { count: 10 })];
        arena.deliver(slots[0], Count::Up, NOW);
        assert_eq!(arena.sums(), [2, 15, 0, 0]);
        arena.deliver(slots[1], Count::Stop, NOW);
        assert_eq!(arena.sums(), [1, 5, 0, 0]);
        arena.get_mut(slots[0]).unwrap().count = 7;
        arena.sum_up();
        assert_eq!(arena.sums(), [1, 7, 0, 0]);
        arena.remove(slots[0]);
        assert_eq!(arena.sums(), [0, 0, 0, 0]);
    }

    #[test]
    fn only_an_earlier_deadline_is_armed_again() {
        let mut arena = Arena::new(NOW);
        let slot = arena.insert(Counter { count: 0 });
        assert!(arena.arm(slot, Mono(50)));
        assert!(!arena.arm(slot, Mono(80)));
        assert!(arena.arm(slot, Mono(20)));
        assert_eq!(arena.disarm(slot, Mono(50)), None, "the later wake-up is void");
        assert_eq!(arena.disarm(slot, Mono(20)), Some(Mono(0)));
    }
}
