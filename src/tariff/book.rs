//! The tariffs of a folder, and the rules that assign them to sites, chargers and connectors.
//!
//! A book never changes. A reload makes a new one; sessions keep the `Arc` of the tariff that they were started with,
//! and the new book still finds it by its hash while a session holds it.

use super::file::{tariffs_in, text_of};
use super::finding::Finding;
use super::lint::{Profiles, lint};
use super::model::{Parsed, Tariff, TariffError};
use crate::units::{ChargerId, ConnectorId, SiteId, TariffHash, TariffId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A rule: this tariff applies where all named fields match. A rule for a connector takes precedence over one for a
/// charger, that over one for a site, that over the default without fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Assignment {
    /// Only at this site.
    #[serde(default)]
    pub site: Option<SiteId>,
    /// Only at this charger.
    #[serde(default)]
    pub charger: Option<ChargerId>,
    /// Only at this connector of the charger.
    #[serde(default)]
    pub connector: Option<ConnectorId>,
    /// The tariff that applies.
    pub tariff: TariffId,
}

/// All tariffs and rules at one time.
///
/// ```
/// use wattstile::tariff::{Assignment, TariffBook, TariffRefusal};
/// use wattstile::units::{ChargerId, ConnectorId, TariffId, Timestamp};
///
/// const DAY: &str = r#"{ "country_code": "NL", "party_id": "WST", "id": "DAY", "currency": "EUR",
///     "elements": [{ "price_components": [{ "type": "ENERGY", "price": 0.30, "vat": 21, "step_size": 1 }] }],
///     "last_updated": "2026-01-01T00:00:00Z" }"#;
/// let everywhere = Assignment { site: None, charger: None, connector: None, tariff: TariffId::new("DAY")? };
/// let (book, findings) = TariffBook::load([("day.json", DAY)], [everywhere])?;
/// assert!(findings.is_empty(), "{findings:?}");
///
/// let (charger, at) = (ChargerId::new("NL*WST-7")?, Timestamp::parse_rfc3339("2026-03-29T01:30:00Z")?);
/// let tariff = book.tariff_for(None, &charger, ConnectorId(1), at)?;
/// assert_eq!(tariff.id().as_str(), "DAY");
///
/// let empty = TariffBook::default();
/// assert!(matches!(empty.tariff_for(None, &charger, ConnectorId(1), at), Err(TariffRefusal::NotAssigned { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TariffBook {
    by_id: BTreeMap<TariffId, Vec<Arc<Tariff>>>,
    by_hash: BTreeMap<TariffHash, Arc<Tariff>>,
    assignments: BTreeMap<AssignmentKey, TariffId>,
}

/// The scope of a rule, most specific first in the order of look-up.
type AssignmentKey = (Option<SiteId>, Option<ChargerId>, Option<ConnectorId>);

/// All reasons for which files and rules do not make a book. The old one stays in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookErrors(pub Vec<BookError>);

/// One line for each.
impl fmt::Display for BookErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BookErrors {}

/// Why files and rules do not make a book.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// A file contains no usable tariff.
    #[error("{}", error.in_file(file))]
    Tariff {
        /// The file's name.
        file: String,
        /// The fault and its position.
        error: Box<TariffError>,
    },
    /// A file cannot be read.
    #[error("{file}: {reason}")]
    Unreadable {
        /// The file's name.
        file: String,
        /// The error of the operating system.
        reason: String,
    },
    /// Two files with one id that are valid from the same time on: which one applies?
    #[error("{file}: tariff {id} from the same time on is also in {other}; state start_date_time, or remove one")]
    SameId {
        /// The second file.
        file: String,
        /// The first file.
        other: String,
        /// The id.
        id: TariffId,
    },
    /// Two rules for one place.
    #[error("two rules for one place: {first} and {second}")]
    SamePlace {
        /// The first rule's tariff.
        first: TariffId,
        /// The second rule's tariff.
        second: TariffId,
    },
    /// A rule for a tariff that is in no file.
    #[error("a rule assigns tariff {0}, which no file contains")]
    Unknown(TariffId),
    /// A connector without its charger.
    #[error("a rule for connector {0} names no charger")]
    ConnectorAlone(ConnectorId),
}

