//! A site controller with many chargers over one connection.

use super::charger::code_of;
use super::samples::*;
use wattstile::limits;
use wattstile::message::*;
use wattstile::units::{ChargerId, Mono, SiteId};
use wattstile::wire::*;

struct Site {
    link: ChargerLink,
    client: ChargerClientLink,
}

impl Site {
    fn begin() -> Site {
        Site { link: charger_link(SITE_URI), client: ChargerClientLink::new(Mono(0)) }
    }

    fn send_message(&mut self, channel: u32, message: &FromCharger) -> Result<Vec<Received<FromCharger>>, LinkError> {
        let (mut bytes, mut incoming, mut reply) = (Vec::new(), Vec::new(), Vec::new());
        self.client.send(Channel(channel), message, Mono(0), &mut bytes).unwrap();
        let outcome = self.link.receive(&bytes, now(0), &mut incoming, &mut reply);
        if let Err(error) = &outcome {
            assert_eq!(code_of(&reply), error.code());
            assert_eq!(error.blame(), Blame::Peer);
        }
        outcome.map(|()| incoming)
    }
}

#[test]
fn each_charger_has_its_channel() {
    let mut site = Site::begin();
    for channel in 1..=3 {
        let message = hello(&format!("depot-3-{channel}"));
        let received = site.send_message(channel, &message).unwrap();
        assert_eq!(received, [Received { channel: Channel(channel), message }]);
    }
    assert_eq!(site.send_message(2, &start()).unwrap()[0].channel, Channel(2));
    let named: Vec<_> = site.link.chargers().map(|(channel, charger)| (channel.0, charger.to_string())).collect();
    assert_eq!(named, [(1, "depot-3-1".into()), (2, "depot-3-2".into()), (3, "depot-3-3".into())]);
}

#[test]
fn a_site_speaks_only_for_its_own() {
    let error = Site::begin().send_message(1, &hello("depot-4-1")).unwrap_err();
    let (site, charger) = (SiteId::new("depot-3").unwrap(), ChargerId::new("depot-4-1").unwrap());
    assert_eq!(error, LinkError::NotSpokenFor { site, charger });
    assert_eq!(error.to_string(), "site depot-3 may not speak for charger depot-4-1");
}

#[test]
fn channels_are_not_shared_and_not_guessed() {
    let mut site = Site::begin();
    site.send_message(1, &hello("depot-3-1")).unwrap();
    // The site's own end would not send this; another implementation's might.
    let mut bytes = Vec::new();
    let mut other = ChargerClientLink::new(Mono(0));
    other.send(Channel(9), &hello("depot-3-9"), Mono(0), &mut Vec::new()).unwrap();
    other.send(Channel(9), &start(), Mono(0), &mut bytes).unwrap();
    let guessed = site.link.receive(&bytes, now(0), &mut Vec::new(), &mut Vec::new());
    assert_eq!(guessed, Err(LinkError::ChannelUnknown(Channel(9))));

    let mut site = Site::begin();
    site.send_message(1, &hello("depot-3-1")).unwrap();
    assert_eq!(site.send_message(1, &hello("depot-3-2")), Err(LinkError::HelloTwice(Channel(1))));

    let mut site = Site::begin();
    site.send_message(1, &hello("depot-3-1")).unwrap();
    let again = site.send_message(2, &hello("depot-3-1")).unwrap_err();
    assert_eq!(again.to_string(), "charger depot-3-1 says Hello on channel 2, and already speaks on channel 1");

    assert_eq!(Site::begin().send_message(0, &hello("depot-3-1")), Err(LinkError::ChannelUnknown(Channel::ZERO)));
}

#[test]
fn a_charger_of_its_own_has_only_channel_zero() {
    let mut client = ChargerClientLink::new(Mono(0));
    let mut bytes = Vec::new();
    client.send(Channel(1), &hello("NL*WST*E0007"), Mono(0), &mut bytes).unwrap();
    let outcome = charger_link(CHARGER_URI).receive(&bytes, now(0), &mut Vec::new(), &mut Vec::new());
    assert_eq!(outcome, Err(LinkError::ChannelUnknown(Channel(1))));
}

#[test]
fn one_channel_is_closed_without_the_others() {
    let mut site = Site::begin();
    site.send_message(1, &hello("depot-3-1")).unwrap();
    site.send_message(2, &hello("depot-3-2")).unwrap();
    let mut bytes = Vec::new();
    site.link.send(Channel(1), &ToCharger::GoAway(go_away()), &mut bytes).unwrap();
    assert_eq!(site.link.phase(), Phase::Open);
    assert!(site.link.send(Channel(1), &to_charger()[1].1, &mut Vec::new()).is_err());
    // What was on its way is dropped, not held against the site.
    assert_eq!(site.send_message(1, &start()).unwrap(), []);
    assert_eq!(site.send_message(2, &start()).unwrap().len(), 1);
    // The site receives it and sends Hello anew.
    let mut incoming = Vec::new();
    site.client.receive(&bytes, now(0), &mut incoming).unwrap();
    assert_eq!(incoming, [Received { channel: Channel(1), message: ToCharger::GoAway(go_away()) }]);
    assert!(site.client.send(Channel(1), &start(), Mono(0), &mut Vec::new()).is_err());
    assert_eq!(site.send_message(1, &hello("depot-3-1")).unwrap().len(), 1);
}

#[test]
fn channels_are_bounded() {
    let mut site = Site::begin();
    for channel in 1..=limits::CHANNELS_PER_LINK {
        let channel = u32::try_from(channel).unwrap();
        site.send_message(channel, &hello(&format!("depot-3-{channel}"))).unwrap();
    }
    let (last, message) = (u32::try_from(limits::CHANNELS_PER_LINK).unwrap(), hello("depot-3-x"));
    // A channel that we closed still counts, until its charger sends Hello again.
    site.link.send(Channel(last), &ToCharger::GoAway(go_away()), &mut Vec::new()).unwrap();
    assert_eq!(site.send_message(last + 1, &message), Err(LinkError::TooManyChannels));
}

#[test]
fn the_connection_lives_by_heartbeats_on_channel_zero() {
    let mut site = Site::begin();
    site.send_message(1, &hello("depot-3-1")).unwrap();
    let mut bytes = Vec::new();
    site.link.send(Channel(1), &to_charger()[0].1, &mut bytes).unwrap();
    site.client.receive(&bytes, now(0), &mut Vec::new()).unwrap();
    let (mut heartbeat, mut reply, mut incoming) = (Vec::new(), Vec::new(), Vec::new());
    site.client.on_deadline(now(15_000), &mut heartbeat).unwrap();
    site.link.receive(&heartbeat, now(15_000), &mut incoming, &mut reply).unwrap();
    assert_eq!(incoming, []);
    let mut answer = Vec::new();
    site.client.receive(&reply, now(15_000), &mut answer).unwrap();
    assert!(matches!(answer[..], [Received { channel: Channel::ZERO, message: ToCharger::HeartbeatAck { .. } }]));
}
