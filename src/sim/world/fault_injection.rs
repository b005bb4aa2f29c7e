//! Fault injection in a simulated world, and orders of operators.

use super::durable::PARTITIONS;
use super::event_queue::Event;
use super::faults::Fault;
use super::network::Side;
use super::peers;
use super::world::{HOUR, MINUTE, SECOND, World, live_sessions};
use crate::account;
use crate::journal::{self, Failure};
use crate::node::input::{Input, MoneyOrder};
use crate::node::reply::{NodeNumber, ReplyTo};
use crate::node::topping_up::TopUpOrder;
use crate::payment::{Credential, CredentialKind};
use crate::session::StopReason;
use crate::units::{AccountId, Amount, Currency, HoldId, PartitionId, PaymentId, SessionId};

/// The operators of the world; how many of their orders are carried out is counted.
const OPERATOR: ReplyTo = ReplyTo { node: NodeNumber(0), number: 1 };

impl World {
    pub(super) fn strike(&mut self, fault: Fault) {
        let roll = self.weather.rng().bits();
        let struck = match fault {
            Fault::Kill => self.strike_gate(false),
            Fault::PowerCut => self.strike_gate(true),
            Fault::TornCommit | Fault::DiskError | Fault::DiskFull => self.strike_disk(fault, roll),
            Fault::Cut | Fault::HalfOpen => self.strike_line(fault, roll),
            Fault::Clock => {
                let most = if roll.is_multiple_of(4) { 24 * HOUR } else { 10 * MINUTE };
                let most = i64::try_from(most).unwrap_or(0);
                self.clock_off = self.weather.rng().between(-most, most);
                let right = MINUTE + self.weather.rng().below(HOUR);
                self.events.after(right, Event::ClockRight);
                true
            }
            Fault::Offline => {
                let place = usize::try_from(roll % self.fleet.len() as u64).unwrap_or(0);
                let until = self.events.now() + self.weather.rng().below(HOUR);
                let controller = &mut self.fleet[place];
                controller.offline_until = until;
                controller.line.is_some_and(|line| self.cut(line))
            }
            Fault::Replaced => self.replace_charger(roll),
            Fault::SnapshotDiskFull => {
                self.durable.snapshots.set_full(true);
                let room = MINUTE + self.weather.rng().below(3 * HOUR);
                self.events.after(room, Event::SnapshotRoom);
                true
            }
            Fault::ProcessorOffline => {
                let place = usize::try_from(roll % self.processors.len() as u64).unwrap_or(0);
                self.processors[place].offline_until = self.events.now() + self.weather.rng().below(HOUR / 2);
                let lines: Vec<u64> = self.processors[place].lines.iter().filter_map(|line| line.line).collect();
                lines.into_iter().map(|line| self.cut(line)).filter(|cut| *cut).count() > 0
            }
            Fault::Forgery => self.forge(roll),
            Fault::Operator => self.operate(roll),
            Fault::ArchiveRot => self.strike_archive(roll),
            Fault::ShardClosed => self.close_shard(roll),
            Fault::SlowDisk
            | Fault::Nested
            | Fault::Delay
            | Fault::Loss
            | Fault::Duplicate
            | Fault::Reorder
            | Fault::Corrupt
            | Fault::Processor
            | Fault::Aftermath
            | Fault::SnapshotRot
            | Fault::Manners
            | Fault::SlowSnapshots => false,
        };
        if struck {
            self.weather.happened(fault);
        }
    }

    /// A charger begins anew, on a new connection. Others of its site notice only that.
    fn replace_charger(&mut self, roll: u64) -> bool {
        let world = self.wall();
        let place = usize::try_from(roll % self.fleet.len() as u64).unwrap_or(0);
        let controller = &mut self.fleet[place];
        let which = usize::try_from((roll >> 16) % controller.chargers.len() as u64).unwrap_or(0);
        controller.replace(which, world, self.events.now(), roll >> 63 == 1);
        if let Some(line) = controller.line {
            self.cut(line);
        }
        true
    }

    /// Closes a shard for a while; everything else goes on.
    fn close_shard(&mut self, roll: u64) -> bool {
        let now = self.now();
        let Some(process) = &mut self.process else { return false };
        let shard = usize::try_from(roll % process.shards().count() as u64).unwrap_or(0);
        let (life, closed) = (process.life, process.close_shard(shard, now, &mut self.checker));
        self.after_gate();
        if closed {
            let opened = 1 + self.weather.rng().below(2 * MINUTE);
            self.events.after(opened, Event::OpenShard(life, shard));
        }
        closed
    }

