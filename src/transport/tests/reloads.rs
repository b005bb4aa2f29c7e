//! Certificates, authorities and revocation lists that change while peers are connected.

use super::*;
use crate::transport::files::{chain_text, pem_text, write_whole};
use crate::transport::pki::Reason;
use crate::transport::refusal::Refusal;
use crate::transport::tls::{Files, TlsError, write_expiries};
use crate::transport::{ConnectionTimeouts, Ended, Flow, PeerHandler};
use crate::units::Timestamp;
use std::path::Path;

/// A handler that ignores all data and has no deadline.
struct Deaf(mpsc::Sender<Ended>);

impl PeerHandler for Deaf {
    fn received(&mut self, _: &[u8]) -> Flow {
        Flow::Continue
    }
    fn wait(&self) -> Option<Duration> {
        None
    }
    fn deadline(&mut self) -> Flow {
        Flow::Continue
    }
    fn ended(&mut self, reason: &Ended) {
        let _ = self.0.send(reason.clone());
    }
}

#[test]
fn revoking_cuts_the_live_connection_and_no_other() {
    let mut pki = new_pki();
    let (lost, kept) = (issue(&mut pki, &charger("AMS-0007")), issue(&mut pki, &charger("AMS-0008")));
    let gate = Gate::open(&pki, ListenerKind::Chargers);
    let (ended, endings) = mpsc::channel();
    in_runtime(async {
        let mut sockets = Vec::new();
        for own in [lost, kept] {
            sockets.push(connector(&pki, own).connect(gate.address).await.unwrap());
            tokio::spawn(gate.admitted().serve(Deaf(ended.clone()), ConnectionTimeouts::default()));
        }
        assert_eq!(gate.edge.live().count(ListenerKind::Chargers), 2);
        pki.revoke(&charger("AMS-0007"), Reason::KeyCompromise, wall_clock()).unwrap();
        gate.tls.replace(material(&pki, ListenerKind::Chargers)).unwrap();
        assert_eq!(gate.edge.live().cut_worthless(&gate.tls, wall_clock()), 1);
        let mut byte = [0];
        assert!(!matches!(sockets[0].read(&mut byte).await, Ok(1..)));
        assert_eq!(endings.try_recv(), Ok(Ended::Cut(Refusal::Revoked)));
        let left = gate.edge.live().list();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].identity.subject, charger("AMS-0008"));
    });
}

/// A client that resumes TLS sessions, as browsers do: its certificate is checked each time all the same.
#[test]
fn a_remembered_tls_session_is_no_way_around_the_list() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut pki = new_pki();
        let own = issue(&mut pki, &charger("AMS-0007"));
        let gate = Gate::with(material(&pki, ListenerKind::Chargers), ListenerKind::Chargers, true, Bounds::default());
        let remembers = client_builder(&pki, version).with_client_auth_cert(own.chain, own.key).unwrap();
        in_runtime(async {
            for _ in 0..2 {
                let mut socket = dial(gate.address, remembers.clone()).await.unwrap();
                gate.admitted().outgoing.close("come again");
                // Tickets would come with the first bytes; there are none.
                assert!(!matches!(socket.read(&mut [0]).await, Ok(1..)));
            }
            pki.revoke(&charger("AMS-0007"), Reason::KeyCompromise, wall_clock()).unwrap();
            gate.tls.replace(material(&pki, ListenerKind::Chargers)).unwrap();
            if let Ok(socket) = dial(gate.address, remembers).await {
                assert!(is_turned_away(socket).await);
            }
        });
        assert_eq!(gate.refusal(&mut 0).refused.reason, Refusal::Revoked, "{version:?}");
    }
}

#[test]
fn a_certificate_that_expires_in_mid_session_is_found() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let gate = Gate::open(&pki, ListenerKind::Chargers);
    in_runtime(async {
        let _socket = connector(&pki, own).connect(gate.address).await.unwrap();
        let peer = gate.admitted();
        let later = Timestamp::from_unix_ms(wall_clock().unix_ms() + 31 * 86_400_000);
        assert_eq!(gate.edge.live().cut_worthless(&gate.tls, wall_clock()), 0);
        assert_eq!(gate.edge.live().cut_worthless(&gate.tls, later), 1);
        assert!(peer.outgoing.is_closed());
    });
}

