//! Layout of text for a terminal: broken between words, never inside one, so that an address stays whole.

/// A terminal that is narrower is treated as if it had so many columns.
pub const WIDTH_LEAST: usize = 20;

/// Joins the parts with `between`, over as many lines as needed. A part is broken only between its words, and only
/// where it is longer than a line; lines after the first begin with `indent` blanks.
pub fn flow(parts: &[String], between: &str, indent: usize, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let blanks = " ".repeat(indent);
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let length = part.chars().count();
        match lines.last_mut() {
            Some(line) if line.chars().count() + between.chars().count() + length <= width => {
                line.push_str(between);
                line.push_str(part);
            }
            _ => {
                let first = if lines.is_empty() { "" } else { &blanks };
                lines.extend(broken(&format!("{first}{part}"), indent, width));
            }
        }
    }
    lines
}

/// A line in lines of at most so many columns, broken between words. A word that is longer has a line of its own.
pub fn broken(line: &str, indent: usize, width: usize) -> Vec<String> {
    if line.chars().count() <= width {
        return vec![line.to_owned()];
    }
    let lead: String = line.chars().take_while(|letter| *letter == ' ').collect();
    let mut lines: Vec<String> = Vec::new();
    let mut current = lead.clone();
    let mut begun = false;
    // Two blanks in a row are part of the text, as long as it is not broken there.
    for word in line[lead.len()..].split(' ') {
        if begun && current.chars().count() + 1 + word.chars().count() > width {
            lines.push(current.trim_end().to_owned());
            current = " ".repeat(indent);
            begun = false;
        }
        if !begun && word.is_empty() {
            continue;
        }
        if begun {
            current.push(' ');
        }
        current.push_str(word);
        begun = true;
    }
    lines.push(current.trim_end().to_owned());
    lines
}

/// A text of several lines, each broken between words; what goes on is indented two further than its line.
pub fn fitted(text: &str, width: usize) -> String {
    let fit = |line: &str| {
        let lead = line.chars().take_while(|letter| *letter == ' ').count();
        broken(line, lead + 2, width.max(WIDTH_LEAST))
    };
    text.lines().flat_map(fit).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_laid_out_whole_as_long_as_they_fit() {
        let parts = ["40 charging".to_owned(), "0 settled".to_owned(), "1416 kW".to_owned()];
        assert_eq!(flow(&parts, " · ", 2, 80), ["40 charging · 0 settled · 1416 kW"]);
        assert_eq!(flow(&parts, " · ", 2, 24), ["40 charging · 0 settled", "  1416 kW"]);
        assert_eq!(flow(&parts, " · ", 2, 10), ["40", "  charging", "  0", "  settled", "  1416 kW"]);
    }

    #[test]
    fn an_address_is_never_broken() {
        let line = "  metrics     http://127.0.0.1:37673/metrics and more of it";
        assert_eq!(
            broken(line, 14, 40),
            ["  metrics", "              http://127.0.0.1:37673/metrics", "              and more of it"]
        );
        assert_eq!(broken("short", 4, 10), ["short"]);
        assert_eq!(fitted("a bb ccc\n\n  dd ee", 20), "a bb ccc\n\n  dd ee");
    }
}
