//! Settings of a gate's receipts: the seller, and the key that signs.

use crate::accounting::archive_record::{Billing, Sites};
use crate::billing::{ChargerLocation, Issuer, SigningKey};
use crate::config::{Config, Operator, SeriesScope};
use crate::host::{Durability, replace_file};
use crate::node::numbering::SeriesNames;
use jiff::tz::TimeZone;
use ring::rand::SystemRandom;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// How closed sessions are archived.
#[derive(Debug)]
pub struct Receipts {
    /// The seller.
    pub issuer: Issuer,
    /// The key that signs; without one a key is made and kept beside the data.
    pub key: Option<SigningKey>,
    /// Where chargers stand.
    pub sites: Sites,
    /// How documents are numbered.
    pub series: SeriesNames,
}

/// The built-in operator of the configuration, unmistakably an example.
impl Default for Receipts {
    fn default() -> Receipts {
        Receipts::of(&Operator::default())
    }
}

/// The private key in PKCS#8, readable only by its owner.
const KEY_FILE: &str = "receipt-key.der";
/// The public key in PEM, for checks of receipts.
const PUBLIC_FILE: &str = "receipt-key.pem";

impl Receipts {
    /// In the name of this operator.
    pub fn of(operator: &Operator) -> Receipts {
        let Operator { name, address, vat_id, invoice_prefix, credit_note_prefix, invoice_series, time_zone } =
            operator.clone();
        let series = SeriesNames {
            invoices: invoice_prefix.into(),
            credit_notes: credit_note_prefix.into(),
            per_partition: invoice_series == SeriesScope::Partition,
            // The configuration accepts only names of existing zones.
            zone: TimeZone::get(time_zone.as_str()).unwrap_or(TimeZone::UTC),
        };
        Receipts { issuer: Issuer { name, address, vat_id }, key: None, sites: Sites::default(), series }
    }

    /// As a gate is configured: in the name of its operator, with the places of its sites.
    pub fn configured(config: &Config) -> Receipts {
        let mut receipts = Receipts::of(&config.operator);
        let config = config.clone();
        receipts.sites = Sites(Box::new(move |charger| {
            let site = config.site_of(charger)?;
            let some = |text: &str| (!text.is_empty()).then(|| text.into());
            Some(ChargerLocation {
                location_id: site.id.as_str().into(),
                name: some(&site.name),
                address: site.address.as_str().into(),
                city: site.city.as_str().into(),
                postal_code: some(&site.postal_code),
                country: site.country.as_str().into(),
                ..ChargerLocation::default()
            })
        }));
        receipts
    }

    /// The key is read from the data directory, or made there; without a directory it is kept for the lifetime of the
    /// process.
    pub(super) fn billing(self, directory: Option<&Path>, receipt_base: &str) -> io::Result<Billing> {
        let key = match (self.key, directory) {
            (Some(key), _) => key,
            (None, Some(directory)) => kept_key(directory)?,
            (None, None) => SigningKey::from_pkcs8(&fresh_key()?).map_err(io::Error::other)?,
        };
        Ok(Billing { key, issuer: self.issuer, receipt_base: receipt_base.to_owned(), sites: self.sites })
    }
}

fn kept_key(directory: &Path) -> io::Result<SigningKey> {
    let path = directory.join(KEY_FILE);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let der = match fs::read(&path) {
        Ok(der) => der,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if directory.join("archive").read_dir().is_ok_and(|mut files| files.next().is_some()) {
                tracing::warn!(
                    file = %path.display(),
                    "the key that signed earlier receipts is not here: a new one signs from now on, and earlier receipts are checked with \
                     the public key of their time; put the file back if you have it"
                );
            }
            let der = fresh_key()?;
            replace_file(&path, 0o600, Durability::Power, |file| file.write_all(&der))?;
            der
        }
        Err(error) => return Err(named(error)),
    };
    let key = SigningKey::from_pkcs8(&der).map_err(|error| named(io::Error::other(error)))?;
    let public = directory.join(PUBLIC_FILE);
    if !public.exists() {
        fs::write(&public, key.public_key().to_pem())?;
    }
    Ok(key)
}

fn fresh_key() -> io::Result<Vec<u8>> {
    SigningKey::generate(&SystemRandom::new()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_can_read_it() {
        let place = tempfile::tempdir().unwrap();
        let first = Receipts::default().billing(Some(place.path()), "").unwrap();
        let again = Receipts::default().billing(Some(place.path()), "").unwrap();
        assert_eq!(first.key.public_key(), again.key.public_key());
        let mode = fs::metadata(place.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let pem = fs::read_to_string(place.path().join(PUBLIC_FILE)).unwrap();
        assert_eq!(crate::billing::PublicKey::parse(&pem).unwrap(), first.key.public_key());
    }
}
