//! The proof that what the log confirms survives a loss of power, and that sled's own flush alone does not.
//!
//! Two kinds of power cut:
//!
//! * **Crash images** (everywhere). The real store runs on a directory. After each commit the file is copied; an image of
//!   a crash during the next commit is the file as it was durable, with any subset of the pages (and parts of pages)
//!   that changed since, as a disk with a volatile cache leaves it. `WATTSTILE_CRASH_IMAGES` sets how many.
//! * **A file system that is shut down** (Linux, root, loop devices; skipped with a message elsewhere). A child process
//!   writes to an ext4 of its own and says what was confirmed to it; in the midst of that the file system is shut down
//!   with nothing flushed, unmounted, mounted and read. `WATTSTILE_POWER_CUTS` sets how often.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use wattstile::journal::{
    Appender, BlockReader, BlockVisitor, Checkpoint, DataDir, Failure, Layout, Log, RecordKind, Sequences, SledStore,
    Store,
};
use wattstile::units::PartitionId;
use wattstile::units::rng::Rng;

const PARTITIONS: u16 = 4;
/// Small generations, so that a short run fills, prepares and drops several.
const LAYOUT: Layout = Layout { partitions: PARTITIONS, generation_blocks: 48 };
const PAGE: usize = 4096;
const SECTOR: usize = 512;

#[test]
fn crash_images_of_the_log_lose_nothing_that_was_confirmed() {
    let images = from_environment("WATTSTILE_CRASH_IMAGES", 30);
    let outcomes = crash_images(images, Sync::Ours);
    let lost: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(lost.is_empty(), "{} of {images} images: {lost:#?}", lost.len());
}

#[test]
fn crash_images_of_the_flush_alone_lose_what_was_confirmed() {
    let outcomes = crash_images(4, Sync::FlushAlone);
    let survived = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(survived, 0, "the images would not show a sync that is missing: {outcomes:#?}");
}

/// What counts as having reached the platter.
#[derive(Clone, Copy, PartialEq)]
enum Sync {
    /// Everything that was in the file when a commit returned.
    Ours,
    /// What was in the file when it was opened: sled's flush asks the system to begin writing, and not to tell the
    /// disk to finish.
    FlushAlone,
}

/// Runs the log and cuts the power in the midst of as many commits, spread over the run.
fn crash_images(images: u64, sync: Sync) -> Vec<Result<(), String>> {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let mut rng = Rng::new(0x5eed ^ images);
    let dir = DataDir::create(&data, LAYOUT).unwrap();
    let (mut log, _) = Log::open(Box::new(SledStore::open(&dir).unwrap()), &none(), &mut |_| Ok(())).unwrap();
    let mut appender = Appender::new(log.sequences().clone());
    let mut durable = Copy::of(&data);
    let commits = images * 3;
    let mut outcomes = Vec::new();
    for commit in 0..commits {
        let confirmed = log.sequences().clone();
        commit_some(&mut log, &mut appender, &mut rng, 60_000);
        let after = Copy::of(&data);
        if commit % 3 == 2 {
            let image = place.path().join("image");
            durable.with_some_of(&after, &mut rng).write(&image);
            outcomes.push(survives(&image, &confirmed).map_err(|what| format!("commit {commit}: {what}")));
            fs::remove_dir_all(&image).unwrap();
        }
        if sync == Sync::Ours {
            durable = after;
        }
        if commit % 25 == 24 && sync == Sync::Ours {
            // The process is killed and started again: what is before this is another database.
            drop(log);
            log = replay(Box::new(SledStore::open(&dir).unwrap()), &confirmed).unwrap();
            appender = Appender::new(log.sequences().clone());
            durable = Copy::of(&data);
        }
        if commit % 40 == 39 && sync == Sync::Ours {
            // Dropping goes on in the background while images are taken.
            let dropped = log.trim(&log.sequences().clone()).unwrap();
            assert!(dropped > 0);
            durable = Copy::of(&data);
        }
    }
    outcomes
}

