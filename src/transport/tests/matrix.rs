//! Every wrong certificate at every kind of listener, with both protocol versions: refused before a byte is answered,
//! one event with the reason, and the next good peer is accepted.

use super::*;
use crate::transport::refusal::Refusal;
use crate::units::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{SignatureScheme, SupportedProtocolVersion};

/// What a client shows, and the label of its refusal.
struct Case {
    what: &'static str,
    shown: Option<Certified>,
    label: &'static str,
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

fn cases(pki: &mut Pki, listener: ListenerKind) -> Vec<Case> {
    let now = wall_clock();
    let day = |days: i64| Timestamp::from_unix_ms(now.unix_ms() + days * 86_400_000);
    let (right, other) = match listener {
        ListenerKind::Chargers | ListenerKind::Ocpp => ("charger/AMS-0007", "processor/acme"),
        ListenerKind::Processors => ("processor/acme", "charger/AMS-0007"),
    };
    let name = |path: &str| format!("spiffe://{DOMAIN}/{path}");
    let subject = |path: &str| match path.split_once('/') {
        Some(("charger", id)) => Subject::Charger(id.parse().unwrap()),
        Some((_, id)) => Subject::Processor(id.parse().unwrap()),
        None => unreachable!("the test's own names"),
    };
    let expired = Validity { not_before: day(-40), not_after: day(-3) };
    let future = Validity { not_before: day(3), not_after: day(40) };
    let mut stranger = Pki::new(DOMAIN, now).unwrap();
    let mut cases = Vec::new();
    let mut case = |what, shown, label| cases.push(Case { what, shown, label });
    case("no certificate", None, "no_certificate");
    case("expired", Some(pki.issue(&subject(right), expired).unwrap()), "expired");
    case("not yet valid", Some(pki.issue(&subject(right), future).unwrap()), "not_yet_valid");
    case("another PKI", Some(issue(&mut stranger, &subject(right))), "bad_signature");
    case("the other listener's authority", Some(issue(pki, &subject(other))), "unknown_authority");
    let own_name = move |params: &mut CertificateParams| params.subject_alt_names = vec![uri(&name(right))];
    let mut changed = |what, label, change: &dyn Fn(&mut CertificateParams)| {
        let shown = pki.issue_changed(listener, |params| {
            own_name(params);
            change(params);
        });
        case(what, Some(shown), label);
    };
    changed("wrong role", "wrong_role", &|p| p.subject_alt_names = vec![uri(&name(other))]);
    changed("the gate's role", "wrong_role", &|p| p.subject_alt_names = vec![uri(&name("gate/east"))]);
    changed("no name", "wrong_identity", &|p| p.subject_alt_names.clear());
    changed("two names", "wrong_identity", &|p| p.subject_alt_names.push(uri(&name("charger/AMS-0008"))));
    changed("only a DNS name", "wrong_identity", &|p| {
        p.subject_alt_names = vec![SanType::DnsName("ams-0007.example".try_into().unwrap())];
    });
    changed("another trust domain", "wrong_identity", &|p| {
        p.subject_alt_names = vec![uri(&format!("spiffe://other.test/{right}"))];
    });
    changed("an unknown role", "wrong_identity", &|p| p.subject_alt_names = vec![uri(&name("admin/root"))]);
    changed("not SPIFFE", "wrong_identity", &|p| p.subject_alt_names = vec![uri("https://wattstile.test/charger/1")]);
    changed("an empty id", "wrong_identity", &|p| p.subject_alt_names = vec![uri(&name("charger/"))]);
    changed("for servers only", "wrong_purpose", &|p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    changed("no extended key usage", "wrong_purpose", &|p| p.extended_key_usages.clear());
    changed("a key that may not sign", "wrong_purpose", &|p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement]);
    changed("an authority as leaf", "bad_certificate", &|p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let mut lone = CertificateParams::default();
    own_name(&mut lone);
    lone.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let chain = vec![lone.self_signed(&key).unwrap().der().clone()];
    case("self-signed", Some(Certified { chain, key: key.serialize_der().try_into().unwrap() }), "unknown_authority");
    // An authority below the trusted one: its leaves are in no allowed list.
    let below_key = KeyPair::generate().unwrap();
    let below = pki.issue_authority(listener, &below_key);
    let leaf_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    own_name(&mut params);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let issuer = rcgen::Issuer::from_ca_cert_der(&below, &below_key).unwrap();
    let leaf = params.signed_by(&leaf_key, &issuer).unwrap();
    let chain = vec![leaf.der().clone(), below];
    case(
        "an authority of its own",
        Some(Certified { chain, key: leaf_key.serialize_der().try_into().unwrap() }),
        "no_revocation_list",
    );
    cases
}

fn everything_wrong_is_refused(listener: ListenerKind, version: &'static SupportedProtocolVersion) {
    let mut pki = new_pki();
    let cases = cases(&mut pki, listener);
    let revoked = match listener {
        ListenerKind::Chargers | ListenerKind::Ocpp => charger("AMS-6666"),
        ListenerKind::Processors => Subject::Processor("shady".parse().unwrap()),
    };
    let good = match listener {
        ListenerKind::Chargers | ListenerKind::Ocpp => charger("AMS-0001"),
        ListenerKind::Processors => Subject::Processor("acme".parse().unwrap()),
    };
    let revoked_certificate = issue(&mut pki, &revoked);
    pki.revoke(&revoked, super::super::pki::Reason::KeyCompromise, wall_clock()).unwrap();
    let good_certificate = issue(&mut pki, &good);
    let tls12 = *version == rustls::version::TLS12;
    let bounds = Bounds { failures_per_minute: 1000, ..Bounds::default() };
    let gate = Gate::with(material(&pki, listener), listener, tls12, bounds);
    let mut seen = 0;
    let revoked = Case { what: "revoked", shown: Some(revoked_certificate), label: "revoked" };
    in_runtime(async {
        for case in cases.into_iter().chain([revoked]) {
            let builder = client_builder(&pki, version);
            let config = match case.shown {
                None => builder.with_no_client_auth(),
                Some(shown) => builder.with_client_auth_cert(shown.chain, shown.key).unwrap(),
            };
            if let Ok(socket) = dial(gate.address, config).await {
                assert!(is_turned_away(socket).await, "{}", case.what);
            }
            let event = gate.refusal(&mut seen);
            let reason = event.refused.reason.label();
            assert_eq!(reason, case.label, "{}: {}", case.what, event.refused);
            assert!(gate.peers.try_recv().is_err(), "{}", case.what);
        }
        // A certificate without its key.
        let stolen = Arc::new(WithoutKey(good_certificate.chain.clone()));
        let config = client_builder(&pki, version).with_client_cert_resolver(stolen);
        if let Ok(socket) = dial(gate.address, config).await {
            assert!(is_turned_away(socket).await);
        }
        let event = gate.refusal(&mut seen);
        assert_eq!(event.refused.reason.label(), "bad_signature", "{}", event.refused);
        // And after all of them, the good one.
        let config =
            client_builder(&pki, version).with_client_auth_cert(good_certificate.chain, good_certificate.key).unwrap();
        let _socket = dial(gate.address, config).await.unwrap();
        assert_eq!(gate.admitted().identity.subject, good);
    });
}

/// Presents a certificate and signs with another key.
#[derive(Debug)]
struct WithoutKey(Vec<rustls_pki_types::CertificateDer<'static>>);

impl ResolvesClientCert for WithoutKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = KeyPair::generate().unwrap().serialize_der().try_into().unwrap();
        let key = provider().key_provider.load_private_key(key).unwrap();
        Some(Arc::new(CertifiedKey::new(self.0.clone(), key)))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn chargers_door_tls13() {
    everything_wrong_is_refused(ListenerKind::Chargers, &rustls::version::TLS13);
}

#[test]
fn chargers_door_tls12() {
    everything_wrong_is_refused(ListenerKind::Chargers, &rustls::version::TLS12);
}

#[test]
fn processors_door_tls13() {
    everything_wrong_is_refused(ListenerKind::Processors, &rustls::version::TLS13);
}

#[test]
fn processors_door_tls12() {
    everything_wrong_is_refused(ListenerKind::Processors, &rustls::version::TLS12);
}

#[test]
fn tls12_is_refused_unless_configured() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let gate = Gate::open(&pki, ListenerKind::Chargers);
    let config = client_builder(&pki, &rustls::version::TLS12).with_client_auth_cert(own.chain, own.key).unwrap();
    in_runtime(async {
        assert!(dial(gate.address, config).await.is_err());
    });
    let refusal = gate.refusal(&mut 0);
    assert!(matches!(refusal.refused.reason, Refusal::Incompatible(_)), "{}", refusal.refused);
}

#[test]
fn a_refusal_names_the_peer_and_its_serial_number() {
    let mut pki = new_pki();
    let now = wall_clock();
    let day = |days: i64| Timestamp::from_unix_ms(now.unix_ms() + days * 86_400_000);
    let expired = Validity { not_before: day(-40), not_after: day(-3) };
    let own = pki.issue(&charger("AMS-0007"), expired).unwrap();
    let serial = pki.index()[0].serial.clone();
    let gate = Gate::open(&pki, ListenerKind::Chargers);
    in_runtime(async {
        if let Ok(socket) = connector(&pki, own).connect(gate.address).await {
            assert!(is_turned_away(socket).await);
        }
    });
    let text = gate.refusal(&mut 0).refused.to_string();
    assert!(text.starts_with("charger/AMS-0007 (127.0.0.1:"), "{text}");
    assert!(text.ends_with(&format!(", serial {serial}) refused: its certificate expired 3 d ago")), "{text}");
}