    fn strike_gate(&mut self, power: bool) -> bool {
        let lives = self.process.is_some();
        self.die("struck", power);
        lives
    }

    fn strike_disk(&mut self, fault: Fault, roll: u64) -> bool {
        use journal::Fault as DiskFault;
        let operations = self.disk.operations();
        let at = operations.appends + operations.syncs + roll % 4;
        match fault {
            // The write or sync fails because the power does: what was appended is torn.
            Fault::TornCommit => {
                self.power_fails = true;
                self.disk.plan(at, DiskFault::Full, false);
            }
            Fault::DiskError => self.disk.plan(at, DiskFault::InputOutput, false),
            _ => {
                self.disk.plan(at, DiskFault::Full, true);
                let room = MINUTE + self.weather.rng().below(9 * MINUTE);
                self.events.after(room, Event::Room);
            }
        }
        true
    }

    /// Flips a bit of an archived session: requests for it must report the damage, and others must be unaffected.
    fn strike_archive(&mut self, roll: u64) -> bool {
        let sold = &self.checker.sold;
        let which = usize::try_from((roll >> 8) % (sold.len() as u64).max(1)).unwrap_or(0);
        let Some((session, _)) = sold.get(which).copied() else { return false };
        let bit = self.weather.rng().bits();
        if self.rotten.is_some() || !self.durable.archive.flip_bit(session, bit) {
            return false;
        }
        self.rotten = Some((session, bit));
        self.check_damaged();
        let mended = MINUTE + self.weather.rng().below(HOUR);
        self.events.after(mended, Event::Mend);
        true
    }

    /// Reading it names the damage, unless the gate has put the session away again meanwhile.
    fn check_damaged(&mut self) -> bool {
        let Some((session, _)) = self.rotten else { return false };
        match self.durable.archive.get(session) {
            Err(Failure::Damaged(_)) => true,
            Ok(Some(found)) => {
                let again = self
                    .checker
                    .archived
                    .get(&session)
                    .is_some_and(|whole| *whole == crc32fast::hash(&found.archive_record));
                if !again {
                    self.checker.violated(|| format!("{session} changed in the archive, and it was not detected"));
                }
                false
            }
            Ok(None) => {
                self.checker.violated(|| format!("{session} changed in the archive, and is not there any more"));
                false
            }
            Err(failure) => {
                self.checker.violated(|| format!("the archive fails because {session} changed: {failure}"));
                false
            }
        }
    }

    /// Stops the gate and restores the archive. Failed requests are repeated.
    pub(super) fn mend(&mut self) {
        let is_damaged = self.check_damaged();
        let Some((session, bit)) = self.rotten.take() else { return };
        if is_damaged {
            self.die("the archive is mended", false);
            self.durable.archive.flip_bit(session, bit);
        }
        let found =
            self.durable.archive.get(session).ok().flatten().map(|found| crc32fast::hash(&found.archive_record));
        if found.is_none() || found.as_ref() != self.checker.archived.get(&session) {
            self.checker.violated(|| format!("{session} is mended in the archive, and is not what was put away"));
        }
    }

    fn strike_line(&mut self, fault: Fault, roll: u64) -> bool {
        let Some(process) = &self.process else { return false };
        let lines = process.lines();
        let Some(line) = lines.get(usize::try_from(roll % (lines.len() as u64).max(1)).unwrap_or(0)).copied() else {
            return false;
        };
        match fault {
            Fault::HalfOpen => {
                self.network.silence(line);
                // The end is reported to one side; the other one detects it by its time-out.
                let side = if self.weather.rng().chance(5_000) { Side::Gate } else { Side::Peer };
                let after = 1 + self.weather.rng().below(2 * SECOND);
                self.events.after(after, Event::Ended(line, side));
                true
            }
            _ => self.cut(line),
        }
    }

    /// Breaks a connection; its sides detect it at different times.
    fn cut(&mut self, line: u64) -> bool {
        let lives = self.network.peer(line).is_some();
        self.network.silence(line);
        for side in [Side::Gate, Side::Peer] {
            let after = 1 + self.weather.rng().below(20 * SECOND);
            self.events.after(after, Event::Ended(line, side));
        }
        lives
    }