#[test]
fn an_authority_that_is_removed_takes_its_peers_along_and_overlap_keeps_them() {
    let mut old = new_pki();
    let own = issue(&mut old, &charger("AMS-0007"));
    let gate = Gate::open(&old, ListenerKind::Chargers);
    in_runtime(async {
        let _socket = connector(&old, own).connect(gate.address).await.unwrap();
        let _peer = gate.admitted();
        let mut overlap = material(&old, ListenerKind::Chargers);
        let renamed = renamed_authority();
        overlap.authorities.push(renamed.clone());
        gate.tls.replace(overlap).unwrap();
        assert_eq!(gate.edge.live().cut_worthless(&gate.tls, wall_clock()), 0);
        let mut removed = material(&old, ListenerKind::Chargers);
        removed.authorities = vec![renamed];
        removed.crls.clear();
        gate.tls.replace(removed).unwrap();
        assert_eq!(gate.edge.live().cut_worthless(&gate.tls, wall_clock()), 1);
    });
}

/// Names prove nothing: another PKI's authority has the same name, and another key.
#[test]
fn an_authority_that_is_replaced_under_its_name_takes_its_peers_along() {
    let (mut old, new) = (new_pki(), new_pki());
    let own = issue(&mut old, &charger("AMS-0007"));
    let gate = Gate::open(&old, ListenerKind::Chargers);
    in_runtime(async {
        let _socket = connector(&old, own).connect(gate.address).await.unwrap();
        let peer = gate.admitted();
        let subject = |der| crate::transport::certificate::Certificate::read(der).unwrap().subject;
        assert_eq!(subject(old.authority(ListenerKind::Chargers)), subject(new.authority(ListenerKind::Chargers)));
        // The same authorities again, in another order and with a list that is late: no reason to cut anything.
        let mut same = material(&old, ListenerKind::Chargers);
        same.authorities = vec![renamed_authority(), same.authorities[0].clone()];
        same.crls = old.crls(Timestamp::from_unix_ms(wall_clock().unix_ms() - 32 * 86_400_000)).unwrap().to_vec();
        gate.tls.replace(same).unwrap();
        assert_eq!(gate.edge.live().cut_worthless(&gate.tls, wall_clock()), 0);
        gate.tls.replace(material(&new, ListenerKind::Chargers)).unwrap();
        assert_eq!(gate.edge.live().cut_worthless(&gate.tls, wall_clock()), 1);
        assert!(peer.outgoing.is_closed());
    });
}

/// A chain may hold anything beside what proves the peer: a certificate that only names the authority of tomorrow is no
/// way to stay.
#[test]
fn a_forged_piece_of_a_chain_keeps_no_connection() {
    let mut old = new_pki();
    let tomorrow = renamed_authority();
    let mut own = issue(&mut old, &charger("AMS-0007"));
    own.chain.push(forged_below(&tomorrow));
    let gate = Gate::open(&old, ListenerKind::Chargers);
    in_runtime(async {
        let _socket = connector(&old, own).connect(gate.address).await.unwrap();
        let _peer = gate.admitted();
        let mut replaced = material(&old, ListenerKind::Chargers);
        replaced.authorities = vec![tomorrow];
        replaced.crls.clear();
        gate.tls.replace(replaced).unwrap();
        assert_eq!(gate.edge.live().cut_worthless(&gate.tls, wall_clock()), 1);
    });
}

/// A certificate with the name of this authority as its issuer, which the authority did not sign.
fn forged_below(authority: &rustls_pki_types::CertificateDer<'static>) -> rustls_pki_types::CertificateDer<'static> {
    let forger = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(authority, forger).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "below");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer).unwrap().der().clone()
}

/// An authority with a name that no development PKI has.
fn renamed_authority() -> rustls_pki_types::CertificateDer<'static> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "chargers CA 2027");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
}

#[test]
fn a_stale_list_shuts_out_and_says_so() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let mut stale = material(&pki, ListenerKind::Chargers);
    let long_ago = Timestamp::from_unix_ms(wall_clock().unix_ms() - 32 * 86_400_000);
    stale.crls = pki.crls(long_ago).unwrap().to_vec();
    let gate = Gate::with(stale, ListenerKind::Chargers, false, Bounds::default());
    in_runtime(async {
        if let Ok(socket) = connector(&pki, own).connect(gate.address).await {
            assert!(is_turned_away(socket).await);
        }
    });
    let refused = gate.refusal(&mut 0).refused;
    assert!(matches!(refused.reason, Refusal::StaleRevocationList(_)), "{refused}");
}

#[test]
fn a_list_by_somebody_else_is_not_loaded_and_the_old_one_stays() {
    let mut pki = new_pki();
    issue(&mut pki, &charger("AMS-0007"));
    let gate = Gate::open(&pki, ListenerKind::Chargers);
    let mut forged = material(&pki, ListenerKind::Chargers);
    // Another PKI's authorities have the same names and other keys.
    forged.crls = new_pki().crls(wall_clock()).unwrap().to_vec();
    assert!(matches!(gate.tls.replace(forged), Err(TlsError::Read(_))));
    let mut garbage = material(&pki, ListenerKind::Chargers);
    garbage.crls = vec![vec![0x30, 0x03, 1, 2, 3].into()];
    assert!(matches!(gate.tls.replace(garbage), Err(TlsError::Read(_))));
    let own = issue(&mut pki, &charger("AMS-0008"));
    in_runtime(async {
        let _socket = connector(&pki, own).connect(gate.address).await.unwrap();
        gate.admitted();
    });
}

