//! More than the gate can do: a disk that is far too slow for what comes.

use super::{CHARGERS, LAYOUT, SEED, SETTINGS, shim};
use crate::common::Served;
use crate::common::business::Business;
use crate::common::driven::{charger, runtime};
use std::fs;
use std::time::Duration;
use wattstile::bench::load::{Load, LoadPeer, LoadSettings, Speech};
use wattstile::message::Code;
use wattstile::units::ChargerId;

/// Sessions whose chargers send as fast as the gate reads.
const BUSY_SESSIONS: u32 = 256;
const BUSY_CHARGERS: u32 = 4;
/// A sync takes so much longer; there are two to a commit.
const SLOW: Duration = Duration::from_secs(4);
/// How often the disk is slow at most.
const ROUNDS_MAX: usize = 8;

/// Readings are delayed, not dropped; new sessions are refused as busy; what was captured or released is all that had to be.
#[test]
fn overload_refuses_new_sessions_and_delays_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = shim(folder.path(), "disk") else { return };
    let order = folder.path().join("order");
    let settings = [&SETTINGS[..], &["gate.shards=1"]].concat();
    let mut gate = Served::stopped(folder, LAYOUT, &settings);
    gate.environment = vec![
        ("LD_PRELOAD".to_owned(), shim.display().to_string()),
        ("WATTSTILE_FAULT".to_owned(), order.display().to_string()),
        ("WATTSTILE_FAULT_BELOW".to_owned(), gate.data_dir().join("data").display().to_string()),
    ];
    gate.start_again();
    let business = Business::begin(&mut gate, CHARGERS, SEED);
    let peers = (1..=BUSY_CHARGERS).map(|number| {
        let id = format!("BUSY-{number}");
        let dialler = gate.dialler(&charger(&id));
        LoadPeer { dialler, chargers: vec![ChargerId::new(&id).unwrap()], speech: Speech::Charger }
    });
    let settings = LoadSettings {
        sessions: BUSY_SESSIONS,
        rate: None,
        duration: SLOW * 2,
        timeout: Duration::from_secs(90),
        window: 20_000,
    };
    let peers = peers.collect();
    let busy = format!("wattstile_starts_refused_total{{code=\"{}\"}}", Code::Busy.number());
    runtime().block_on(async {
        let mut load = Load::open(settings, peers, |_| ()).await;
        assert_eq!(load.standing().live, u64::from(BUSY_SESSIONS));
        // Whether a driver comes while the disk is slow is chance: it is slow again until one has come.
        for _ in 0..ROUNDS_MAX {
            fs::write(&order, format!("sync -{}", SLOW.as_millis())).unwrap();
            let mend = async {
                tokio::time::sleep(SLOW * 2).await;
                fs::remove_file(&order).unwrap();
            };
            let (report, ()) = tokio::join!(load.measure(|_| ()), mend);
            assert_eq!((report.lost, report.disconnects), (0, 0), "{report:?}");
            if gate.asks("/metrics").1.contains(&busy) {
                break;
            }
        }
        load.close().await;
    });
    let outcome = business.finish_beside(u64::from(BUSY_SESSIONS));
    outcome.assert_promises_kept();
    let refused = outcome.fleet.tally.refused.get(&Code::Busy.number()).copied().unwrap_or(0);
    assert!(refused > 0, "nobody was sent away: {:?}", outcome.fleet.tally);
    assert_eq!(gate.terminate(), Some(0), "{}", gate.log());
}