/// Appends records of several partitions, some hundred bytes each, and commits them.
fn commit_some(log: &mut Log, appender: &mut Appender, rng: &mut Rng, bytes_max: u64) {
    let bytes = rng.below(bytes_max) + 100;
    let mut written = 0;
    while written < bytes {
        let partition = PartitionId(u16::try_from(rng.below(u64::from(PARTITIONS))).unwrap());
        let number = appender.sequence(partition).0 + 1;
        let length = 8 + rng.below(700);
        let mut permit = appender.reserve().unwrap();
        permit.append(partition, RecordKind::SessionEvent, |out| out.extend(payload(partition.0, number, length)));
        written += length;
    }
    let batch = appender.take_batch().unwrap();
    log.commit(std::slice::from_ref(&batch)).unwrap();
    appender.committed(batch);
}

/// A payload that tells its place: the number, then bytes that follow from it.
fn payload(partition: u16, number: u64, length: u64) -> impl Iterator<Item = u8> {
    let fill = Rng::new(number ^ u64::from(partition) << 48).bits().to_le_bytes();
    number.to_le_bytes().into_iter().chain((8..length).map(move |at| fill[at as usize % 8]))
}

/// Opens the rest and compares it with what was confirmed. Then continues with it, and opens it again.
fn survives(data: &Path, confirmed: &Sequences) -> Result<(), String> {
    for _ in 0..2 {
        let opened = std::panic::catch_unwind(|| {
            let dir = open_at_last(data).map_err(|failure| failure.to_string())?;
            let store = SledStore::open(&dir).map_err(|failure| failure.to_string())?;
            replay(Box::new(store), confirmed)
        });
        let mut log = opened.map_err(|_| "opening panicked".to_owned())??;
        let mut appender = Appender::new(log.sequences().clone());
        commit_some(&mut log, &mut appender, &mut Rng::new(1), 5_000);
    }
    Ok(())
}

/// Opens a directory that this process has just let go of. A child that another test starts at that moment has its lock, too,
/// between `fork` and `exec`.
fn open_at_last(data: &Path) -> Result<DataDir, Failure> {
    for _ in 0..1_000 {
        match DataDir::open(data) {
            Err(Failure::InUse { .. }) => std::thread::sleep(std::time::Duration::from_millis(5)),
            opened => return opened,
        }
    }
    DataDir::open(data)
}

fn replay(store: Box<dyn Store>, confirmed: &Sequences) -> Result<Log, String> {
    // What was trimmed is not there any more; the rest is whole.
    let floor = store.mark().map(|mark| mark.floor).unwrap_or_default();
    let mut base = none();
    for (partition, floor) in (0..).map(PartitionId).zip(floor) {
        base.set_last(partition, wattstile::journal::Sequence(floor));
    }
    let (log, _) = Log::open(store, &base, &mut |record| {
        let length = record.payload.len() as u64;
        let same = record.payload.iter().copied().eq(payload(record.partition.0, record.sequence.0, length));
        if same { Ok(()) } else { Err("is not what was recorded".to_owned()) }
    })
    .map_err(|failure| failure.to_string())?;
    for (partition, last) in confirmed.iter() {
        let found = log.sequences().last(partition);
        if found < last {
            return Err(format!("partition {partition} ends at record {found}, {last} was confirmed"));
        }
    }
    Ok(log)
}

fn none() -> Sequences {
    Sequences::new(PARTITIONS)
}

