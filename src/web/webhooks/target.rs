//! Targets of webhooks: which are allowed, and how they are reached. A target's name is resolved for each connection, and an
//! address that is not public is refused then, so that a name cannot lead inside later.

use super::WebhookSettings;
use crate::limits::{WEBHOOK_ANSWER_BYTES, WEBHOOK_TIMEOUT};
use crate::transport::client_tls::SYSTEM_ROOTS;
use crate::transport::tls::provider;
use crate::web::problem::Problem;
use axum::http::Uri;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::config::Config;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Longest address.
const URL_MAX: usize = 2_000;

/// Checks an address before it is taken.
///
/// # Errors
/// 400 for what is no address of http or https, for one without TLS that is not allowed, and for a host that leads inside.
pub(super) fn check(url: &str, settings: &WebhookSettings) -> Result<(), Problem> {
    let wrong = |text: String| Problem::usage(text).about("url");
    let uri: Uri = url.parse().map_err(|error| wrong(format!("url: {error}")))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong("url: wanted a whole address, such as https://example.com/hook".to_owned()));
    };
    if url.len() > URL_MAX || authority.as_str().contains('@') || url.contains('#') {
        return Err(wrong(format!("url: at most {URL_MAX} letters, without a user and without a fragment")));
    }
    let host = authority.host();
    let allowed = is_allowed(host, settings);
    match scheme {
        "https" => {}
        "http" if allowed => {}
        "http" => {
            let text = format!("url: {host} is reached by https only, unless `webhooks.allow` names it");
            return Err(wrong(text));
        }
        other => return Err(wrong(format!("url: {other} is neither http nor https"))),
    }
    if allowed {
        return Ok(());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Some(inside) = bare.parse::<IpAddr>().ok().filter(|address| !is_public(*address)) {
        return Err(wrong(inside_text(&inside.to_string())));
    }
    // A name that cannot be resolved now may be later; one that leads inside is refused at once, and at each connection.
    let port = authority.port_u16().unwrap_or(443);
    let addresses = (bare, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    match addresses.iter().find(|address| !is_public(address.ip())) {
        Some(inside) => Err(wrong(inside_text(&format!("{host} ({})", inside.ip())))),
        None => Ok(()),
    }
}

fn inside_text(shown: &str) -> String {
    format!("url: {shown} is no public address; targets inside are named in `webhooks.allow`")
}

fn is_allowed(host: &str, settings: &WebhookSettings) -> bool {
    let bare = |name: &str| name.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
    settings.allow.iter().any(|name| bare(name) == bare(host))
}

/// Whether an address is one of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, third, _] = v4.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            let is_special = first == 0
                || first >= 240
                || (first == 198 && second & 0xfe == 18)
                || (first, second, third) == (192, 0, 0);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || is_shared
                || is_special)
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4() {
                return is_public(v4.into());
            }
            let [first, second, ..] = v6.segments();
            // Translated, local, link-local, site-local, multicast, documentation.
            let is_translated = first == 0x64 && second == 0xff9b || first == 0x2002;
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || is_translated
                || first & 0xfe00 == 0xfc00
                || first & 0xff80 == 0xfe80
                || (first == 0x2001 && second == 0xdb8))
        }
    }
}

/// Resolves names, and refuses addresses that are not public unless the host is allowed.
#[derive(Debug)]
struct Guarded {
    inner: DefaultResolver,
    settings: WebhookSettings,
}

impl Resolver for Guarded {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        if uri.host().is_some_and(|host| is_allowed(host, &self.settings)) {
            return Ok(found);
        }
        let mut public = self.empty();
        let outside: Vec<SocketAddr> = found.iter().copied().filter(|address| is_public(address.ip())).collect();
        // One address that leads inside makes the name suspect as a whole.
        if outside.is_empty() || outside.len() < found.len() {
            let text = inside_text(uri.host().unwrap_or_default());
            return Err(ureq::Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, text)));
        }
        outside.into_iter().for_each(|address| public.push(address));
        Ok(public)
    }
}

/// What sends: without redirects, proxies and cookies, within a time, and reading only so much of an answer.
pub(super) fn agent(settings: &WebhookSettings) -> io::Result<ureq::Agent> {
    let roots = roots(settings.roots_file.as_deref())?;
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(provider())
        .build();
    let timeout = Duration::from_millis(WEBHOOK_TIMEOUT.ms().unsigned_abs());
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent("wattstile")
        .max_response_header_size(WEBHOOK_ANSWER_BYTES)
        .tls_config(tls)
        .build();
    let resolver = Guarded { inner: DefaultResolver::default(), settings: settings.clone() };
    Ok(ureq::Agent::with_parts(config, DefaultConnector::default(), resolver))
}

fn roots(named: Option<&Path>) -> io::Result<Vec<Certificate<'static>>> {
    let system = || SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
    let Some(path) = named.or_else(system) else { return Ok(Vec::new()) };
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let text = fs::read(path).map_err(failed)?;
    let certificates = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    if certificates.is_empty() && named.is_some() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "there is no certificate in it")));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_are_told_from_public_ones() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "fec0::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["1.1.1.1", "93.184.216.34", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn only_public_targets_by_tls_and_named_ones_are_taken() {
        let allowing = |names: &[&str]| WebhookSettings {
            allow: names.iter().map(|name| (*name).to_owned()).collect(),
            roots_file: None,
        };
        let taken = |url: &str, names: &[&str]| check(url, &allowing(names)).map_err(|problem| problem.status);
        assert_eq!(taken("https://1.1.1.1/hook", &[]), Ok(()));
        for (url, name) in
            [("http://127.0.0.1:99/x", "127.0.0.1"), ("http://localhost/x", "LOCALHOST"), ("http://[::1]:1/", "::1")]
        {
            assert_eq!(taken(url, &[]), Err(400), "{url}");
            assert_eq!(taken(url, &[name]), Ok(()), "{url}");
        }
        for url in [
            "https://127.0.0.1/",
            "https://localhost/",
            "https://[::ffff:10.0.0.1]/",
            "http://1.1.1.1/",
            "ftp://1.1.1.1/",
            "x",
            "/x",
            "https://user:pw@1.1.1.1/",
            "https://169.254.169.254/latest",
            "https://1.1.1.1/#x",
            "",
            "https://",
        ] {
            assert_eq!(taken(url, &[]), Err(400), "{url}");
        }
        assert_eq!(taken("https://user@127.0.0.1/", &["127.0.0.1"]), Err(400));
    }
}