/// Writes what a listener for chargers needs.
fn write_files(folder: &Path, material: &Material) -> Files {
    let files = Files {
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
        authorities: folder.join("ca.pem"),
        crls: vec![folder.join("crl.pem")],
    };
    let lists: String = material.crls.iter().map(|list| pem_text("X509 CRL", list)).collect();
    write_whole(&files.certificate, chain_text(&material.own.chain).as_bytes(), 0o644).unwrap();
    write_whole(&files.key, pem_text("PRIVATE KEY", material.own.key.secret_der()).as_bytes(), 0o600).unwrap();
    write_whole(&files.authorities, chain_text(&material.authorities).as_bytes(), 0o644).unwrap();
    write_whole(&files.crls[0], lists.as_bytes(), 0o644).unwrap();
    files
}

#[test]
fn files_that_change_are_loaded_by_themselves() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let folder = tempfile::tempdir().unwrap();
    let files = write_files(folder.path(), &material(&pki, ListenerKind::Chargers));
    let tls = Arc::new(Tls::new(policy(ListenerKind::Chargers, false), Source::Files(files)).unwrap());
    let bounds = Bounds { sweep_interval: Duration::from_millis(10), ..Bounds::default() };
    let edge = Edge::new(bounds, 1).unwrap();
    let (send, peers) = mpsc::channel();
    let reception: Reception = Arc::new(move |peer| send.send(peer).map_err(|_| NoRoom));
    let address = edge.listen(([127, 0, 0, 1], 0).into(), Entry::native(Arc::clone(&tls)), AMPLE, reception).unwrap();
    let (ended, endings) = mpsc::channel();
    in_runtime(async {
        let mut socket = connector(&pki, own).connect(address).await.unwrap();
        let before = socket.peer_certificates()[0].clone();
        let peer = peers.recv_timeout(TIMEOUT).unwrap();
        let serving = tokio::spawn(peer.serve(Deaf(ended), ConnectionTimeouts::default()));
        pki.revoke(&charger("AMS-0007"), Reason::Superseded, wall_clock()).unwrap();
        write_files(folder.path(), &material(&pki, ListenerKind::Chargers));
        let mut byte = [0];
        assert!(!matches!(tokio::time::timeout(TIMEOUT, socket.read(&mut byte)).await.unwrap(), Ok(1..)));
        serving.await.unwrap();
        assert_eq!(endings.recv(), Ok(Ended::Cut(Refusal::Revoked)));
        // A new handshake sees the gate's new certificate.
        let again = issue(&mut pki, &charger("AMS-0007"));
        let socket = connector(&pki, again).connect(address).await.unwrap();
        assert_ne!(socket.peer_certificates()[0], before);
        peers.recv_timeout(TIMEOUT).unwrap();
    });
}

#[test]
fn a_thousand_reloads_under_load_fail_no_good_handshake() {
    let mut pki = new_pki();
    let own = issue(&mut pki, &charger("AMS-0007"));
    let gate = Gate::open(&pki, ListenerKind::Chargers);
    let material = material(&pki, ListenerKind::Chargers);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for _ in 0..1000 {
                gate.tls.replace(material.clone()).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        in_runtime(async {
            let connector = connector(&pki, own);
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                let _socket = connector.connect(gate.address).await.unwrap();
                gate.admitted();
            }
        });
    });
    assert_eq!(gate.edge.recent_refusals().len(), 0);
}

#[test]
fn production_refuses_a_development_pki() {
    let pki = new_pki();
    let policy = Policy { production: true, ..policy(ListenerKind::Chargers, false) };
    let refused = Tls::new(policy, Source::Memory(material(&pki, ListenerKind::Chargers)));
    assert!(matches!(refused, Err(TlsError::Development { .. })));
}

#[test]
fn a_certificate_that_was_replaced_leaves_the_metrics() {
    let pki = new_pki();
    let gate = Gate::open(&pki, ListenerKind::Chargers);
    let scrape = || {
        let mut text = String::new();
        write_expiries(std::slice::from_ref(&gate.tls), &mut text);
        text.lines().filter(|line| line.contains("role=\"server\"")).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = scrape();
    gate.tls.replace(material(&pki, ListenerKind::Chargers)).unwrap();
    let after = scrape();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
}