/// A copy of a directory: the bytes of its files, nothing for directories in it.
#[derive(Clone)]
struct Copy(BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Copy {
    fn of(dir: &Path) -> Copy {
        let mut files = BTreeMap::new();
        let mut to_do = vec![PathBuf::new()];
        while let Some(below) = to_do.pop() {
            // What the helper takes away at this moment is there or not: nothing in it counts any more.
            let Ok(entries) = fs::read_dir(dir.join(&below)) else { continue };
            for entry in entries.map_while(Result::ok) {
                let name = below.join(entry.file_name());
                if entry.file_type().is_ok_and(|found| found.is_dir()) {
                    // Directories are made durable when they are made.
                    files.insert(name.clone(), None);
                    to_do.push(name);
                } else if let Ok(bytes) = fs::read(dir.join(&name)) {
                    files.insert(name, Some(bytes));
                }
            }
        }
        Copy(files)
    }

    /// This one, with any subset of the pages of the log's files that are others in `later`.
    fn with_some_of(&self, later: &Copy, rng: &mut Rng) -> Copy {
        let mut image = self.clone();
        for (name, before) in &self.0 {
            // What is removed meanwhile may be there still.
            if let (true, Some(before), Some(Some(after))) = (name.ends_with("db"), before, later.0.get(name)) {
                image.0.insert(name.clone(), Some(some_pages(before, after, rng)));
            }
        }
        image
    }

    fn write(&self, dir: &Path) {
        fs::create_dir(dir).unwrap();
        for (name, bytes) in &self.0 {
            let path = dir.join(name);
            match bytes {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::create_dir(path).unwrap(),
            }
        }
    }
}

/// A file with any subset of the pages of its later self.
fn some_pages(before: &[u8], after: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut left = before.to_vec();
    if after.len() > before.len() {
        // How much of a longer file is there, and whether its new pages are: two different things.
        let grown = rng.below((after.len() - before.len()) as u64 + 1) as usize;
        left.resize(before.len() + grown, 0);
    }
    let (keep, of) = [(0, 1), (1, 2), (9, 10), (1, 10), (1, 1)][rng.below(5) as usize];
    for (at, page) in left.chunks_mut(PAGE).enumerate() {
        let Some(new) = after.get(at * PAGE..at * PAGE + page.len()).filter(|new| *new != page) else { continue };
        if rng.below(of) >= keep {
            continue;
        }
        // Mostly whole pages, sometimes some sectors of one.
        let sectors = if rng.below(8) == 0 { rng.below((PAGE / SECTOR) as u64) as usize } else { PAGE / SECTOR };
        let length = page.len().min(sectors * SECTOR);
        page[..length].copy_from_slice(&new[..length]);
    }
    left
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

// ---- what the device takes ----

/// sled writes each block about once because its pages were split before. That leans on its internals: a change shows here.
#[test]
#[cfg(target_os = "linux")]
fn the_device_takes_little_more_than_the_payload() {
    let place = tempfile::tempdir().unwrap();
    let output = command("child_payload", "ours", &place.path().join("data")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<u64> = text
        .lines()
        .find_map(|line| line.strip_prefix("payload and written "))
        .unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
        .split(' ')
        .map(|figure| figure.parse().unwrap())
        .collect();
    let (payload, written) = (figures[0], figures[1]);
    println!("{payload} bytes of blocks, {written} bytes to the device");
    if written == 0 {
        eprintln!("skipped: this system does not count what a process writes");
        return;
    }
    assert!(written * 10 < payload * 13, "{payload} bytes of blocks took {written} bytes of the device");
}

/// Not a test of its own: a process that does nothing but write, so that what it wrote can be counted.
#[test]
fn child_payload() {
    let Some(path) = std::env::var_os(CHILD_DIR) else { return };
    let dir = DataDir::create(Path::new(&path), Layout::new(PARTITIONS)).unwrap();
    let (mut log, _) = Log::open(Box::new(SledStore::open(&dir).unwrap()), &none(), &mut |_| Ok(())).unwrap();
    let mut appender = Appender::new(log.sequences().clone());
    let before = written_bytes();
    let mut payload = 0;
    // A generation and a half, in commits of a quarter of a MiB.
    while payload < 192 * 1024 * 1024 {
        for _ in 0..256 * 1024 / 1000 {
            let mut permit = appender.reserve().unwrap();
            permit.append(PartitionId(0), RecordKind::SessionEvent, |out| out.resize(out.len() + 980, 7));
        }
        let batch = appender.take_batch().unwrap();
        payload += log.commit(std::slice::from_ref(&batch)).unwrap().bytes;
        appender.committed(batch);
    }
    println!("\npayload and written {payload} {}", written_bytes() - before);
}

/// Bytes that this process has sent to storage; zero where the system does not report it.
fn written_bytes() -> u64 {
    let counters = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = counters.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|figure| figure.parse().ok()).unwrap_or(0)
}

// ---- a file system that is shut down ----

const CHILD_DIR: &str = "WATTSTILE_POWER_CUT_CHILD";
const CHILD_STORE: &str = "WATTSTILE_POWER_CUT_STORE";

#[test]
fn a_file_system_that_is_shut_down_keeps_what_was_confirmed() {
    let cuts = from_environment("WATTSTILE_POWER_CUTS", 4);
    let Some(machine) = Ext4::make() else { return };
    for cut in 0..cuts {
        let (confirmed, found) = machine.power_cut("ours", cut);
        let found = found.unwrap_or_else(|what| panic!("cut {cut}: {confirmed} confirmed, {what}"));
        assert!(found >= confirmed, "cut {cut}: {confirmed} records confirmed, {found} found");
        println!("cut {cut}: {confirmed} records confirmed, {found} found");
    }
}

#[test]
fn a_file_system_that_is_shut_down_loses_what_was_only_flushed() {
    let Some(machine) = Ext4::make() else { return };
    let mut lost = 0;
    for cut in 0..2 {
        let (confirmed, found) = machine.power_cut("flush", cut);
        println!("flush alone, cut {cut}: {confirmed} records confirmed, found {found:?}");
        lost += u32::from(!found.is_ok_and(|found| found >= confirmed));
    }
    assert_eq!(lost, 2, "a flush without a sync survived: then this test proves nothing");
}

/// Not a test of its own: the process whose power is cut.
#[test]
fn child_process() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let mut log = open_child(Path::new(&dir)).unwrap();
    let mut appender = Appender::new(log.sequences().clone());
    let mut rng = Rng::new(std::process::id().into());
    let mut out = std::io::stdout();
    loop {
        commit_some(&mut log, &mut appender, &mut rng, 100_000);
        let total: u64 = log.sequences().iter().map(|(_, last)| last.0).sum();
        // The line follows the output of the test harness; a closed pipe ends the loop.
        if writeln!(out, "\nconfirmed {total}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

fn open_child(path: &Path) -> Result<Log, String> {
    let store: Box<dyn Store> = match std::env::var(CHILD_STORE).as_deref() {
        Ok("flush") => Box::new(FlushAlone::open(path)),
        _ => {
            let dir = DataDir::open_or_create(path, LAYOUT).map_err(|failure| failure.to_string())?;
            Box::new(SledStore::open(&dir).map_err(|failure| failure.to_string())?)
        }
    };
    replay(store, &none())
}

/// Not a test of its own: the process that reads what is left, apart because sled may panic over it.
#[test]
fn child_reader() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let log = open_child(Path::new(&dir)).unwrap();
    println!("\nconfirmed {}", log.sequences().iter().map(|(_, last)| last.0).sum::<u64>());
}

/// An ext4 in a file, mounted through a loop device.
struct Ext4 {
    place: tempfile::TempDir,
}

impl Ext4 {
    /// Makes and mounts one, or returns why that is impossible here.
    fn make() -> Option<Ext4> {
        if std::env::var_os("WATTSTILE_TEST_MOUNTS").is_none() {
            eprintln!("skipped: WATTSTILE_TEST_MOUNTS=1 lets this test make and mount a file system");
            return None;
        }
        let machine = Ext4 { place: tempfile::tempdir().unwrap() };
        fs::create_dir(machine.mounted()).unwrap();
        let image = fs::File::create(machine.image()).unwrap();
        image.set_len(512 * 1024 * 1024).unwrap();
        let made = run("mkfs.ext4", &["-q", "-F", &machine.image().to_string_lossy()])
            .and_then(|()| machine.mount())
            .and_then(|()| run("python3", &["-c", "import fcntl"]));
        match made {
            Ok(()) => Some(machine),
            Err(why) => {
                eprintln!(
                    "skipped: cutting the power of a file system takes root, mkfs.ext4, a loop device, python3: {why}"
                );
                None
            }
        }
    }

    fn image(&self) -> PathBuf {
        self.place.path().join("ext4.img")
    }

    fn mounted(&self) -> PathBuf {
        self.place.path().join("mnt")
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o", "loop", &self.image().to_string_lossy(), &self.mounted().to_string_lossy()])
    }

    /// Lets a child write, cuts the power, and reads what is left: records confirmed, and records found.
    fn power_cut(&self, store: &str, cut: u64) -> (u64, Result<u64, String>) {
        let data = self.mounted().join(format!("{store}-{cut}"));
        let mut child = spawn("child_process", store, &data);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut confirmed = 0;
        for _ in 0..20 + Rng::new(cut).below(60) {
            confirmed = lines.find_map(|line| line.strip_prefix("confirmed ")?.parse().ok()).expect("the child writes");
        }
        // EXT4_IOC_SHUTDOWN with NOLOGFLUSH: from here on nothing reaches the image any more.
        let shutdown = "import fcntl,os,struct,sys\n\
                        fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run("python3", &["-c", shutdown, &self.mounted().to_string_lossy()]).unwrap();
        // Confirmed records count, whether or not the parent had read the confirmation.
        child.kill().unwrap();
        child.wait().unwrap();
        run("umount", &[&self.mounted().to_string_lossy()]).unwrap();
        self.mount().unwrap();
        let output = command("child_reader", store, &data).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let found = text.lines().find_map(|line| line.strip_prefix("confirmed ")?.parse().ok());
        let why = || String::from_utf8_lossy(&output.stderr).lines().take(6).collect::<Vec<_>>().join(" | ");
        let found = found.ok_or_else(why);
        fs::remove_dir_all(&data).unwrap_or_default();
        (confirmed, found)
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        // Nothing more can be done about a mount that stays.
        let _ = run("umount", &[&self.mounted().to_string_lossy()]);
    }
}

fn command(test: &str, store: &str, data: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // The path of a test of this binary: its module, then its name.
    let test = format!("journal_power_loss::{test}");
    command.args(["--exact", &test, "--nocapture", "--test-threads=1"]).env(CHILD_DIR, data).env(CHILD_STORE, store);
    command
}

fn spawn(test: &str, store: &str, data: &Path) -> Child {
    command(test, store, data).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// The simple way: the same blocks in sled, and its flush.
struct FlushAlone {
    db: sled::Db,
}

impl FlushAlone {
    fn open(path: &Path) -> FlushAlone {
        FlushAlone { db: sled::Config::new().path(path).flush_every_ms(None).open().unwrap() }
    }
}

impl BlockReader for FlushAlone {
    fn replay(&mut self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
        for entry in self.db.iter() {
            let (key, block) = entry.map_err(|_| Failure::Dead)?;
            visit(u64::from_be_bytes(key.as_ref().try_into().unwrap()), &block)?;
        }
        Ok(())
    }
}

impl Store for FlushAlone {
    fn append(&mut self, number: u64, block: &[u8]) -> Result<(), Failure> {
        self.db.insert(number.to_be_bytes(), block).map(drop).map_err(|_| Failure::Dead)
    }

    fn sync(&mut self) -> Result<(), Failure> {
        self.db.flush().map(drop).map_err(|_| Failure::Dead)
    }

    fn replay(&mut self, visit: &mut BlockVisitor<'_>) -> Result<(), Failure> {
        self.reader().replay(visit)
    }

    fn reader(&self) -> Box<dyn BlockReader> {
        Box::new(FlushAlone { db: self.db.clone() })
    }

    fn cut(&mut self, from: u64) -> Result<(), Failure> {
        let keys = self.db.range(from.to_be_bytes()..).keys();
        keys.flatten().for_each(|key| drop(self.db.remove(key).unwrap()));
        self.sync()
    }

    fn drop_below(&mut self, _number: u64) -> Result<(), Failure> {
        Ok(())
    }

    fn generation_blocks(&self) -> u64 {
        u64::from(LAYOUT.generation_blocks)
    }

    fn whole_blocks(&self) -> bool {
        true
    }

    fn mark(&self) -> Option<Checkpoint> {
        None
    }

    fn set_mark(&mut self, _mark: Checkpoint) -> Result<(), Failure> {
        Ok(())
    }

    fn used_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }
}
