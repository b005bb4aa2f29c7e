//! The trail as people read it, and its check.

use super::trail::{Line, NO_HASH, unsealed};
use crate::limits::AUDIT_SCAN_BYTES;
use crate::units::shape::described;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;

described! {
/// One order of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Its place in the trail.
    pub seq: u64,
    /// When it came.
    pub at: String,
    /// Who sent it.
    pub who: String,
    /// With which role.
    pub role: String,
    /// From which address.
    pub from: String,
    /// Its path.
    pub path: String,
    /// Its body without secrets, as JSON; none where it is long.
    pub body: Option<String>,
    /// Its idempotency key.
    pub key: Option<String>,
    /// HTTP's status of its outcome; none: it has none, because the gate ended meanwhile.
    pub status: Option<u16>,
    /// The code of a refusal.
    pub code: Option<String>,
    /// When the outcome was known.
    pub answered_at: Option<String>,
}
}

described! {
/// The check of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// `wattstile.audit-check/1`
    pub schema: String,
    /// Lines.
    pub records: u64,
    /// The hash of the last one: kept elsewhere, it shows whether the end was cut off.
    pub head: String,
    /// The fault, with the line.
    pub fault: Option<String>,
}
}

/// Checks the trail from its first line on: that none is missing, changed or in another place.
///
/// # Errors
/// The file cannot be read.
pub fn verify(path: &Path) -> io::Result<Verified> {
    let mut verified =
        Verified { schema: "wattstile.audit-check/1".to_owned(), records: 0, head: NO_HASH.to_owned(), fault: None };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(verified),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut text = String::new();
    loop {
        text.clear();
        // A line without an end is being written.
        if reader.read_line(&mut text)? == 0 || !text.ends_with('\n') {
            return Ok(verified);
        }
        let number = verified.records + 1;
        match checked(text.trim_end(), number, &verified.head) {
            Ok(hash) => (verified.records, verified.head) = (number, hash),
            Err(fault) => {
                verified.fault = Some(format!("line {number}: {fault}"));
                return Ok(verified);
            }
        }
    }
}

fn checked(text: &str, number: u64, before: &str) -> Result<String, String> {
    let (content, hash) = unsealed(text).ok_or("it has no hash")?;
    let line: Line = serde_json::from_str(&content).map_err(|error| error.to_string())?;
    if hex::encode(digest(&SHA256, content.as_bytes())) != hash {
        return Err("it was changed: its hash is another one".to_owned());
    }
    if line.seq != number {
        return Err(format!("it has the number {}: lines are missing, or in another order", line.seq));
    }
    if line.prev != before {
        return Err("the line before it is another one".to_owned());
    }
    Ok(hash.to_owned())
}

/// How far behind an order its outcome is looked for.
const OUTCOME_WITHIN: u64 = 1 << 20;

/// The newest orders before a place in the file (none: its end), and the place where they go on; at most so many.
///
/// # Errors
/// The file cannot be read.
pub fn rows_before(path: &Path, before: Option<u64>, limit: usize) -> io::Result<(Vec<AuditRow>, Option<u64>)> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), None)),
        Err(error) => return Err(error),
    };
    let whole = file.metadata()?.len();
    let before = before.unwrap_or(whole).min(whole);
    let mut end = before.saturating_add(OUTCOME_WITHIN).min(whole);
    let (mut rows, mut outcomes): (Vec<AuditRow>, HashMap<u64, Line>) = (Vec::new(), HashMap::new());
    let mut block = 1_u64 << 16;
    while end > 0 {
        let start = end.saturating_sub(block);
        let mut text = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.read_exact_at(&mut text, start)?;
        // Lines are read from the last one back; the first of a block may have begun before it.
        let first =
            if start == 0 { 0 } else { text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1) };
        if first == text.len() && block < AUDIT_SCAN_BYTES {
            block *= 2;
            continue;
        }
        let mut at = end;
        for line in text[first..].split_inclusive(|byte| *byte == b'\n').rev() {
            at -= line.len() as u64;
            let Ok(read) = serde_json::from_slice::<Line>(line) else { continue };
            match (read.kind.as_str(), read.of) {
                ("outcome", Some(of)) => drop(outcomes.insert(of, read)),
                _ if at < before => {
                    let outcome = outcomes.remove(&read.seq);
                    rows.push(row(read, outcome));
                    if rows.len() == limit {
                        return Ok((rows, (at > 0).then_some(at)));
                    }
                }
                _ => {}
            }
        }
        if start == 0 {
            break;
        }
        end = start + first as u64;
    }
    Ok((rows, None))
}

fn row(line: Line, outcome: Option<Line>) -> AuditRow {
    let Line { seq, at, who, role, from, path, body, key, status, code, .. } = line;
    let refused_at = status.map(|_| at.clone());
    let outcome = outcome.unwrap_or_default();
    AuditRow {
        seq,
        who: who.unwrap_or_default(),
        role: role.unwrap_or_default(),
        from: from.unwrap_or_default(),
        path: path.unwrap_or_default(),
        body: body.map(|body| body.to_string()),
        key,
        status: outcome.status.or(status),
        code: outcome.code.or(code),
        answered_at: refused_at.or((!outcome.at.is_empty()).then_some(outcome.at)),
        at,
    }
}

#[cfg(test)]
mod tests {
    use super::super::trail::{Trail, line};
    use super::*;
    use crate::units::Timestamp;

    fn trail_of(orders: u64) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let trail = Trail::open(&path).unwrap();
        for number in 0..orders {
            let at = Timestamp::from_unix_ms(1_780_000_000_000);
            let path = Some(format!("/api/v1/{number}/{}", "x".repeat(200)));
            let seq = trail.order(None, Line { who: Some("till".to_owned()), path, ..line("order", at) }).unwrap();
            trail.outcome(None, Line { of: Some(seq), status: Some(200), ..line("outcome", at) }, true).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn each_change_of_the_trail_is_found() {
        let (_folder, path) = trail_of(5);
        let whole = verify(&path).unwrap();
        assert_eq!((whole.records, whole.fault), (10, None));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let changed = text.replacen("till", "tall", 1);
        let missing = [&lines[..3], &lines[4..]].concat().join("\n") + "\n";
        let mut swapped = lines.clone();
        swapped.swap(4, 5);
        for (text, at) in [(changed, 1), (missing, 4), (swapped.join("\n") + "\n", 5), ("{}\n".to_owned(), 1)] {
            std::fs::write(&path, text).unwrap();
            let fault = verify(&path).unwrap().fault.expect("a fault");
            assert!(fault.starts_with(&format!("line {at}:")), "{fault}");
        }
    }

    #[test]
    fn orders_are_listed_newest_first_with_their_outcomes() {
        let (_folder, path) = trail_of(700);
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let (rows, next) = rows_before(&path, before, 64).unwrap();
            assert!(rows.iter().all(|row| row.status == Some(200) && row.who == "till"));
            seen.extend(rows.iter().map(|row| row.seq));
            before = next;
            if before.is_none() {
                break;
            }
        }
        let expected: Vec<u64> = (0..700).rev().map(|number| number * 2 + 1).collect();
        assert_eq!(seen, expected);
    }
}
