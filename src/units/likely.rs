//! The word that was probably meant by one that is not known.

/// The candidate that was probably meant: a distance of at most a third of its length.
pub fn did_you_mean<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = |candidate: &str| candidate.len().max(3) / 3;
    let length = found.chars().count();
    candidates
        .into_iter()
        // What is longer or shorter by more than that need not be compared.
        .filter(|candidate| length.abs_diff(candidate.chars().count()) <= most(candidate))
        .map(|candidate| (strsim::osa_distance(found, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= most(candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let keys = ["listen", "connections_max", "silence"];
        assert_eq!(did_you_mean("lisen", keys), Some("listen"));
        assert_eq!(did_you_mean("conections_max", keys), Some("connections_max"));
        assert_eq!(did_you_mean("silecne", keys), Some("silence"));
        assert_eq!(did_you_mean("colour", keys), None);
    }
}