/// Why a session cannot start: there is no price. Never a price of zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TariffRefusal {
    /// No rule applies to the place.
    #[error("no tariff is assigned to connector {connector} of {charger}")]
    NotAssigned {
        /// The charger.
        charger: ChargerId,
        /// The connector.
        connector: ConnectorId,
    },
    /// The tariff that applies is not valid now (`start_date_time`, `end_date_time`).
    #[error("tariff {tariff} is not valid at {at}")]
    NotValid {
        /// The tariff.
        tariff: TariffId,
        /// The session's start.
        at: Timestamp,
    },
}

impl TariffBook {
    /// Reads files (name, bytes) and rules. A file may hold one tariff, a list of them, or the answer of an OCPI
    /// interface with a list in it. Findings of the linter are returned with the files' names.
    ///
    /// # Errors
    ///
    /// All faults of all files and rules.
    pub fn load<N: AsRef<str>, T: AsRef<[u8]>>(
        files: impl IntoIterator<Item = (N, T)>,
        assignments: impl IntoIterator<Item = Assignment>,
    ) -> Result<(TariffBook, Vec<(String, Finding)>), BookErrors> {
        let mut book = TariffBook::default();
        let mut findings = Vec::new();
        let mut errors = Vec::new();
        let mut names: BTreeMap<TariffHash, String> = BTreeMap::new();
        for (name, bytes) in files {
            let file = name.as_ref();
            let wrong = |error| BookError::Tariff { file: file.to_owned(), error: Box::new(error) };
            let texts = match text_of(bytes.as_ref()).and_then(tariffs_in) {
                Ok(texts) => texts,
                Err(error) => {
                    errors.push(wrong(error));
                    continue;
                }
            };
            for text in texts {
                match text.parse() {
                    Ok(parsed) => {
                        let found = lint(&parsed, Profiles::default());
                        findings.extend(found.into_iter().map(|finding| (file.to_owned(), finding)));
                        let Parsed { tariff, .. } = parsed;
                        let place = format!("{file}{}", text.index());
                        errors.extend(book.add(tariff, place, &mut names).err());
                    }
                    Err(error) => errors.push(wrong(error)),
                }
            }
        }
        // A rule for a tariff of a file that cannot be read is no further mistake.
        let complete = errors.is_empty();
        for assignment in assignments {
            match book.assign(assignment) {
                Err(BookError::Unknown(_)) if !complete => {}
                assigned => errors.extend(assigned.err()),
            }
        }
        if errors.is_empty() { Ok((book, findings)) } else { Err(BookErrors(errors)) }
    }

    fn add(&mut self, tariff: Tariff, file: String, names: &mut BTreeMap<TariffHash, String>) -> Result<(), BookError> {
        if names.contains_key(&tariff.hash) {
            return Ok(());
        }
        let versions = self.by_id.entry(tariff.id.clone()).or_default();
        if let Some(same) = versions.iter().find(|other| other.valid_from == tariff.valid_from) {
            let other = names.get(&same.hash).cloned().unwrap_or_default();
            return Err(BookError::SameId { file, other, id: tariff.id });
        }
        names.insert(tariff.hash, file);
        let tariff = Arc::new(tariff);
        versions.push(tariff.clone());
        versions.sort_by_key(|version| version.valid_from);
        self.by_hash.insert(tariff.hash, tariff);
        Ok(())
    }

