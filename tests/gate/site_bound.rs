//! A site controller whose certificate and configuration match any name introduces a bounded number of chargers.

use crate::common::driven::{Driven, charger, runtime};
use crate::common::{Served, now};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wattstile::journal::Layout;
use wattstile::message::*;
use wattstile::units::{Mono, Now, SiteId};
use wattstile::wire::*;

#[test]
fn a_site_that_fits_any_name_introduces_so_many_chargers_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("wattstile.toml");
    std::fs::write(&config, "[[site]]\nid = \"depot\"\nchargers = [\"*\"]\n").unwrap();
    let layout = Layout { partitions: 8, generation_blocks: 4_096 };
    let mut gate = Served::stopped(folder, layout, &["chargers.per_site_max=3", "log.format=json"]);
    gate.arguments = vec!["--config".to_owned(), config.display().to_string()];
    gate.start_again();
    let site = Subject::Site(SiteId::new("depot").unwrap());
    let (dialler, own) = (gate.dialler(&site), gate.dialler(&charger("OWN-1")));
    runtime().block_on(async {
        let mut stream = dialler.dial().await.unwrap();
        let mut link = ChargerClientLink::new(Mono(0));
        let (mut out, mut buffer) = (Vec::new(), vec![0; 16 * 1_024]);
        for number in 1..=5 {
            let hello = Driven::describes(&format!("ANY-{number}"), Vec::new());
            link.send(Channel(number), &FromCharger::Hello(hello), Mono(0), &mut out).unwrap();
        }
        stream.write_all(&out).await.unwrap();
        let (mut welcome, mut refused) = (Vec::new(), Vec::new());
        while welcome.len() + refused.len() < 5 {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "closed after {welcome:?} and {refused:?}");
            let mut received = Vec::new();
            link.receive(&buffer[..read], Now { wall: now(), mono: Mono(0) }, &mut received).unwrap();
            for Received { channel, message } in received {
                match message {
                    ToCharger::HelloAck(_) => welcome.push(channel.0),
                    ToCharger::GoAway(go) => refused.push((channel.0, go.code.number())),
                    other => panic!("{other:?}"),
                }
            }
        }
        welcome.sort_unstable();
        assert_eq!((welcome, refused), (vec![1, 2, 3], vec![(4, 214), (5, 214)]));
        // A charger with a certificate of its own is no concern of the site's.
        assert!(matches!(Driven::dial(&own).await.hello("OWN-1").await, ToCharger::HelloAck(_)));
    });
    assert!(gate.log().contains("chargers.per_site_max"), "{}", gate.log());
}