    /// A processor sends a message about an operation that is not its own.
    fn forge(&mut self, roll: u64) -> bool {
        let Some(operation) = self.checker.last_sent() else { return false };
        let owner = self.process.as_ref().and_then(|process| process.session(operation.payment().session())).and_then(
            |session| {
                let numbered =
                    session.payment.live_operations().iter().find(|live| live.number.0 == operation.ordinal());
                numbered.and_then(|live| session.payment.hold(live.hold)).map(|hold| hold.processor().clone())
            },
        );
        let Some(liar) = self.processors.iter_mut().find(|processor| Some(&processor.id) != owner.as_ref()) else {
            return false;
        };
        let operation = match roll % 3 {
            // An operation of another processor, or one that never was, or one in a partition that does not exist.
            0 => operation,
            1 => PaymentId::new(self.epoch, PartitionId(3), roll).operation(1),
            _ => PaymentId::new(self.epoch, PartitionId(60_000), roll).operation(1),
        };
        liar.forge(operation, HoldId(operation), Currency::EUR);
        true
    }

    /// Orders of operators: stop a session, top up an account, refund.
    fn operate(&mut self, roll: u64) -> bool {
        let Some(process) = &self.process else { return false };
        match roll % 4 {
            0 => {
                let sessions: Vec<SessionId> = live_sessions(process).collect();
                let which = usize::try_from((roll >> 8) % (sessions.len() as u64).max(1)).unwrap_or(0);
                let Some(session) = sessions.get(which).copied() else { return false };
                self.input(Input::StopSession(session, StopReason::Operator));
            }
            1 => {
                let sold = &self.checker.sold;
                let which = usize::try_from((roll >> 8) % (sold.len() as u64).max(1)).unwrap_or(0);
                let Some((session, payable)) = sold.get(which).copied() else { return false };
                let total = Amount::new(self.rng.between(1, payable), Currency::EUR);
                self.input(Input::OrderMoney(session.payment(), MoneyOrder::RefundTo(total), OPERATOR));
            }
            2 => {
                let (account, minor) = self.some_account(roll);
                self.top_up(&account, minor);
            }
            _ => {
                let (account, minor) = self.some_account(roll);
                self.top_up_by_card(&account, minor, roll >> 32);
            }
        }
        true
    }

    /// An account, and an amount to put on it.
    fn some_account(&mut self, roll: u64) -> (AccountId, i64) {
        let which = usize::try_from((roll >> 8) % self.accounts.len() as u64).unwrap_or(0);
        (self.accounts[which].clone(), self.rng.between(100, 20_000))
    }

    pub(super) fn order_id(&mut self, account: &AccountId) -> PaymentId {
        self.orders += 1;
        PaymentId::new(self.epoch, PartitionId::of(account.as_str(), PARTITIONS), self.orders)
    }

    pub(super) fn top_up(&mut self, account: &AccountId, minor: i64) {
        let op = self.order_id(account).operation(1);
        let amount = Amount::new(minor, Currency::EUR);
        self.order(account, account::Command::TopUp { op, amount, source: account::TopUpSource::Bank });
    }

    /// A card pays onto an account. Most of these payments fail, or are disputed, after the account was credited.
    fn top_up_by_card(&mut self, account: &AccountId, minor: i64, roll: u64) {
        const WORDS: [&str; 6] =
            ["visa", "capture_fails_later", "dispute", "dispute_won", "dispute_lost", "refund_fails_later"];
        let word = WORDS[usize::try_from(roll % WORDS.len() as u64).unwrap_or(0)];
        let id = self.order_id(account);
        let token = format!("tok_{word}.top-up-{}", self.orders).into_bytes().into();
        let credential = Credential { kind: CredentialKind::CardToken, token };
        let amount = Amount::new(minor, Currency::EUR);
        let order = TopUpOrder { id, account: account.clone(), amount, credential };
        self.input(Input::TopUp(Box::new(order), OPERATOR));
        self.counts.card_top_ups += 1;
    }

    /// CredentialLinks the account's card to it.
    pub(super) fn link(&mut self, account: &AccountId) {
        let op = self.order_id(account).operation(1);
        let Some(process) = &self.process else { return };
        let credential = process.mark(&peers::card_of(account));
        self.order(account, account::Command::LinkCredential { op, credential });
    }

    pub(super) fn order(&mut self, account: &AccountId, command: account::Command) {
        self.input(Input::Order(account.clone(), Box::new(command), OPERATOR));
    }

    pub(super) fn input(&mut self, input: Input) {
        let now = self.now();
        if let Some(process) = &mut self.process {
            process.order(input, now, &mut self.checker);
        }
        self.after_gate();
    }
}
