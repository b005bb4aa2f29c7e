//! Credentials: never stored in clear, never a card's number, and linked to accounts.

use super::*;
use crate::journal::Store;
use crate::payment::vault::is_sealed;
use crate::units::Fingerprint;

/// Every byte that the log holds.
fn log_bytes(scene: &Scene) -> Vec<u8> {
    let (mut store, mut bytes) = (scene.store.deep_clone(), Vec::new());
    let mut keep = |_: u64, block: &[u8]| {
        bytes.extend_from_slice(block);
        Ok(())
    };
    store.replay(&mut keep).unwrap();
    assert!(!bytes.is_empty());
    bytes
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn mark(scene: &Scene, kind: CredentialKind, token: &str) -> Fingerprint {
    scene.shard.node_config().mark(&Credential { kind, token: token.as_bytes().into() })
}

fn open_account(scene: &mut Scene, name: &str, cents: i64) {
    let account = AccountId::new(name).unwrap();
    let (currency, credit_limit) = (Currency::EUR, Amount::zero(Currency::EUR));
    scene.order(name, |op| account::Command::Open { op, account, currency, credit_limit });
    let (amount, source) = (Amount::new(cents, Currency::EUR), account::TopUpSource::Bank);
    scene.order(name, |op| account::Command::TopUp { op, amount, source });
}

fn link(scene: &mut Scene, name: &str, kind: CredentialKind, token: &str) {
    let credential = mark(scene, kind, token);
    scene.order(name, |op| account::Command::LinkCredential { op, credential });
}

fn refused_with(scene: &mut Scene) -> Code {
    match scene.received().as_slice() {
        [ToCharger::StartRejected { code, .. }] => *code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_is_clear_on_its_way_out_and_nowhere_that_lasts() {
    const TOKEN: &str = "tok_4f9d2c7be1aa8830";
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, TOKEN);
    let authorize = scene.asked();
    let Request::Authorize { credential, .. } = &authorize.request else { panic!("{authorize:?}") };
    assert_eq!(&*credential.token, TOKEN.as_bytes());

    let partition = authorize.id.payment().partition();
    assert!(!contains(&log_bytes(&scene), TOKEN.as_bytes()));
    let snapshot = scene.shard.snapshot(partition);
    assert!(!contains(&snapshot, TOKEN.as_bytes()), "an authorization under way stands in it, sealed");

    // A request that is repeated after a crash is the same, from what was sealed before it.
    let mut scene = scene.crash();
    let again = scene.asked();
    let Request::Authorize { credential, .. } = &again.request else { panic!("{again:?}") };
    assert_eq!((&*credential.token, again.id), (TOKEN.as_bytes(), authorize.id));
}

#[test]
fn a_card_number_is_refused_at_the_door_in_every_disguise() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    scene.received();
    let disguises = [
        (CredentialKind::CardToken, "4111111111111111"),
        (CredentialKind::WalletToken, "pan=5555 5555 5555 4444"),
        (CredentialKind::EvAccount, "3782-822463-10005"),
        (CredentialKind::Rfid, "6011111111111117"),
    ];
    for (key, (kind, token)) in disguises.into_iter().enumerate() {
        let key = u64::try_from(key).unwrap() + 1;
        scene.start(key, kind, token);
        assert_eq!(refused_with(&mut scene), Code::CardNumber, "{token}");
        assert!(!contains(&log_bytes(&scene), token.as_bytes()));
    }
    let sealed = scene.shard.node_config().seal(
        PaymentId::from_u128(0),
        Credential { kind: CredentialKind::CardToken, token: b"tok_visa".as_slice().into() },
    );
    assert!(is_sealed(&sealed.token));
    assert!(scene.shard.node_config().refuses(&sealed).is_some(), "a sealed token from outside is refused");
}

#[test]
fn a_linked_card_pays_from_its_account_whatever_its_letters() {
    let mut scene = Scene::new();
    open_account(&mut scene, "fleet-7", 10_000);
    link(&mut scene, "fleet-7", CredentialKind::Rfid, "04:a2:b3:c4");
    link(&mut scene, "fleet-7", CredentialKind::CardToken, "tok_fleet");
    scene.hello("AMS-0007", Vec::new());
    scene.received();
    for (key, kind, token) in [(1, CredentialKind::Rfid, "04A2B3C4"), (2, CredentialKind::CardToken, "tok_fleet")] {
        scene.start(key, kind, token);
        assert!(matches!(scene.received().as_slice(), [ToCharger::StartAccepted { .. }]), "{token}");
        assert!(scene.operations.is_empty(), "no processor is asked");
        scene.stop(key, 1, 300);
        scene.received();
    }
    // The links are restored with the accounts.
    let mut scene = scene.crash();
    scene.hello("AMS-0007", Vec::new());
    scene.received();
    scene.start(3, CredentialKind::Rfid, "04a2b3c4");
    assert!(matches!(scene.received().as_slice(), [ToCharger::StartAccepted { .. }]));
    scene.stop(3, 1, 300);
    scene.received();

    // Neither its own name nor a card that was unlinked is a credential.
    scene.start(4, CredentialKind::EvAccount, "fleet-7");
    assert_eq!(refused_with(&mut scene), Code::CredentialNotAccepted);
    let credential = mark(&scene, CredentialKind::Rfid, "04A2B3C4");
    scene.order("fleet-7", |op| account::Command::UnlinkCredential { op, credential });
    scene.start(5, CredentialKind::Rfid, "04A2B3C4");
    assert_eq!(refused_with(&mut scene), Code::CredentialNotAccepted);
}

#[test]
fn the_name_of_a_funded_account_without_links_is_no_credential() {
    let mut scene = Scene::new();
    open_account(&mut scene, "fleet-7", 10_000);
    scene.hello("AMS-0007", Vec::new());
    scene.received();
    for (key, kind) in [(1, CredentialKind::Rfid), (2, CredentialKind::EvAccount), (3, CredentialKind::CardToken)] {
        scene.start(key, kind, "fleet-7");
        let received = scene.received();
        match kind {
            CredentialKind::CardToken => assert_eq!(scene.asked().processor, acme(), "a card is the processor's"),
            _ => assert!(
                matches!(received.as_slice(), [ToCharger::StartRejected { code: Code::CredentialNotAccepted, text, .. }]
                    if text.contains("linked to no account")),
                "{received:?}"
            ),
        }
    }
}

#[test]
fn a_token_that_is_linked_to_nothing_is_written_nowhere() {
    const TOKENS: [(CredentialKind, &str); 2] =
        [(CredentialKind::Rfid, "04D7E6F5A4B3C2"), (CredentialKind::EvAccount, "NL-TNM-C00122045-K")];
    let mut scene = Scene::new();
    open_account(&mut scene, "fleet-7", 10_000);
    scene.hello("AMS-0007", Vec::new());
    for (key, (kind, token)) in (1..).zip(TOKENS) {
        scene.start(key, kind, token);
        let received = scene.received();
        assert!(!format!("{received:?}").contains(token), "{received:?}");
        link(&mut scene, "fleet-7", kind, token);
        scene.start(10 + key, kind, token);
        assert!(matches!(scene.received().as_slice(), [ToCharger::StartAccepted { .. }]));
        scene.stop(10 + key, 1, 300);
        assert!(!contains(&log_bytes(&scene), token.as_bytes()), "{token}");
        for partition in 0..8 {
            assert!(!contains(&scene.shard.snapshot(PartitionId(partition)), token.as_bytes()), "{token}");
        }
    }
}

/// Contracts of a roaming partner: its processor gets the request, an account only where one is linked.
#[test]
fn a_processor_that_takes_contracts_is_asked_for_one_without_an_account() {
    let mut scene = Scene::new();
    scene.routes(|routes| {
        let known = routes.registry.processors.values_mut();
        known.for_each(|listed| listed.capabilities.credentials.push(CredentialKind::EvAccount));
    });
    scene.hello("AMS-0007", Vec::new());
    scene.received();
    scene.start(1, CredentialKind::EvAccount, "NL-TNM-C00122045-K");
    assert_eq!(refused_with(&mut scene), Code::CredentialNotAccepted, "no rule names the kind");
    scene.routes(|routes| {
        let credentials = vec![CredentialKind::EvAccount];
        routes.registry.rules = vec![crate::payment::routing::Rule {
            processor: acme(),
            priority: 0,
            weight: 1,
            credentials,
            currencies: Vec::new(),
            sites: Vec::new(),
            least: Vec::new(),
            greatest: Vec::new(),
        }];
    });
    scene.start(2, CredentialKind::EvAccount, "NL-TNM-C00122045-K");
    assert_eq!(scene.asked().processor, acme());
    assert!(!contains(&log_bytes(&scene), b"NL-TNM-C00122045-K"));
}

/// Two cards of one account charge at the same time: what one has reserved the other cannot have.
#[test]
fn credentials_that_share_an_account_share_its_limit() {
    let mut scene = Scene::new();
    open_account(&mut scene, "fleet-7", 6_000);
    link(&mut scene, "fleet-7", CredentialKind::Rfid, "04A2B3C4");
    link(&mut scene, "fleet-7", CredentialKind::Rfid, "04A2B3C5");
    let mut held = 0;
    for (charger, token) in [("AMS-0007", "04A2B3C4"), ("AMS-0008", "04A2B3C5"), ("AMS-0009", "04A2B3C4")] {
        scene.hello(charger, Vec::new());
        scene.received();
        scene.start(1, CredentialKind::Rfid, token);
        match scene.received().as_slice() {
            [ToCharger::StartAccepted { limit, .. }] => held += limit.cost.unwrap().minor,
            [ToCharger::StartRejected { code, .. }] => {
                assert_eq!((*code, charger), (Code::FundsInsufficient, "AMS-0009"));
            }
            other => panic!("{other:?}"),
        }
        scene.link.connection = ConnectionId(scene.link.connection.0 + 1);
    }
    assert_eq!(held, 6_000, "all of it, and not a cent more");
}

/// Prepaid money that runs out ends the energy, and what was consumed is never more than there was.
#[test]
fn an_account_that_runs_dry_stops_the_energy() {
    let mut scene = Scene::new();
    open_account(&mut scene, "driver-1", 400);
    link(&mut scene, "driver-1", CredentialKind::Rfid, "04A2B3C4");
    scene.hello("VAT-0001", Vec::new());
    scene.received();
    scene.start(1, CredentialKind::Rfid, "04A2B3C4");
    let received = scene.received();
    let [ToCharger::StartAccepted { limit, .. }] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(limit.cost, Some(Amount::new(400, Currency::EUR)), "all that there is");
    let mut sequence = 0;
    let stopped = loop {
        sequence += 1;
        scene.reading(1, sequence, i64::from(sequence) * 350);
        let received = scene.received();
        if let Some(ToCharger::StopNow { reason, .. }) =
            received.iter().find(|seen| matches!(seen, ToCharger::StopNow { .. }))
        {
            break *reason;
        }
        assert!(sequence < 60, "it goes on and on");
    };
    assert_eq!(stopped, crate::message::StopOrder::MoneyExhausted);
    scene.stop(1, sequence + 1, i64::from(sequence) * 350 + 200);
    let received = scene.received();
    let paid = received.iter().find_map(|seen| match seen {
        ToCharger::Receipt(receipt) => Some(receipt.total.minor),
        _ => None,
    });
    assert!(paid.is_some_and(|paid| paid > 200 && paid <= 400), "{received:?}");
}