    /// The book that follows this one: new files and rules, and the tariffs that running sessions still hold.
    ///
    /// # Errors
    ///
    /// Those of [`TariffBook::load`].
    pub fn reload<N: AsRef<str>, T: AsRef<[u8]>>(
        &self,
        files: impl IntoIterator<Item = (N, T)>,
        assignments: impl IntoIterator<Item = Assignment>,
    ) -> Result<(TariffBook, Vec<(String, Finding)>), BookErrors> {
        let (mut next, findings) = TariffBook::load(files, assignments)?;
        for (hash, tariff) in &self.by_hash {
            // A text that has not changed keeps its Arc, so that sessions and book share one.
            if next.by_hash.contains_key(hash) {
                next.by_hash.insert(*hash, tariff.clone());
                for version in next.by_id.values_mut().flatten().filter(|version| version.hash == *hash) {
                    *version = tariff.clone();
                }
            } else if Arc::strong_count(tariff) > self.own_count(*hash) {
                next.by_hash.insert(*hash, tariff.clone());
            }
        }
        Ok((next, findings))
    }

    /// Finds the tariff of a session that starts at this place and time.
    ///
    /// # Errors
    /// [`TariffRefusal::NotAssigned`]; [`TariffRefusal::NotValid`] when no version is valid at `at`.
    pub fn tariff_for(
        &self,
        site: Option<&SiteId>,
        charger: &ChargerId,
        connector: ConnectorId,
        at: Timestamp,
    ) -> Result<Arc<Tariff>, TariffRefusal> {
        let refusal = || TariffRefusal::NotAssigned { charger: charger.clone(), connector };
        let id = self.assigned(site, charger, connector).ok_or_else(refusal)?;
        let versions = self.by_id.get(id).ok_or_else(refusal)?;
        // The latest version that is valid.
        let version = versions.iter().rfind(|version| version.valid_at(at));
        version.cloned().ok_or_else(|| TariffRefusal::NotValid { tariff: id.clone(), at })
    }

    /// The latest version of a tariff that is valid at a moment.
    ///
    /// # Errors
    /// [`TariffRefusal::NotValid`]; also for an unknown id.
    pub fn valid(&self, id: &TariffId, at: Timestamp) -> Result<Arc<Tariff>, TariffRefusal> {
        let version = self.by_id.get(id).and_then(|versions| versions.iter().rfind(|version| version.valid_at(at)));
        version.cloned().ok_or_else(|| TariffRefusal::NotValid { tariff: id.clone(), at })
    }

    /// The ids of all tariffs.
    pub fn ids(&self) -> impl Iterator<Item = &TariffId> {
        self.by_id.keys()
    }

    /// A tariff by the hash of its text: for sessions that come back after a restart.
    pub fn by_hash(&self, hash: &TariffHash) -> Option<&Arc<Tariff>> {
        self.by_hash.get(hash)
    }

    /// Keeps a tariff that a running session is pinned to, though no file has it any more.
    pub fn pin(&mut self, tariff: Arc<Tariff>) {
        self.by_hash.entry(tariff.hash).or_insert(tariff);
    }

    /// The tariffs of the files, by id and time of validity.
    pub fn tariffs(&self) -> impl Iterator<Item = &Arc<Tariff>> {
        self.by_id.values().flatten()
    }

    /// The rules.
    pub fn assignments(&self) -> impl Iterator<Item = Assignment> {
        self.assignments.iter().map(|((site, charger, connector), tariff)| Assignment {
            site: site.clone(),
            charger: charger.clone(),
            connector: *connector,
            tariff: tariff.clone(),
        })
    }

    fn assign(&mut self, rule: Assignment) -> Result<(), BookError> {
        if let (None, Some(connector)) = (&rule.charger, rule.connector) {
            return Err(BookError::ConnectorAlone(connector));
        }
        if !self.by_id.contains_key(&rule.tariff) {
            return Err(BookError::Unknown(rule.tariff));
        }
        // A charger's id is unique: the site of its rule adds nothing.
        let site = if rule.charger.is_some() { None } else { rule.site };
        match self.assignments.insert((site, rule.charger, rule.connector), rule.tariff.clone()) {
            Some(first) if first != rule.tariff => Err(BookError::SamePlace { first, second: rule.tariff }),
            _ => Ok(()),
        }
    }

    fn assigned(&self, site: Option<&SiteId>, charger: &ChargerId, connector: ConnectorId) -> Option<&TariffId> {
        let places: [AssignmentKey; 4] = [
            (None, Some(charger.clone()), Some(connector)),
            (None, Some(charger.clone()), None),
            (site.cloned(), None, None),
            (None, None, None),
        ];
        places.iter().find_map(|place| self.assignments.get(place))
    }

    /// Number of references of this book itself to a tariff.
    fn own_count(&self, hash: TariffHash) -> usize {
        1 + self.by_id.values().flatten().filter(|version| version.hash == hash).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(id: &str, price: &str, fields: &str) -> String {
        format!(
            r#"{{"id": "{id}", "currency": "EUR", {fields} "elements": [{{"price_components": [
                {{"type": "ENERGY", "price": {price}, "step_size": 1}}]}}]}}"#
        )
    }

    fn rule(site: &str, charger: &str, connector: u16, tariff: &str) -> Assignment {
        Assignment {
            site: SiteId::new(site).ok(),
            charger: ChargerId::new(charger).ok(),
            connector: (connector > 0).then_some(ConnectorId(connector)),
            tariff: TariffId::new(tariff).unwrap(),
        }
    }

    fn at(time: &str) -> Timestamp {
        Timestamp::parse_rfc3339(time).unwrap()
    }

    fn id_for(book: &TariffBook, site: &str, charger: &str, connector: u16) -> Result<String, TariffRefusal> {
        let (site, charger) = (SiteId::new(site).ok(), ChargerId::new(charger).unwrap());
        let found = book.tariff_for(site.as_ref(), &charger, ConnectorId(connector), at("2026-11-22T18:00:00Z"));
        found.map(|tariff| tariff.id().to_string())
    }

    #[test]
    fn the_most_specific_rule_wins_and_without_one_the_start_is_refused() {
        let files = ["A", "B", "C", "D"].map(|id| (format!("{id}.json"), text(id, "0.5", "")));
        let rules = [rule("", "CP1", 2, "A"), rule("", "CP1", 0, "B"), rule("S", "", 0, "C")];
        let (book, _) = TariffBook::load(files.clone(), rules.clone()).unwrap();
        assert_eq!(id_for(&book, "S", "CP1", 2).unwrap(), "A");
        assert_eq!(id_for(&book, "S", "CP1", 1).unwrap(), "B");
        assert_eq!(id_for(&book, "S", "CP2", 1).unwrap(), "C");
        let refused = id_for(&book, "", "CP3", 1).unwrap_err();
        assert_eq!(refused.to_string(), "no tariff is assigned to connector 1 of CP3");
        let (book, _) = TariffBook::load(files, rules.into_iter().chain([rule("", "", 0, "D")])).unwrap();
        assert_eq!(id_for(&book, "", "CP3", 1).unwrap(), "D");
    }

    #[test]
    fn versions_of_one_tariff_follow_each_other() {
        let old = text("A", "0.5", r#""end_date_time": "2026-12-01T00:00:00Z","#);
        let new =
            text("A", "0.6", r#""start_date_time": "2026-12-01T00:00:00Z", "end_date_time": "2027-01-01T00:00:00Z","#);
        let (book, _) = TariffBook::load([("old.json", &old), ("new.json", &new)], [rule("", "", 0, "A")]).unwrap();
        let charger = ChargerId::new("CP1").unwrap();
        let price = |time| {
            let tariff = book.tariff_for(None, &charger, ConnectorId(1), at(time));
            tariff.map(|tariff| tariff.components()[0].price().to_string())
        };
        assert_eq!(price("2026-11-30T23:59:59Z").unwrap(), "0.5");
        assert_eq!(price("2026-12-01T00:00:00Z").unwrap(), "0.6");
        assert!(matches!(price("2027-01-01T00:00:00Z"), Err(TariffRefusal::NotValid { .. })));
    }

    #[test]
    fn a_reload_leaves_running_sessions_their_tariff() {
        let rules = [rule("", "", 0, "A")];
        let (book, _) = TariffBook::load([("a.json", text("A", "0.5", ""))], rules.clone()).unwrap();
        let pinned = book.tariffs().next().unwrap().clone();
        let (next, _) = book.reload([("a.json", text("A", "0.6", ""))], rules.clone()).unwrap();
        assert_ne!(next.tariffs().next().unwrap().hash(), pinned.hash());
        assert!(Arc::ptr_eq(next.by_hash(&pinned.hash()).unwrap(), &pinned));
        let hash = pinned.hash();
        drop((pinned, book));
        let (last, _) = next.reload([("a.json", text("A", "0.6", ""))], rules).unwrap();
        assert!(last.by_hash(&hash).is_none(), "no session holds it any more");
    }

    #[test]
    fn a_folder_with_a_mistake_names_it() {
        let broken = [("a.json", text("A", "0.5", "")), ("b.json", "{\n 1}".to_owned())];
        let error = TariffBook::load(broken, []).unwrap_err();
        assert!(error.to_string().starts_with("b.json: line 2, column 2"), "{error}");
        let first = |error: BookErrors| error.0.into_iter().next();
        let twice = [("a.json", text("A", "0.5", "")), ("b.json", text("A", "0.6", ""))];
        assert!(matches!(TariffBook::load(twice, []).map_err(first), Err(Some(BookError::SameId { .. }))));
        let one = || [("a.json", text("A", "0.5", ""))];
        let unknown = TariffBook::load(one(), [rule("", "", 0, "B")]).map_err(first);
        assert!(matches!(unknown, Err(Some(BookError::Unknown(_)))));
        let alone = TariffBook::load(one(), [rule("", "", 1, "A")]).map_err(first);
        assert!(matches!(alone, Err(Some(BookError::ConnectorAlone(_)))));
    }

    #[test]
    fn all_bad_files_of_a_folder_are_told_at_once() {
        let files: [(&str, Vec<u8>); 4] = [
            ("a.json", text("A", "0.5", "\"minPrice\": 1,").into_bytes()),
            ("latin1.json", b"{\"id\": \"\xe9\"}".to_vec()),
            ("list.json", format!("[{},\n{}]", text("B", "0.5", ""), text("C", "true", "")).into_bytes()),
            ("z.json", text("Z", "0.5", "").into_bytes()),
        ];
        let errors = TariffBook::load(files, [rule("", "", 0, "C")]).unwrap_err().to_string();
        let lines: Vec<&str> = errors.lines().collect();
        assert_eq!(lines.len(), 3, "{errors}");
        assert!(lines[0].starts_with("a.json: line 1, column 32: $.minPrice: `minPrice` is no field"), "{errors}");
        assert!(lines[1].starts_with("latin1.json: line 1, column 9: $: byte 9 (0xe9) is not UTF-8"), "{errors}");
        assert!(
            lines[2].starts_with("list.json: line 4, column 45: $[1].elements[0].price_components[0].price"),
            "{errors}"
        );
    }

    #[test]
    fn a_list_of_tariffs_makes_a_book() {
        let list = format!("{{\"status_code\": 1000, \"data\": [{}, {}]}}", text("A", "0.5", ""), text("B", "0.6", ""));
        let (book, _) = TariffBook::load([("list.json", list)], [rule("", "", 0, "B")]).unwrap();
        assert_eq!(book.tariffs().count(), 2);
        assert_eq!(id_for(&book, "", "CP1", 1).unwrap(), "B");
    }
}
